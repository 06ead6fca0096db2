//! The paper's first observation: few rows serve most lookups.
//!
//! 1. Open a packed data set, or make planted data.
//! 2. Count the accesses of every row.
//! 3. Print and draw, per table and for all together, the share of accesses that the most frequent rows serve.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use examples::process::exit_on_error;
use examples::profiling::{RowArguments, SourceArguments};
use examples::training::bytes;
use fae_profiler::{AccessCounts, AccessSkew, CountOptions, Report};
use recsys_data::Split;

/// Draw how skewed the accesses to embedding rows are. No arguments needed.
///
/// Writes access_skew.csv, access_skew.svg and report.json.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release --example paper_access_skew
  cargo run --release --example paper_access_skew -- --data kaggle --out out/kaggle_skew
  cargo run --release --example paper_access_skew -- --data terabyte --preset criteo-terabyte"
)]
struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// Share of the inputs that is counted, more than 0 and at most 1.
    #[arg(long, value_name = "RATE", default_value_t = 1.0)]
    sample: f64,
    /// What a row costs, to say how much memory the most frequent ones take.
    #[command(flatten)]
    rows: RowArguments,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "out/paper_access_skew")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit_on_error(arguments.source.on_threads(|| run(&arguments)))
}

fn run(arguments: &Arguments) -> Result<()> {
    let row = arguments.rows.bytes_per_row()?;
    let source = arguments.source.open()?;
    let count = CountOptions {
        sample: arguments.sample,
        seed: arguments.source.seed,
    };
    let counts = AccessCounts::count(&source.data.split(Split::Train), &count)?;
    let skew = AccessSkew::new(source.data.schema(), &counts);
    let top = |share: f64| bytes((skew.all.rows as f64 * share).ceil() as u64 * row);
    let memory = format!(
        "at {row} bytes a row, the top 0.1% of all rows take {}, 1% {}, 5% {}, 10% {}, all {}",
        top(0.001),
        top(0.01),
        top(0.05),
        top(0.1),
        top(1.0)
    );
    let report = Report {
        dataset: source.name,
        skew: Some(skew),
        ..Report::default()
    };
    report.save(&arguments.out)?;
    report.save_charts(&arguments.out)?;
    println!("{report}{memory}\n\nresults in {}", arguments.out.display());
    Ok(())
}
