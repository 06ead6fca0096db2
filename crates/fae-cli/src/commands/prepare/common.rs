//! What preparations have in common: choices, the order of files, and their reports as text.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use recsys_data::RankOn;
use recsys_data::criteo::{Numbering, PassReport, SplitReport};
use recsys_data::packed::SourceFile;
use recsys_data::text::{BadRows, SkippedRows, by_number};

/// What becomes of lines that are not rows.
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
    /// By frequency (see --rank-on), 0 the most frequent; a missing value is a category of its own
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

/// Files in the order in which they are read: that of their numbers, with a warning where they were
/// given in another one.
pub(crate) fn in_order(files: &[PathBuf]) -> Vec<PathBuf> {
    let Some(sorted) = by_number(files) else {
        return files.to_vec();
    };
    let names = |files: &[PathBuf]| {
        let names = files.iter().map(|path| path.display().to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    note!(
        "warning: numbered files are read in the order of their numbers: {}; given was: {}",
        names(&sorted),
        names(files)
    );
    sorted
}

/// Prints the raw files in the order in which they were read, where there are several.
pub(crate) fn print_files(files: &[SourceFile]) {
    if files.len() > 1 {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        say!(
            "{:<14} {:>14}   in the order {}",
            "files",
            files.len(),
            names.join(" ")
        );
    }
}

/// Over which samples ids are ranked.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct RankArguments {
    /// Over which samples the frequency of ids is counted. Hot rows are the first ones of every
    /// table: ranked on the training samples, they are the most frequent rows of training.
    #[arg(long, value_enum, default_value_t = RankSamples::Train)]
    rank_on: RankSamples,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RankSamples {
    /// Those that train; categories that occur elsewhere alone come last
    Train,
    /// Those of every split
    All,
}

impl From<RankArguments> for RankOn {
    fn from(arguments: RankArguments) -> Self {
        match arguments.rank_on {
            RankSamples::Train => Self::Train,
            RankSamples::All => Self::All,
        }
    }
}

/// Prints how many categories there are, in all and table by table.
pub(crate) fn print_categories(categories: &[u64]) {
    let all: u64 = categories.iter().sum();
    say!("{:<14} {all:>14}", "categories");
    for (first, tables) in (1..).step_by(6).zip(categories.chunks(6)) {
        let counts: Vec<String> = tables.iter().map(|count| format!("{count:>10}")).collect();
        say!("  C{first:<2}… {}", counts.join(" "));
    }
}

/// Prints how many lines were left out, and the first one of every kind.
pub(crate) fn print_skipped(skipped: &[SkippedRows]) {
    let lines: u64 = skipped.iter().map(|kind| kind.rows).sum();
    say!("{:<14} {lines:>14}", "skipped lines");
    for kind in skipped {
        say!(
            "  {} × {}, first in {}, line {}: {}",
            kind.rows,
            kind.kind,
            kind.file,
            kind.line,
            kind.example
        );
    }
}

/// Prints the rows of every split.
pub(crate) fn print_splits(splits: &[SplitReport]) {
    for split in splits {
        say!(
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
        say!(
            "{:<14} {:>12.1} s   {:.0} {what}/s",
            pass.stage.name(),
            pass.seconds,
            pass.rows_per_second
        );
    }
}
