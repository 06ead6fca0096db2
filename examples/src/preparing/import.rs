//! `prepare taobao-import`: sequences of the original programs to a packed data set.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use recsys_data::{ImportOptions, ImportReport, ImportTaobao};
use serde_json::json;

use super::{print_passes, print_splits};
use crate::process::peak_memory_bytes;
use crate::progress::Bars;
use crate::training::{bytes, write_json};

/// Taobao sequences that the original programs prepared: taobao_train.txt, taobao_train_t20.npz and the like.
///
/// Two kinds of files are read. An .npz file (taobao_train_t20.npz, taobao_val_t20.npz, taobao_test_t20.npz) holds samples: X_cat
/// int32 [3, n, 21] with users, items and categories, X_int float64 [1, n, 21], y int32 of n; they are taken as they are, in their
/// order. Any other file is text (taobao_train.txt, taobao_test.txt; plain, .gz, .zst or a .zip of one file): a sequence of 200
/// events on each line. From the text of --train and --validation windows are drawn as the original does, with --seed; the text
/// of --test gives the end of every sequence, with its label.
///
/// Ids become ranks, 0 the most frequent over all positions of all samples; the vocabulary says which id of the file each rank is.
/// Item 0 is padding as well as an item in such files, which cannot be mended here; `prepare taobao` on the raw events keeps them
/// apart.
///
/// The files are read twice. The result appears under its name when it is complete, and has the same bytes whatever --threads says.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ImportArguments {
    /// Training samples: an .npz file, or text to draw windows from.
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Validation samples; another file than that of training.
    #[arg(long, value_name = "FILE")]
    validation: Option<PathBuf>,
    /// Test samples: an .npz file, or text whose sequences end with a labelled target.
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Folder of the packed data set; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Text: windows of either sign from a line of at least 41 events; shorter ones give 6, 3, 1 or none.
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
    /// Most samples of one output file.
    #[arg(long, value_name = "SAMPLES", default_value_t = ImportOptions::default().shard_rows, value_parser = clap::value_parser!(u64).range(1..))]
    shard_rows: u64,
    /// Replace the output folder if it holds a packed data set.
    #[arg(long)]
    force: bool,
    /// Worker threads; changes no byte of the output [default: one for each core].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Write the report as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Samples that the original has windowed already:
    prepare taobao-import --train output/taobao_train_t20.npz --test output/taobao_test_t20.npz --out taobao

  Its sequences, windowed here:
    prepare taobao-import --train taobao_train.txt --test taobao_test.txt --seed 7 --out taobao

Exit codes: 0 done; 2 bad usage or bad input, nothing is left behind.";

/// Imports sequences as the arguments say, and prints the report.
///
/// # Errors
/// What the import answers.
pub fn import(arguments: &ImportArguments) -> Result<()> {
    let import = ImportTaobao::new(ImportOptions {
        train: arguments.train.clone(),
        validation: arguments.validation.clone(),
        test: arguments.test.clone(),
        out: arguments.out.clone(),
        points_per_user: arguments.points_per_user,
        train_lines: arguments.train_lines,
        validation_lines: arguments.validation_lines,
        seed: arguments.seed,
        force: arguments.force,
        shard_rows: arguments.shard_rows,
    });
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(arguments.threads.unwrap_or(0))
        .build()?;
    let report = pool.install(|| import.run(&Bars::new()))?;
    print(&report);
    if let Some(path) = &arguments.json {
        let mut value = serde_json::to_value(&report).context("the report has no JSON form")?;
        value["peak_memory_bytes"] = json!(peak_memory_bytes());
        value["threads"] = json!(pool.current_num_threads());
        value["version"] = json!(env!("CARGO_PKG_VERSION"));
        write_json(path, &value)?;
    }
    Ok(())
}

fn print(report: &ImportReport) {
    for (name, count) in ["users", "items", "categories"]
        .into_iter()
        .zip(report.categories)
    {
        println!("{name:<14} {count:>14}");
    }
    print_splits(&report.splits);
    print_passes(&report.passes, "samples", "samples");
    let files = report.sources.iter().map(|source| source.bytes).sum();
    println!("{:<14} {:>14}", "files", bytes(files));
    println!("{:<14} {:>14}", "packed", bytes(report.packed_bytes));
    println!(
        "{:<14} {:>14}",
        "peak memory",
        peak_memory_bytes().map_or("unknown".to_owned(), bytes)
    );
}
