//! What decides a run's numbers beside placement and order: model, optimizer, loop.

use std::sync::Arc;

use embedding_store::{Optimizer, RowFormat, StoreOptions, TableSpec};
use recsys_data::Schema;
use serde::Serialize;
use trainer::{BinaryLoss, LearningRatePolicy, LossKind, StopAt, TrainOptions};

use crate::card::{Card, CardModel, LossName};
use crate::error::{Result, refuse};
use crate::model::ModelConfig;

/// Model, optimizer and loop, decided.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Settings {
    /// The model.
    pub model: ModelConfig,
    /// The optimizer of dense weights and rows.
    pub optimizer: Optimizer,
    /// The loop.
    pub train: TrainOptions,
    /// What makes large tables smaller; `None` where all rows are whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smaller_tables: Option<CardModel>,
    /// How the rows of every table are stored.
    #[serde(skip)]
    pub tables: Vec<TableSpec>,
}

impl Settings {
    /// Decides every setting for a data set: the card's values, and the defaults for the rest.
    ///
    /// # Errors
    /// Settings that make no sense or do not fit the data set.
    pub fn new(card: &Card, schema: &Schema) -> Result<Self> {
        let model = ModelConfig::new(card, schema)?;
        let training = &card.training;
        let kind = match (training.loss.unwrap_or_default(), training.loss_weights) {
            (LossName::Bce, _) => LossKind::Bce,
            (LossName::Mse, _) => LossKind::Mse,
            (LossName::Wbce, Some([negative, positive])) => {
                LossKind::WeightedBce { negative, positive }
            }
            (LossName::Wbce, None) => {
                refuse!(
                    "the loss `wbce` needs the weights of both labels: set `loss_weights` to \
                     0.5,1.5"
                )
            }
        };
        let defaults = TrainOptions::default();
        let train = TrainOptions {
            epochs: training.epochs.unwrap_or(defaults.epochs),
            batch_size: training.batch_size.unwrap_or(defaults.batch_size),
            test_batch_size: training.test_batch_size.unwrap_or(defaults.test_batch_size),
            order: training.order.unwrap_or_default(),
            seed: training.seed.unwrap_or(defaults.seed),
            learning_rate: training.learning_rate.unwrap_or(defaults.learning_rate),
            policy: Arc::new(LearningRatePolicy {
                warmup_steps: training.warmup_steps.unwrap_or(0),
                decay_start_step: training.decay_start_step.unwrap_or(0),
                decay_steps: training.decay_steps.unwrap_or(0),
            }),
            loss: Arc::new(BinaryLoss {
                kind,
                threshold: training.loss_threshold.unwrap_or(0.0),
                ..BinaryLoss::default()
            }),
            test_every: training.test_every,
            max_steps: training.max_steps,
            stop_at: StopAt {
                auc: training.stop_at_auc,
                accuracy: training.stop_at_accuracy,
            },
            ..defaults
        };
        train.validate()?;
        Ok(Self {
            model,
            optimizer: training.optimizer.unwrap_or_default().into(),
            train,
            smaller_tables: card.model.smaller_tables(),
            tables: card.table_specs(schema)?,
        })
    }

    /// The options of a store of these rows, kept on devices as `device_rows`.
    pub fn store_options(&self, device_rows: RowFormat) -> StoreOptions {
        StoreOptions {
            dim: self.model.dim(),
            optimizer: self.optimizer.into(),
            seed: self.train.seed,
            device_rows,
            ..StoreOptions::default()
        }
    }
}
