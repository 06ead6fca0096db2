//! The errors of this crate.

use std::error::Error as StdError;

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a run: its settings, and what the libraries below say.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A data set card has a key or a value that does not exist.
    #[error("{origin}, line {line} (`{text}`): {message}")]
    Card {
        /// File or name.
        origin: String,
        /// Line, counted from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// No data set card has this name.
    #[error("no data set card is called `{name}`; there are: {known}")]
    UnknownCard {
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A setting that makes no sense or does not fit the others.
    #[error("{what}")]
    Setting {
        /// The setting, what is wrong with it, and the remedy.
        what: String,
    },
    /// Something that failed, and why.
    #[error("{what}")]
    Failed {
        /// What failed.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The data set.
    #[error(transparent)]
    Data(#[from] recsys_data::Error),
    /// The hot set, or hot and cold inputs.
    #[error(transparent)]
    Profile(#[from] fae_profiler::Error),
    /// The rows.
    #[error(transparent)]
    Store(#[from] embedding_store::Error),
    /// The shape of a DLRM.
    #[error(transparent)]
    Dlrm(#[from] dlrm::Error),
    /// The shape of a TBSM.
    #[error(transparent)]
    Tbsm(#[from] tbsm::Error),
    /// The model.
    #[error(transparent)]
    Model(#[from] recsys_model::Error),
    /// The loop, checkpoints, weights.
    #[error(transparent)]
    Trainer(#[from] trainer::Error),
    /// Tensors.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Says what failed.
pub(crate) trait Context<T> {
    /// The error says `what`, and why as its source.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Failed {
            what: what(),
            source: error.into(),
        })
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.ok_or_else(|| Error::Setting { what: what() })
    }
}

/// Ends a function: a setting makes no sense.
macro_rules! refuse {
    ($($text:tt)+) => {
        return Err($crate::error::Error::Setting { what: format!($($text)+) })
    };
}

/// Refuses unless a condition holds.
macro_rules! require {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            $crate::error::refuse!($($text)+);
        }
    };
}

pub(crate) use {refuse, require};
