//! The options of the loop.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use fae_run::card::CardTraining;
use fae_run::{Card, LossName, ModelKind, OptimizerName, read_card};
use recsys_data::{Order, Schema};

use super::ModelArguments;

/// Model and training. What is not given comes from the preset.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TrainArguments {
    /// Take model and training settings from a data set's card: criteo-kaggle, criteo-terabyte,
    /// taobao-userbehavior, synthetic …
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Your own settings, in the form of the cards in `datasets/`; they win over the preset.
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,

    /// The model.
    #[command(flatten)]
    pub model: ModelArguments,

    /// Optimizer of dense weights and embedding rows [default: sgd].
    #[arg(long, help_heading = "Training")]
    pub optimizer: Option<OptimizerKind>,
    /// Learning rate [default: 0.1].
    #[arg(long, help_heading = "Training")]
    pub learning_rate: Option<f64>,
    /// Steps over which the learning rate rises linearly.
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    pub warmup_steps: Option<u64>,
    /// First step of the quadratic decay of the learning rate.
    #[arg(long, value_name = "STEP", help_heading = "Training")]
    pub decay_start_step: Option<u64>,
    /// Length of that decay; 0 for none.
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    pub decay_steps: Option<u64>,
    /// Loss [default: bce].
    #[arg(long, help_heading = "Training")]
    pub loss: Option<LossKindName>,
    /// Weights of no click and click for `--loss wbce`.
    #[arg(
        long,
        value_name = "NEGATIVE,POSITIVE",
        value_delimiter = ',',
        num_args = 2,
        help_heading = "Training"
    )]
    pub loss_weights: Option<Vec<f32>>,
    /// Clamp predictions to [t, 1-t] before the loss and in evaluations, where clamped ones are
    /// ties for the AUC; 0 for not.
    #[arg(long, value_name = "T", help_heading = "Training")]
    pub loss_threshold: Option<f32>,
    /// Samples in a mini-batch [default: 128].
    #[arg(long, help_heading = "Training")]
    pub batch_size: Option<usize>,
    /// How often every training sample is seen [default: 1].
    #[arg(long, help_heading = "Training")]
    pub epochs: Option<u64>,
    /// Order of the training samples: as in the files, or a new permutation in every epoch
    /// [default: file].
    #[arg(long, help_heading = "Training")]
    pub order: Option<OrderKind>,
    /// Seed of the first weights and of the shuffles [default: 0].
    #[arg(long, help_heading = "Training")]
    pub seed: Option<u64>,
    /// End after this many steps.
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    pub max_steps: Option<u64>,
    /// Evaluate whenever this many steps were taken, besides the end of every epoch.
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    pub test_every: Option<u64>,
    /// Samples in a mini-batch of an evaluation; changes no result.
    #[arg(long, value_name = "SAMPLES", help_heading = "Training")]
    pub test_batch_size: Option<usize>,
    /// Stop as soon as the AUC of the validation set (of the test set where there is none) reaches
    /// this.
    #[arg(long, value_name = "AUC", help_heading = "Training")]
    pub stop_at_auc: Option<f64>,
    /// Stop as soon as its accuracy reaches this.
    #[arg(long, value_name = "SHARE", help_heading = "Training")]
    pub stop_at_accuracy: Option<f64>,

    /// Samples of a slice, the piece of a batch that one thread works on: changes the order of sums
    /// [default: half a batch, at most 512].
    #[arg(long, value_name = "SAMPLES", help_heading = "Machine")]
    pub slice: Option<usize>,
}

/// Optimizers.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OptimizerKind {
    /// Stochastic gradient descent.
    Sgd,
    /// Adagrad, an accumulator for every weight.
    Adagrad,
    /// Adagrad with one accumulator for every embedding row.
    RowwiseAdagrad,
}

/// Losses.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LossKindName {
    /// Binary cross-entropy.
    Bce,
    /// Mean squared error.
    Mse,
    /// Binary cross-entropy with a weight for each label.
    Wbce,
}

/// Orders of the training samples.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OrderKind {
    /// As in the files.
    File,
    /// A new seeded permutation in every epoch.
    Shuffled,
}

impl From<OptimizerKind> for OptimizerName {
    fn from(kind: OptimizerKind) -> Self {
        match kind {
            OptimizerKind::Sgd => Self::Sgd,
            OptimizerKind::Adagrad => Self::Adagrad,
            OptimizerKind::RowwiseAdagrad => Self::RowwiseAdagrad,
        }
    }
}

impl From<LossKindName> for LossName {
    fn from(name: LossKindName) -> Self {
        match name {
            LossKindName::Bce => Self::Bce,
            LossKindName::Mse => Self::Mse,
            LossKindName::Wbce => Self::Wbce,
        }
    }
}

impl From<OrderKind> for Order {
    fn from(kind: OrderKind) -> Self {
        match kind {
            OrderKind::File => Self::File,
            OrderKind::Shuffled => Self::Shuffled,
        }
    }
}

impl TrainArguments {
    /// The card for a data set: the preset, the user's file, these options, the last one winning.
    ///
    /// # Errors
    /// An unknown preset, or a file that cannot be read.
    pub(crate) fn card(&self, schema: &Schema) -> Result<Card> {
        let own = self.model.card();
        let kind = own.model.kind.unwrap_or(ModelKind::default_for(schema));
        let preset = match &self.preset {
            Some(name) => Card::builtin(name)?,
            None => kind.default_card()?,
        };
        let preset = match &self.config {
            Some(path) => preset.overlay(read_card(path)?),
            None => preset,
        };
        Ok(preset.overlay(Card {
            training: self.training(),
            ..own
        }))
    }

    fn training(&self) -> CardTraining {
        let weights = self.loss_weights.as_deref();
        CardTraining {
            loss: self.loss.map(Into::into),
            optimizer: self.optimizer.map(Into::into),
            learning_rate: self.learning_rate,
            batch_size: self.batch_size,
            test_batch_size: self.test_batch_size,
            test_every: self.test_every,
            order: self.order.map(Into::into),
            epochs: self.epochs,
            seed: self.seed,
            loss_weights: weights.and_then(|weights| weights.try_into().ok()),
            loss_threshold: self.loss_threshold,
            warmup_steps: self.warmup_steps,
            decay_start_step: self.decay_start_step,
            decay_steps: self.decay_steps,
            max_steps: self.max_steps,
            stop_at_auc: self.stop_at_auc,
            stop_at_accuracy: self.stop_at_accuracy,
            slice: self.slice,
        }
    }
}
