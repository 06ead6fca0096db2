//! The errors of this crate.

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while a model is configured, loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration has no embedding table.
    #[error("a DLRM needs at least one embedding table, but tables = 0")]
    NoTables,
    /// An extent of the configuration is zero.
    #[error("{what} is 0, but must be at least 1")]
    ZeroExtent {
        /// The field: `dim`, `bottom[2]` …
        what: String,
    },
    /// The bottom MLP names fewer than two widths.
    #[error(
        "the bottom MLP has {widths} width(s), but needs at least two: the number of dense features first, the embedding dimension last"
    )]
    BottomTooShort {
        /// Number of widths given.
        widths: usize,
    },
    /// The top MLP names no width.
    #[error(
        "the top MLP has no layer; give the widths after the interaction, for example [512, 256, 1]"
    )]
    TopEmpty,
    /// The bottom MLP does not end in the width of the embedding rows.
    #[error(
        "the bottom MLP ends in width {last}, but the embedding dimension is {dim}; the interaction needs the two to be equal"
    )]
    BottomWidth {
        /// Last width of the bottom MLP.
        last: usize,
        /// Width of an embedding row.
        dim: usize,
    },
    /// One table, no bottom MLP, and no product of a feature with itself.
    #[error(
        "one table and no dense features leave no two vectors to multiply: set `interact_self`, \
        or the `interaction` cat"
    )]
    NothingInteracts,
    /// The configuration describes a model that cannot be addressed.
    #[error("the model is too large: {what} does not fit into 63 bits")]
    TooLarge {
        /// What was being counted.
        what: &'static str,
    },
    /// A slice of dense features is not a whole number of samples.
    #[error(
        "dense has {found} values, which is no multiple of the {features} dense features of the model"
    )]
    RaggedDense {
        /// Number of values given.
        found: usize,
        /// Dense features per sample.
        features: usize,
    },
    /// An argument does not fit the model.
    #[error(transparent)]
    Model(#[from] recsys_model::Error),
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<Error> for recsys_model::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Model(error) => error,
            Error::Candle(error) => Self::Candle(error),
            error => Self::external(error),
        }
    }
}
