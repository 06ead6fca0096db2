//! The paper's first observation: few rows serve most lookups.
//!
//! 1. Open a packed data set, or make planted data.
//! 2. Count the accesses of every row.
//! 3. Print and draw, per table and for all together, the share of accesses that the most frequent
//!    rows serve.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fae_cli::charts::save_charts;
use fae_cli::process::exit_on_error;
use fae_cli::say;
use fae_profiler::{AccessCounts, AccessSkew, CountOptions, Report};
use recsys_data::generate::{Planted, PlantedOptions, write_packed};
use recsys_data::packed::PackedDataset;
use recsys_data::{Split, SplitRows};

/// Draw how skewed the accesses to embedding rows are. No arguments needed.
///
/// Writes access_skew.csv, access_skew.svg and report.json.
#[derive(Parser)]
struct Arguments {
    /// A packed data set, whose training inputs are counted [default: planted data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Without --data: how many inputs are made.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    inputs: u64,
    /// Share of the inputs that is counted, more than 0 and at most 1.
    #[arg(long, value_name = "RATE", default_value_t = 1.0)]
    sample: f64,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "out/paper_access_skew")]
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
    let count = CountOptions {
        sample: arguments.sample,
        ..CountOptions::default()
    };
    let counts = AccessCounts::count(&data.split(Split::Train), &count)?;
    let report = Report {
        dataset: data.manifest().provenance.dataset.clone(),
        skew: Some(AccessSkew::new(data.schema(), &counts)),
        ..Report::default()
    };
    report.save(&arguments.out)?;
    save_charts(&report, &arguments.out)?;
    say!("{report}\nresults in {}", arguments.out.display());
    Ok(())
}
