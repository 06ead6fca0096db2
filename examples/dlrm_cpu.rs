//! The CPU baseline: trains DLRM on a packed data set with everything in host memory.
//!
//! 1. Open the data set and make model and store from its schema and the chosen preset.
//! 2. Train, evaluating after every epoch (and every `--test-every` steps).
//! 3. Print the results, and write them as JSON and weights where asked.

use std::process::ExitCode;

use clap::Parser;
use examples::model::ModelKind;
use examples::process::exit_on_error;
use examples::training::{ProgramArguments, train_and_report};
use trainer::Placement;

/// Train DLRM on the CPU: the baseline that FAE is compared with.
///
/// Takes a packed data set made by `prepare`. Every setting has a value: the preset's, then the one in `--config FILE`, then
/// the option given here, the last one winning. The same seed and options give the same numbers on any number of threads.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release --example prepare -- criteo-kaggle --raw train.txt --out kaggle
  cargo run --release --example dlrm_cpu -- --data kaggle --preset criteo-kaggle
  cargo run --release --example dlrm_cpu -- --data kaggle --dim 8 --bottom-mlp 13-64-8 --top-mlp 64-1 \\
      --optimizer adagrad --learning-rate 0.01 --epochs 3 --json results.json"
)]
struct Arguments {
    #[command(flatten)]
    program: ProgramArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit_on_error(train_and_report(
        &arguments.program,
        ModelKind::Dlrm,
        Placement::Cpu,
    ))
}
