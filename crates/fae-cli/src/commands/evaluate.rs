//! Scores a data set with weights from a checkpoint or a file.
//!
//! 1. Open the data set, and take the model's shape from the checkpoint, or from preset and options
//!    for a file of weights.
//! 2. Read the weights, translating ids where the file's are others.
//! 3. Score the split, print the results, and write them as JSON where asked.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use fae_run::{ModelConfig, newest_checkpoint, on_threads, scorer, scorer_of};
use recsys_data::packed::PackedDataset;
use recsys_data::{Dataset, Split};
use serde_json::json;
use trainer::{BinaryLoss, Loss};

use super::train::load_weights;
use crate::arguments::{ModelArguments, TrainArguments};
use crate::process::{check_outputs, probe, write_json};
use crate::text::{evaluation_header, evaluation_row};

/// Score a data set: AUC, log loss, accuracy, normalised entropy.
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
    /// With --weights: the data set whose ids the weights' rows are under, where they are others,
    /// as `fae prepare --ids reference` makes it.
    #[arg(long, value_name = "DIR", requires = "weights")]
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
    check_outputs(&[("--json", arguments.json.as_ref())], &[&data])?;
    arguments.json.as_deref().map_or(Ok(()), probe)?;
    let split: Split = arguments.split.into();
    let samples = data.split(split);
    ensure!(
        !samples.is_empty(),
        "{} has no {} samples; choose another --split",
        arguments.data.display(),
        split.name()
    );
    let (mut trainer, source, trained) = match (&arguments.checkpoint, &arguments.weights) {
        (Some(folder), _) => {
            let checkpoint = newest_checkpoint(folder, &mut |path, error| {
                note!(
                    "checkpoint {} cannot be used, the one before it is tried: {error}",
                    path.display()
                );
            })?;
            let trainer = scorer_of(&checkpoint, &data)?;
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
            let mut trainer = scorer(&config, &data)?;
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
    let evaluation = scores
        .seen_by(&loss)
        .evaluate()
        .context("nothing was scored")?;
    if let Some(path) = &arguments.json {
        let mut value = json!(evaluation);
        value["split"] = json!(split.name());
        value["weights"] = json!(source);
        value["dataset"] = json!(data.manifest().provenance.dataset);
        value["loss_threshold"] = json!(loss.threshold);
        value["version"] = json!(env!("CARGO_PKG_VERSION"));
        write_json(path, &value)?;
    }
    say!("{}", evaluation_header());
    say!("{}", evaluation_row(split.name(), &evaluation));
    Ok(())
}
