//! `fae import taobao`: sequences of the original programs to a packed data set.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use recsys_data::progress::Progress;
use recsys_data::taobao::{ImportOptions, ImportReport, ImportTaobao, SequenceIds};
use serde_json::Value;

use super::common::{RankArguments, print_passes, print_splits};
use super::foreign::Ids;
use super::output::{OutputArguments, print_sizes};

/// Taobao sequences that the original programs prepared: taobao_train.txt, taobao_train_t20.npz and
/// the like.
///
/// Two kinds of files are read. An .npz file (taobao_train_t20.npz, taobao_val_t20.npz,
/// taobao_test_t20.npz) holds samples: X_cat int32 [3, n, 21] with users, items and categories,
/// X_int float64 [1, n, 21], y int32 of n; they are taken as they are, in their order. Any other
/// file is text (taobao_train.txt, taobao_test.txt; plain, .gz, .zst or a .zip of one file): a
/// sequence of 200 events on each line. From the text of --train and --validation windows are drawn
/// as the original does, with --seed; the text of --test gives the end of every sequence, with its
/// label.
///
/// Ids become ranks, 0 the most frequent over all positions of training samples; the vocabulary
/// says which id of the file each rank is. With --ids keep they stay, and weights of the original
/// TBSM can be scored (`fae evaluate --weights`). Item 0 is padding as well as an item in such
/// files, which cannot be mended here; `fae prepare taobao` on the raw events keeps them apart.
///
/// The files are read twice. The result appears under its name when it is complete, and has the
/// same bytes whatever --threads says.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ImportArguments {
    /// Training samples: an .npz file, or text to draw windows from.
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Validation samples; another file than that of training.
    #[arg(long, value_name = "FILE")]
    validation: Option<PathBuf>,
    /// Test samples: an .npz file, or text whose sequences end with a labelled target.
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    #[command(flatten)]
    rank_on: RankArguments,
    /// What becomes of ids.
    #[arg(long, value_enum, default_value_t = Ids::Rank)]
    ids: Ids,
    /// With --ids keep: the rows of the tables of users, items and categories, as the original's
    /// --arch-embedding-size. Text needs it; without it tables are as long as the largest ids say.
    #[arg(long, value_name = "U-I-C", value_parser = table_rows)]
    table_rows: Option<[u64; 3]>,
    /// Text: windows of either sign from a line of at least 41 events; shorter ones give 6, 3, 1 or
    /// none.
    #[arg(long, value_name = "N", default_value_t = ImportOptions::default().points_per_user, value_parser = clap::value_parser!(u32).range(1..))]
    points_per_user: u32,
    /// Text: training lines that are read.
    #[arg(long, value_name = "N", default_value_t = ImportOptions::default().train_lines)]
    train_lines: u64,
    /// Text: validation lines that are read; each gives one window of either sign.
    #[arg(long, value_name = "N", default_value_t = ImportOptions::default().validation_lines)]
    validation_lines: u64,
    /// Text: seed of the windows.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    output: OutputArguments,
}

const EXAMPLES: &str = "\
Examples:
  Samples that the original has windowed already:
    fae import taobao --train output/taobao_train_t20.npz --test output/taobao_test_t20.npz --out taobao

  The same with the original's ids, to score its checkpoint:
    fae import taobao --train output/taobao_train_t20.npz --ids keep --table-rows 987994-4162024-9439 --out kept

  Its sequences, windowed here:
    fae import taobao --train taobao_train.txt --test taobao_test.txt --seed 7 --out taobao

Exit codes: 0 done; 2 bad usage or bad input, nothing is left behind.";

fn table_rows(text: &str) -> Result<[u64; 3]> {
    let rows: Option<Vec<u64>> = text.split('-').map(|part| part.parse().ok()).collect();
    match rows.map(<[u64; 3]>::try_from) {
        Some(Ok(rows)) => Ok(rows),
        _ => bail!("give three numbers, as 987994-4162024-9439"),
    }
}

/// Imports sequences as the arguments say, and prints the report.
///
/// # Errors
/// What the import answers.
pub(crate) fn import(arguments: &ImportArguments) -> Result<()> {
    let ids = match (arguments.ids, arguments.table_rows) {
        (Ids::Keep, rows) => SequenceIds::Keep { rows },
        (Ids::Rank, None) => SequenceIds::Rank,
        (Ids::Rank, Some(_)) => {
            bail!("--table-rows says how long tables of --ids keep are; add that option")
        }
    };
    let import = ImportTaobao::new(ImportOptions {
        ids,
        train: arguments.train.clone(),
        validation: arguments.validation.clone(),
        test: arguments.test.clone(),
        out: arguments.output.out.clone(),
        rank_on: arguments.rank_on.into(),
        points_per_user: arguments.points_per_user,
        train_lines: arguments.train_lines,
        validation_lines: arguments.validation_lines,
        seed: arguments.seed,
        force: arguments.output.force,
        shard_rows: arguments.output.shard_rows,
    });
    let work = |progress: &dyn Progress| import.run(progress);
    arguments.output.run.run(work, print, |_| Value::Null)
}

fn print(report: &ImportReport) {
    for (name, count) in ["users", "items", "categories"]
        .into_iter()
        .zip(report.categories)
    {
        say!("{name:<14} {count:>14}");
    }
    print_splits(&report.splits);
    print_passes(&report.passes, "samples", "samples");
    let files = report.sources.iter().map(|source| source.bytes).sum();
    print_sizes("files", files, report.packed_bytes);
}
