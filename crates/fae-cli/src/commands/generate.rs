//! Planted samples of any number: raw text to try the readers on, or packed data sets to train on.
//!
//! 1. Draw a hidden model: the probability of a click for every sample, or users whose interests
//!    drift.
//! 2. Write raw text, or a packed data set whose ids are ranks by design.
//! 3. Print the best AUC that any model can reach on its test rows.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use fae_run::on_threads;
use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::{ProgressBar, ProgressStyle};
use recsys_data::generate::{
    Planted, PlantedOptions, PlantedSequences, PlantedSequencesOptions, write_packed,
};
use recsys_data::output_file::OutputFile;
use recsys_data::{Dataset, SplitRows};
use serde::Serialize;

use crate::progress::Bars;
use crate::text::bytes;

/// Make samples whose best reachable AUC is known.
#[derive(Args)]
#[command(after_help = "Examples:
  fae generate text --rows 10000000 --out train.txt
  fae generate days --days 24 --rows 24000000 --gzip --out days
  fae generate packed --rows 2000000 --scale 20 --out planted
  fae generate sequences --rows 2000000 --out sequences
  fae generate events --events 100000000 --scale 20 --out UserBehavior.csv")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    form: Form,
}

#[derive(Subcommand)]
enum Form {
    /// Raw Criteo text, to be read by `fae prepare criteo-kaggle`
    Text(Clicks),
    /// The same text cut into days, to be read by `fae prepare criteo-terabyte`: files day_0, day_1
    /// … in a folder
    Days(Days),
    /// A packed data set: 6/7 of the rows for training, then validation, then test
    Packed(Clicks),
    /// Packed behaviour sequences, split alike: does an item follow the user's last events?
    ///
    /// Every user likes a few categories and has one of them in mind, which changes now and then.
    /// Candidates are the user's next event or an item drawn by popularity, half and half. The best
    /// AUC is that of somebody who sees what the user likes and has in mind; a model has to infer
    /// it from the history.
    Sequences(Sequences),
    /// Raw events in the text of Taobao's UserBehavior.csv, to be made into sequences by a
    /// preparation
    ///
    /// The same users as those of `sequences`. Lines are user, item, category, behaviour and Unix
    /// time; users come in text order of their numbers, the events of each by time. No best AUC is
    /// printed: it depends on how the preparation draws negative candidates.
    Events(Events),
}

#[derive(Args)]
struct Clicks {
    /// Rows to make.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Multiply the rows of every large table (119,000 categories in all at 1).
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct Days {
    /// Days to make; each has the same number of rows, and the last one the rest too.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..))]
    days: u64,
    /// Compress every day: day_0.gz, day_1.gz …
    #[arg(long)]
    gzip: bool,
    #[command(flatten)]
    clicks: Clicks,
}

#[derive(Args)]
struct Sequences {
    /// Rows to make.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Events before the candidate.
    #[arg(long, default_value_t = 20)]
    history: u32,
    #[command(flatten)]
    behaviour: Behaviour,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct Events {
    /// Events to make, about 100 a user.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    #[command(flatten)]
    behaviour: Behaviour,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct Behaviour {
    /// Multiply users, items and categories (50,000, 200,000 and 1,000 at 1; Taobao has as many
    /// users and items as 20 gives).
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Categories that a user likes.
    #[arg(long, default_value_t = 8)]
    interests: u32,
    /// Probability, per event, that the user's mind moves to another of them.
    #[arg(long, default_value_t = 0.2)]
    drift: f64,
    /// Share of the events that have nothing to do with the user.
    #[arg(long, default_value_t = 0.2)]
    noise: f64,
}

impl Behaviour {
    fn options(&self, seed: u64) -> PlantedSequencesOptions {
        PlantedSequencesOptions {
            seed,
            interests: self.interests,
            drift: self.drift,
            noise: self.noise,
            ..PlantedSequencesOptions::default()
        }
        .with_scale(self.scale)
    }
}

#[derive(Args)]
struct Output {
    /// Seed; another one is another hidden model.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file (text, events) or folder (packed, sequences) to write.
    #[arg(long)]
    out: PathBuf,
    /// Replace what is there.
    #[arg(long)]
    force: bool,
    /// Worker threads; changes no byte of the output [default: one for each core].
    #[arg(long)]
    threads: Option<usize>,
}

fn scale(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(scale) if scale > 0.0 && scale <= 1e5 => Ok(scale),
        _ => Err("allowed: more than 0, up to 100,000".into()),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let form = &arguments.form;
    let output = match form {
        Form::Text(clicks) | Form::Packed(clicks) => &clicks.output,
        Form::Days(days) => &days.clicks.output,
        Form::Sequences(sequences) => &sequences.output,
        Form::Events(events) => &events.output,
    };
    on_threads(output.threads, || match form {
        Form::Text(clicks) => {
            let planted = planted_clicks(clicks)?;
            let what = format!("{} rows", clicks.rows);
            text(output, &output.out, &what, |writer| {
                planted.write_criteo_text(0..clicks.rows, writer)
            })?;
            print_best(planted.best_auc(last_rows(clicks.rows)));
            Ok(())
        }
        Form::Days(Days { days, gzip, clicks }) => {
            let planted = planted_clicks(clicks)?;
            write_days(&planted, clicks, *days, *gzip)
        }
        Form::Packed(clicks) => {
            let planted = planted_clicks(clicks)?;
            packed(&planted, planted.options(), output)?;
            print_best(planted.best_auc(last_rows(clicks.rows)));
            Ok(())
        }
        Form::Sequences(sequences) => {
            let planted = PlantedSequences::new(PlantedSequencesOptions {
                samples: sequences.rows,
                history: sequences.history,
                ..sequences.behaviour.options(output.seed)
            })?;
            packed(&planted, planted.options(), output)?;
            print_best(planted.best_auc(last_rows(sequences.rows)));
            Ok(())
        }
        Form::Events(Events {
            events, behaviour, ..
        }) => {
            let planted = PlantedSequences::new(behaviour.options(output.seed))?;
            text(output, &output.out, &format!("{events} events"), |writer| {
                planted.write_user_behaviour(*events, writer)
            })
        }
    })
}

fn planted_clicks(clicks: &Clicks) -> Result<Planted> {
    let options = PlantedOptions {
        samples: clicks.rows,
        seed: clicks.output.seed,
        ..PlantedOptions::default()
    };
    Ok(Planted::new(options.with_scale(clicks.scale))?)
}

/// The rows of the test split, half of the last seventh.
fn last_rows(rows: u64) -> std::ops::Range<u64> {
    (rows - rows / 14)..rows
}

fn print_best(best: recsys_data::Result<f64>) {
    // Too few rows have none.
    if let Ok(best) = best {
        say!("best reachable AUC on the last fourteenth of the rows: {best:.4}");
    }
}

fn write_days(planted: &Planted, clicks: &Clicks, days: u64, gzip: bool) -> Result<()> {
    let output = &clicks.output;
    std::fs::create_dir_all(&output.out)
        .with_context(|| format!("cannot create {}", output.out.display()))?;
    let each = clicks.rows / days;
    for day in 0..days {
        let end = if day + 1 == days {
            clicks.rows
        } else {
            (day + 1) * each
        };
        let rows = day * each..end;
        let ending = if gzip { ".gz" } else { "" };
        let out = output.out.join(format!("day_{day}{ending}"));
        let what = format!("{} rows", rows.end - rows.start);
        text(output, &out, &what, |writer| {
            if !gzip {
                return planted.write_criteo_text(rows, writer);
            }
            let mut writer = GzEncoder::new(writer, Compression::fast());
            planted.write_criteo_text(rows, &mut writer)?;
            writer.finish().map(drop)
        })?;
    }
    Ok(())
}

fn text(
    output: &Output,
    out: &Path,
    what: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    ensure!(
        output.force || !out.exists(),
        "{} exists: choose another file, or replace it with --force",
        out.display()
    );
    let cannot_write = || format!("cannot write {}", out.display());
    let mut file = OutputFile::create(out).with_context(cannot_write)?;
    let bar = ProgressBar::new_spinner().with_message(format!("writing {what}"));
    // The template is a constant; were it wrong, the plain spinner would do.
    let bar = match ProgressStyle::with_template("{spinner} {msg}: {bytes} {bytes_per_sec}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let mut writer = BufWriter::with_capacity(1 << 20, bar.wrap_write(&mut file));
    let written = write(&mut writer).and_then(|()| writer.flush());
    drop(writer);
    bar.finish_and_clear();
    let finished = written.and_then(|()| file.finish());
    finished.with_context(cannot_write)?;
    say!(
        "{what}, {} in {}",
        bytes(out.metadata()?.len()),
        out.display()
    );
    Ok(())
}

fn packed(planted: &impl Dataset, options: &impl Serialize, output: &Output) -> Result<()> {
    let rows = planted.len();
    let splits = SplitRows::time_ordered(rows);
    let bars = Bars::new();
    write_packed(planted, options, splits, &output.out, output.force, &bars)?;
    say!("{rows} rows in {}", output.out.display());
    Ok(())
}
