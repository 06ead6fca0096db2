//! FAE for sequences: from packed data to a trained TBSM, with hot rows replicated on the device.
//!
//! 1. Profile a fifth of the training sequences (or load a hot set that `profile` made): which rows are hot under the budget.
//! 2. Classify every sequence: hot if the rows of all its items are.
//! 3. Train: hot batches wholly on the device, cold ones with rows from the CPU, by turns as the schedule says; hot rows and
//!    their optimizer state are made equal on both when the sides change.
//! 4. Print the results, what ran where, how long, and what crossed.

use std::process::ExitCode;

use clap::Parser;
use examples::model::ModelKind;
use examples::process::exit_on_error;
use examples::training::{ProgramArguments, train_and_report};
use trainer::Placement;

/// Train TBSM as FAE does: hot sequences on the device, cold ones with rows from the CPU.
///
/// Takes a packed data set of sequences, made by `prepare taobao` or `generate sequences`, profiles it if no hot set is given, and
/// trains on the placement `fae` with the paper's adaptive schedule, unless told otherwise. With --device cpu the CPU stands in
/// for the device. Settings are those that the original's Taobao script has, unless a preset, `--config FILE` or an option says
/// otherwise. The same seed and options give the same numbers on any number of threads.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release --example prepare -- taobao --raw UserBehavior.csv --out taobao
  cargo run --release --example tbsm_fae -- --data taobao --budget 64MiB

  Every batch split by lookup, in the original order of sequences:
    tbsm_fae --data taobao --placement mixed

  The published code's order, a hot set from a file:
    tbsm_fae --data taobao --hot-set hotset.json --schedule hot-cold"
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
        Placement::Fae,
    ))
}
