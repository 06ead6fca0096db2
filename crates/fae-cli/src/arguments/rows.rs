//! What a row costs.

use anyhow::Result;
use clap::Args;
use embedding_store::{Optimizer, RowFormat, StoreOptions, TableSpec, device_row_bytes};
use fae_profiler::{CountOptions, SelectOptions};
use fae_run::{Card, ModelKind, OptimizerName};
use recsys_data::Schema;

use super::training::OptimizerKind;

/// What a row costs.
#[derive(Debug, Clone, Args)]
pub(crate) struct RowArguments {
    /// Take the width of the rows and the optimizer from a data set's card: criteo-kaggle, criteo-terabyte …
    #[arg(long, value_name = "NAME", help_heading = "Rows")]
    pub preset: Option<String>,
    /// Floats a row [default: 16].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65_536), help_heading = "Rows")]
    pub dim: Option<u64>,
    /// Its state lies beside each row: none for sgd, as many floats as weights for adagrad, one for rowwise-adagrad
    /// [default: sgd; adagrad for sequences, as `fae train`].
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
    fn bytes_per_row(&self, schema: &Schema) -> Result<u64> {
        // What `fae train` trains the data with.
        let card = match &self.preset {
            Some(name) => Card::builtin(name)?,
            None => ModelKind::default_for(schema).default_card()?,
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
    pub(crate) fn options(&self, schema: &Schema, count: CountOptions) -> Result<SelectOptions> {
        Ok(SelectOptions {
            bytes_per_row: vec![self.bytes_per_row(schema)?; schema.tables.len()],
            count,
            ..SelectOptions::default()
        })
    }
}
