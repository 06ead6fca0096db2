//! A packed data set in the formats of other programs.
//!
//! 1. Say which data set is written, in which format, and what its dense values are there.
//! 2. Write all splits, with a progress bar.
//! 3. Print the files with their sizes.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use recsys_data::exchange::{
    DenseValues, ExportForeign, ExportFormat, ExportOptions, ExportReport,
};
use recsys_data::progress::Progress;
use serde_json::Value;

use super::prepare::{Dense, RunArguments};
use crate::text::{bytes, print_peak_memory};

/// Write a packed data set in the format of another program.
///
/// Ids stay as they are. With --dense log the integers x are written of which the data set holds
/// ln(x + 1); a value that is no such logarithm is an error. With --dense as-is the data set's own
/// numbers are written.
///
/// The folder appears under its name when it is complete. `fae import` (npz, mlperf, torchrec) and
/// `fae prepare table` read it again.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[arg(value_enum)]
    format: Format,
    /// Folder of the packed data set.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder of the files; it must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What dense values are in the files [default: log for npz and mlperf, as-is for torchrec and
    /// parquet].
    #[arg(long, value_enum)]
    dense: Option<Dense>,
    #[command(flatten)]
    run: RunArguments,
}

const EXAMPLES: &str = "\
Examples:
  For the original programs:
    fae export npz --data kaggle --out kaggle-npz

  Columns with names, the raw integers as dense values:
    fae export parquet --data kaggle --out kaggle-parquet --dense log

Exit codes: 0 done; 2 bad usage, or data that the format cannot hold; nothing is left behind.";

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// X_int, X_cat, y and counts: train.npz, validation.npz, test.npz, day_fea_count.npz
    Npz,
    /// int32 label, 13 dense, 26 ids: terabyte_processed_train.bin, _val.bin, _test.bin,
    /// day_fea_count.npz
    Mlperf,
    /// train_dense.npy, train_sparse.npy, train_labels.npy, and so on
    Torchrec,
    /// train.parquet and so on, with mapping.toml for `fae prepare table`; also multi-hot data
    Parquet,
}

impl From<Format> for ExportFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Npz => Self::Npz,
            Format::Mlperf => Self::MlPerf,
            Format::Torchrec => Self::TorchRec,
            Format::Parquet => Self::Parquet,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let format = ExportFormat::from(arguments.format);
    let dense = arguments.dense.map(DenseValues::from);
    let export = ExportForeign::new(ExportOptions {
        data: arguments.data.clone(),
        out: arguments.out.clone(),
        format,
        dense: dense.unwrap_or(format.usual_dense()),
    });
    let work = |progress: &dyn Progress| export.run(progress);
    arguments.run.run(work, print, |_| Value::Null)
}

fn print(report: &ExportReport) {
    for file in &report.files {
        say!("{:<34} {:>14}", file.name, bytes(file.bytes));
    }
    say!("{:<34} {:>14}", "samples", report.rows);
    let rate = report.rows as f64 / report.seconds;
    say!(
        "{:<34} {:>12.1} s   {rate:.0} samples/s",
        "in all",
        report.seconds
    );
    print_peak_memory(34);
}
