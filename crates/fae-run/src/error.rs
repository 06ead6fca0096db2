//! The errors of this crate.

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with the settings of a run.
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
}
