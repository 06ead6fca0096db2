//! What a row costs.

use anyhow::Result;
use clap::Args;
use embedding_store::RowFormat;
use fae_profiler::{CountOptions, SelectOptions};
use fae_run::card::{CardHot, CardModel, CardTraining};
use fae_run::{Card, ModelKind};
use recsys_data::Schema;

use super::model::EncodingArguments;
use super::training::OptimizerKind;

/// What a row costs.
#[derive(Debug, Clone, Args)]
pub(crate) struct RowArguments {
    /// Take the width of the rows and the optimizer from a data set's card: criteo-kaggle,
    /// criteo-terabyte …
    #[arg(long, value_name = "NAME", help_heading = "Rows")]
    pub preset: Option<String>,
    /// Floats a row [default: 16].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65_536), help_heading = "Rows")]
    pub dim: Option<u64>,
    /// Its state lies beside each row: none for sgd, as many floats as weights for adagrad, one for
    /// rowwise-adagrad [default: sgd; adagrad for sequences, as `fae train`].
    #[arg(long, value_enum, help_heading = "Rows")]
    pub optimizer: Option<OptimizerKind>,
    /// How weights are kept on the device: f32 or bf16, which takes half the bytes [default: f32].
    #[arg(long, value_name = "FORMAT", help_heading = "Rows")]
    pub device_rows: Option<RowFormat>,
    #[command(flatten)]
    pub encoding: EncodingArguments,
}

impl RowArguments {
    /// Options of a selection from the tables of a schema; without options here, the rows are those
    /// that `fae train` trains.
    ///
    /// # Errors
    /// An unknown preset, or rows stored in a way that makes no sense.
    pub(crate) fn options(&self, schema: &Schema, count: CountOptions) -> Result<SelectOptions> {
        let preset = match &self.preset {
            Some(name) => Card::builtin(name)?,
            None => ModelKind::default_for(schema).default_card()?,
        };
        let card = preset.overlay(Card {
            model: CardModel {
                dim: self.dim.map(|dim| dim as usize),
                ..self.encoding.model()
            },
            training: CardTraining {
                optimizer: self.optimizer.map(Into::into),
                ..CardTraining::default()
            },
            hot: CardHot {
                device_rows: self.device_rows,
                ..CardHot::default()
            },
            ..Card::default()
        });
        Ok(SelectOptions {
            bytes_per_row: card.bytes_per_row(schema)?,
            count,
            ..SelectOptions::default()
        })
    }
}
