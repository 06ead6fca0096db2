//! The whole way from raw text to trained models, without downloads: what FAE is for.
//!
//! 1. Make raw rows in Criteo's format from a hidden model, so that the best reachable AUC is known.
//! 2. Prepare them: count categories, rank them, write a packed data set.
//! 3. Profile: which rows are hot under a budget, and which inputs need no others.
//! 4. Train the same DLRM three times: rows on the CPU, FAE, and every batch split by lookup.
//! 5. Compare what crosses between host and device, time and AUC, in a table and in a picture.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use examples::{crossed, print_table, quality};
use fae_cli::charts::{BarChart, beside};
use fae_cli::process::{exit_on_error, probe, write_text};
use fae_cli::say;
use fae_cli::{Bars, Console};
use fae_run::{Budget, Card, Run};
use recsys_data::SplitRows;
use recsys_data::criteo::{PrepareCriteo, PrepareOptions};
use recsys_data::generate::{Planted, PlantedOptions};
use recsys_data::packed::PackedDataset;
use trainer::Placement;

/// Make data, prepare and profile them, train with and without FAE, and compare. No arguments needed.
#[derive(Parser)]
struct Arguments {
    /// Rows to make.
    #[arg(long, default_value_t = 700_000)]
    rows: u64,
    /// What hot rows may take on the device, in bytes or as a share of all rows.
    #[arg(long, default_value = "20%")]
    budget: Budget,
    /// The device: cpu, standing in for one, or cuda in a build with the feature `cuda`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Where to draw the picture.
    #[arg(long, value_name = "FILE.svg", default_value = "out/quickstart.svg")]
    picture: PathBuf,
}

fn main() -> ExitCode {
    exit_on_error(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    probe(&arguments.picture)?;
    let folder = tempfile::tempdir()?;
    let raw = folder.path().join("train.txt");
    let planted = Planted::new(PlantedOptions {
        samples: arguments.rows,
        ..PlantedOptions::default()
    })?;
    planted.write_criteo_text(0..arguments.rows, File::create(&raw)?)?;
    say!("1. made {} raw rows", arguments.rows);
    let prepare = PrepareCriteo::new(PrepareOptions {
        raw: vec![raw],
        out: folder.path().join("packed"),
        ..PrepareOptions::default()
    });
    prepare.run(&Bars::new())?;
    let data = PackedDataset::open(folder.path().join("packed"))?;
    let embedding_rows: u64 = data.schema().table_rows().iter().sum();
    say!("2. prepared: {embedding_rows} embedding rows");

    let mut card = Card::builtin("synthetic")?;
    card.placement.device = Some(arguments.device.clone());
    card.hot.budget = Some(arguments.budget);
    let fae = Run::new(&data, &card.on(Placement::Fae))?;
    let hot = fae.hot.as_ref().context("no hot rows")?;
    let share = 100.0 * hot.partition.hot_len() as f64 / hot.partition.len().max(1) as f64;
    let profile = hot.profile_seconds + hot.classify_seconds;
    say!("3. profiled in {profile:.1} s: {share:.0}% of the inputs touch hot rows only");

    say!("4. training, {} is the device", arguments.device);
    let (mut rows, mut bytes, mut aucs) = (Vec::new(), Vec::new(), Vec::new());
    for (name, placement, profile) in [
        ("rows on the CPU", Placement::CpuDevice, 0.0),
        ("FAE", Placement::Fae, profile),
        ("mixed", Placement::Mixed, profile),
    ] {
        let run = fae.placed(&card.on(placement))?;
        let (_, report) = run.train(&mut Console::new())?;
        let mebibytes = crossed(&report) as f64 / f64::from(1 << 20);
        let [auc, log_loss] = quality(report.test);
        let crosses = format!("{mebibytes:.0} MiB");
        let trained = format!("{:.1} s", report.train.seconds);
        let profiled = format!("{profile:.1} s");
        rows.push([name.into(), auc, log_loss, crosses, trained, profiled]);
        bytes.push((name, mebibytes));
        let reached = report.test.and_then(|test| test.auc);
        aucs.push((name, reached.unwrap_or_default()));
    }
    print_table(
        "on the test rows|AUC|log loss|crossed|training|profile",
        &rows,
    );
    let split = SplitRows::time_ordered(arguments.rows);
    let best = planted.best_auc(arguments.rows - split.test..arguments.rows)?;
    say!("best reachable AUC, of the hidden model: {best:.4}");

    aucs.push(("best reachable", best));
    let crossing = BarChart::plain("Moved between CPU and device", "MiB an epoch", &bytes);
    let reached =
        BarChart::plain("The model is as good", "test AUC, 0.5 is chance", &aucs).above(0.5);
    let picture = beside(&[crossing.to_svg()?, reached.to_svg()?]);
    write_text(&arguments.picture, &picture)?;
    say!("picture in {}", arguments.picture.display());
    Ok(())
}
