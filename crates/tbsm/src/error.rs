//! The errors of this crate.

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while a model is configured, loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tower has no bottom MLP.
    #[error(
        "a TBSM needs at least one dense feature at every position, such as the position itself: \
        prepare the sequences with one"
    )]
    NoDense,
    /// An argument does not fit the model.
    #[error(transparent)]
    Model(#[from] recsys_model::Error),
    /// The tower's configuration is wrong.
    #[error(transparent)]
    Dlrm(#[from] dlrm::Error),
    /// The tower ends in logits.
    #[error(
        "the tower's output is {found}, but a TBSM compares the towers of positions and needs relu; set tower.output"
    )]
    TowerOutput {
        /// The output configured.
        found: &'static str,
    },
    /// An extent of the configuration is zero.
    #[error("{what} is 0, but must be at least 1")]
    ZeroExtent {
        /// The field: `history`, `sequence.heads`, `head[1]` …
        what: String,
    },
    /// The head MLP names no width.
    #[error(
        "the head MLP has no layer; give the widths after [context, candidate], for example [60, 1]"
    )]
    HeadEmpty,
    /// The head MLP does not end in one logit.
    #[error("the head MLP ends in width {last}, but a click model needs 1")]
    HeadWidth {
        /// Its last width.
        last: usize,
    },
    /// A sequential head sees no item.
    #[error(
        "head {head} of {heads} sequential heads sees round({history} / {heads} * {}) = 0 items of a history of {history}; take fewer heads or a longer history",
        heads - head
    )]
    EmptySpan {
        /// The head, counted from 0.
        head: usize,
        /// Number of heads.
        heads: usize,
        /// Items of the history.
        history: usize,
    },
    /// The configuration describes a model that cannot be addressed.
    #[error("the model is too large: {what} does not fit into 63 bits")]
    TooLarge {
        /// What was being counted.
        what: &'static str,
    },
    /// A slice of dense features is not a whole number of sequences.
    #[error(
        "dense has {found} values, which is no multiple of the {positions} positions of {features} dense features of a sequence"
    )]
    RaggedDense {
        /// Number of values given.
        found: usize,
        /// Positions of a sequence.
        positions: usize,
        /// Dense features per position.
        features: usize,
    },
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<Error> for recsys_model::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Model(error) => error,
            Error::Dlrm(error) => error.into(),
            Error::Candle(error) => Self::Candle(error),
            error => Self::external(error),
        }
    }
}
