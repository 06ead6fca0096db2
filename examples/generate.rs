//! Planted samples of any number: raw Criteo text to try the reader on, or a packed data set to train on at once.
//!
//! 1. Draw a hidden model: skewed, correlated categories, and the probability of a click for every sample.
//! 2. Write raw text, or a packed data set whose ids are ranks by design.
//! 3. Print the best AUC that any model can reach on its test rows.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use examples::planted::write_planted;
use examples::process::exit_on_error;
use examples::training::bytes;
use indicatif::ProgressBar;
use recsys_data::{Planted, PlantedOptions, SplitRows};

/// Make samples whose best reachable AUC is known.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  generate text --rows 10000000 --out train.txt
  generate packed --rows 2000000 --scale 20 --out planted"
)]
struct Arguments {
    #[command(subcommand)]
    form: Form,
}

#[derive(Subcommand)]
enum Form {
    /// Raw Criteo text, to be read by `prepare criteo-kaggle`
    Text(Planting),
    /// A packed data set: 6/7 of the rows for training, then validation, then test
    Packed(Planting),
}

#[derive(Args)]
struct Planting {
    /// Rows to make.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Seed; another one is another hidden model.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Multiply the rows of every large table (119,000 categories in all at 1).
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The file (text) or folder (packed) to write.
    #[arg(long)]
    out: PathBuf,
    /// Replace what is there.
    #[arg(long)]
    force: bool,
    /// Worker threads; changes no byte of the output [default: one for each core].
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    exit_on_error(run(Arguments::parse().form))
}

fn run(form: Form) -> Result<()> {
    let (Form::Text(planting) | Form::Packed(planting)) = &form;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(planting.threads.unwrap_or(0))
        .build()?;
    pool.install(|| {
        ensure!(
            planting.scale > 0.0 && planting.scale <= 1e5,
            "--scale is {}; allowed: more than 0, up to 100,000",
            planting.scale
        );
        let planted = Planted::new(
            PlantedOptions {
                samples: planting.rows,
                seed: planting.seed,
                ..PlantedOptions::default()
            }
            .with_scale(planting.scale),
        )?;
        match &form {
            Form::Text(_) => text(&planted, planting)?,
            Form::Packed(_) => packed(&planted, planting)?,
        }
        let last = (planting.rows - planting.rows / 14)..planting.rows;
        if let Ok(best) = planted.best_auc(last) {
            println!("best reachable AUC on the last fourteenth of the rows: {best:.4}");
        }
        Ok(())
    })
}

fn text(planted: &Planted, planting: &Planting) -> Result<()> {
    let out = &planting.out;
    ensure!(
        planting.force || !out.exists(),
        "{} exists: choose another file, or replace it with --force",
        out.display()
    );
    let temporary = out.with_extension("partial.tmp");
    let file = File::create(&temporary)
        .with_context(|| format!("cannot create {}", temporary.display()))?;
    let bar = ProgressBar::new_spinner().with_message(format!("writing {} rows", planting.rows));
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let written = planted
        .write_criteo_text(0..planting.rows, &mut writer)
        .and_then(|()| writer.get_ref().sync_all())
        .and_then(|()| std::fs::rename(&temporary, out));
    bar.finish_and_clear();
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    }
    written.with_context(|| format!("cannot write {}", out.display()))?;
    println!(
        "{} rows, {} in {}",
        planting.rows,
        bytes(out.metadata()?.len()),
        out.display()
    );
    Ok(())
}

fn packed(planted: &Planted, planting: &Planting) -> Result<()> {
    let last = planting.rows / 7;
    let rows = SplitRows {
        train: planting.rows - last,
        validation: last.div_ceil(2),
        test: last / 2,
    };
    write_planted(planted, rows, &planting.out, planting.force)?;
    println!("{} rows in {}", planting.rows, planting.out.display());
    Ok(())
}
