//! Data set cards: what a data set is and how the original programs train on it, one TOML file each.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};

/// The cards that come with the crate, by name.
const BUILTIN: [(&str, &str); 4] = [
    (
        "criteo-kaggle",
        include_str!("../../../datasets/criteo-kaggle.toml"),
    ),
    (
        "criteo-terabyte",
        include_str!("../../../datasets/criteo-terabyte.toml"),
    ),
    (
        "taobao-userbehavior",
        include_str!("../../../datasets/taobao-userbehavior.toml"),
    ),
    (
        "synthetic",
        include_str!("../../../datasets/synthetic.toml"),
    ),
];

/// A data set card. Every field may be absent, so that a card of one's own can override a few values of another with
/// [`Card::overlay`]; a key that does not exist is an error.
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
        /// Short name, as used for `--preset`.
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
        #[serde(deserialize_with = "attention")]
        attention: String,
        /// Number of attention heads (`--tsl-num-heads`).
        heads: u64,
        /// Widths of the attention network, without input and output (`--tsl-mlp`).
        #[serde(deserialize_with = "widths")]
        attention_mlp: String,
        /// Widths of the last network, without the input (`--arch-mlp`).
        #[serde(deserialize_with = "widths")]
        final_mlp: String,
    }
}

section! {
    /// The model.
    CardModel {
        /// Length of an embedding.
        dim: usize,
        /// Widths of the bottom network, number of dense features first: `13-512-256-64-16`.
        #[serde(deserialize_with = "widths")]
        bottom_mlp: String,
        /// Widths of the top network, without its input, which follows from the interaction.
        #[serde(deserialize_with = "widths")]
        top_mlp: String,
        /// How embeddings and dense features meet: `dot` or `cat`.
        #[serde(deserialize_with = "interaction")]
        interaction: String,
        /// Whether a vector's product with itself is part of the dot interaction.
        interact_self: bool,
    }
}

section! {
    /// How a model is trained.
    CardTraining {
        /// What is minimised: `bce`, `wbce` or `mse`.
        #[serde(deserialize_with = "loss")]
        loss: String,
        /// How weights are updated: `sgd`, `adagrad` or `rowwise-adagrad`.
        #[serde(deserialize_with = "optimizer")]
        optimizer: String,
        /// Step size.
        learning_rate: f64,
        /// Samples per step.
        batch_size: usize,
        /// Samples per batch of an evaluation.
        test_batch_size: usize,
        /// Steps between two evaluations; absent: after every epoch only.
        test_every: u64,
        /// Order of the training samples: `file` or `shuffled`.
        #[serde(deserialize_with = "order")]
        order: String,
        /// Passes over the training samples.
        epochs: u64,
        /// Seed of weights and shuffles.
        seed: u64,
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

/// Reads a name out of a list, so that a typo is reported where it stands.
fn one_of<'de, D: Deserializer<'de>>(
    deserializer: D,
    allowed: &'static [&'static str],
) -> std::result::Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if allowed.contains(&name.as_str()) {
        Ok(Some(name))
    } else {
        Err(D::Error::unknown_variant(&name, allowed))
    }
}

fn interaction<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    one_of(deserializer, &["dot", "cat"])
}

fn attention<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    one_of(deserializer, &["def", "ind", "dot"])
}

fn loss<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    one_of(deserializer, &["bce", "wbce", "mse"])
}

fn optimizer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    one_of(deserializer, &["sgd", "adagrad", "rowwise-adagrad"])
}

fn order<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    one_of(deserializer, &["file", "shuffled"])
}

/// Reads widths written as `13-512-256`.
fn widths<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text
        .split('-')
        .all(|width| width.parse::<usize>().is_ok_and(|width| width > 0))
    {
        Ok(Some(text))
    } else {
        Err(D::Error::custom(format!(
            "`{text}` is no list of widths such as `512-256-1`"
        )))
    }
}

/// Reads TOML. `origin` is what errors call it.
///
/// # Errors
/// [`Error::Card`].
pub(crate) fn parse_toml<T: serde::de::DeserializeOwned>(text: &str, origin: &str) -> Result<T> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let line_start = text.as_bytes()[..start]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        let line_end = memchr::memchr(b'\n', &text.as_bytes()[start..])
            .map_or(text.len(), |length| start + length);
        Error::Card {
            origin: origin.to_owned(),
            line: memchr::memchr_iter(b'\n', &text.as_bytes()[..start]).count() + 1,
            text: String::from_utf8_lossy(&text.as_bytes()[line_start..line_end])
                .trim()
                .to_owned(),
            message: error.message().to_owned(),
        }
    })
}

impl Card {
    /// Reads a card. `origin` is what errors call it: a path, or a name.
    ///
    /// # Errors
    /// [`Error::Card`] with the line, the key and what is allowed there.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        parse_toml(text, origin)
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
        }
    }
}
