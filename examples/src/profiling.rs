//! What the examples about hot rows share: their arguments and the data they look at.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use embedding_store::{Optimizer, RowFormat, StoreOptions, TableSpec, device_row_bytes};
use fae_profiler::{CountOptions, LengthSweep, SelectOptions};
use fae_run::{Card, OptimizerName};
use recsys_data::generate::{Planted, PlantedOptions};
use recsys_data::packed::{PackedDataset, PackedSplit};
use recsys_data::{Dataset, Schema, Split, SplitRows};
use tempfile::TempDir;

use crate::planted::write_planted;
use crate::training::OptimizerKind;

/// What a row costs.
#[derive(Debug, Clone, Args)]
pub struct RowArguments {
    /// Take the width of the rows and the optimizer from a data set's card: criteo-kaggle, criteo-terabyte …
    #[arg(long, value_name = "NAME", help_heading = "Rows")]
    pub preset: Option<String>,
    /// Floats a row [default: 16].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65_536), help_heading = "Rows")]
    pub dim: Option<u64>,
    /// Its state lies beside each row: none for sgd, as many floats as weights for adagrad, one for rowwise-adagrad
    /// [default: sgd].
    #[arg(long, value_enum, help_heading = "Rows")]
    pub optimizer: Option<OptimizerKind>,
    /// How weights are kept on the device: f32 or bf16, which takes half the bytes [default: f32].
    #[arg(long, value_name = "FORMAT", help_heading = "Rows")]
    pub device_rows: Option<RowFormat>,
}

impl RowArguments {
    /// Bytes of a row on a device, with its optimizer state.
    ///
    /// # Errors
    /// An unknown preset.
    pub fn bytes_per_row(&self) -> Result<u64> {
        let card = match &self.preset {
            Some(name) => Card::builtin(name)?,
            None => Card::default(),
        };
        let optimizer = self.optimizer.map(OptimizerName::from);
        let optimizer = optimizer.or(card.training.optimizer).unwrap_or_default();
        let options = StoreOptions {
            dim: self
                .dim
                .map(|dim| dim as usize)
                .or(card.model.dim)
                .unwrap_or(16),
            optimizer: Optimizer::from(optimizer).into(),
            device_rows: self.device_rows.unwrap_or_default(),
            ..StoreOptions::default()
        };
        Ok(device_row_bytes(&TableSpec::full(1), &options))
    }

    /// Options of a selection from the tables of a schema.
    ///
    /// # Errors
    /// An unknown preset.
    pub fn options(&self, schema: &Schema, count: CountOptions) -> Result<SelectOptions> {
        Ok(SelectOptions {
            bytes_per_row: vec![self.bytes_per_row()?; schema.tables.len()],
            count,
            ..SelectOptions::default()
        })
    }
}

/// The share of the inputs that is counted if nobody says otherwise: a fifth of sequences, as the original does, but at least
/// 65,536 of them; and all other inputs, which takes a moment.
pub fn default_sample(schema: &Schema, inputs: u64) -> f64 {
    const LEAST: f64 = 65_536.0;
    match schema.sequence_length {
        Some(_) => (LEAST / inputs.max(1) as f64).clamp(0.2, 1.0),
        None => 1.0,
    }
}

/// Hot sequences against the length of the history; nothing where samples are no sequences.
///
/// # Errors
/// As [`LengthSweep::new`].
pub fn length_sweep(
    train: PackedSplit,
    options: &SelectOptions,
    budget: u64,
    progress: &mut dyn FnMut(&str),
) -> Result<Option<LengthSweep>> {
    if train.schema().sequence_length.is_none() {
        return Ok(None);
    }
    let lengths = LengthSweep::lengths(train.schema().positions());
    let train: Arc<dyn Dataset> = Arc::new(train);
    let sweep = LengthSweep::new(&train, options, budget, &lengths, progress)?;
    Ok(Some(sweep))
}

/// Where the inputs of an experiment come from.
#[derive(Debug, Clone, Args)]
pub struct SourceArguments {
    /// A packed data set; its training split is used [default: planted data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Without --data: how many planted inputs are made.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub inputs: u64,
    /// Seed of planted data and of every draw.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Worker threads; changes no number [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// An open data set, and the temporary folder that it lies in if it was made for the occasion.
#[derive(Debug)]
pub struct Source {
    /// The data.
    pub data: PackedDataset,
    /// What it is called.
    pub name: String,
    _folder: Option<TempDir>,
}

impl SourceArguments {
    /// Opens the data set, or makes a planted one in a temporary folder.
    ///
    /// # Errors
    /// No data set in the folder, no training inputs, or no room for planted data.
    pub fn open(&self) -> Result<Source> {
        let (data, name, folder) = match &self.data {
            Some(path) => {
                let data = PackedDataset::open(path)?;
                let name = data.manifest().provenance.dataset.clone();
                (data, name, None)
            }
            None => {
                eprintln!("making {} planted inputs", self.inputs);
                let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
                let planted = Planted::new(PlantedOptions {
                    samples: self.inputs + self.inputs / 6,
                    seed: self.seed,
                    ..PlantedOptions::default()
                })?;
                let rows = SplitRows {
                    train: self.inputs,
                    validation: self.inputs / 12,
                    test: self.inputs / 12,
                };
                let data = write_planted(
                    &planted,
                    planted.options(),
                    rows,
                    &folder.path().join("planted"),
                    false,
                )?;
                (data, "planted data".to_owned(), Some(folder))
            }
        };
        let inputs = data.split(Split::Train).len();
        ensure!(
            inputs > 0,
            "{} has no training inputs to look at",
            data.folder().display()
        );
        Ok(Source {
            data,
            name,
            _folder: folder,
        })
    }

    /// Runs `work` on the asked-for number of threads.
    ///
    /// # Errors
    /// Those of `work`, or threads that the system does not give.
    pub fn on_threads<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let threads = self.threads.map_or(0, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.context("cannot start the worker threads")?
            .install(work)
    }
}
