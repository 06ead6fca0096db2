//! New raw rows by the vocabulary of a data set that was prepared before.
//!
//! 1. Read the vocabulary and the options of that data set.
//! 2. Count the new rows, then write them as a packed data set with the same tables, both with a
//!    progress bar.
//! 3. Say how many categories the vocabulary did not have, table by table.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use recsys_data::Split;
use recsys_data::criteo::{EncodeCriteo, EncodeOptions, EncodeReport, Unseen};
use recsys_data::progress::Progress;
use serde_json::json;

use super::prepare::{OnBadRow, OutputArguments, in_order, print_files, print_skipped};
use crate::numbers::grouped;
use crate::text::bytes;

/// Turn new raw rows into a packed data set in the ids of one that was prepared before.
///
/// A model that was trained on the first data set takes the second one: its tables have the same
/// rows, and every category has the same id. Use it for tomorrow's day, or to score rows that came
/// after training.
///
/// Behaviour sequences cannot be encoded so: a sample needs a user's whole history, and negative
/// candidates are drawn from all items. Prepare old and new events together with `fae prepare
/// taobao --split time` instead.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    rows: Rows,
}

#[derive(Subcommand)]
enum Rows {
    // What it says about itself stands at its arguments.
    Criteo(CriteoArguments),
}

/// Criteo: lines of 40 fields separated by TAB, as `fae prepare criteo-kaggle` takes them, or of 39
/// without a label.
///
/// Fields may also be separated by commas, the number of the sample (Id) may stand in front, and a
/// header may name the columns: the first line of a file tells. Rows without labels become a data
/// set that says so; `fae evaluate --predictions` writes what a model predicts for them.
///
/// How ids are numbered, --max-ind-range and --bad-rows are those of the first data set. Rows keep
/// their order, and all go to one split. In a data set that was prepared with --min-count, rare
/// categories count as unseen: the vocabulary holds them as `other` only.
///
/// The files are read twice. The result appears under its name when it is complete, and has the
/// same bytes whatever --threads says.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
struct CriteoArguments {
    /// Raw files: text, plain or compressed (gzip, Zstandard, bzip2, or a .zip that holds one
    /// file); several are read as if they were one, numbered ones by their numbers, others in this
    /// order.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    raw: Vec<PathBuf>,
    /// Folder of the packed data set whose vocabulary is used.
    #[arg(long, value_name = "DIR")]
    vocabulary: PathBuf,
    /// What becomes of categories that the vocabulary does not have.
    #[arg(long, value_enum, default_value_t = OnUnseen::Unknown)]
    unseen: OnUnseen,
    /// The split that gets all rows.
    #[arg(long, value_enum, default_value_t = Part::Test)]
    split: Part,
    /// What to do with a line that is no row [default: what the first data set's preparation did].
    #[arg(long, value_enum)]
    bad_rows: Option<OnBadRow>,
    #[command(flatten)]
    output: OutputArguments,
}

const EXAMPLES: &str = "\
Examples:
  Tomorrow's day in the ids of the model, unseen categories in the row of rare or missing ones:
    fae encode criteo --raw day_24.gz --vocabulary terabyte --out day_24

  Kaggle's test rows, which have no labels, and what a model says of them:
    fae encode criteo --raw test.txt --vocabulary kaggle --out test
    fae evaluate --data test --checkpoint checkpoints --predictions predictions.txt

  Tables without such a row: unseen categories share rows by their hash:
    fae encode criteo --raw new.txt --vocabulary kaggle --out new --unseen hash

Exit codes: 0 done; 2 bad usage or bad input, nothing is left behind.";

#[derive(Clone, Copy, ValueEnum)]
enum OnUnseen {
    /// They get the id of rare categories, else that of missing ones; a table with neither is an
    /// error
    Unknown,
    /// They get the row that is xxh3 of the category modulo the table's rows
    Hash,
    /// Stop at the first one and name it
    Error,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    Train,
    Validation,
    Test,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.rows {
        Rows::Criteo(arguments) => criteo(arguments),
    }
}

fn criteo(arguments: &CriteoArguments) -> Result<()> {
    let encoding = EncodeCriteo::new(EncodeOptions {
        raw: in_order(&arguments.raw),
        vocabulary: arguments.vocabulary.clone(),
        out: arguments.output.out.clone(),
        split: match arguments.split {
            Part::Train => Split::Train,
            Part::Validation => Split::Validation,
            Part::Test => Split::Test,
        },
        unseen: match arguments.unseen {
            OnUnseen::Unknown => Unseen::Unknown,
            OnUnseen::Hash => Unseen::Hash,
            OnUnseen::Error => Unseen::Error,
        },
        bad_rows: arguments.bad_rows.map(Into::into),
        force: arguments.output.force,
        shard_rows: arguments.output.shard_rows,
    });
    let work = |progress: &dyn Progress| encoding.run(progress);
    arguments.output.run.run(work, print, |report| {
        json!({
            "unseen_share": report.unseen_share(),
            "rows_per_second": report.rows_per_second(),
        })
    })
}

fn print(report: &EncodeReport) {
    print_files(&report.sources);
    say!(
        "{:<14} {:>14}   all in {}",
        "rows",
        grouped(report.rows),
        report.split
    );
    match report.labels {
        true => say!(
            "{:<14} {:>14}   {:.2}%",
            "positive",
            grouped(report.clicks),
            100.0 * report.clicks as f64 / report.rows as f64
        ),
        false => say!("{:<14} {:>14}", "labels", "none"),
    }
    say!(
        "{:<14} {:>13.2}%   of all lookups",
        "unseen",
        100.0 * report.unseen_share()
    );
    for tables in report.unseen.chunks(8) {
        let shares = tables
            .iter()
            .map(|table| format!("{:>4} {:>6.2}%", table.table, 100.0 * table.share));
        say!("  {}", shares.collect::<Vec<_>>().join(" "));
    }
    say!(
        "{:<14} {:>12.1} s   {} rows/s",
        "in all",
        report.seconds,
        grouped(report.rows_per_second() as u64)
    );
    say!("{:<14} {:>14}", "packed", bytes(report.packed_bytes));
    print_skipped(&report.skipped);
}
