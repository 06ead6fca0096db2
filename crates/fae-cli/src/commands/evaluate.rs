//! Scores a data set with weights from a checkpoint or a file.
//!
//! 1. Open the data set, and take the model's shape from the checkpoint, or from preset and options
//!    for a file of weights.
//! 2. Read the weights, translating ids where the file's are others.
//! 3. Score the split, print the results, and write them as JSON where asked.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use fae_run::{ModelConfig, newest_checkpoint, on_threads, scorer, scorer_of};
use recsys_data::output_file::OutputFile;
use recsys_data::packed::PackedDataset;
use recsys_data::{Dataset, Split};
use serde_json::json;
use trainer::{BinaryLoss, Loss, Scores};

use super::train::{load_weights, say_rows};
use crate::arguments::{ModelArguments, TrainArguments};
use crate::process::{check_outputs, probe, write_json};
use crate::text::{evaluation_header, evaluation_row};

/// Score a data set: AUC, log loss, accuracy, normalised entropy; or write predictions.
///
/// The weights are those of the newest checkpoint in a folder (or of the checkpoint that the folder
/// is), or of a file: safetensors, or what PyTorch saved. With a checkpoint, the model's shape is
/// the checkpoint's; with a file it is the preset's, unless told otherwise.
#[derive(Args)]
#[command(after_help = "Examples:
  fae evaluate --data kaggle --checkpoint checkpoints
  fae evaluate --data kaggle --checkpoint checkpoints/step-0000120000 --split validation --json scores.json

  A checkpoint of the original program, whose ids are in the order of first appearance:
    fae prepare criteo-kaggle --raw train.txt --ids reference --out kaggle-reference
    fae evaluate --data kaggle --weights dlrm.pt --ids-of kaggle-reference --preset criteo-kaggle")]
pub(crate) struct Arguments {
    /// The packed data set.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A folder of checkpoints, or one checkpoint.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "weights",
        conflicts_with = "weights"
    )]
    checkpoint: Option<PathBuf>,
    /// A file of weights: .safetensors, or .pt as PyTorch saves it.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// The samples to score.
    #[arg(long, value_enum, default_value = "test")]
    split: SplitName,
    /// The data set that the weights were trained on, where its ids are others, as those of `fae
    /// prepare --ids reference` are: every category gets its row.
    #[arg(long, value_name = "DIR")]
    ids_of: Option<PathBuf>,
    /// With --weights: take the model's shape from a data set's card: criteo-kaggle,
    /// criteo-terabyte, taobao-userbehavior …
    #[arg(long, value_name = "NAME", conflicts_with = "checkpoint")]
    preset: Option<String>,
    /// With --weights: your own settings of the model, in the form of the cards in `datasets/`;
    /// they win over the preset.
    #[arg(long, value_name = "FILE.toml", conflicts_with = "checkpoint")]
    config: Option<PathBuf>,
    /// The model's shape, with --weights.
    #[command(flatten)]
    model: ModelArguments,
    /// Clamp predictions to [T, 1 - T] before anything is computed of them, as training with that
    /// --loss-threshold did; predictions that are clamped are ties for the AUC [default: the
    /// checkpoint's, or the preset's].
    #[arg(long, value_name = "T")]
    loss_threshold: Option<f32>,
    /// Samples in a mini-batch; changes no result.
    #[arg(long, value_name = "SAMPLES", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Worker threads; changes no result [default: one for each core].
    #[arg(long)]
    threads: Option<usize>,
    /// Write what the model predicts: the probability of a click, one line for each sample, in the
    /// order of the samples. For data without labels, which have no other score.
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Write the results as JSON (described in docs/training.md).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SplitName {
    Train,
    Validation,
    Test,
}

impl From<SplitName> for Split {
    fn from(name: SplitName) -> Self {
        match name {
            SplitName::Train => Self::Train,
            SplitName::Validation => Self::Validation,
            SplitName::Test => Self::Test,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    on_threads(arguments.threads, || evaluate(arguments))
}

fn evaluate(arguments: &Arguments) -> Result<()> {
    let data = PackedDataset::open(&arguments.data)?;
    let outputs = [
        ("--json", arguments.json.as_ref()),
        ("--predictions", arguments.predictions.as_ref()),
    ];
    check_outputs(&outputs, &[&data])?;
    arguments.json.as_deref().map_or(Ok(()), probe)?;
    let split: Split = arguments.split.into();
    let samples = data.split(split);
    ensure!(
        !samples.is_empty(),
        "{} has no {} samples; choose another --split",
        arguments.data.display(),
        split.name()
    );
    ensure!(
        data.has_labels() || arguments.predictions.is_some(),
        "the samples of {} have no labels to score: name a file for the predictions with \
         --predictions",
        arguments.data.display()
    );
    let cannot_write = |path: &Path| format!("cannot write {}", path.display());
    let predictions = match &arguments.predictions {
        Some(path) => Some((
            path,
            OutputFile::create(path).with_context(|| cannot_write(path))?,
        )),
        None => None,
    };
    let (mut trainer, source, trained) = match (&arguments.checkpoint, &arguments.weights) {
        (Some(folder), _) => {
            let checkpoint = newest_checkpoint(folder, &mut |path, error| {
                note!(
                    "checkpoint {} cannot be used, the one before it is tried: {error}",
                    path.display()
                );
            })?;
            let ids_of = arguments.ids_of.as_ref();
            let there = ids_of.map(PackedDataset::open).transpose()?;
            let (trainer, rows) = scorer_of(&checkpoint, there.as_ref(), &data)?;
            say_rows(rows, checkpoint.path(), there.is_some(), &data);
            let loss = checkpoint.loss().unwrap_or_default();
            (trainer, checkpoint.path().to_path_buf(), loss.threshold)
        }
        (None, Some(file)) => {
            let shape = TrainArguments {
                preset: arguments.preset.clone(),
                config: arguments.config.clone(),
                model: arguments.model.clone(),
                ..TrainArguments::default()
            };
            let card = shape.card(data.schema())?;
            let config = ModelConfig::new(&card, data.schema())?;
            let mut trainer = scorer(&config, card.table_specs(data.schema())?, &data)?;
            load_weights(file, arguments.ids_of.as_deref(), &data, &mut trainer)?;
            let threshold = card.training.loss_threshold.unwrap_or_default();
            (trainer, file.clone(), threshold)
        }
        (None, None) => bail!("give --checkpoint or --weights"),
    };
    let loss = BinaryLoss {
        threshold: arguments.loss_threshold.unwrap_or(trained),
        ..BinaryLoss::bce()
    };
    loss.validate()?;
    if loss.threshold > 0.0 {
        let (least, most) = (loss.threshold, 1.0 - loss.threshold);
        note!("predictions are clamped to {least} to {most}, as in training (--loss-threshold)");
    }
    let scores = trainer.score(Arc::new(samples), arguments.batch_size as usize)?;
    let scores = scores.seen_by(&loss);
    if let Some((path, file)) = predictions {
        write_predictions(file, &scores).with_context(|| cannot_write(path))?;
    }
    let evaluation = match data.has_labels() {
        true => Some(scores.evaluate().context("nothing was scored")?),
        false => None,
    };
    if let Some(path) = &arguments.json {
        let mut value = match &evaluation {
            Some(evaluation) => json!(evaluation),
            None => json!({ "samples": scores.len() }),
        };
        value["split"] = json!(split.name());
        value["weights"] = json!(source);
        value["dataset"] = json!(data.manifest().provenance.dataset);
        value["loss_threshold"] = json!(loss.threshold);
        value["version"] = json!(env!("CARGO_PKG_VERSION"));
        write_json(path, &value)?;
    }
    match &evaluation {
        Some(evaluation) => {
            say!("{}", evaluation_header());
            say!("{}", evaluation_row(split.name(), evaluation));
        }
        None => say!(
            "{} samples predicted, without labels to score them by",
            scores.len()
        ),
    }
    Ok(())
}

/// A probability a line, in the order of the samples.
fn write_predictions(file: OutputFile, scores: &Scores) -> io::Result<()> {
    let mut lines = BufWriter::new(file);
    for (sample, probability) in scores.probabilities().enumerate() {
        if !probability.is_finite() {
            let problem = format!("the prediction for sample {sample} is {probability}");
            return Err(io::Error::other(problem));
        }
        writeln!(lines, "{probability}")?;
    }
    lines.into_inner()?.finish()
}
