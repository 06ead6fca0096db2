//! The paper's accuracy experiment: does the order of hot and cold inputs harm training?
//!
//! 1. Open a packed data set, or make planted data; choose hot rows under a budget.
//! 2. Train the baseline in the original order, and FAE with each schedule, from the same weights.
//! 3. Draw the test AUC over the epoch, and print where each run ended.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use examples::{print_table, quality};
use fae_cli::charts::{Axis, LineChart, Series};
use fae_cli::process::{exit_on_error, probe, write_json};
use fae_run::{Budget, Card, Run, ScheduleName};
use recsys_data::generate::{Planted, PlantedOptions, write_packed};
use recsys_data::packed::PackedDataset;
use recsys_data::{Dataset, Split, SplitRows};
use serde_json::json;
use trainer::{Event, Observer, Placement};

/// Compare FAE's schedules with the baseline. No arguments needed.
///
/// Writes results.json and test_auc.svg.
#[derive(Parser)]
struct Arguments {
    /// A packed data set [default: planted data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// With --data: the card with the settings [default: of planted data].
    #[arg(long, value_name = "NAME", default_value = "synthetic")]
    preset: String,
    /// Without --data: how many inputs are made.
    #[arg(long, value_name = "N", default_value_t = 350_000)]
    inputs: u64,
    /// What hot rows may take on the device, in bytes or as a share of all rows.
    #[arg(long, default_value = "20%")]
    budget: Budget,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "out/paper_accuracy")]
    out: PathBuf,
}

/// Test AUC over thousands of samples.
#[derive(Default)]
struct Curve(u64, Vec<(f64, f64)>);

impl Observer for Curve {
    fn observe(&mut self, event: &Event<'_>) -> trainer::Result<ControlFlow<()>> {
        match event {
            Event::Step { samples, .. } => self.0 = *samples,
            Event::Evaluated { report, .. } => {
                let auc = report.test.and_then(|test| test.auc);
                self.1.extend(auc.map(|auc| (self.0 as f64 / 1e3, auc)));
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn main() -> ExitCode {
    exit_on_error(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    probe(&arguments.out.join("results.json"))?;
    let folder = tempfile::tempdir()?;
    let data = match &arguments.data {
        Some(path) => PackedDataset::open(path)?,
        None => {
            let planted = Planted::new(PlantedOptions {
                samples: arguments.inputs,
                ..PlantedOptions::default()
            })?;
            let (rows, out) = (
                SplitRows::time_ordered(arguments.inputs),
                folder.path().join("planted"),
            );
            write_packed(&planted, planted.options(), rows, &out, false, &())?
        }
    };
    let mut card = Card::builtin(&arguments.preset)?;
    card.hot.budget = Some(arguments.budget);
    let steps = data.split(Split::Train).len() / card.training.batch_size.unwrap_or(128) as u64;
    card.training.test_every = Some((steps / 16).max(1));
    let fae = Run::new(&data, &card.on(Placement::Fae))?;
    let x = Axis::linear("training samples, thousands");
    let mut chart = LineChart::new("Test AUC over the epoch", x, Axis::linear("AUC"));
    let (mut rows, mut results) = (Vec::new(), Vec::new());
    for (name, schedule) in [
        ("original order", ScheduleName::Original),
        ("shuffle scheduler", ScheduleName::Shuffle),
        ("fixed rate", ScheduleName::Interleave),
        ("cold, then hot", ScheduleName::ColdHot),
        ("hot, then cold", ScheduleName::HotCold),
    ] {
        let mut card = card.on(Placement::Fae);
        card.schedule.schedule = Some(schedule);
        let (run, mut curve) = (fae.placed(&card)?, Curve::default());
        let (_, report) = run.train(&mut curve)?;
        let [auc, log_loss] = quality(report.test);
        rows.push([name.into(), auc, log_loss]);
        results.push(json!({ "run": name, "results": run.results(&report)?, "auc": curve.1 }));
        chart = chart.with_series(Series::new(name, curve.1));
    }
    print_table("at the end, on the test set|AUC|log loss", &rows);
    write_json(&arguments.out.join("results.json"), &json!(results))?;
    chart.save(arguments.out.join("test_auc.svg"))
}
