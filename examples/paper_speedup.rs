//! The paper's speed experiment: time per epoch of every placement, and where it goes.
//!
//! 1. Open a packed data set, or make planted data; choose hot rows under a budget and classify the inputs.
//! 2. Train one epoch on each placement, in turns, several times.
//! 3. Print medians with their breakdown and the bytes that crossed, and draw them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use examples::bars::{Bar, BarChart};
use examples::experiment::{Experiment, ExperimentArguments};
use examples::process::{exit_on_error, write_text};
use examples::speedup;
use examples::training::{Settings, write_json};
use serde_json::json;
use trainer::{Placement, RunReport};

/// Compare the time per epoch of all placements. No arguments needed.
///
/// With --device cpu the CPU stands in for the device: then what is seen is what hot rows cost and what crosses, not what an
/// accelerator gains. Writes speedup.csv, speedup.svg, traffic.svg and results.json.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release --example paper_speedup
  cargo run --release --example paper_speedup -- --data kaggle --preset criteo-kaggle --budget 256MiB --max-steps 2000"
)]
struct Arguments {
    #[command(flatten)]
    experiment: ExperimentArguments,
    /// How often each placement is measured; medians are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "out/paper_speedup")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The model of the paper's Kaggle runs; on planted data at the batch size of its FAE script.
    let given =
        arguments.experiment.data.is_some() || arguments.experiment.training.batch_size.is_some();
    let adjust = |settings: &mut Settings| {
        settings.train.test_every = None;
        if !given {
            settings.train.batch_size = 1024;
        }
    };
    let experiment = |experiment| run(&arguments, experiment);
    exit_on_error(
        arguments
            .experiment
            .run("criteo-kaggle", adjust, experiment),
    )
}

fn run(arguments: &Arguments, experiment: Experiment) -> Result<()> {
    let Experiment {
        source,
        settings,
        placement,
        hot,
    } = experiment;
    let data = &source.data;
    let mut reports: Vec<Vec<RunReport>> = vec![Vec::new(); Placement::ALL.len()];
    for round in 1..=arguments.rounds {
        for (default, reports) in Placement::ALL.into_iter().zip(&mut reports) {
            eprintln!("round {round} of {}: {default}", arguments.rounds);
            reports.push(speedup::run(default, &placement, data, &settings, &hot)?);
        }
    }
    let names = Placement::ALL.iter().map(ToString::to_string);
    let medians: Vec<(String, RunReport)> = names
        .zip(reports.into_iter().map(speedup::median))
        .collect();
    println!("one epoch, {} tables", data.schema().tables.len());
    speedup::print(&medians);
    draw(arguments, &source.name, &medians)?;
    let results: Vec<_> = medians
        .iter()
        .map(|(placement, report)| json!({ "placement": placement, "train": report.train, "phases": report.phases }))
        .collect();
    let results = json!({ "runs": results, "hot_set": hot.to_json(), "settings": settings, "data": source.name });
    write_json(&arguments.out.join("results.json"), &results)?;
    println!("results in {}", arguments.out.display());
    Ok(())
}

fn draw(arguments: &Arguments, name: &str, medians: &[(String, RunReport)]) -> Result<()> {
    let mut csv = String::from(
        "placement,seconds,samples_per_second,lookup_seconds,model_seconds,update_seconds,sync_seconds,load_seconds,\
         host_to_device_bytes,device_to_host_bytes,sync_bytes\n",
    );
    let mut traffic = Vec::new();
    for (placement, report) in medians {
        let phase = speedup::whole(report);
        let synced = phase.traffic.sync_to_device + phase.traffic.sync_to_host;
        csv += &format!(
            "{placement},{},{}",
            phase.seconds, report.train.samples_per_second
        );
        speedup::parts(&phase)
            .iter()
            .for_each(|part| csv += &format!(",{part}"));
        csv += &format!(
            ",{},{},{synced}\n",
            phase.traffic.host_to_device, phase.traffic.device_to_host
        );
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let parts = [
            phase.traffic.host_to_device,
            phase.traffic.device_to_host,
            synced,
        ];
        traffic.push(Bar {
            name: placement.clone(),
            parts: parts.into_iter().map(mebibytes).collect(),
        });
    }
    write_text(&arguments.out.join("speedup.csv"), &csv)?;
    let traffic = BarChart {
        title: format!("Bytes that cross per epoch: {name}"),
        y: "MiB".into(),
        legend: ["rows to the device", "gradients to the host", "syncs"]
            .map(String::from)
            .to_vec(),
        bars: traffic,
    };
    let charts = [
        (
            "speedup.svg",
            speedup::chart(format!("Time per epoch: {name}"), medians),
        ),
        ("traffic.svg", traffic),
    ];
    for (file, chart) in charts {
        write_text(&arguments.out.join(file), &chart.to_svg()?)?;
    }
    Ok(())
}
