//! The paper's accuracy experiment: does the order of hot and cold inputs harm training?
//!
//! 1. Open a packed data set, or make planted data; choose hot rows under a budget and classify the inputs.
//! 2. Train the baseline in the original order, and FAE with each schedule, from the same first weights.
//! 3. Draw test loss, accuracy and AUC over the epoch, and print where each run ended.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use examples::curve::{Curve, CurvePoint, series, write_csv};
use examples::experiment::{Experiment, ExperimentArguments};
use examples::placing::ScheduleName;
use examples::process::exit_on_error;
use examples::training::write_json;
use fae_profiler::charts::{Axis, LineChart};
use recsys_data::{Dataset, Split};
use serde_json::json;
use trainer::{Evaluation, Placement};

/// Compare FAE's schedules with the baseline. No arguments needed.
///
/// Writes curves.csv, results.json, and test_loss, test_accuracy and test_auc as .svg.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release --example paper_accuracy
  cargo run --release --example paper_accuracy -- --data kaggle --preset criteo-kaggle --budget 256MiB --out out/kaggle"
)]
struct Arguments {
    #[command(flatten)]
    experiment: ExperimentArguments,
    /// Points of each curve.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1000))]
    points: u64,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "out/paper_accuracy")]
    out: PathBuf,
}

/// One number of an evaluation.
type Figure = fn(&Evaluation) -> Option<f64>;

/// The runs: the baseline, and FAE with every schedule. Cold, then hot is the order of the published code for DLRM.
const SCHEDULES: [(&str, ScheduleName); 5] = [
    ("original order", ScheduleName::Original),
    ("shuffle scheduler", ScheduleName::Shuffle),
    ("fixed rate", ScheduleName::Interleave),
    ("cold, then hot", ScheduleName::ColdHot),
    ("hot, then cold", ScheduleName::HotCold),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let experiment = |experiment| run(&arguments, experiment);
    exit_on_error(arguments.experiment.run("synthetic", |_| (), experiment))
}

fn run(arguments: &Arguments, experiment: Experiment) -> Result<()> {
    let Experiment {
        source,
        mut settings,
        mut placement,
        hot,
    } = experiment;
    let data = &source.data;
    let samples = data.split(Split::Train).len() * settings.train.epochs;
    let steps = samples.div_ceil(settings.train.batch_size as u64);
    let every = (steps / arguments.points).max(1);
    settings.train.test_every.get_or_insert(every);
    let rate = placement.rate;

    let mut runs: Vec<(String, Vec<CurvePoint>)> = Vec::new();
    let mut reports = Vec::new();
    println!(
        "{:<28} {:>9} {:>9} {:>9}",
        "at the end, on the test set", "log loss", "accuracy", "AUC"
    );
    for (name, schedule) in SCHEDULES {
        placement.schedule = Some(schedule);
        // A rate for the schedules that have one.
        placement.rate = match schedule {
            ScheduleName::Shuffle => rate,
            ScheduleName::Interleave => Some(rate.unwrap_or(10.0)),
            _ => None,
        };
        let default = match schedule {
            ScheduleName::Original => Placement::Cpu,
            _ => Placement::Fae,
        };
        let place = placement.placement.map_or(default, Placement::from);
        let placing = placement
            .for_placement(place)
            .placing(place, data.schema())?;
        let mut trainer = placing.trainer(data.schema(), &settings, Some(&hot))?;
        let mut curve = Curve::default();
        let report = placing.run(&mut trainer, data, &settings, Some(&hot), &mut curve)?;
        if let Some(test) = report.test {
            let auc = test
                .auc
                .map_or("undefined".into(), |auc| format!("{auc:.4}"));
            println!(
                "{name:<28} {:>9.4} {:>8.2}% {auc:>9}",
                test.log_loss,
                100.0 * test.accuracy
            );
        }
        reports.push(
            json!({ "run": name, "placing": placing, "report": report, "curve": curve.points }),
        );
        runs.push((name.to_owned(), curve.points));
    }

    let figures: [(&str, &str, Axis, Figure); 3] = [
        (
            "test_loss",
            "Test loss over the epoch",
            Axis::linear("log loss, nats"),
            |e| Some(e.log_loss),
        ),
        (
            "test_accuracy",
            "Test accuracy over the epoch",
            Axis::linear("accuracy, %"),
            |e| Some(100.0 * e.accuracy),
        ),
        (
            "test_auc",
            "Test AUC over the epoch",
            Axis::linear("AUC"),
            |e| e.auc,
        ),
    ];
    for (file, title, y, figure) in figures {
        let title = format!("{title}: {}", source.name);
        let mut chart = LineChart::new(title, Axis::linear("training samples, thousands"), y);
        for (name, points) in &runs {
            chart = chart.with_series(series(name, points, figure));
        }
        std::fs::create_dir_all(&arguments.out)?;
        chart.save(arguments.out.join(format!("{file}.svg")))?;
    }
    write_csv(&arguments.out.join("curves.csv"), &runs)?;
    let results = json!({ "runs": reports, "hot_set": hot.to_json(), "settings": settings, "data": source.name });
    write_json(&arguments.out.join("results.json"), &results)?;
    println!("results in {}", arguments.out.display());
    Ok(())
}
