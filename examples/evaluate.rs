//! Scores a data set with weights from a checkpoint or a file.
//!
//! 1. Open the data set, and take the model's shape from the checkpoint, or from preset and options for a file of weights.
//! 2. Read the weights, translating ids where the file's are others.
//! 3. Score the split, print the results, and write them as JSON where asked.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use clap::{Parser, ValueEnum};
use embedding_store::{CpuStore, StoreOptions, TableSpec};
use examples::checkpointing::{load_weights_file, newest_checkpoint};
use examples::model::{ModelArguments, ModelConfig, ModelKind};
use examples::process::exit_on_error;
use examples::training::{
    TrainArguments, evaluation_header, evaluation_row, on_threads, write_json,
};
use recsys_data::packed::PackedDataset;
use recsys_data::{Dataset, Split};
use serde::Deserialize;
use serde_json::json;
use trainer::{Model, Trainer};

/// Score a data set: AUC, log loss, accuracy, normalised entropy.
///
/// The weights are those of the newest checkpoint in a folder (or of the checkpoint that the folder is), or of a file: safetensors, or what
/// PyTorch saved. With a checkpoint, the model's shape is the checkpoint's; with a file it is the preset's, unless told otherwise.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  evaluate --data kaggle --checkpoint checkpoints
  evaluate --data kaggle --checkpoint checkpoints/step-0000120000 --split validation --json scores.json

  A checkpoint of the original program, whose ids are in the order of first appearance:
    prepare criteo-kaggle --raw train.txt --ids reference --out kaggle-reference
    evaluate --data kaggle --weights dlrm.pt --ids-of kaggle-reference --preset criteo-kaggle"
)]
struct Arguments {
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
    /// With --weights: the data set whose ids the weights' rows are under, where they are others, as `prepare --ids reference` makes it.
    #[arg(long, value_name = "DIR", requires = "weights")]
    ids_of: Option<PathBuf>,
    /// With --weights: take the model's shape from a data set's card: criteo-kaggle, criteo-terabyte, taobao-userbehavior …
    #[arg(long, value_name = "NAME", conflicts_with = "checkpoint")]
    preset: Option<String>,
    /// With --weights: your own settings of the model, in the form of the cards in `datasets/`; they win over the preset.
    #[arg(long, value_name = "FILE.toml", conflicts_with = "checkpoint")]
    config: Option<PathBuf>,
    /// The model's shape, with --weights.
    #[command(flatten)]
    model: ModelArguments,
    /// Samples in a mini-batch; changes no result.
    #[arg(long, value_name = "SAMPLES", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Worker threads; changes no result [default: one for each core].
    #[arg(long)]
    threads: Option<usize>,
    /// Write the results as JSON (described in docs/results.md).
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit_on_error(on_threads(arguments.threads, || evaluate(&arguments)))
}

fn evaluate(arguments: &Arguments) -> Result<()> {
    let data = PackedDataset::open(&arguments.data)?;
    let split: Split = arguments.split.into();
    let samples = data.split(split);
    ensure!(
        !samples.is_empty(),
        "{} has no {} samples; choose another --split",
        arguments.data.display(),
        split.name()
    );
    let (mut trainer, source) = match (&arguments.checkpoint, &arguments.weights) {
        (Some(folder), _) => {
            let checkpoint = newest_checkpoint(folder)?;
            let config =
                ModelConfig::deserialize(&checkpoint.settings()["model"]).with_context(|| {
                    format!(
                        "{} names no model of these programs",
                        checkpoint.path().display()
                    )
                })?;
            let mut trainer = trainer(&config, &data)?;
            checkpoint.load_weights(&mut trainer)?;
            (trainer, checkpoint.path().to_path_buf())
        }
        (None, Some(file)) => {
            let shape = TrainArguments {
                preset: arguments.preset.clone(),
                config: arguments.config.clone(),
                model: arguments.model.clone(),
                ..TrainArguments::default()
            };
            let mut trainer = trainer(&shape.settings(data.schema())?.model, &data)?;
            load_weights_file(file, arguments.ids_of.as_deref(), &data, &mut trainer)?;
            (trainer, file.clone())
        }
        (None, None) => bail!("give --checkpoint or --weights"),
    };
    let scores = trainer.score(Arc::new(samples), arguments.batch_size as usize)?;
    let evaluation = scores.evaluate().context("nothing was scored")?;
    println!("{}", evaluation_header());
    println!("{}", evaluation_row(split.name(), &evaluation));
    if let Some(path) = &arguments.json {
        let mut value = json!(evaluation);
        value["split"] = json!(split.name());
        value["weights"] = json!(source);
        value["dataset"] = json!(data.manifest().provenance.dataset);
        value["version"] = json!(env!("CARGO_PKG_VERSION"));
        write_json(path, &value)?;
    }
    Ok(())
}

/// A model of that shape with its tables in host memory.
fn trainer(
    config: &ModelConfig,
    data: &PackedDataset,
) -> Result<Trainer<Box<dyn Model>, CpuStore>> {
    let kind = ModelKind::default_for(data.schema());
    let fits = matches!(
        (config, kind),
        (ModelConfig::Dlrm(_), ModelKind::Dlrm) | (ModelConfig::Tbsm(_), ModelKind::Tbsm)
    );
    ensure!(
        fits,
        "the model and the data set do not fit: one is of sequences, the other is not"
    );
    let tables = data.schema().tables.iter();
    let store = CpuStore::new(
        tables.map(|table| TableSpec::full(table.rows)).collect(),
        StoreOptions {
            dim: config.dim(),
            ..StoreOptions::default()
        },
    )
    .context("cannot make the embedding tables")?;
    let model = config.build(0, &Device::Cpu)?;
    Ok(Trainer::new(model, store, Device::Cpu))
}
