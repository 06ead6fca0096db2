//! Which model a data set gets: DLRM for samples, TBSM for sequences, and the options of both.

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use clap::{Args, ValueEnum};
use dlrm::{Dlrm, DlrmConfig, FusedDlrm, Interaction, Output, SliceSize};
use fae_run::{Card, InteractionName, Widths};
use recsys_data::Schema;
use serde::{Deserialize, Serialize};
use tbsm::{FusedTbsm, Inner, Mechanism, SequenceLayer, Tbsm, TbsmConfig};
use trainer::Model;

/// The options of the model. Those not given come from the preset.
#[derive(Debug, Clone, Default, Args)]
pub struct ModelArguments {
    /// The model. Programs set it; without it, the data set's shape decides.
    #[arg(skip)]
    pub model: Option<ModelKind>,
    /// Width of the embedding rows [default: 16].
    #[arg(long, help_heading = "Model")]
    pub dim: Option<usize>,
    /// Widths of the bottom MLP, dense features first, embedding width last [default: 13-512-256-64-16].
    #[arg(long, value_name = "WIDTHS", help_heading = "Model")]
    pub bottom_mlp: Option<String>,
    /// Widths of the top MLP after the interaction, whose width is computed [default: 512-256-1].
    #[arg(long, value_name = "WIDTHS", help_heading = "Model")]
    pub top_mlp: Option<String>,
    /// How rows and dense features meet [default: dot].
    #[arg(long, help_heading = "Model")]
    pub interaction: Option<InteractionKind>,
    /// Let `dot` keep the products of every feature with itself.
    #[arg(long, help_heading = "Model")]
    pub interact_self: bool,

    /// What runs over the positions of a sequence [default: tsl].
    #[arg(long, value_name = "LAYER", help_heading = "Model of sequences")]
    pub sequence_layer: Option<SequenceLayerName>,
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
    pub attention_mlp: Option<String>,
    /// Widths of the last MLP, after context and candidate [default: 60-1].
    #[arg(long, value_name = "WIDTHS", help_heading = "Model of sequences")]
    pub final_mlp: Option<String>,
    /// Let later heads of `tsl` see only the later part of the history.
    #[arg(long, help_heading = "Model of sequences")]
    pub sequential: bool,
    /// Leave the positions' vectors as the tower makes them, instead of dividing each by its length.
    #[arg(long, help_heading = "Model of sequences")]
    pub keep_lengths: bool,
}

/// How rows and dense features meet.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum InteractionKind {
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
pub enum SequenceLayerName {
    /// The time-series layer.
    Tsl,
    /// Multi-head attention.
    Mha,
    /// An LSTM.
    Rnn,
}

/// Inner products of the time-series layer.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum InnerName {
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
pub enum MechanismName {
    /// By an MLP on all inner products.
    Mlp,
    /// By the inner products.
    Mul,
}

/// The models that programs here train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModelKind {
    /// The deep learning recommendation model, on samples.
    Dlrm,
    /// The time-based sequence model, on sequences.
    Tbsm,
}

impl ModelKind {
    /// The model where none is set: the one that takes samples of this shape.
    pub fn default_for(schema: &Schema) -> Self {
        match schema.sequence_length {
            Some(_) => Self::Tbsm,
            None => Self::Dlrm,
        }
    }

    /// The card whose settings hold where no preset is named.
    pub fn default_card(self) -> Result<Card> {
        Ok(match self {
            Self::Dlrm => Card::default(),
            Self::Tbsm => Card::builtin("taobao-userbehavior")?,
        })
    }
}

/// The shape of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ModelConfig {
    /// Of a DLRM.
    Dlrm(DlrmConfig),
    /// Of a TBSM.
    Tbsm(TbsmConfig),
}

impl ModelConfig {
    /// Width of the embedding rows.
    pub fn dim(&self) -> usize {
        match self {
            Self::Dlrm(config) => config.dim,
            Self::Tbsm(config) => config.tower.dim,
        }
    }

    /// Number of dense weights.
    ///
    /// # Errors
    /// A shape that makes no sense.
    pub fn parameter_count(&self) -> Result<usize> {
        Ok(match self {
            Self::Dlrm(config) => config.parameter_count()?,
            Self::Tbsm(config) => config.parameter_count()?,
        })
    }

    /// A model with freshly drawn weights.
    ///
    /// # Errors
    /// A shape that makes no sense, or a device that fails.
    pub fn build(&self, seed: u64, device: &Device) -> Result<Box<dyn Model>> {
        Ok(match self {
            Self::Dlrm(config) => {
                Box::new(FusedDlrm::new(Dlrm::new(config.clone(), seed, device)?))
            }
            Self::Tbsm(config) => {
                Box::new(FusedTbsm::new(Tbsm::new(config.clone(), seed, device)?))
            }
        })
    }
}

impl ModelArguments {
    /// The kind of the model.
    pub fn kind(&self, schema: &Schema) -> ModelKind {
        self.model.unwrap_or_else(|| ModelKind::default_for(schema))
    }

    /// The model for a data set: these options, else the card's.
    ///
    /// # Errors
    /// Settings that make no sense or do not fit the data set.
    pub fn config(&self, card: &Card, schema: &Schema, slice: SliceSize) -> Result<ModelConfig> {
        let model = &card.model;
        let dim = self.dim.or(model.dim).unwrap_or(16);
        let bottom = match widths(&self.bottom_mlp, "--bottom-mlp")?.or(model.bottom_mlp.clone()) {
            Some(widths) => widths.into_vec(),
            None => vec![schema.dense.len(), 512, 256, 64, dim],
        };
        let top = widths(&self.top_mlp, "--top-mlp")?.or(model.top_mlp.clone());
        let top = top.map_or(vec![512, 256, 1], Widths::into_vec);
        let interaction = self.interaction.map(InteractionName::from);
        let with_self = self.interact_self || model.interact_self.unwrap_or(false);
        let config = DlrmConfig {
            tables: schema.tables.len(),
            dim,
            bottom,
            top,
            interaction: match interaction.or(model.interaction).unwrap_or_default() {
                InteractionName::Dot => Interaction::Dot { with_self },
                InteractionName::Cat => Interaction::Cat,
            },
            slice,
            ..DlrmConfig::default()
        };
        ensure!(
            config.bottom.first() == Some(&schema.dense.len()),
            "the bottom MLP takes {} dense features, the data set has {}: start --bottom-mlp with {}",
            config.bottom.first().copied().unwrap_or(0),
            schema.dense.len(),
            schema.dense.len()
        );
        config.validate()?;
        match (self.kind(schema), schema.sequence_length) {
            (ModelKind::Tbsm, Some(length)) => {
                self.sequence_config(card, config, length.get() as usize)
            }
            (ModelKind::Tbsm, None) => bail!("the samples are no sequences: train DLRM on them"),
            (ModelKind::Dlrm, Some(_)) => bail!("the samples are sequences: train TBSM on them"),
            (ModelKind::Dlrm, None) => {
                ensure!(
                    config.top.last() == Some(&1),
                    "the top MLP must end in width 1, the click's logit: --top-mlp {}-1",
                    {
                        let widths: Vec<String> = config.top.iter().map(usize::to_string).collect();
                        widths.join("-")
                    }
                );
                Ok(ModelConfig::Dlrm(config))
            }
        }
    }

    fn sequence_config(
        &self,
        card: &Card,
        tower: DlrmConfig,
        length: usize,
    ) -> Result<ModelConfig> {
        let sequence = &card.sequence;
        let history = length.checked_sub(1).filter(|&history| history > 0);
        let history = history.context(
            "the data set's sequences have a candidate and no history: prepare it with at least one event before the candidate",
        )?;
        let heads = match (self.heads, sequence.heads) {
            (Some(heads), _) => heads,
            (None, Some(heads)) => usize::try_from(heads).context("too many heads")?,
            (None, None) => 1,
        };
        let inner = self.attention.map(Inner::from).or(sequence.attention);
        let mlp = widths(&self.attention_mlp, "--attention-mlp")?;
        let mlp = mlp.or(sequence.attention_mlp.clone());
        let head = widths(&self.final_mlp, "--final-mlp")?.or(sequence.final_mlp.clone());
        let config = TbsmConfig {
            tower: DlrmConfig {
                output: Output::Relu,
                ..tower
            },
            history,
            normalise: !self.keep_lengths,
            sequence: match self.sequence_layer.unwrap_or(SequenceLayerName::Tsl) {
                SequenceLayerName::Tsl => SequenceLayer::Tsl {
                    heads,
                    inner: inner.unwrap_or(Inner::Def),
                    mechanism: match self.mechanism.unwrap_or(MechanismName::Mlp) {
                        MechanismName::Mlp => Mechanism::Mlp,
                        MechanismName::Mul => Mechanism::Mul,
                    },
                    mlp: mlp.map_or(vec![15, 15], Widths::into_vec),
                    sequential: self.sequential,
                },
                SequenceLayerName::Mha => SequenceLayer::Mha { heads },
                SequenceLayerName::Rnn => SequenceLayer::Rnn { layers: heads },
            },
            head: head.map_or(vec![60, 1], Widths::into_vec),
        };
        config.validate()?;
        Ok(ModelConfig::Tbsm(config))
    }
}

/// The widths that an option gives, if it is given.
fn widths(text: &Option<String>, option: &str) -> Result<Option<Widths>> {
    let Some(text) = text else { return Ok(None) };
    let widths = text.parse::<Widths>();
    Ok(Some(
        widths.map_err(|error| anyhow::anyhow!("{option} {error}"))?,
    ))
}
