//! The shape of a model, and the model.

use candle_core::Device;
use dlrm::{Dlrm, DlrmConfig, FusedDlrm, Interaction, Output, SliceSize};
use recsys_data::Schema;
use recsys_model::Model;
use serde::{Deserialize, Serialize};
use tbsm::{FusedTbsm, Inner, Mechanism, SequenceLayer, Tbsm, TbsmConfig};

use crate::card::{Card, InteractionName, ModelKind, SequenceLayerName, Widths};
use crate::error::{Context, Result, refuse, require};

impl ModelKind {
    /// The model where none is named: the one that takes samples of this shape.
    pub fn default_for(schema: &Schema) -> Self {
        match schema.sequence_length {
            Some(_) => Self::Tbsm,
            None => Self::Dlrm,
        }
    }

    /// The card whose settings hold where no other one says anything: none for DLRM, whose settings
    /// have values of their own, and Taobao's for TBSM.
    ///
    /// # Errors
    /// None in practice: the card comes with the crate.
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
#[non_exhaustive]
pub enum ModelConfig {
    /// Of a DLRM.
    Dlrm(DlrmConfig),
    /// Of a TBSM.
    Tbsm(TbsmConfig),
}

impl ModelConfig {
    /// The model for a data set, as a card says.
    ///
    /// # Errors
    /// Settings that make no sense or do not fit the data set.
    pub fn new(card: &Card, schema: &Schema) -> Result<Self> {
        let model = &card.model;
        let kind = model.kind.unwrap_or(ModelKind::default_for(schema));
        match (kind, schema.sequence_length) {
            (ModelKind::Tbsm, None) => {
                refuse!("the samples are not sequences: train the model `dlrm` on them")
            }
            (ModelKind::Dlrm, Some(_)) => {
                refuse!("the samples are sequences: train the model `tbsm` on them")
            }
            _ => {}
        }
        let dim = model.dim();
        let features = schema.dense.len();
        // Without dense features a bottom MLP has no input, whatever a preset says of its widths.
        let bottom = match &model.bottom_mlp {
            _ if features == 0 => Vec::new(),
            Some(widths) => widths.clone().into_vec(),
            None => vec![features, 512, 256, 64, dim],
        };
        let top = model.top_mlp.clone();
        let top = top.map_or(vec![512, 256, 1], Widths::into_vec);
        let config = DlrmConfig {
            tables: schema.tables.len(),
            dim,
            bottom,
            top,
            interaction: match model.interaction.unwrap_or_default() {
                InteractionName::Dot => Interaction::Dot {
                    with_self: model.interact_self.unwrap_or(false),
                },
                InteractionName::Cat => Interaction::Cat,
            },
            slice: card
                .training
                .slice
                .map_or(SliceSize::Auto, SliceSize::Fixed),
            ..DlrmConfig::default()
        };
        require!(
            config.dense_features() == features,
            "the bottom MLP takes {} dense features, the data set has {features}: start `bottom_mlp` \
             with {features}",
            config.dense_features(),
        );
        config.validate()?;
        match schema.sequence_length {
            Some(length) => sequence_config(card, config, length.get() as usize),
            None => {
                let widths: Vec<String> = config.top.iter().map(usize::to_string).collect();
                require!(
                    config.top.last() == Some(&1),
                    "the top MLP must end in width 1, the click's logit: set `top_mlp` to {}-1",
                    widths.join("-")
                );
                Ok(Self::Dlrm(config))
            }
        }
    }

    /// Which model it is.
    pub fn kind(&self) -> ModelKind {
        match self {
            Self::Dlrm(_) => ModelKind::Dlrm,
            Self::Tbsm(_) => ModelKind::Tbsm,
        }
    }

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

fn sequence_config(card: &Card, tower: DlrmConfig, length: usize) -> Result<ModelConfig> {
    let sequence = &card.sequence;
    let history = length.checked_sub(1).filter(|&history| history > 0);
    let history = history.context(|| {
        "the data set's sequences have a candidate and no history: prepare it with at least one \
         event before the candidate"
            .into()
    })?;
    let heads = match sequence.heads {
        Some(heads) => usize::try_from(heads).context(|| "too many `heads`".into())?,
        None => 1,
    };
    let widths = |widths: &Option<Widths>, default: Vec<usize>| {
        widths.clone().map_or(default, Widths::into_vec)
    };
    let config = TbsmConfig {
        tower: DlrmConfig {
            output: Output::Relu,
            ..tower
        },
        history,
        normalise: sequence.normalise.unwrap_or(true),
        sequence: match sequence.layer.unwrap_or_default() {
            SequenceLayerName::Tsl => SequenceLayer::Tsl {
                heads,
                inner: sequence.attention.unwrap_or(Inner::Def),
                mechanism: sequence.mechanism.unwrap_or(Mechanism::Mlp),
                mlp: widths(&sequence.attention_mlp, vec![15, 15]),
                sequential: sequence.sequential.unwrap_or(false),
            },
            SequenceLayerName::Mha => SequenceLayer::Mha { heads },
            SequenceLayerName::Rnn => SequenceLayer::Rnn { layers: heads },
        },
        head: widths(&sequence.final_mlp, vec![60, 1]),
    };
    config.validate()?;
    Ok(ModelConfig::Tbsm(config))
}
