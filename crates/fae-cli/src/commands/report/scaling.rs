//! What a full data set costs on this machine, from measurements at smaller sizes.
//!
//! 1. At every size: make planted raw data, then run the programs on them one by one, each in a
//!    process of its own.
//! 2. Fit a straight line to the time, the memory and the disk space of each.
//! 3. Print the measurements and what the lines say about the full data sets, and draw them.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::lines::{Full, Measured, Stage};
use crate::charts::{Axis, LineChart, Series};
use crate::process::{probe, wait, write_json, write_text};
use crate::text::bytes;

/// Measure what preprocessing, profiling and training cost at several sizes, and extrapolate to the
/// full data sets.
///
/// Runs the other commands, each in a process of its own. Planted data have as many categories a
/// row at every size. Writes scaling.md, scaling.svg and scaling.json.
#[derive(Args)]
#[command(after_help = "Examples:
  fae report scaling
  fae report scaling --sizes 100000,200000,400000 --out out/small")]
pub(crate) struct Arguments {
    /// Rows (Criteo) or events (Taobao) to measure at, two sizes or more.
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "500000,1000000,2000000"
    )]
    sizes: Vec<u64>,
    /// Memory that `fae prepare criteo-terabyte` may take.
    #[arg(long, value_name = "BYTES", default_value = "512MiB")]
    memory: String,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "out/scaling")]
    out: PathBuf,
}

const KAGGLE: Full = Full {
    name: "Criteo Kaggle",
    size: 45_840_617,
};
const TERABYTE: Full = Full {
    name: "Criteo Terabyte",
    size: 4_373_472_329,
};
const TAOBAO: Full = Full {
    name: "Taobao",
    size: 100_150_807,
};

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut sizes = arguments.sizes.clone();
    sizes.sort_unstable();
    sizes.dedup();
    ensure!(
        sizes.len() >= 2,
        "a line needs two sizes or more: --sizes 500000,1000000"
    );
    probe(&arguments.out.join("scaling.json"))?;
    let mut stages = [
        Stage::new("prepare criteo-kaggle, text", "rows", KAGGLE),
        Stage::new("prepare criteo-terabyte, 8 days .gz", "rows", TERABYTE),
        Stage::new("profile, every access counted", "rows", TERABYTE),
        Stage::new("train DLRM, dim 16, an epoch", "rows", KAGGLE),
        Stage::new("train DLRM, dim 64, an epoch", "rows", TERABYTE),
        Stage::new("prepare taobao, text", "events", TAOBAO),
        Stage::new("train TBSM, an epoch", "events", TAOBAO),
    ];
    for &size in &sizes {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let measured = measure(folder.path(), size, &arguments.memory)?;
        for (stage, measured) in stages.iter_mut().zip(measured) {
            note!(
                "{size} {}: {}, {:.2} s",
                stage.unit,
                stage.name,
                measured.seconds
            );
            stage.measured.push(measured);
        }
    }
    let text = table(&stages);
    write_text(&arguments.out.join("scaling.md"), &text)?;
    write_text(
        &arguments.out.join("scaling.svg"),
        &chart(&stages).to_svg()?,
    )?;
    write_json(
        &arguments.out.join("scaling.json"),
        &json!({ "stages": stages, "sizes": sizes }),
    )?;
    say!("{text}");
    say!("results in {}", arguments.out.display());
    Ok(())
}

/// Runs every program at one size, in the order of the stages.
fn measure(folder: &Path, size: u64, memory: &str) -> Result<Vec<Measured>> {
    // 119,000 categories at scale 1: about as many a row as the data sets have.
    let scale = |per_million: f64| (per_million * size as f64 / 1e6).to_string();
    let (rows, at) = (size.to_string(), |name: &str| folder.join(name));
    let mut measured = Vec::new();

    program("generate", folder)
        .args(["text", "--rows", &rows, "--scale", &scale(10.0), "--out"])
        .arg(at("train.txt"))
        .run()?;
    let prepared = program("prepare", folder)
        .args(["criteo-kaggle", "--raw"])
        .arg(at("train.txt"))
        .arg("--out")
        .arg(at("kaggle"))
        .run_with_json()?;
    measured.push(prepared.at(size, "/packed_bytes"));

    program("generate", folder)
        .args(["days", "--days", "8", "--gzip", "--rows", &rows])
        .args(["--scale", &scale(3.0), "--out"])
        .arg(at("days"))
        .run()?;
    let prepared = program("prepare", folder)
        .args(["criteo-terabyte", "--memory", memory, "--raw"])
        .args((0..8).map(|day| at("days").join(format!("day_{day}.gz"))))
        .arg("--out")
        .arg(at("terabyte"))
        .run_with_json()?;
    measured.push(prepared.at(size, "/disk_bytes"));

    let profiled = program("profile", folder)
        .args(["--budget", "10%", "--strategy", "frequency", "--data"])
        .arg(at("terabyte"))
        .arg("--out")
        .arg(at("hot.json"))
        .run()?;
    measured.push(profiled.at(size, ""));

    for (data, preset) in [("kaggle", "criteo-kaggle"), ("terabyte", "criteo-terabyte")] {
        let trained = program("train", folder)
            .args(["--preset", preset, "--data"])
            .arg(at(data))
            .run_with_json()?;
        measured.push(trained.at(size, ""));
    }

    program("generate", folder)
        .args(["events", "--events", &rows, "--scale", &scale(0.2), "--out"])
        .arg(at("events.csv"))
        .run()?;
    let prepared = program("prepare", folder)
        .args(["taobao", "--raw"])
        .arg(at("events.csv"))
        .arg("--out")
        .arg(at("taobao"))
        .run_with_json()?;
    measured.push(prepared.at(size, "/packed_bytes"));
    let trained = program("train", folder)
        .arg("--data")
        .arg(at("taobao"))
        .run_with_json()?;
    measured.push(trained.at(size, ""));
    Ok(measured)
}

/// A command of this program, in a process of its own.
struct Program {
    name: &'static str,
    command: Command,
    json: PathBuf,
    errors: PathBuf,
}

/// What a program took, and what it wrote with `--json`.
struct Taken {
    seconds: f64,
    memory: u64,
    json: Value,
}

fn program(name: &'static str, folder: &Path) -> Program {
    let mut command = Command::new(std::env::current_exe().unwrap_or_default());
    command.arg(name);
    Program {
        name,
        command,
        json: folder.join("result.json"),
        errors: folder.join("errors.txt"),
    }
}

impl Program {
    fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    fn run(mut self) -> Result<Taken> {
        // To a file and not a pipe, which would have to be read while the program runs.
        let errors = File::create(&self.errors)
            .with_context(|| format!("cannot create {}", self.errors.display()))?;
        let start = Instant::now();
        let child = self.command.stdout(Stdio::null()).stderr(errors).spawn();
        let child = child.with_context(|| format!("cannot run `fae {}`", self.name))?;
        let (succeeded, memory) =
            wait(child).with_context(|| format!("cannot wait for {}", self.name))?;
        ensure!(
            succeeded,
            "{} failed: {}",
            self.name,
            std::fs::read_to_string(&self.errors).unwrap_or_default()
        );
        Ok(Taken {
            seconds: start.elapsed().as_secs_f64(),
            memory,
            json: Value::Null,
        })
    }

    fn run_with_json(self) -> Result<Taken> {
        let path = self.json.clone();
        let taken = self.arg("--json").arg(&path).run()?;
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Taken {
            json: serde_json::from_str(&text)?,
            ..taken
        })
    }
}

impl Taken {
    /// As a measurement; `disk` points to the bytes on disk in what the program wrote, if it says
    /// so.
    fn at(&self, size: u64, disk: &str) -> Measured {
        Measured {
            size,
            seconds: self.seconds,
            memory: self.memory,
            disk: self.json.pointer(disk).and_then(Value::as_u64).unwrap_or(0),
        }
    }
}

/// The measurements, and what the lines say about the full data sets, as Markdown.
fn table(stages: &[Stage]) -> String {
    let mut text = String::new();
    let figure = |text: &mut String,
                  name: &str,
                  stage: &Stage,
                  of: fn(&Measured) -> f64,
                  show: fn(f64) -> String| {
        let Some(line) = stage.line(of) else { return };
        let measured: Vec<String> = stage.measured.iter().map(|point| show(of(point))).collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {name} | {} | {} + {} a million {} | {:.0}% | {}: {} |",
            stage.name,
            measured.join(", "),
            show(line.fixed),
            show(1e6 * line.per_unit),
            stage.unit,
            100.0 * line.worst,
            stage.full.name,
            show(line.at(stage.full.size as f64)),
        );
    };
    text.push_str("| program | figure | measured | line | worst miss | in full |\n| --- | --- | --- | --- | --- | --- |\n");
    for stage in stages {
        figure(&mut text, "time", stage, |point| point.seconds, duration);
        figure(
            &mut text,
            "memory",
            stage,
            |point| point.memory as f64,
            size,
        );
        figure(&mut text, "disk", stage, |point| point.disk as f64, size);
    }
    text
}

fn size(value: f64) -> String {
    bytes(value as u64)
}

/// Seconds in the unit that suits them.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

/// Measured times, and the lines to the full data sets.
fn chart(stages: &[Stage]) -> LineChart {
    let mut chart = LineChart::new(
        "Time against size, measured (dots) and extrapolated (dashes)",
        Axis::log("rows or events"),
        Axis::log("seconds"),
    );
    for stage in stages {
        let Some(line) = stage.line(|point| point.seconds) else {
            continue;
        };
        let points = stage
            .measured
            .iter()
            .map(|point| (point.size as f64, point.seconds));
        let (first, full) = (stage.measured[0].size as f64, stage.full.size as f64);
        // Points on a straight line are on a curve here.
        let steps = (0..=40).map(|step| first * (full / first).powf(f64::from(step) / 40.0));
        chart = chart
            .with_series(Series::new(stage.name, points.collect()).with_dots())
            .with_series(
                Series::new("", steps.map(|size| (size, line.at(size))).collect())
                    .dashed()
                    .in_same_colour(),
            );
    }
    chart
}
