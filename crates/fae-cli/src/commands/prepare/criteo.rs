//! Criteo Kaggle's text to a packed data set.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use recsys_data::criteo::{PrepareCriteo, PrepareOptions, PrepareReport, Randomize, SplitRule};
use recsys_data::progress::Progress;
use serde_json::json;

use super::common::{
    Ids, OnBadRow, RankArguments, in_order, print_categories, print_files, print_passes,
    print_skipped, print_splits,
};
use super::output::{OutputArguments, print_rate, print_sizes};

/// Criteo Kaggle: lines of 40 fields separated by TAB.
///
/// Every line holds a label (0 or 1), 13 integers and 26 categories in hexadecimal, separated by
/// TAB; an empty field is a missing value. Integers become ln(max(x, 0) + 1), missing ones 0;
/// categories become ids.
///
/// The files are read twice: the first pass counts categories, the second writes samples. The
/// result appears under its name when it is complete, and has the same bytes whatever --threads
/// says.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CriteoArguments {
    /// Raw files: text, plain or compressed (gzip, Zstandard, bzip2, or a .zip that holds one
    /// file); several are read as if they were one, numbered ones by their numbers, others in this
    /// order.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    raw: Vec<PathBuf>,
    /// How categories become ids.
    #[arg(long, value_enum, default_value_t = Ids::Rank)]
    ids: Ids,
    #[command(flatten)]
    rank_on: RankArguments,
    /// Take every category modulo N before anything is counted, which bounds the tables at N rows
    /// each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_ind_range: Option<u64>,
    /// Categories that occur less than N times share one id in their table.
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_count: u64,
    /// What to do with a line that is no row: stop there and name it, or skip, count and report
    /// such lines.
    #[arg(long, value_enum, default_value_t = OnBadRow::Error)]
    bad_rows: OnBadRow,
    /// Which rows train, validate and test.
    #[arg(long, value_enum, default_value_t = Split::TimeOrdered)]
    split: Split,
    /// With --split reference: which training rows change places, once and for all [default:
    /// total].
    #[arg(long, value_enum)]
    randomize: Option<Order>,
    /// With --split reference: seed of the shuffle, which is that of numpy.random.RandomState
    /// [default: 123].
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    #[command(flatten)]
    output: OutputArguments,
}

const EXAMPLES: &str = "\
Examples:
  The usual way, ids by frequency, the last seventh of the rows for validation and test:
    fae prepare criteo-kaggle --raw train.txt --out kaggle

  A compressed file with damaged lines, tables of at most a million rows:
    fae prepare criteo-kaggle --raw train.txt.gz --out kaggle --bad-rows skip --max-ind-range 1000000

  The numbers and the order of the original programs:
    fae prepare criteo-kaggle --raw train.txt --out kaggle --ids reference --split reference --randomize total --seed 123

Exit codes: 0 done; 2 bad usage or bad input, nothing is left behind.";

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Split {
    /// First 6/7 of the rows train, first half of the rest validates, second half tests
    TimeOrdered,
    /// As the original programs: the same cuts, but the first half of the rest tests, and training
    /// rows are shuffled
    Reference,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    /// File order
    None,
    /// Within each of the six days
    Day,
    /// All training rows
    Total,
}

pub(super) fn criteo(arguments: &CriteoArguments) -> Result<()> {
    let preparation = PrepareCriteo::new(options(arguments)?);
    let work = |progress: &dyn Progress| preparation.run(progress);
    arguments.output.run.run(work, print, |report| {
        json!({
            "click_rate": report.click_rate(),
            "rows_per_second": report.rows_per_second(),
        })
    })
}

fn options(arguments: &CriteoArguments) -> Result<PrepareOptions> {
    let split = match arguments.split {
        Split::TimeOrdered if arguments.randomize.is_some() || arguments.seed.is_some() => {
            bail!(
                "--randomize and --seed shuffle training rows under --split reference only; add that option"
            );
        }
        Split::TimeOrdered => SplitRule::TimeOrdered,
        Split::Reference => SplitRule::ReferenceDays {
            randomize: match arguments.randomize {
                Some(Order::None) => Randomize::None,
                Some(Order::Day) => Randomize::Day,
                Some(Order::Total) | None => Randomize::Total,
            },
            seed: arguments.seed.unwrap_or(123),
        },
    };
    Ok(PrepareOptions {
        raw: in_order(&arguments.raw),
        out: arguments.output.out.clone(),
        ids: arguments.ids.into(),
        rank_on: arguments.rank_on.into(),
        max_ind_range: arguments.max_ind_range,
        min_count: arguments.min_count,
        bad_rows: arguments.bad_rows.into(),
        split,
        force: arguments.output.force,
        shard_rows: arguments.output.shard_rows,
    })
}

fn print(report: &PrepareReport) {
    print_files(&report.sources);
    say!("{:<14} {:>14}", "rows", report.rows);
    say!("{:<14} {:>14.4}", "click rate", report.click_rate());
    print_splits(&report.splits);
    print_categories(&report.categories);
    print_passes(&report.passes, "rows", "rows");
    print_rate(report.seconds, report.rows_per_second(), "rows");
    let raw = report.sources.iter().map(|source| source.bytes).sum();
    print_sizes("raw files", raw, report.packed_bytes);
    print_skipped(&report.skipped);
}
