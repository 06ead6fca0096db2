//! `fae prepare criteo-terabyte`: click logs by days to a packed data set.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use recsys_data::criteo::{DayReport, DaySplit, PrepareTerabyte, TerabyteOptions, TerabyteReport};
use recsys_data::progress::Progress;
use serde_json::json;

use super::common::{
    Ids, OnBadRow, RankArguments, in_order, print_categories, print_passes, print_skipped,
    print_splits,
};
use super::output::{OutputArguments, print_rate, print_sizes};
use fae_run::Budget;

/// Criteo Terabyte: one file a day, lines of 40 fields separated by TAB, tables of any size in
/// bounded memory.
///
/// Lines are those of criteo-kaggle. All days but the last train; the first half of the last one
/// validates, the second tests.
///
/// Text is read once, several files at a time. Columns, counts and finished shards lie in the
/// folder .NAME.work beside --out until the data set is complete. After a kill or an error the same
/// command continues there: days, tables and shards that are complete are not done again. --memory
/// and --threads may be others then; they change no byte of the output. Other options need
/// --restart.
///
/// Disk: 164 bytes a row for columns, 160 for the data set, and about 16 for counts. Columns are
/// removed while the data set is written, so that the peak is little more than one of the two.
/// Where the dictionaries do not fit --memory (11 bytes for each distinct category), ids take up to
/// 104 bytes a row more. What is needed is estimated from the front of every file, printed, and
/// compared with what is free before anything is written, and again before the data set is written.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct TerabyteArguments {
    /// Raw files, one a day, two at least: text, plain or compressed (gzip, Zstandard, bzip2,
    /// or a .zip that holds one file). Numbered days are read by their numbers, so that the shell's
    /// `day_*` will do; others in this order, which must be that of time.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    raw: Vec<PathBuf>,
    /// How categories become ids.
    #[arg(long, value_enum, default_value_t = Ids::Rank)]
    ids: Ids,
    #[command(flatten)]
    rank_on: RankArguments,
    /// Take every category modulo N before anything is counted, which bounds the tables at N rows
    /// each [default: no modulus].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_ind_range: Option<u64>,
    /// Categories that occur less than N times share one id in their table.
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_count: u64,
    /// Leave out this share of the rows without a click, of every day, the last one too.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    sub_sample: f64,
    /// Seed of the choice of those rows.
    #[arg(long, value_name = "N", default_value_t = 0)]
    sub_sample_seed: u64,
    /// What to do with a line that is no row: stop there and name it, or skip, count and report
    /// such lines.
    #[arg(long, value_enum, default_value_t = OnBadRow::Error)]
    bad_rows: OnBadRow,
    /// Which half of the last day validates and which tests.
    #[arg(long, value_enum, default_value_t = Split::TimeOrdered)]
    split: Split,
    /// Memory to work in, such as 512MiB, 256MiB at least; changes no byte of the output.
    #[arg(long, value_name = "BYTES", default_value = "4GiB", value_parser = memory)]
    memory: u64,
    /// Discard an interrupted preparation for the same output folder instead of continuing it.
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    output: OutputArguments,
}

const EXAMPLES: &str = "\
Examples:
  All rows and categories, ids by frequency, in 16 GiB of memory:
    fae prepare criteo-terabyte --raw day_{0..23}.gz --out terabyte --memory 16GiB

  What the original programs keep: one of eight rows without a click, hashes modulo 100 million:
    fae prepare criteo-terabyte --raw day_{0..23}.gz --out terabyte --sub-sample 0.875 --max-ind-range 100000000

  Its order of ids and its halves of the last day, too:
    fae prepare criteo-terabyte --raw day_{0..23}.gz --out terabyte --sub-sample 0.875 --max-ind-range 100000000 \\
      --ids reference --split reference

Exit codes: 0 done; 2 bad usage, bad input or a full disk, the folder .NAME.work is left to continue from if a day was complete.";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Split {
    /// The first half validates, the second tests
    TimeOrdered,
    /// As the original programs: the first half tests, the second validates
    Reference,
}

fn memory(text: &str) -> Result<u64> {
    match text.parse::<Budget>()? {
        Budget::Bytes(bytes) => Ok(bytes),
        Budget::Share(_) => bail!("give bytes, such as 512MiB or 16GiB"),
    }
}

/// Prepares days as the arguments say, and prints the report.
///
/// # Errors
/// What the preparation answers.
pub(crate) fn terabyte(arguments: &TerabyteArguments) -> Result<()> {
    let preparation = PrepareTerabyte::new(options(arguments));
    let work = |progress: &dyn Progress| preparation.run(progress);
    arguments.output.run.run(work, print, |report| {
        json!({
            "click_rate": report.click_rate(),
            "rows_per_second": report.rows_per_second(),
            "memory": arguments.memory,
        })
    })
}

fn options(arguments: &TerabyteArguments) -> TerabyteOptions {
    TerabyteOptions {
        raw: in_order(&arguments.raw),
        out: arguments.output.out.clone(),
        ids: arguments.ids.into(),
        rank_on: arguments.rank_on.into(),
        max_ind_range: arguments.max_ind_range,
        min_count: arguments.min_count,
        sub_sample: arguments.sub_sample,
        sub_sample_seed: arguments.sub_sample_seed,
        bad_rows: arguments.bad_rows.into(),
        split: match arguments.split {
            Split::TimeOrdered => DaySplit::TimeOrdered,
            Split::Reference => DaySplit::Reference,
        },
        shard_rows: arguments.output.shard_rows,
        memory: arguments.memory,
        force: arguments.output.force,
        restart: arguments.restart,
    }
}

fn print(report: &TerabyteReport) {
    let count = |name: &str, count: u64| say!("{name:<14} {count:>14}");
    let names = |days: &[DayReport]| {
        let names = days.iter().map(|day| day.source.name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    if let [train @ .., last] = &report.days[..] {
        say!(
            "{:<14} {:>14}   {} train, {} validates and tests",
            "days",
            report.days.len(),
            names(train),
            last.source.name
        );
    }
    count("rows", report.rows);
    count("left out", report.dropped);
    say!("{:<14} {:>14.4}", "click rate", report.click_rate());
    print_splits(&report.splits);
    print_categories(&report.categories);
    print_passes(&report.passes, "rows", "rows");
    print_rate(report.seconds, report.rows_per_second(), "rows");
    say!(
        "{} runs of counts, {} passes over the columns to encode them",
        report.count_runs,
        report.encode_passes
    );
    let resumed = &report.resumed;
    if *resumed != Default::default() {
        say!(
            "continued after {} days parsed, {} tables counted, {} shards written",
            resumed.days,
            resumed.tables,
            resumed.shards
        );
    }
    let raw = report.days.iter().map(|day| day.source.bytes).sum();
    print_sizes("raw files", raw, report.packed_bytes);
    print_skipped(&report.skipped);
}
