//! The paper's speed experiment: time per epoch of every placement, and where it goes.
//!
//! 1. Open a packed data set, or make planted data; choose hot rows under a budget.
//! 2. Train one epoch on each placement, in turns, several times.
//! 3. Print medians with their breakdown and the bytes that crossed, and draw them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fae_cli::note;
use fae_cli::process::{exit_on_error, probe, write_json};
use fae_cli::speedup;
use fae_run::{Budget, Card, Run};
use recsys_data::SplitRows;
use recsys_data::generate::{Planted, PlantedOptions, write_packed};
use recsys_data::packed::PackedDataset;
use serde_json::json;
use trainer::{Evaluations, Placement, RunReport};

/// Compare the time per epoch of all placements. No arguments needed.
///
/// With --device cpu the CPU stands in for the device: then what is seen is what hot rows cost and what
/// crosses, not what an accelerator gains. Writes speedup.svg and results.json.
#[derive(Parser)]
struct Arguments {
    /// A packed data set [default: planted data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The card with model and settings.
    #[arg(long, value_name = "NAME", default_value = "criteo-kaggle")]
    preset: String,
    /// Without --data: how many inputs are made.
    #[arg(long, value_name = "N", default_value_t = 350_000)]
    inputs: u64,
    /// What hot rows may take on the device, in bytes or as a share of all rows.
    #[arg(long, default_value = "20%")]
    budget: Budget,
    /// The device: cpu, standing in for one, or cuda in a build with the feature `cuda`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Samples of a mini-batch.
    #[arg(long, value_name = "SAMPLES", default_value_t = 1024)]
    batch_size: usize,
    /// How often each placement is measured; medians are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "out/paper_speedup")]
    out: PathBuf,
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
            let rows = SplitRows::time_ordered(arguments.inputs);
            let out = folder.path().join("planted");
            write_packed(&planted, planted.options(), rows, &out, false, &())?
        }
    };
    let mut card = Card::builtin(&arguments.preset)?;
    card.training.batch_size = Some(arguments.batch_size);
    card.training.test_every = None;
    card.placement.device = Some(arguments.device.clone());
    card.hot.budget = Some(arguments.budget);
    let fae = Run::new(&data, &card.on(Placement::Fae))?;
    let mut reports: Vec<Vec<RunReport>> = vec![Vec::new(); Placement::ALL.len()];
    for round in 1..=arguments.rounds {
        for (placement, reports) in Placement::ALL.into_iter().zip(&mut reports) {
            note!("round {round} of {}: {placement}", arguments.rounds);
            let mut run = fae.placed(&card.on(placement))?;
            // Evaluations are not part of what is timed; the schedule's own are.
            if placement != Placement::Fae {
                run.evaluations = Evaluations::default();
            }
            reports.push(run.train(&mut ())?.1);
        }
    }
    let names = Placement::ALL.iter().map(ToString::to_string);
    let medians = reports.into_iter().map(speedup::median);
    let medians: Vec<(String, RunReport)> = names.zip(medians).collect();
    speedup::print(&medians);
    speedup::chart("Time per epoch".into(), &medians).save(&arguments.out.join("speedup.svg"))?;
    let runs = medians
        .iter()
        .map(|(name, run)| json!({ "placement": name, "train": run.train, "phases": run.phases }));
    let runs: Vec<_> = runs.collect();
    write_json(&arguments.out.join("results.json"), &json!(runs))
}
