//! What a device does with this project's work, in one run: whether it is right, how fast it is,
//! and beside which limits.
//!
//! 1. Compare the device's rows with the CPU's, and replay parity cases where they are given.
//! 2. Measure what the hardware allows: memory, copies, matrix products.
//! 3. Measure gathering and moving rows, and training steps of every placement, on planted data.
//! 4. Write one JSON file and one picture.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use fae_run::on_threads;
use fae_run::one_device;
use serde_json::{Value, json};

use super::checks::{self, Check};
use super::rooflines::Rooflines;
use super::rows::{self, RowRates};
use super::shapes::{Extent, Shape, ShapeReport};
use crate::charts::below;
use crate::process::{probe, write_json, write_text};
use crate::speedup;

/// Check and measure a device. Needs no files.
///
/// Rows and training run on planted data in the shapes of Criteo Kaggle, Criteo Terabyte and
/// Taobao, made in a temporary folder. Writes report.json and report.svg. Exit code: 0, or 1 where
/// the device's numbers are wrong (the report is written all the same).
#[derive(Args)]
#[command(after_help = "Examples:
  fae report device --golden golden
  fae report device --device cpu --steps 20")]
pub(crate) struct Arguments {
    /// The device: cuda, cuda:1 …, or cpu, standing in for one [default: cuda in a build with CUDA,
    /// else cpu].
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Folder of parity cases to replay on every placement.
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,
    /// Shapes to train.
    #[arg(long, value_name = "SHAPES", value_delimiter = ',', default_value = "kaggle,terabyte,taobao", value_parser = ["kaggle", "terabyte", "taobao"])]
    shapes: Vec<String>,
    /// Steps of every training run.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Samples in a mini-batch.
    #[arg(long, value_name = "SAMPLES", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Factor on the rows of every large table, more than 0 and at most 1000. At 20, Criteo's
    /// shapes have 2.4 million rows.
    #[arg(long, default_value_t = 20.0, value_parser = scale)]
    scale: f64,
    /// Added to the exponents of the tables' Zipf distributions, at most 2: 0.1 is about Criteo
    /// Kaggle's skew, with 0.3 five inputs of six touch hot rows only.
    #[arg(long, default_value_t = 0.1, value_parser = skew)]
    skew: f64,
    /// Train every placement with TF32 products too.
    #[arg(long)]
    tf32: bool,
    /// Worker threads [default: one for each core].
    #[arg(long)]
    threads: Option<usize>,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "out/device")]
    out: PathBuf,
}

fn scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok();
    let scale = scale.filter(|scale| *scale > 0.0 && *scale <= 1000.0);
    scale.ok_or_else(|| "give a number above 0 and at most 1000".into())
}

fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse().ok();
    let skew = skew.filter(|skew| (0.0..=2.0).contains(skew));
    skew.ok_or_else(|| "give a number from 0 to 2".into())
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let wrong = on_threads(arguments.threads, || measure(arguments))?;
    Ok(ExitCode::from(u8::from(wrong)))
}

/// Whether the device's numbers are wrong.
fn measure(arguments: &Arguments) -> Result<bool> {
    let start = Instant::now();
    let name = arguments.device.clone().unwrap_or_else(|| {
        let with_cuda = candle_core::utils::cuda_is_available();
        if with_cuda { "cuda" } else { "cpu" }.into()
    });
    if name.contains(',') {
        bail!("device `{name}`: give one; several devices share a batch in `fae train`");
    }
    let device = one_device(&name)?;
    probe(&arguments.out.join("report.json"))?;
    note!("comparing rows on {name} with the CPU's");
    let mut checks = checks::stores(&device)?;
    if let Some(golden) = &arguments.golden {
        note!("replaying {}", golden.display());
        checks.extend(checks::parity(golden, &device)?);
    }
    let wrong: Vec<&Check> = checks.iter().filter(|check| !check.passed).collect();
    say!("{} comparisons, {} wrong", checks.len(), wrong.len());
    for check in &wrong {
        say!("  {}: {}", check.name, check.result);
    }

    note!("measuring the hardware");
    let rooflines = Rooflines::measure(&device)?;
    say!(
        "memory {:.0} GB/s, to the device {:.1} GB/s, to the host {:.1} GB/s, products {:.0} GFLOP/s",
        rooflines.memory,
        rooflines.to_device,
        rooflines.to_host,
        rooflines.products
    );
    let extent = Extent {
        steps: arguments.steps,
        batch_size: arguments.batch_size as usize,
        scale: arguments.scale,
        skew: arguments.skew,
    };
    let (mut row_rates, mut reports) = (Vec::new(), Vec::new());
    for shape in &arguments.shapes {
        note!("{shape}: making data");
        let shape = Shape::make(shape, extent)?;
        if shape.name != "taobao" {
            let dim = if shape.name == "kaggle" { 16 } else { 64 };
            note!("{}: gathering and moving rows", shape.name);
            let measured = rows::measure(shape.data(), &device, dim)?;
            print_rows(&measured, &rooflines);
            row_rates.extend(measured);
        }
        for tf32 in [false, true] {
            if tf32 && !arguments.tf32 {
                continue;
            }
            let report = shape.run(&name, extent, tf32)?;
            print_shape(&report);
            reports.push(report);
        }
    }
    let wrong = !wrong.is_empty();
    let report = json!({
        "device": name,
        "version": env!("CARGO_PKG_VERSION"),
        "threads": rayon::current_num_threads(),
        "checks": checks,
        "rooflines": rooflines,
        "rows": row_rates,
        "shapes": reports.iter().map(|report| report.to_json(rooflines.products)).collect::<Vec<Value>>(),
        "options": { "steps": extent.steps, "batch_size": extent.batch_size, "scale": extent.scale, "skew": extent.skew },
        "seconds": start.elapsed().as_secs_f64(),
    });
    write_json(&arguments.out.join("report.json"), &report)?;
    write_text(&arguments.out.join("report.svg"), &picture(&reports)?)?;
    say!(
        "report in {} after {:.0} s",
        arguments.out.display(),
        start.elapsed().as_secs_f64()
    );
    Ok(wrong)
}

fn print_rows(rates: &[RowRates], rooflines: &Rooflines) {
    say!(
        "{:<8} {:<5} {:<16} {:>4} {:>18} {:>10} {:>18} {:>10}",
        "rows on",
        "as",
        "optimizer",
        "dim",
        "gathered M/s",
        "memory",
        "moved M/s",
        "memory"
    );
    for rate in rates {
        // The roofline is the device's; the CPU has one of its own where the two differ.
        let share = |bytes: f64| match rate.place {
            "device" => format!("{:.0}%", 100.0 * bytes / rooflines.memory),
            _ => String::new(),
        };
        say!(
            "{:<8} {:<5} {:<16} {:>4} {:>18.1} {:>10} {:>18.1} {:>10}",
            rate.place,
            rate.format.name(),
            rate.optimizer,
            rate.dim,
            rate.gathered,
            share(rate.gather_bytes),
            rate.updated,
            share(rate.update_bytes)
        );
    }
}

fn print_shape(report: &ShapeReport) {
    say!(
        "{}{}: {:.0}% of the inputs touch hot rows only",
        report.name,
        if report.tf32 { " in TF32" } else { "" },
        100.0 * report.hot_inputs
    );
    speedup::print(&report.runs);
    let ratio = |name: &str, other: &str| match (report.rate(name), report.rate(other)) {
        (Some(rate), Some(other)) => format!("{:.2} × the throughput of", rate / other),
        _ => "no run to compare with".into(),
    };
    say!("fae: {} cpu-device", ratio("fae", "cpu-device"));
    say!("mixed: {} fae", ratio("mixed", "fae"));
    say!("mixed: {} all-device", ratio("mixed", "all-device"));
    say!("mixed-bf16: {} mixed", ratio("mixed-bf16", "mixed"));
}

/// The shapes' charts below each other.
fn picture(reports: &[ShapeReport]) -> Result<String> {
    let chart = |report: &ShapeReport| {
        let products = if report.tf32 { ", TF32" } else { "" };
        let title = format!("Time of a run: {}{products}", report.name);
        speedup::chart(title, &report.runs).to_svg()
    };
    let charts: Vec<String> = reports.iter().map(chart).collect::<Result<_>>()?;
    Ok(below(&charts))
}
