//! The whole way from raw text to a trained, evaluated model, without downloads.
//!
//! 1. Make raw rows in Criteo's format from a hidden model, so that the best reachable AUC is known.
//! 2. Prepare them: count categories, rank them, write a packed data set.
//! 3. Profile: which rows are hot under a budget, and which inputs need no others.
//! 4. Train DLRM in the original order, DLRM with FAE, and logistic regression, all on the same data.
//! 5. Compare them with the best that any model could reach, in a table and in one picture.
//!
//! With `--model tbsm` the samples are sequences of users with drifting interests, made at once in packed form, the model is TBSM,
//! and the simple competitor is how much of the history is in the candidate's category.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use clap::Parser;
use embedding_store::{CpuStore, Initialization, Optimizer, StoreOptions, TableSpec};
use examples::budget::Budget;
use examples::curve::{Curve, CurvePoint, series};
use examples::logistic_regression::LogisticRegression;
use examples::model::ModelKind;
use examples::placing::PlacementArguments;
use examples::planted::write_planted;
use examples::process::{exit_on_error, peak_memory_bytes, write_text};
use examples::progress::Bars;
use examples::training::{Settings, TrainArguments, bytes, evaluations, results, write_json};
use fae_profiler::charts::{Axis, LineChart, Series};
use recsys_data::criteo::{PrepareCriteo, PrepareOptions};
use recsys_data::generate::{Planted, PlantedOptions, PlantedSequences, PlantedSequencesOptions};
use recsys_data::packed::PackedDataset;
use recsys_data::{Batch, Dataset, Split, SplitRows};
use serde_json::json;
use trainer::{Evaluation, Placement, RunReport, Scores, TrainOptions, Trainer, fit};

/// Points of each curve.
const POINTS: u64 = 16;

/// Make data, prepare and profile them, train a model with and without FAE, and compare with the best reachable result. No
/// arguments needed.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The model: DLRM on samples, or TBSM on sequences.
    #[arg(long, value_enum, default_value_t = ModelKind::Dlrm)]
    model: ModelKind,
    /// Rows to make.
    #[arg(long, default_value_t = 700_000)]
    rows: u64,
    /// Seed of the data and of the first weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Most bytes that hot rows may take, as a share of all rows' bytes or in bytes.
    #[arg(long, value_name = "SIZE", default_value = "20%")]
    budget: Budget,
    /// Where to draw the picture.
    #[arg(long, value_name = "FILE.svg", default_value = "out/quickstart.svg")]
    picture: PathBuf,
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

    let Made { data, best, preset } = match arguments.model {
        ModelKind::Dlrm => make_clicks(arguments, &folder)?,
        ModelKind::Tbsm => make_sequences(arguments, &folder)?,
    };
    let preset = TrainArguments {
        preset: preset.map(Into::into),
        seed: Some(arguments.seed),
        threads: arguments.threads,
        ..TrainArguments::default()
    };
    let mut settings = preset.settings(data.schema())?;
    let train = data.split(Split::Train).len();
    settings.train.test_every = Some((train / settings.train.batch_size as u64 / POINTS).max(1));
    let placement = PlacementArguments {
        budget: Some(arguments.budget),
        ..PlacementArguments::default()
    };
    let hot = placement.hot(&data, &settings)?;
    println!(
        "3. profiled: {} of hot rows serve {:.1}% of the lookups; {:.1}% of the inputs are wholly hot, in {:.1} s",
        bytes(hot.set.hot_bytes()),
        100.0 * hot.set.results().lookup_share(),
        100.0 * hot.partition.hot_len() as f64 / train as f64,
        hot.profile_seconds + hot.classify_seconds
    );

    let run = |name: &str, default: Placement| -> Result<(RunReport, Vec<CurvePoint>)> {
        let placing = placement.placing(default, data.schema())?;
        let mut trainer = placing.trainer(data.schema(), &settings, Some(&hot))?;
        let mut curve = Curve::default();
        let report = placing.run(&mut trainer, &data, &settings, Some(&hot), &mut curve)?;
        println!(
            "   trained {name}: {:.1} s, {:.0} samples/s, {} across between host and device",
            report.train.seconds,
            report.train.samples_per_second,
            bytes(crossed(&report))
        );
        Ok((report, curve.points))
    };
    println!("4. training");
    let (baseline, baseline_curve) = run(
        "the baseline, rows on the CPU and the model on a device",
        Placement::CpuDevice,
    )?;
    let (fae, fae_curve) = run("FAE, hot rows on the device too", Placement::Fae)?;
    let competitor = match arguments.model {
        ModelKind::Dlrm => Competitor {
            name: "logistic regression",
            test: logistic_regression(&data, &settings)?,
        },
        ModelKind::Tbsm => Competitor {
            name: "share of history in the category",
            test: category_share(&data)?,
        },
    };
    let model = match arguments.model {
        ModelKind::Dlrm => "DLRM",
        ModelKind::Tbsm => "TBSM",
    };

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
    match competitor.test {
        Score::Evaluated(evaluation) => row(competitor.name, evaluation),
        Score::Auc(auc) => println!("{:<34} {auc:>8.4} {:>9}", competitor.name, "-"),
    }
    row(&format!("{model}, baseline"), baseline.test);
    row(&format!("{model}, FAE"), fae.test);
    println!("{:<34} {best:>8.4}", "best reachable (the hidden model)");

    let end = train as f64 / 1e3;
    let level = |name: &str, auc: f64| Series::new(name, vec![(0.0, auc), (end, auc)]).dashed();
    let mut chart = LineChart::new(
        "Test AUC over one epoch, planted data",
        Axis::linear("training samples, thousands"),
        Axis::linear("AUC"),
    )
    .with_series(series(&format!("{model}, FAE"), &fae_curve, |test| {
        test.auc
    }))
    .with_series(series(
        &format!("{model}, baseline"),
        &baseline_curve,
        |test| test.auc,
    ))
    .with_series(level("best reachable", best));
    if let Some(auc) = competitor.test.auc() {
        chart = chart.with_series(level(competitor.name, auc));
    }
    write_text(&arguments.picture, &chart.to_svg()?)
        .with_context(|| format!("cannot write {}", arguments.picture.display()))?;
    println!(
        "\npicture in {}; peak memory {}",
        arguments.picture.display(),
        bytes(peak_memory_bytes().unwrap_or(0))
    );

    if let Some(path) = &arguments.json {
        let mut value = results(&baseline, &settings, &data)?;
        value["fae"] = json!(fae);
        value["hot_set"] = hot.to_json();
        value["best_reachable_auc"] = json!(best);
        value["competitor"] = json!({ "name": competitor.name, "test_auc": competitor.test.auc() });
        write_json(path, &value)?;
    }
    Ok(())
}

/// Data to train on.
struct Made {
    data: PackedDataset,
    /// Best reachable AUC on its test rows.
    best: f64,
    /// The settings to train with; `None` for those of the model.
    preset: Option<&'static str>,
}

/// Raw text of planted clicks, prepared.
fn make_clicks(arguments: &Arguments, folder: &Path) -> Result<Made> {
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
    let splits =
        [Split::Train, Split::Validation, Split::Test].map(|split| data.split(split).len());
    Ok(Made {
        best: planted.best_auc(splits[0] + splits[1]..arguments.rows)?,
        data,
        preset: Some("synthetic"),
    })
}

/// Planted sequences in packed form.
fn make_sequences(arguments: &Arguments, folder: &Path) -> Result<Made> {
    let clock = Instant::now();
    let planted = PlantedSequences::new(PlantedSequencesOptions {
        samples: arguments.rows,
        seed: arguments.seed,
        ..PlantedSequencesOptions::default()
    })?;
    let held_out = arguments.rows / 14;
    let rows = SplitRows {
        train: arguments.rows - 2 * held_out,
        validation: held_out,
        test: held_out,
    };
    let out = folder.join("packed");
    let data = write_planted(&planted, planted.options(), rows, &out, true)?;
    let schema = data.schema();
    println!(
        "1. made {} sequences of {} items in {:.1} s",
        arguments.rows,
        schema.positions(),
        seconds(clock)
    );
    println!(
        "2. packed: {} tables, {} rows",
        schema.tables.len(),
        schema.table_rows().iter().sum::<u64>()
    );
    Ok(Made {
        best: planted.best_auc(rows.train + held_out..arguments.rows)?,
        data,
        preset: None,
    })
}

/// A simple way to predict, for comparison.
struct Competitor {
    name: &'static str,
    test: Score,
}

/// How it does on the test rows.
enum Score {
    Evaluated(Option<Evaluation>),
    /// Scores that are no probabilities have an AUC only.
    Auc(f64),
}

impl Score {
    fn auc(&self) -> Option<f64> {
        match self {
            Self::Evaluated(evaluation) => evaluation.and_then(|test| test.auc),
            Self::Auc(auc) => Some(*auc),
        }
    }
}

/// Predicts by the share of the history that is in the candidate's category, the last table.
fn category_share(data: &PackedDataset) -> Result<Score> {
    let test = data.split(Split::Test);
    let (tables, bags) = (data.schema().tables.len(), data.schema().bags());
    let mut batch = Batch::default();
    test.read(&(0..test.len()).collect::<Vec<_>>(), &mut batch)?;
    let share = |ids: &[u32]| {
        let candidate = ids[bags - 1];
        let history = ids[..bags - tables].chunks_exact(tables);
        history.filter(|ids| ids[tables - 1] == candidate).count() as f32
    };
    let shares: Vec<f32> = batch.sparse.ids.chunks_exact(bags).map(share).collect();
    let mut scores = Scores::default();
    scores.extend(&shares, &batch.label)?;
    Ok(scores.auc().map_or(Score::Evaluated(None), Score::Auc))
}

/// Bytes that crossed between host and device in a run.
fn crossed(report: &RunReport) -> u64 {
    let phases = [report.phases.unsplit, report.phases.hot, report.phases.cold];
    let traffic = phases.iter().flatten().map(|phase| phase.traffic);
    traffic
        .map(|t| t.host_to_device + t.device_to_host + t.sync_to_device + t.sync_to_host)
        .sum()
}

fn seconds(clock: Instant) -> f64 {
    clock.elapsed().as_secs_f64()
}

/// Logistic regression is a store of width 1 under an own little model: the loop is the same.
fn logistic_regression(data: &PackedDataset, settings: &Settings) -> Result<Score> {
    let schema = data.schema();
    let tables = schema
        .tables
        .iter()
        .map(|table| TableSpec::full(table.rows))
        .collect();
    let optimizer = Optimizer::adagrad();
    let initialization = Initialization::Zeros;
    let store = CpuStore::new(
        tables,
        StoreOptions {
            dim: 1,
            optimizer: optimizer.into(),
            initialization,
            ..StoreOptions::default()
        },
    )?;
    let model = LogisticRegression::new(schema.dense.len(), &Device::Cpu)?;
    let options = TrainOptions {
        learning_rate: 0.02,
        batch_size: 1024,
        test_every: None,
        ..settings.train.clone()
    };
    let train = Arc::new(data.split(Split::Train));
    let mut trainer = Trainer::new(model, store, Device::Cpu);
    let report = fit(&mut trainer, train, &evaluations(data), &options, &mut ())?;
    Ok(Score::Evaluated(report.test))
}
