//! The parts of the `prepare` program that are about behaviour sequences, click logs by days, and data sets of other programs.

pub mod foreign;
mod import;
mod taobao;
mod terabyte;

use clap::ValueEnum;
use recsys_data::{BadRows, PassReport, SkippedRows, SplitReport};

pub use foreign::Dense;
pub use import::{ImportArguments, import};
pub use taobao::{TaobaoArguments, taobao};
pub use terabyte::{TerabyteArguments, terabyte};

/// What becomes of lines that are no rows.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OnBadRow {
    /// Stop at the first one
    Error,
    /// Leave them out, count and report them
    Skip,
}

impl From<OnBadRow> for BadRows {
    fn from(policy: OnBadRow) -> Self {
        match policy {
            OnBadRow::Error => Self::Error,
            OnBadRow::Skip => Self::Skip,
        }
    }
}

/// Prints how many lines were left out, and the first one of every kind.
pub fn print_skipped(skipped: &[SkippedRows]) {
    let lines: u64 = skipped.iter().map(|kind| kind.rows).sum();
    println!("{:<14} {lines:>14}", "skipped lines");
    for kind in skipped {
        println!(
            "  {} × {}, first in {}, line {}: {}",
            kind.rows, kind.kind, kind.file, kind.line, kind.example
        );
    }
}

fn print_splits(splits: &[SplitReport]) {
    for split in splits {
        println!(
            "{:<14} {:>14}   {} positive",
            split.split.name(),
            split.rows,
            split.clicks
        );
    }
}

fn print_passes(passes: &[PassReport], first: &str, last: &str) {
    for (place, pass) in passes.iter().enumerate() {
        let what = if place + 1 == passes.len() {
            last
        } else {
            first
        };
        println!(
            "{:<14} {:>12.1} s   {:.0} {what}/s",
            pass.stage.name(),
            pass.seconds,
            pass.rows_per_second
        );
    }
}
