//! The whole way from raw text to a trained, evaluated model, without downloads.
//!
//! 1. Make raw rows in Criteo's format from a hidden model, so that the best reachable AUC is known.
//! 2. Prepare them: count categories, rank them, write a packed data set.
//! 3. Train DLRM, and logistic regression on the same data.
//! 4. Compare both with the best that any model could reach.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use clap::Parser;
use embedding_store::{CpuStore, Encoding, Initialization, Optimizer, StoreOptions, TableSpec};
use examples::logistic_regression::LogisticRegression;
use examples::process::{exit_on_error, peak_memory_bytes};
use examples::progress::Bars;
use examples::training::{Settings, TrainArguments, bytes, evaluations, results, write_json};
use recsys_data::{
    Dataset, PackedDataset, Planted, PlantedOptions, PrepareCriteo, PrepareOptions, Split,
};
use serde_json::json;
use trainer::{Console, Evaluation, RunReport, TrainOptions, Trainer, fit};

/// Make data, prepare them, train DLRM, and compare it with the best reachable result. No arguments needed.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Rows to make.
    #[arg(long, default_value_t = 700_000)]
    rows: u64,
    /// Seed of the data and of the first weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep raw text and packed data here instead of in a temporary folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Worker threads; changes no result [default: one for each core].
    #[arg(long)]
    threads: Option<usize>,
    /// Write the results as JSON (described in docs/results.md).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit_on_error(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(arguments.threads.unwrap_or(0))
        .build()?;
    pool.install(|| quickstart(arguments))
}

fn quickstart(arguments: &Arguments) -> Result<()> {
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = arguments
        .keep
        .clone()
        .unwrap_or_else(|| temporary.path().to_path_buf());
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;

    let clock = Instant::now();
    let planted = Planted::new(PlantedOptions {
        samples: arguments.rows,
        seed: arguments.seed,
        ..PlantedOptions::default()
    })?;
    let raw = folder.join("train.txt");
    let file = File::create(&raw).with_context(|| format!("cannot create {}", raw.display()))?;
    planted.write_criteo_text(0..arguments.rows, BufWriter::with_capacity(1 << 20, file))?;
    println!(
        "1. made {} raw rows ({}) in {:.1} s",
        arguments.rows,
        bytes(raw.metadata()?.len()),
        seconds(clock)
    );

    let clock = Instant::now();
    let packed = folder.join("packed");
    let options = PrepareOptions {
        raw: vec![raw],
        out: packed.clone(),
        force: true,
        ..PrepareOptions::default()
    };
    PrepareCriteo::new(options).run(&Bars::new())?;
    let data = PackedDataset::open(&packed)?;
    let rows: u64 = data.schema().table_rows().iter().sum();
    println!(
        "2. prepared: {} tables, {rows} categories, in {:.1} s ({:.0} rows/s)",
        data.schema().tables.len(),
        seconds(clock),
        arguments.rows as f64 / seconds(clock)
    );

    let preset = TrainArguments {
        preset: Some("synthetic".into()),
        seed: Some(arguments.seed),
        threads: arguments.threads,
        ..TrainArguments::default()
    };
    let settings = preset.settings(data.schema())?;
    let mut dlrm = cpu_trainer(data.schema(), &settings)?;
    let report = train(&mut dlrm, &data, &settings.train)?;
    println!(
        "3. trained DLRM: {:.1} s, {:.0} samples/s",
        report.train.seconds, report.train.samples_per_second
    );

    let regression = logistic_regression(&data, &settings)?;
    let splits =
        [Split::Train, Split::Validation, Split::Test].map(|split| data.split(split).len());
    let best = planted.best_auc(splits[0] + splits[1]..arguments.rows)?;

    println!(
        "\n{:<34} {:>8} {:>9}",
        "on the test rows", "AUC", "log loss"
    );
    let row = |name: &str, evaluation: Option<Evaluation>| {
        let Some(Evaluation {
            auc: Some(auc),
            log_loss,
            ..
        }) = evaluation
        else {
            return;
        };
        println!("{name:<34} {auc:>8.4} {log_loss:>9.4}");
    };
    row("logistic regression", regression.test);
    row("DLRM", report.test);
    println!("{:<34} {best:>8.4}", "best reachable (the hidden model)");
    println!("\npeak memory {}", bytes(peak_memory_bytes().unwrap_or(0)));

    if let Some(path) = &arguments.json {
        let mut value = results(&report, &settings, &data)?;
        value["best_reachable_auc"] = json!(best);
        value["logistic_regression"] =
            json!({ "test": regression.test, "validation": regression.validation });
        write_json(path, &value)?;
    }
    Ok(())
}

fn seconds(clock: Instant) -> f64 {
    clock.elapsed().as_secs_f64()
}

/// Logistic regression is a store of width 1 under an own little model: the loop is the same.
fn logistic_regression(data: &PackedDataset, settings: &Settings) -> Result<RunReport> {
    let schema = data.schema();
    let tables = schema
        .tables
        .iter()
        .map(|table| TableSpec {
            rows: table.rows,
            encoding: Encoding::Full,
        })
        .collect();
    let optimizer = Optimizer::adagrad();
    let initialization = Initialization::Zeros;
    let store = CpuStore::new(
        tables,
        StoreOptions {
            dim: 1,
            optimizer,
            initialization,
            ..StoreOptions::default()
        },
    )?;
    let model = LogisticRegression::new(schema.dense.len(), &Device::Cpu)?;
    let options = TrainOptions {
        learning_rate: 0.02,
        batch_size: 1024,
        ..settings.train.clone()
    };
    train(&mut Trainer::new(model, store, Device::Cpu), data, &options)
}

fn train<M: trainer::Model>(
    trainer: &mut Trainer<M, CpuStore>,
    data: &PackedDataset,
    options: &TrainOptions,
) -> Result<RunReport> {
    let train = Arc::new(data.split(Split::Train));
    Ok(fit(
        trainer,
        train,
        &evaluations(data),
        options,
        &mut Console::new(),
    )?)
}
