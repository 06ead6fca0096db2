//! Training: from packed data to a model, on any placement.
//!
//! 1. Decide every setting; profile the data, or load a hot set, where rows are hot.
//! 2. Try every output, so that none fails after hours.
//! 3. Train, with a progress bar, and write checkpoints. A signal ends that after the current step.
//! 4. Write the weights and the results, each whatever becomes of the other; print what ran where,
//!    how long, and what crossed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use clap::Args;
use embedding_store::EmbeddingStore;
use fae_run::{
    Hot, LoadedRows, Run, ScheduleName, load_weights_file, on_threads, save_weights_file,
};
use recsys_data::packed::PackedDataset;
use recsys_data::{Dataset, Split};
use serde_json::json;
use trainer::{Model, Observers, RunReport, Trainer};

use crate::arguments::{CheckpointArguments, PlacementArguments, TrainArguments};
use crate::console::Console;
use crate::log::Log;
use crate::process::{Outputs, check_outputs, peak_memory_bytes, probe, write_json};
use crate::signals::Signals;
use crate::text::{bytes, print_report, rows_at};

/// Train DLRM or TBSM on a packed data set.
///
/// Placements say where rows live. `cpu`: rows and model on the CPU. `cpu-device`: rows on the CPU,
/// the model on a device; every batch's rows and their gradients cross. `fae`: hot rows on the
/// device too; inputs that touch no other rows train wholly there, in an order of their own.
/// `mixed`: hot rows on the device; every batch is split by lookup, and the order of the inputs
/// stays. With --device cpu the CPU stands in for a device: the numbers are the same, and what
/// would cross is counted.
///
/// Every setting has a value: the preset's, then the one in `--config FILE`, then the option given
/// here, the last one winning. The same seed and options give the same numbers on any number of
/// threads.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  fae prepare criteo-kaggle --raw train.txt --out kaggle
  fae train --data kaggle --preset criteo-kaggle --save-weights dlrm.safetensors

  FAE, with a quarter of a gibibyte of hot rows on the device:
    fae train --data kaggle --preset criteo-kaggle --placement fae --budget 256MiB

  A hot set from a file, every batch split by lookup:
    fae profile --data kaggle --budget 256MiB --out hotset.json
    fae train --data kaggle --preset criteo-kaggle --placement mixed --hot-set hotset.json

  Sequences, with checkpoints; the same command goes on after an interruption:
    fae train --data taobao --placement fae --checkpoint checkpoints --resume

Ctrl-C, SIGTERM and a terminal that closes end the run after the current step: a checkpoint, weights
and results of that moment are written, and the exit code is 130, 143 or 129. A second one ends it
immediately. Under nohup, a terminal that closes changes nothing.")]
pub(crate) struct Arguments {
    /// The packed data set.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Model and training.
    #[command(flatten)]
    training: TrainArguments,
    /// Placement and hot rows.
    #[command(flatten)]
    placement: PlacementArguments,
    /// Checkpoints.
    #[command(flatten)]
    checkpoints: CheckpointArguments,
    /// Worker threads; changes no result [default: one for each core].
    #[arg(long, help_heading = "Machine")]
    threads: Option<usize>,
    /// Start from these weights: safetensors, or what PyTorch saved (.pt).
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    load_weights: Option<PathBuf>,
    /// The data set that the weights were trained on, where its ids are others, as those of `fae
    /// prepare --ids reference` are: every category gets its row.
    #[arg(
        long,
        value_name = "DIR",
        requires = "load_weights",
        help_heading = "Files"
    )]
    ids_of: Option<PathBuf>,
    /// Save the final weights, under the reference programs' names.
    #[arg(long, value_name = "FILE.safetensors", help_heading = "Files")]
    save_weights: Option<PathBuf>,
    /// Write the results as JSON (described in docs/training.md).
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    json: Option<PathBuf>,
    /// Write what happens as JSON lines while it happens.
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    log: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    on_threads(arguments.threads, || train(arguments))
}

fn train(arguments: &Arguments) -> Result<ExitCode> {
    let data = PackedDataset::open(&arguments.data)?;
    let (weights, json, log) = (
        arguments.save_weights.as_ref(),
        arguments.json.as_ref(),
        arguments.log.as_ref(),
    );
    let named = [
        ("--save-weights", weights),
        ("--json", json),
        ("--log", log),
    ];
    check_outputs(&named, &[&data])?;
    for path in [weights, json].into_iter().flatten() {
        probe(path)?;
    }
    let card = arguments.training.card(data.schema())?;
    if data.schema().dense.is_empty() && arguments.training.model.bottom_mlp.is_some() {
        note!(
            "the data have no dense features: the model has no bottom MLP, and --bottom-mlp \
             changes nothing"
        );
    }
    let mut run = Run::new(&data, &card.overlay(arguments.placement.card()))?;
    if let Some(hot) = &run.hot {
        print_hot(hot);
        if run.placing.schedule != ScheduleName::Original {
            warn_of_labels(hot);
        }
    }
    let mut resumes = false;
    if let Some(checkpoints) = arguments.checkpoints.checkpoints() {
        resumes = checkpoints.resume;
        run = run.with_checkpoints(checkpoints)?;
    }
    let mut trainer = run.trainer()?;
    if let Some(path) = &arguments.load_weights {
        load_weights(path, arguments.ids_of.as_deref(), &data, &mut trainer)?;
    }
    note!(
        "training on {} samples; {} embedding tables, {} rows, {}; {} dense weights; placement {}, \
         {} threads",
        data.split(Split::Train).len(),
        data.schema().tables.len(),
        data.schema().table_rows().iter().sum::<u64>(),
        rows_at(trainer.store()),
        run.settings.model.parameter_count()?,
        run.placing.placement,
        rayon::current_num_threads()
    );
    let mut observers = Observers(vec![Box::new(Console::new())]);
    let mut log_failure = None;
    if let Some(path) = log {
        let log = Log::open(path, resumes)?;
        log_failure = Some(log.failure());
        observers.0.push(Box::new(log));
    }
    let signals = Signals::noted()?;
    run.settings.train.stop = signals.stop.clone();
    let report = run.fit(&mut trainer, &mut observers)?;

    let mut outputs = Outputs::default();
    if let Some(path) = weights {
        outputs.tried(save_weights_file(path, &trainer, &data).map_err(Into::into));
    }
    if let Some(path) = json {
        outputs.tried(write_results(path, &run, &report));
    }
    let taken = |failure: Arc<Mutex<Option<_>>>| {
        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    };
    outputs.tried(
        log_failure
            .and_then(taken)
            .map_or(Ok(()), |error| Err(error.into())),
    );
    outputs.tried(report.unsaved.as_ref().map_or(Ok(()), |problem| {
        Err(anyhow!("the last checkpoint was not written: {problem}"))
    }));
    match report.interrupted_at {
        None => print_report(&report),
        Some(step) if run.checkpoints.is_some() => {
            say!("interrupted after step {step}; the same command with --resume goes on from there")
        }
        Some(step) => say!(
            "interrupted after step {step}; with --checkpoint, a run can go on from where it ended"
        ),
    }
    outputs.result()?;
    Ok(match report.interrupted_at {
        Some(_) => signals.exit_code(),
        None => ExitCode::SUCCESS,
    })
}

fn write_results(path: &Path, run: &Run<'_>, report: &RunReport) -> Result<()> {
    let mut value = run.results(report)?;
    value["peak_memory_bytes"] = json!(peak_memory_bytes());
    write_json(path, &value)
}

/// Reads weights, and says what their rows are not.
pub(super) fn load_weights<M: Model, S: EmbeddingStore>(
    file: &Path,
    ids_of: Option<&Path>,
    data: &PackedDataset,
    trainer: &mut Trainer<M, S>,
) -> Result<()> {
    let there = ids_of.map(PackedDataset::open).transpose()?;
    let rows = load_weights_file(file, there.as_ref(), data, trainer)?;
    say_rows(rows, file, there.is_some(), data);
    Ok(())
}

/// Says how many rows weights do not know, and warns where nobody knows what their rows are.
pub(super) fn say_rows(rows: LoadedRows, weights: &Path, translated: bool, data: &PackedDataset) {
    if translated {
        let all: u64 = data.schema().table_rows().iter().sum();
        note!(
            "{} of {all} rows are of categories that the weights do not know; they keep their \
             first weights",
            rows.absent
        );
    } else if !rows.ids_known {
        note!(
            "warning: {} does not say which categories its rows are of; where they are not those of \
             {}, the numbers mean nothing: give the data set that the weights were trained on as \
             --ids-of",
            weights.display(),
            data.folder().display()
        );
    }
}

/// Says what is hot.
fn print_hot(hot: &Hot) {
    let inputs = hot.partition.len().max(1);
    note!(
        "hot: {} of rows serve {:.1}% of the lookups and {} of {inputs} inputs wholly ({:.1}%); \
         profiled in {:.1} s, classified in {:.2} s",
        bytes(hot.set.hot_bytes()),
        100.0 * hot.set.results().lookup_share(),
        hot.partition.hot_len(),
        100.0 * hot.partition.hot_len() as f64 / inputs as f64,
        hot.profile_seconds,
        hot.classify_seconds
    );
}

/// Says so where hot and cold inputs are so different that training on them in turns harms the
/// model.
fn warn_of_labels(hot: &Hot) {
    /// Share of positives: what sides may differ by before anybody needs to know.
    const GAP: f64 = 0.05;
    let [Some(hot_rate), Some(cold_rate)] = hot.label_rates else {
        return;
    };
    if hot.label_gap() > GAP {
        note!(
            "warning: {:.0}% of the hot inputs are positive and {:.0}% of the cold ones, so that \
             batches of one side alone pull the model back and forth, which costs accuracy; \
             --placement mixed keeps the original order, a lower --rate changes sides more often",
            100.0 * hot_rate,
            100.0 * cold_rate
        );
    }
}
