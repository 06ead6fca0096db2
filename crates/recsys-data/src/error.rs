//! The errors of this crate.

use std::path::{Path, PathBuf};

use crate::criteo::Error as CriteoError;
use crate::exchange::Error as ExchangeError;
use crate::packed::Error as PackedError;
use crate::taobao::Error as TaobaoError;
use crate::text::Error as TextError;

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while data are read, prepared or written. What belongs to one kind of files or data sets has an error
/// of its own in that module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading, preparing or encoding click logs.
    #[error(transparent)]
    Criteo(#[from] CriteoError),
    /// Reading and writing data of other programs.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// Packed data sets.
    #[error(transparent)]
    Packed(#[from] PackedError),
    /// Preparing events of users.
    #[error(transparent)]
    Taobao(#[from] TaobaoError),
    /// Raw files.
    #[error(transparent)]
    Text(#[from] TextError),
    /// An operating system call on a file failed.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was being done: "cannot read", "cannot create" …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A sample was asked for that the data set does not have.
    #[error("sample {sample} asked for, but the data set has {len} samples")]
    SampleOutOfRange {
        /// The number asked for.
        sample: u64,
        /// Number of samples.
        len: u64,
    },
    /// An option has a value that makes no sense.
    #[error("{option} is {value}; allowed: {allowed}")]
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be set to.
        allowed: &'static str,
    },
    /// An AUC was asked for over samples that are all clicks or all not.
    #[error(
        "AUC is undefined over samples {first}..{end}: they have one class only; take more samples"
    )]
    UndefinedAuc {
        /// First sample.
        first: u64,
        /// End of the samples.
        end: u64,
    },
    /// A batch does not have the shape that the schema asks for.
    #[error("the batch has {found} {what}, and the schema asks for {expected}")]
    BatchShape {
        /// What does not fit.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// More ids were asked for than a batch can hold.
    #[error(
        "{samples} samples have more ids than a batch can hold (2^32): read fewer samples at a time"
    )]
    TooManyIds {
        /// Samples of the read that went too far.
        samples: u64,
    },
    /// The disk has too little space for the output.
    #[error(
        "cannot reserve disk space for {path}: {needed} bytes are needed and {} are free ({source}); free some space or \
         choose another disk",
        available.map_or("an unknown number".into(), |bytes| bytes.to_string()), path = path.display()
    )]
    NoSpace {
        /// What could not be reserved.
        path: PathBuf,
        /// Bytes that the whole output takes.
        needed: u64,
        /// Bytes that are free on that disk, where the system can tell.
        available: Option<u64>,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// An array in an `.npz` or `.npy` file is missing, damaged or of another form.
    #[error("{path}: array {array} {problem}; restore the file, or write it again with the program that made it", path = path.display())]
    BadArray {
        /// The file.
        path: PathBuf,
        /// The array's name.
        array: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A table has more categories than ids have numbers.
    #[error("table {table} has more than 4,026,531,839 categories: bound it with `max_ind_range`")]
    TooManyCategories {
        /// The table.
        table: String,
    },
    /// More positions of a sequence were asked for than it has.
    #[error("{positions} positions of every sequence were asked for, the data set's have {length}")]
    SequenceTooShort {
        /// Positions asked for.
        positions: u32,
        /// Positions of the data set's sequences; 0 where samples are no sequences.
        length: u32,
    },
    /// The work that a loader does on a batch ahead of its use failed.
    #[error("batch {batch}: {source}")]
    Prepare {
        /// Number of the batch in its epoch, counted from 0.
        batch: u64,
        /// What the work answered.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A data set or an observer from outside of this crate failed.
    #[error(transparent)]
    External(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An error of a [`Dataset`](crate::Dataset) from outside of this crate.
    pub fn external(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::External(error.into())
    }

    /// For `map_err`: an operating system call on `path` failed.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// An operating system call on `path` failed.
pub(crate) fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}
