//! The CPU and device baseline: trains DLRM with embedding rows in host memory and the model on a device.
//!
//! 1. Open the data set and put the model on the device and the tables into host memory, made from its schema and the chosen preset.
//! 2. Train; every batch's rows and their gradients cross between host and device. Evaluate
//!    after every epoch (and every `--test-every` steps).
//! 3. Print the results, and write them as JSON and weights where asked.

use std::process::ExitCode;

use clap::Parser;
use examples::model::ModelKind;
use examples::process::exit_on_error;
use examples::training::{ProgramArguments, train_and_report};
use trainer::Placement;

/// Train DLRM with rows on the CPU and the model on a device: the stronger baseline of the FAE paper.
///
/// With --device cpu the CPU stands in for the device: the numbers are the same, and what would cross is counted.
///
/// Takes a packed data set made by `prepare`. Every setting has a value: the preset's, then the one in `--config FILE`, then
/// the option given here, the last one winning. The same seed and options give the same numbers on any number of threads.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release --example prepare -- criteo-kaggle --raw train.txt --out kaggle
  cargo run --release --example dlrm_cpu_gpu -- --data kaggle --preset criteo-kaggle
  cargo run --release --features cuda --example dlrm_cpu_gpu -- --data kaggle --preset criteo-kaggle --device cuda"
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
        Placement::CpuDevice,
    ))
}
