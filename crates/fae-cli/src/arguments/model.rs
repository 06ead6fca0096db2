//! The options of the model.

use clap::{Args, ValueEnum};
use fae_run::card::{CardModel, CardSequence, SequenceLayerName};
use fae_run::{Card, CombineName, InteractionName, ModelKind, Widths};
use tbsm::{Inner, Mechanism};

/// The options of the model. Those not given come from the preset.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ModelArguments {
    /// The model [default: tbsm on sequences, else dlrm].
    #[arg(long, help_heading = "Model")]
    pub model: Option<ModelName>,
    /// Width of the embedding rows [default: 16].
    #[arg(long, help_heading = "Model")]
    pub dim: Option<usize>,
    /// Widths of the bottom MLP, dense features first, embedding width last [default:
    /// 13-512-256-64-16]. Data without dense features have none, and this option then changes
    /// nothing.
    #[arg(long, value_name = "WIDTHS", help_heading = "Model")]
    pub bottom_mlp: Option<Widths>,
    /// Widths of the top MLP after the interaction, whose width is computed [default: 512-256-1].
    #[arg(long, value_name = "WIDTHS", help_heading = "Model")]
    pub top_mlp: Option<Widths>,
    /// How rows and dense features meet [default: dot].
    #[arg(long, help_heading = "Model")]
    pub interaction: Option<InteractionKind>,
    /// Let `dot` keep the products of every feature with itself.
    #[arg(long, help_heading = "Model")]
    pub interact_self: bool,

    #[command(flatten)]
    pub encoding: EncodingArguments,

    /// What runs over the positions of a sequence [default: tsl].
    #[arg(long, value_name = "LAYER", help_heading = "Model of sequences")]
    pub sequence_layer: Option<LayerName>,
    /// Heads of `tsl` or `mha`, layers of `rnn` [default: 1].
    #[arg(long, value_name = "N", help_heading = "Model of sequences")]
    pub heads: Option<usize>,
    /// Inner product of history and candidate in `tsl` [default: def].
    #[arg(long, value_name = "PRODUCT", help_heading = "Model of sequences")]
    pub attention: Option<InnerName>,
    /// How `tsl` weighs the history by its inner products [default: mlp].
    #[arg(long, help_heading = "Model of sequences")]
    pub mechanism: Option<MechanismName>,
    /// Hidden widths of the attention MLP of `tsl` [default: 15-15].
    #[arg(long, value_name = "WIDTHS", help_heading = "Model of sequences")]
    pub attention_mlp: Option<Widths>,
    /// Widths of the last MLP, after context and candidate [default: 60-1].
    #[arg(long, value_name = "WIDTHS", help_heading = "Model of sequences")]
    pub final_mlp: Option<Widths>,
    /// Let later heads of `tsl` see only the later part of the history.
    #[arg(long, help_heading = "Model of sequences")]
    pub sequential: bool,
    /// Leave the positions' vectors as the tower makes them, instead of dividing each by its
    /// length.
    #[arg(long, help_heading = "Model of sequences")]
    pub keep_lengths: bool,
}

/// How rows are stored.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EncodingArguments {
    /// Store a row for every N ids of a large table, and one for each of the N remainders, instead
    /// of one for every id: 4 takes about a quarter of the memory (the original's --qr-flag).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "md_temperature", help_heading = "Smaller tables")]
    pub qr_collisions: Option<u64>,
    /// With --qr-collisions: tables of at most this many rows stay whole [default: 200].
    #[arg(long, value_name = "ROWS", help_heading = "Smaller tables")]
    pub qr_threshold: Option<u64>,
    /// With --qr-collisions: how the two rows become one [default: mult].
    #[arg(long, value_name = "OPERATION", help_heading = "Smaller tables")]
    pub qr_operation: Option<OperationName>,
    /// Store narrower rows the larger a table is, and widen them by a trained projection: the
    /// smallest table has --dim, one of N times its rows --dim / N^T; 0.3 is usual (the original's
    /// --md-flag).
    #[arg(long, value_name = "T", help_heading = "Smaller tables")]
    pub md_temperature: Option<f64>,
    /// With --md-temperature: tables of at most this many rows stay whole [default: 200].
    #[arg(long, value_name = "ROWS", help_heading = "Smaller tables")]
    pub md_threshold: Option<u64>,
    /// With --md-temperature: round the widths to powers of two.
    #[arg(long, help_heading = "Smaller tables")]
    pub md_round_dims: bool,
}

/// How the two rows of a quotient and a remainder become one.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OperationName {
    /// Element by element product.
    Mult,
    /// Element by element sum.
    Add,
    /// One behind the other, each half as wide as a row.
    Concat,
}

impl From<OperationName> for CombineName {
    fn from(name: OperationName) -> Self {
        match name {
            OperationName::Mult => Self::Mult,
            OperationName::Add => Self::Add,
            OperationName::Concat => Self::Concat,
        }
    }
}

impl EncodingArguments {
    /// The options, in a card's section of the model.
    pub(crate) fn model(&self) -> CardModel {
        CardModel {
            qr_collisions: self.qr_collisions,
            qr_threshold: self.qr_threshold,
            qr_operation: self.qr_operation.map(Into::into),
            md_temperature: self.md_temperature,
            md_threshold: self.md_threshold,
            md_round_dims: self.md_round_dims.then_some(true),
            ..CardModel::default()
        }
    }
}

/// Models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelName {
    /// The deep learning recommendation model, on samples.
    Dlrm,
    /// The time-based sequence model, on sequences.
    Tbsm,
}

impl From<ModelName> for ModelKind {
    fn from(name: ModelName) -> Self {
        match name {
            ModelName::Dlrm => Self::Dlrm,
            ModelName::Tbsm => Self::Tbsm,
        }
    }
}

/// How rows and dense features meet.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum InteractionKind {
    /// Dot products of all pairs of features.
    Dot,
    /// All features side by side.
    Cat,
}

impl From<InteractionKind> for InteractionName {
    fn from(kind: InteractionKind) -> Self {
        match kind {
            InteractionKind::Dot => Self::Dot,
            InteractionKind::Cat => Self::Cat,
        }
    }
}

/// What runs over the positions of a sequence.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LayerName {
    /// The time-series layer.
    Tsl,
    /// Multi-head attention.
    Mha,
    /// An LSTM.
    Rnn,
}

/// Inner products of the time-series layer.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum InnerName {
    /// Of the vectors themselves.
    Dot,
    /// With a trained matrix between them.
    Ind,
    /// With a positive semi-definite matrix, trained as a factor, between them.
    Def,
}

impl From<InnerName> for Inner {
    fn from(name: InnerName) -> Self {
        match name {
            InnerName::Dot => Self::Dot,
            InnerName::Ind => Self::Ind,
            InnerName::Def => Self::Def,
        }
    }
}

/// How the time-series layer weighs the history.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum MechanismName {
    /// By an MLP on all inner products.
    Mlp,
    /// By the inner products.
    Mul,
}

impl From<LayerName> for SequenceLayerName {
    fn from(name: LayerName) -> Self {
        match name {
            LayerName::Tsl => Self::Tsl,
            LayerName::Mha => Self::Mha,
            LayerName::Rnn => Self::Rnn,
        }
    }
}

impl From<MechanismName> for Mechanism {
    fn from(name: MechanismName) -> Self {
        match name {
            MechanismName::Mlp => Self::Mlp,
            MechanismName::Mul => Self::Mul,
        }
    }
}

impl ModelArguments {
    /// The options as a card.
    pub(crate) fn card(&self) -> Card {
        Card {
            model: CardModel {
                kind: self.model.map(Into::into),
                dim: self.dim,
                bottom_mlp: self.bottom_mlp.clone(),
                top_mlp: self.top_mlp.clone(),
                interaction: self.interaction.map(Into::into),
                interact_self: self.interact_self.then_some(true),
                ..self.encoding.model()
            },
            sequence: CardSequence {
                attention: self.attention.map(Into::into),
                heads: self.heads.map(|heads| heads as u64),
                attention_mlp: self.attention_mlp.clone(),
                final_mlp: self.final_mlp.clone(),
                layer: self.sequence_layer.map(Into::into),
                mechanism: self.mechanism.map(Into::into),
                sequential: self.sequential.then_some(true),
                normalise: self.keep_lengths.then_some(false),
                ..CardSequence::default()
            },
            ..Card::default()
        }
    }
}
