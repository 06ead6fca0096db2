//! The CPU and device baseline for sequences: trains TBSM with embedding rows in host memory and the model on a device.
//!
//! 1. Open the data set of sequences; the model goes on the device, the tables into host memory.
//! 2. Train; every batch's rows and their gradients cross between host and device. Evaluate after every epoch (and every
//!    `--test-every` steps).
//! 3. Print the results, and write them as JSON and weights where asked.

use std::process::ExitCode;

use clap::Parser;
use examples::model::ModelKind;
use examples::process::exit_on_error;
use examples::training::{ProgramArguments, train_and_report};
use trainer::Placement;

/// Train TBSM with rows on the CPU and the model on a device: the stronger baseline of the FAE paper.
///
/// With --device cpu the CPU stands in for the device: the numbers are the same, and what would cross is counted.
///
/// Takes a packed data set of sequences, made by `prepare taobao` or `generate sequences`. Settings are those that the original's
/// Taobao script has, unless a preset, `--config FILE` or an option says otherwise. The same seed and options give the same
/// numbers on any number of threads.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release --example prepare -- taobao --raw UserBehavior.csv --out taobao
  cargo run --release --example tbsm_cpu_gpu -- --data taobao
  cargo run --release --features cuda --example tbsm_cpu_gpu -- --data taobao --device cuda"
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
        Placement::CpuDevice,
    ))
}
