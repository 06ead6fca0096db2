//! What is in a packed data set, for people.
//!
//! 1. Open it: the manifest says what it was made of and how.
//! 2. Look at a bounded sample of its blocks, and at its vocabularies.
//! 3. Print splits, dense features, tables with their skew, and some samples in the form of the raw
//!    data.

mod print;
mod samples;
mod wrap;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use recsys_data::Split;
use recsys_data::inspect::Inspect;
use recsys_data::packed::PackedDataset;
use serde_json::json;

use crate::process::write_json;

/// Show what is in a packed data set: where it came from, its columns and tables, how skewed they
/// are, and its first samples decoded.
///
/// This takes moments whatever the size: statistics of columns are those of a sample (whole blocks
/// of 512, evenly spread over the split), counts of categories come from the vocabularies, which
/// hold them for all raw data. Where a data set has no vocabularies, or those of another one, its
/// tables are counted over the sample, and the output says so.
///
/// The sketch of a table shows where its lookups go: its rows from the most frequent to the rarest
/// one, cut into ten parts that grow by a constant factor. Bars that fall mean that few rows serve
/// most lookups; bars that rise, that all rows are alike.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Folder of a packed data set.
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// How many samples to decode.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(..=10_000))]
    rows: u64,
    /// Split that columns and samples are shown of [default: the first one that has samples].
    #[arg(long, value_enum)]
    split: Option<Part>,
    /// About how many samples of the split to take statistics over.
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u64).range(..=16_777_216))]
    sample: u64,
    /// Write all of it as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    Train,
    Validation,
    Test,
}

const EXAMPLES: &str = "\
Examples:
  What did the preparation make of my data?
    fae inspect kaggle

  The first ten test samples, as the raw text has them:
    fae inspect kaggle --split test --rows 10

Exit codes: 0 done; 2 bad usage, or a folder that holds no sound packed data set (`verify` lists every defect).";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let data = PackedDataset::open(&arguments.data)?;
    let mut inspect = Inspect::new(&data)
        .with_rows(arguments.rows)
        .with_sample(arguments.sample);
    if let Some(split) = arguments.split {
        inspect = inspect.with_split(match split {
            Part::Train => Split::Train,
            Part::Validation => Split::Validation,
            Part::Test => Split::Test,
        });
    }
    let inspection = inspect.run()?;
    if let Some(path) = &arguments.json {
        let mut value = serde_json::to_value(&inspection)?;
        value["version"] = json!(env!("CARGO_PKG_VERSION"));
        write_json(path, &value)?;
    }
    print::print(&arguments.data, &inspection);
    Ok(())
}
