//! FAE: from packed data to a trained DLRM, with hot rows replicated on the device.
//!
//! 1. Profile the training inputs (or load a hot set that `profile` made): which rows are hot under the budget.
//! 2. Classify every input: hot if all its rows are.
//! 3. Train: hot batches wholly on the device, cold ones with rows from the CPU, by turns as the schedule says; hot rows are
//!    made equal on both when the sides change.
//! 4. Print the results, what ran where, how long, and what crossed.

use std::process::ExitCode;

use clap::Parser;
use examples::model::ModelKind;
use examples::process::exit_on_error;
use examples::training::{ProgramArguments, train_and_report};
use trainer::Placement;

/// Train DLRM as FAE does: hot inputs on the device, cold ones with rows from the CPU.
///
/// Takes a packed data set made by `prepare`, profiles it if no hot set is given, and trains on the placement `fae` with the
/// paper's adaptive schedule, unless told otherwise. With --device cpu the CPU stands in for the device. Every setting has a value: the preset's, then the one in `--config FILE`, then
/// the option given here, the last one winning. The same seed and options give the same numbers on any number of threads.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release --example prepare -- criteo-kaggle --raw train.txt --out kaggle
  cargo run --release --example dlrm_fae -- --data kaggle --preset criteo-kaggle --budget 256MiB

  Every batch split by lookup, in the original order of inputs:
    dlrm_fae --data kaggle --preset criteo-kaggle --placement mixed

  The published code's order, a hot set from a file:
    dlrm_fae --data kaggle --preset criteo-kaggle --hot-set hotset.json --schedule cold-hot"
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
        Placement::Fae,
    ))
}
