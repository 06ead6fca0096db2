//! The check of packed data sets: every checksum, bound and count.
//!
//! 1. Read the manifest, and go through every file that it names with a progress bar.
//! 2. Print what was found, file by file: what is sound with its size, what is damaged with the
//!    samples and the column.
//! 3. Say how to mend it, and end with an exit code for scripts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use fae_run::on_threads;
use recsys_data::packed::{Defect, FileContent, FileReport, Verify, VerifyReport};
use serde_json::{Value, json};

use crate::numbers::grouped;
use crate::process::{Outputs, probe, write_json};
use crate::progress::Bars;
use crate::text::bytes;

/// Check packed data sets: every checksum, bound and count of every file.
///
/// Every byte of a data set is covered by a checksum. Labels must lie between 0 and 1, dense values
/// be finite and ids below the rows of their tables; samples, positive samples and categories must
/// be as many as the preparation counted. A check goes on after the first defect and lists all of
/// them, with the file, the samples and the column.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Folders of packed data sets.
    #[arg(required = true, value_name = "DIR")]
    data: Vec<PathBuf>,
    /// Show every sound file on a line of its own, however many there are.
    #[arg(long)]
    all: bool,
    /// Most defects shown of a file; others are counted.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    defects: u16,
    /// Worker threads; changes nothing but the time [default: one for each core].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Write the reports as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Is the data set still what it was when it was made?
    fae verify kaggle

  Several together, for a script:
    fae verify kaggle taobao --json report.json || echo damaged

Exit codes: 0 everything is sound; 1 there are defects; 2 bad usage, or a folder that holds no packed data set. Files that the
manifest does not know are named, and are no defects.";

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut sound = true;
    check(arguments, &mut sound)?;
    Ok(ExitCode::from(u8::from(!sound)))
}

fn check(arguments: &Arguments, sound: &mut bool) -> Result<()> {
    let mut values = Vec::new();
    arguments.json.as_deref().map_or(Ok(()), probe)?;
    let mut outputs = Outputs::default();
    for folder in &arguments.data {
        let verify = Verify::new(folder).with_most_defects(arguments.defects.into());
        let checked = on_threads(arguments.threads, || anyhow::Ok(verify.run(&Bars::new())?));
        match checked {
            Ok(report) => {
                *sound &= report.is_sound();
                print(folder, &report, arguments.all);
                values.push(value(folder, &report)?);
            }
            // The other folders are checked all the same.
            Err(error) => outputs.tried(Err(error)),
        }
    }
    if let Some(path) = &arguments.json {
        outputs.tried(write_json(
            path,
            &json!({ "version": env!("CARGO_PKG_VERSION"), "data": values }),
        ));
    }
    outputs.result()
}

fn value(folder: &Path, report: &VerifyReport) -> Result<Value> {
    let mut value = serde_json::to_value(report)?;
    value["folder"] = json!(folder.display().to_string());
    value["sound"] = json!(report.is_sound());
    value["bytes_per_second"] = json!(report.bytes_per_second());
    Ok(value)
}

fn print(folder: &Path, report: &VerifyReport, all: bool) {
    let rows = report.rows.train + report.rows.validation + report.rows.test;
    say!(
        "{}: {}, {} samples, {} files, {}",
        folder.display(),
        if report.dataset.is_empty() {
            "unknown"
        } else {
            &report.dataset
        },
        grouped(rows),
        grouped(report.files.len() as u64),
        bytes(report.bytes)
    );
    for files in report
        .files
        .chunk_by(|a, b| same_kind(a, b) && a.is_sound() == b.is_sound())
    {
        print_files(files, all);
    }
    for name in &report.unlisted {
        say!("  unknown  {name:<36} the manifest does not name it; nothing reads it");
    }
    let rate = bytes(report.bytes_per_second() as u64);
    let seconds = report.seconds;
    if report.is_sound() {
        say!("all sound: every checksum, bound and count ({seconds:.1} s, {rate}/s)\n");
        return;
    }
    say!(
        "{} defects ({seconds:.1} s, {rate}/s)",
        grouped(report.defects())
    );
    say!("{}\n", remedy(report));
}

fn same_kind(a: &FileReport, b: &FileReport) -> bool {
    match (&a.content, &b.content) {
        (FileContent::Shard { split: a, .. }, FileContent::Shard { split: b, .. }) => a == b,
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

/// Neighbouring files of one kind, all sound or all damaged.
fn print_files(files: &[FileReport], all: bool) {
    /// Sound files beyond this many are one line.
    const SHOWN: usize = 6;
    let [first, .., last] = files else {
        files.iter().for_each(print_file);
        return;
    };
    if all || files.len() <= SHOWN || !first.is_sound() {
        files.iter().for_each(print_file);
        return;
    }
    let names = format!("{} … {}", stem(&first.file), stem(&last.file));
    let size = bytes(files.iter().map(|file| file.bytes).sum());
    let what = match first.content {
        FileContent::Shard { .. } => "shards",
        _ => "vocabularies",
    };
    say!("  ok       {names:<36} {size:>10}   {} {what}", files.len());
}

fn stem(file: &str) -> &str {
    file.strip_suffix(".safetensors").unwrap_or(file)
}

fn print_file(file: &FileReport) {
    let what = match &file.content {
        FileContent::Manifest => "manifest".to_owned(),
        FileContent::Shard {
            samples, positives, ..
        } => {
            format!(
                "{} samples, {} positive",
                grouped(*samples),
                grouped(*positives)
            )
        }
        FileContent::Vocabulary { table, rows } => {
            format!("{} rows of table {table}", grouped(*rows))
        }
    };
    let state = if file.is_sound() { "ok" } else { "DAMAGED" };
    say!(
        "  {state:<8} {:<36} {:>10}   {what}",
        file.file,
        bytes(file.bytes)
    );
    for defect in &file.defects {
        say!("             {}", sentence(defect));
    }
    if file.more > 0 {
        say!("             and {} more", grouped(file.more));
    }
}

fn sentence(defect: &Defect) -> String {
    let samples = match defect.samples {
        Some((first, last)) if first == last => format!("sample {}, ", grouped(first)),
        Some((first, last)) => format!("samples {} to {}, ", grouped(first), grouped(last)),
        None => String::new(),
    };
    let column = defect.column.as_ref().map(|column| format!("`{column}`: "));
    format!("{samples}{}{}", column.unwrap_or_default(), defect.problem)
}

/// What to do about defects.
fn remedy(report: &VerifyReport) -> String {
    let sources: Vec<String> = report
        .sources
        .iter()
        .map(|source| {
            format!(
                "{} ({}, xxh3 {})",
                source.name,
                bytes(source.bytes),
                source.xxh3
            )
        })
        .collect();
    let restore = "Restore the damaged files from a copy, or make the data set again with --force";
    if sources.is_empty() {
        format!("{restore}.")
    } else {
        format!("{restore}, from:\n  {}", sources.join("\n  "))
    }
}
