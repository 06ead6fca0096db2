//! Cards: what a data set is, and every setting of a run on it, one TOML file each.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use embedding_store::{Optimizer, RowFormat, Side};
use fae_profiler::Strategy;
use recsys_data::Order;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tbsm::{Inner, Mechanism};
use trainer::Placement;

use crate::budget::Budget;
use crate::error::{Error, Result};

/// The cards that come with the crate, by name.
const BUILTIN: [(&str, &str); 4] = [
    (
        "criteo-kaggle",
        include_str!("../datasets/criteo-kaggle.toml"),
    ),
    (
        "criteo-terabyte",
        include_str!("../datasets/criteo-terabyte.toml"),
    ),
    (
        "taobao-userbehavior",
        include_str!("../datasets/taobao-userbehavior.toml"),
    ),
    ("synthetic", include_str!("../datasets/synthetic.toml")),
];

/// A data set and the settings of a run on it. Every field may be absent, so that a card of one's own
/// can override a few values of another with [`Card::overlay`]; a key that does not exist is an error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Card {
    /// What it is.
    pub dataset: CardDataset,
    /// The original's files.
    pub files: Vec<CardFile>,
    /// The columns of the files.
    pub columns: CardColumns,
    /// How raw files are prepared.
    pub prepare: CardPrepare,
    /// Behaviour sequences; for data sets that have them.
    pub sequence: CardSequence,
    /// The model.
    pub model: CardModel,
    /// How it is trained.
    pub training: CardTraining,
    /// Where rows live and where the model runs.
    pub placement: CardPlacement,
    /// Which rows are hot.
    pub hot: CardHot,
    /// In which order hot and cold inputs come.
    pub schedule: CardSchedule,
}

/// Declares a section of a card: optional fields, of which those of another card win.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }

        impl $name {
            fn overlay(self, other: Self) -> Self {
                Self { $($field: other.$field.or(self.$field),)* }
            }
        }
    };
}

section! {
    /// What a data set is.
    CardDataset {
        /// Short name, by which [`Card::builtin`] finds it.
        name: String,
        /// One line for readers.
        title: String,
        /// Where the original is found.
        homepage: String,
        /// Under which terms.
        terms: String,
        /// What one should know before using it.
        notes: String,
        /// Number of samples.
        rows: u64,
    }
}

section! {
    /// The columns of the raw files.
    CardColumns {
        /// What separates two fields.
        separator: String,
        /// Name of the label.
        label: String,
        /// Names of the dense features, in order.
        dense: Vec<String>,
        /// Names of the categorical columns, in order.
        categorical: Vec<String>,
        /// Number of distinct categories of every categorical column, a missing one counted.
        categories: Vec<u64>,
    }
}

section! {
    /// How raw files are prepared.
    CardPrepare {
        /// Raw categories are taken modulo this (`--max-ind-range`); absent: not at all.
        max_ind_range: u64,
        /// Share of the samples without a click that is left out (`--data-sub-sample-rate`).
        sub_sample_rate: f64,
        /// Categories that occur less often share one id.
        min_count: u64,
    }
}

section! {
    /// Behaviour sequences and the model on top of them (TBSM).
    CardSequence {
        /// Events before the candidate (`--ts-length`).
        history: u64,
        /// Histories read for training (`--num-train-pts`).
        train_samples: u64,
        /// Histories read for validation (`--num-val-pts`).
        validation_samples: u64,
        /// Windows of each sign per user, at most (`--points-per-user`).
        points_per_user: u64,
        /// Inner product of the attention (`--tsl-inner`): `def`, `ind` or `dot`.
        attention: Inner,
        /// Number of attention heads (`--tsl-num-heads`).
        heads: u64,
        /// Widths of the attention network, without input and output (`--tsl-mlp`).
        attention_mlp: Widths,
        /// Widths of the last network, without the input (`--arch-mlp`).
        final_mlp: Widths,
        /// What runs over the positions: `tsl`, `mha` or `rnn`.
        layer: SequenceLayerName,
        /// How `tsl` weighs the history by its inner products: `mlp` or `mul`.
        mechanism: Mechanism,
        /// Whether later heads of `tsl` see only the later part of the history.
        sequential: bool,
        /// Whether every position's vector is divided by its length.
        normalise: bool,
    }
}

section! {
    /// The model.
    CardModel {
        /// `dlrm` or `tbsm`; absent: by the data, TBSM on sequences.
        kind: ModelKind,
        /// Length of an embedding.
        dim: usize,
        /// Widths of the bottom network, number of dense features first: `13-512-256-64-16`. A data
        /// set without dense features has no such network, whatever is said here.
        bottom_mlp: Widths,
        /// Widths of the top network, without its input, which follows from the interaction.
        top_mlp: Widths,
        /// How embeddings and dense features meet: `dot` or `cat`.
        interaction: InteractionName,
        /// Whether a vector's product with itself is part of the dot interaction.
        interact_self: bool,
        /// Large tables store one row for each group of this many ids, and one for each remainder
        /// (`--qr-flag` with `--qr-collisions`); absent: a row for every id.
        qr_collisions: u64,
        /// Tables with at most this many rows stay whole then (`--qr-threshold`); absent: 200.
        qr_threshold: u64,
        /// How the two rows become one (`--qr-operation`): `mult`, `add` or `concat`.
        qr_operation: CombineName,
        /// Large tables store narrower rows, the narrower the larger they are (`--md-flag` with
        /// `--md-temperature`): 0 to 1; absent: all rows are whole.
        md_temperature: f64,
        /// Tables with at most this many rows stay whole then (`--md-threshold`); absent: 200.
        md_threshold: u64,
        /// Whether narrower rows have powers of two as widths (`--md-round-dims`).
        md_round_dims: bool,
    }
}

section! {
    /// How a model is trained.
    CardTraining {
        /// What is minimised: `bce`, `wbce` or `mse`.
        loss: LossName,
        /// How weights are updated: `sgd`, `adagrad` or `rowwise-adagrad`.
        optimizer: OptimizerName,
        /// Step size.
        learning_rate: f64,
        /// Samples per step.
        batch_size: usize,
        /// Samples per batch of an evaluation.
        test_batch_size: usize,
        /// Steps between two evaluations; absent: after every epoch only.
        test_every: u64,
        /// Order of the training samples: `file` or `shuffled`.
        order: Order,
        /// Passes over the training samples.
        epochs: u64,
        /// Seed of weights and shuffles.
        seed: u64,
        /// Weights of no click and click for the loss `wbce`.
        loss_weights: [f32; 2],
        /// Predictions are clamped to [t, 1-t] before the loss; 0: not.
        loss_threshold: f32,
        /// Steps over which the learning rate rises linearly.
        warmup_steps: u64,
        /// First step of the quadratic decay of the learning rate.
        decay_start_step: u64,
        /// Length of that decay; 0: none.
        decay_steps: u64,
        /// The run ends after this many steps.
        max_steps: u64,
        /// The run ends when the AUC of the validation set (of the test set where there is none)
        /// reaches this.
        stop_at_auc: f64,
        /// The run ends when its accuracy reaches this.
        stop_at_accuracy: f64,
        /// Samples of a slice, the piece of a batch that one thread works on.
        slice: usize,
    }
}

section! {
    /// Where rows live and where the model runs.
    CardPlacement {
        /// `cpu`, `cpu-device`, `fae` or `mixed`.
        placement: Placement,
        /// `cpu`, standing in for an accelerator, or `cuda`, `cuda:1`, `cuda:0,1`.
        device: String,
        /// With device `cpu`: replicas of model and hot rows, as on several devices.
        replicas: u16,
        /// Whether an NVIDIA device rounds the factors of matrix products to ten bits (TF32).
        tf32: bool,
        /// Whether NCCL adds the gradients of several NVIDIA devices, in an order of its own.
        nccl: bool,
        /// Coming batches that rows are fetched for.
        lookahead: usize,
        /// Folder of memory-mapped files for the rows that live on the CPU.
        mapped_rows: PathBuf,
    }
}

section! {
    /// Which rows are hot.
    CardHot {
        /// A hot set of this data set, instead of one that is chosen now.
        hot_set: PathBuf,
        /// What hot rows may take on a device: `256MiB`, `10%`.
        budget: Budget,
        /// How they are chosen: `inputs`, `frequency` or `{ share = 1e-7 }`.
        strategy: Strategy,
        /// Share of the training inputs that is counted.
        sample: f64,
        /// How they are kept on a device: `f32` or `bf16`.
        device_rows: RowFormat,
    }
}

section! {
    /// In which order hot and cold inputs come.
    CardSchedule {
        /// `shuffle`, `interleave`, `cold-hot`, `hot-cold` or `original`.
        schedule: ScheduleName,
        /// Share of a side's batches that run before the sides change, in percent: the rate that
        /// `shuffle` starts with, and that `interleave` keeps.
        rate: f64,
        /// Factor on the rate after `patience` falls of the loss in a row.
        rate_increase: f64,
        /// Factor on the rate after a rise of the loss.
        rate_decrease: f64,
        /// Falls of the loss in a row before the rate is raised.
        patience: u32,
        /// Lowest rate, in percent.
        rate_floor: f64,
        /// Highest rate, in percent.
        rate_ceiling: f64,
        /// Side that runs first in `shuffle` and `interleave`.
        first: Side,
        /// Validation samples that the loss is taken on when the sides change.
        swap_samples: u64,
    }
}

/// One file of the original data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFile {
    /// File name.
    pub name: String,
    /// Size, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// MD5 of the contents in hexadecimal, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// What is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The models that a card can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ModelKind {
    /// The deep learning recommendation model, on samples.
    Dlrm,
    /// The time-based sequence model, on sequences.
    Tbsm,
}

/// How embeddings and dense features meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InteractionName {
    /// Dot products of all pairs of features.
    #[default]
    Dot,
    /// All features side by side.
    Cat,
}

/// How the two rows of a quotient and a remainder become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CombineName {
    /// Element by element product.
    #[default]
    Mult,
    /// Element by element sum.
    Add,
    /// One behind the other, each half as wide as a row.
    Concat,
}

/// What runs over the positions of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SequenceLayerName {
    /// The time-series layer.
    #[default]
    Tsl,
    /// Multi-head attention.
    Mha,
    /// An LSTM.
    Rnn,
}

/// In which order hot and cold inputs come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ScheduleName {
    /// The paper's: the rate follows the loss at every change of side.
    Shuffle,
    /// A fixed rate.
    Interleave,
    /// All cold batches, then all hot ones: the published code's order for DLRM.
    ColdHot,
    /// All hot batches, then all cold ones: the published code's order for TBSM.
    HotCold,
    /// Inputs are not split: the order of the baselines.
    Original,
}

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossName {
    /// Binary cross-entropy.
    #[default]
    Bce,
    /// Binary cross-entropy with a weight for each label.
    Wbce,
    /// Mean squared error.
    Mse,
}

/// An optimizer with its default constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OptimizerName {
    /// Stochastic gradient descent.
    #[default]
    Sgd,
    /// Adagrad, a state for every weight.
    Adagrad,
    /// Adagrad, a state for every embedding row.
    RowwiseAdagrad,
}

impl From<OptimizerName> for Optimizer {
    fn from(name: OptimizerName) -> Self {
        match name {
            OptimizerName::Sgd => Self::Sgd,
            OptimizerName::Adagrad => Self::adagrad(),
            OptimizerName::RowwiseAdagrad => Self::rowwise_adagrad(),
        }
    }
}

/// Widths of the layers of a network, written as `13-512-256`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widths(Vec<usize>);

impl Widths {
    /// The widths, in the order of the layers.
    pub fn into_vec(self) -> Vec<usize> {
        self.0
    }
}

impl FromStr for Widths {
    type Err = String;

    /// Reads widths written as `13-512-256`, each 1 or more; the first, which may be a number of
    /// dense features, may be 0.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let width = |(place, width): (usize, &str)| {
            let width = width.trim().parse().ok();
            width.filter(|&width| width > 0 || place == 0)
        };
        let widths = text
            .split('-')
            .enumerate()
            .map(width)
            .collect::<Option<_>>();
        let problem = || format!("`{text}` is not a list of widths such as `512-256-1`");
        widths.map(Self).ok_or_else(problem)
    }
}

impl fmt::Display for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&widths.join("-"))
    }
}

impl Serialize for Widths {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Widths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl CardModel {
    /// Length of an embedding, 16 where the card does not say.
    pub(crate) fn dim(&self) -> usize {
        self.dim.unwrap_or(16)
    }
}

impl Card {
    /// Reads a card. `origin` is what errors call it: a path, or a name.
    ///
    /// # Errors
    /// [`Error::Card`] with the line, the key and what is allowed there.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or(text);
            let line = before.matches('\n').count();
            Error::Card {
                origin: origin.to_owned(),
                line: line + 1,
                text: text.lines().nth(line).unwrap_or("").trim().to_owned(),
                message: error.message().to_owned(),
            }
        })
    }

    /// The card of this name that comes with the crate.
    ///
    /// # Errors
    /// [`Error::UnknownCard`] lists the names there are.
    pub fn builtin(name: &str) -> Result<Self> {
        match BUILTIN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(text, &format!("datasets/{name}.toml")),
            None => Err(Error::UnknownCard {
                name: name.to_owned(),
                known: Self::names().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Names of the cards that come with the crate.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// This card with the values of `other` wherever that has one.
    #[must_use]
    pub fn overlay(self, other: Self) -> Self {
        Self {
            dataset: self.dataset.overlay(other.dataset),
            files: if other.files.is_empty() {
                self.files
            } else {
                other.files
            },
            columns: self.columns.overlay(other.columns),
            prepare: self.prepare.overlay(other.prepare),
            sequence: self.sequence.overlay(other.sequence),
            model: self.model.overlay(other.model),
            training: self.training.overlay(other.training),
            placement: self.placement.overlay(other.placement),
            hot: self.hot.overlay(other.hot),
            schedule: self.schedule.overlay(other.schedule),
        }
    }
}
