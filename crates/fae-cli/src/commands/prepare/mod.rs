//! Preprocessing: raw logs, and data of other programs, to packed data sets.
//!
//! 1. Say which raw files are read, how categories become ids and how the rows are split.
//! 2. Pass one counts categories, pass two writes samples, both with a progress bar.
//! 3. Print what was found: rows, click rate, categories per table, time, rows per second, peak memory.

mod criteo;
mod foreign;
mod output;
mod taobao;
mod taobao_import;
mod terabyte;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use recsys_data::criteo::{Numbering, PassReport, SplitReport};
use recsys_data::text::{BadRows, SkippedRows};

use criteo::{CriteoArguments, criteo};
pub(crate) use foreign::Dense;
use foreign::{MlPerfArguments, NpzArguments, PackedArguments, TableArguments, TorchRecArguments};
pub(crate) use output::{OutputArguments, RunArguments};
use output::{print_rate, print_sizes};
use taobao::{TaobaoArguments, taobao};
use taobao_import::{ImportArguments, import};
use terabyte::{TerabyteArguments, terabyte};

/// Turn raw logs into a packed data set that training reads.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    dataset: Dataset,
}

#[derive(Subcommand)]
enum Dataset {
    // What they say about themselves stands at their arguments.
    CriteoKaggle(CriteoArguments),
    CriteoTerabyte(TerabyteArguments),
    Taobao(TaobaoArguments),
    Table(TableArguments),
    Packed(PackedArguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.dataset {
        Dataset::CriteoKaggle(arguments) => criteo(arguments),
        Dataset::CriteoTerabyte(arguments) => terabyte(arguments),
        Dataset::Taobao(arguments) => taobao(arguments),
        Dataset::Table(arguments) => foreign::table(arguments),
        Dataset::Packed(arguments) => foreign::packed(arguments),
    }
}

/// Turn what other programs prepared into a packed data set.
#[derive(Args)]
pub(crate) struct Import {
    #[command(subcommand)]
    format: Format,
}

#[derive(Subcommand)]
enum Format {
    // As above.
    Npz(NpzArguments),
    Mlperf(MlPerfArguments),
    Torchrec(TorchRecArguments),
    Taobao(ImportArguments),
}

pub(crate) fn run_import(arguments: &Import) -> Result<()> {
    match &arguments.format {
        Format::Npz(arguments) => foreign::npz(arguments),
        Format::Mlperf(arguments) => foreign::mlperf(arguments),
        Format::Torchrec(arguments) => foreign::torchrec(arguments),
        Format::Taobao(arguments) => import(arguments),
    }
}

/// What becomes of lines that are no rows.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OnBadRow {
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

/// How the categories of click logs become ids.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Ids {
    /// By frequency over all rows, 0 the most frequent; a missing value is a category of its own
    Rank,
    /// As the original programs: in order of first appearance; a missing value is category 0
    Reference,
}

impl From<Ids> for Numbering {
    fn from(ids: Ids) -> Self {
        match ids {
            Ids::Rank => Self::Rank,
            Ids::Reference => Self::Reference,
        }
    }
}

/// Prints how many categories there are, in all and table by table.
pub(crate) fn print_categories(categories: &[u64]) {
    let all: u64 = categories.iter().sum();
    println!("{:<14} {all:>14}", "categories");
    for (first, tables) in (1..).step_by(6).zip(categories.chunks(6)) {
        let counts: Vec<String> = tables.iter().map(|count| format!("{count:>10}")).collect();
        println!("  C{first:<2}… {}", counts.join(" "));
    }
}

/// Prints how many lines were left out, and the first one of every kind.
pub(crate) fn print_skipped(skipped: &[SkippedRows]) {
    let lines: u64 = skipped.iter().map(|kind| kind.rows).sum();
    println!("{:<14} {lines:>14}", "skipped lines");
    for kind in skipped {
        println!(
            "  {} × {}, first in {}, line {}: {}",
            kind.rows, kind.kind, kind.file, kind.line, kind.example
        );
    }
}

/// Prints the rows of every split.
pub(crate) fn print_splits(splits: &[SplitReport]) {
    for split in splits {
        println!(
            "{:<14} {:>14}   {} positive",
            split.split.name(),
            split.rows,
            split.clicks
        );
    }
}

/// Prints the time of every pass; rates are of `last` in the last one and of `first` before.
pub(crate) fn print_passes(passes: &[PassReport], first: &str, last: &str) {
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
