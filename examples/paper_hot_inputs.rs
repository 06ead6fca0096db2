//! The paper's second observation: a small budget makes many inputs wholly hot, and a small sample
//! finds it out.
//!
//! 1. Open a packed data set, or make planted data.
//! 2. For every budget, choose hot rows with each strategy, and count the inputs that are wholly hot.
//! 3. For every sampling rate, choose hot rows from the sample, estimate what they serve, and compare
//!    with the count.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fae_cli::charts::save_charts;
use fae_cli::process::exit_on_error;
use fae_cli::{note, say};
use fae_profiler::{BudgetSweep, EstimateSweep, Report, SelectOptions, Selector};
use fae_run::Budget;
use recsys_data::generate::{Planted, PlantedOptions, write_packed};
use recsys_data::packed::PackedDataset;
use recsys_data::{Split, SplitRows};

/// Draw hot inputs against budget and sampling rate. No arguments needed.
///
/// Writes hot_inputs and estimate as .csv and .svg, and report.json.
#[derive(Parser)]
struct Arguments {
    /// A packed data set, whose training inputs are judged [default: planted data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Without --data: how many inputs are made.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    inputs: u64,
    /// What a row costs on a device, optimizer state included.
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    row_bytes: u64,
    /// Budget at which sampling rates are compared, in bytes or as a share of all rows.
    #[arg(long, value_name = "SIZE", default_value = "20%")]
    budget: Budget,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "out/paper_hot_inputs")]
    out: PathBuf,
}

fn main() -> ExitCode {
    exit_on_error(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = match &arguments.data {
        Some(path) => PackedDataset::open(path)?,
        None => {
            let planted = Planted::new(PlantedOptions {
                samples: arguments.inputs,
                ..PlantedOptions::default()
            })?;
            let rows = SplitRows {
                train: arguments.inputs,
                ..SplitRows::default()
            };
            let out = folder.path().join("planted");
            write_packed(&planted, planted.options(), rows, &out, false, &())?
        }
    };
    let train = data.split(Split::Train);
    let options = SelectOptions {
        bytes_per_row: vec![arguments.row_bytes; data.schema().tables.len()],
        ..SelectOptions::default()
    };
    let mut progress = |what: &str| note!("{what}");
    let mut selector = Selector::new(&train, &options)?;
    let budget = arguments.budget.bytes(selector.all_bytes());
    let budgets = BudgetSweep::new(&mut selector, &BudgetSweep::SHARES, &mut progress)?;
    let rates = EstimateSweep::RATES;
    let estimates = EstimateSweep::new(&train, &options, budget, &rates, &mut progress)?;
    let report = Report {
        dataset: data.manifest().provenance.dataset.clone(),
        budgets: Some(budgets),
        estimates: Some(estimates),
        ..Report::default()
    };
    report.save(&arguments.out)?;
    save_charts(&report, &arguments.out)?;
    say!("{report}\nresults in {}", arguments.out.display());
    Ok(())
}
