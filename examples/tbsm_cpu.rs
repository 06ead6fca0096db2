//! The CPU baseline for sequences: trains TBSM on a packed data set with everything in host memory.
//!
//! 1. Open the data set of sequences and make model and store from its schema and the published Taobao settings.
//! 2. Train, evaluating after every epoch (and every `--test-every` steps).
//! 3. Print the results, and write them as JSON and weights where asked.

use std::process::ExitCode;

use clap::Parser;
use examples::model::ModelKind;
use examples::process::exit_on_error;
use examples::training::{ProgramArguments, train_and_report};
use trainer::Placement;

/// Train TBSM on the CPU: the baseline that FAE is compared with.
///
/// Takes a packed data set of sequences, made by `prepare taobao` or `generate sequences`. Settings are those that the original's
/// Taobao script has, unless a preset, `--config FILE` or an option says otherwise. The same seed and options give the same
/// numbers on any number of threads.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release --example prepare -- taobao --raw UserBehavior.csv --out taobao
  cargo run --release --example tbsm_cpu -- --data taobao

  Three heads that see ever less of the history:
    tbsm_cpu --data taobao --heads 3 --sequential

  An LSTM instead of attention:
    tbsm_cpu --data taobao --sequence-layer rnn"
)]
struct Arguments {
    #[command(flatten)]
    program: ProgramArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit_on_error(train_and_report(
        &arguments.program,
        ModelKind::Tbsm,
        Placement::Cpu,
    ))
}
