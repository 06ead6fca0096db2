//! The errors of this crate.

use std::path::{Path, PathBuf};

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with profiles, hot sets and their files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option outside its range.
    #[error("{option} is {value}; allowed is {allowed}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        allowed: &'static str,
    },
    /// A list with one entry for each table that has another length.
    #[error("{found} {what} given, the data set has {expected} tables; give one for each table")]
    TableCount {
        /// What the list holds.
        what: &'static str,
        /// Its entries.
        found: usize,
        /// Tables of the data set.
        expected: usize,
    },
    /// More hot rows than a table has.
    #[error("table {table}: {hot_rows} hot rows, but the table has {rows}; make the hot set again")]
    HotRowsBeyondTable {
        /// Table name.
        table: String,
        /// Hot rows asked for.
        hot_rows: u64,
        /// Rows of the table.
        rows: u64,
    },
    /// An id beyond its table.
    #[error(
        "table {table}: id {id} is not below the table's {rows} rows; the data set's schema is wrong"
    )]
    IdOutOfRange {
        /// Table name.
        table: String,
        /// The id.
        id: u32,
        /// Rows of the table.
        rows: u64,
    },
    /// A table too large for this machine's memory.
    #[error("table {table}: no memory for the counts of {rows} rows")]
    TooManyRows {
        /// Table name.
        table: String,
        /// Rows of the table.
        rows: u64,
    },
    /// A row with more accesses than a counter holds.
    #[error(
        "table {table}: a row has more than 4294967295 accesses; count a sample of the inputs instead of all"
    )]
    CountOverflow {
        /// Table name.
        table: String,
    },
    /// A data set whose samples, ids or offsets do not fit its schema.
    #[error(
        "the data set shows {found} {what}, and its schema and the samples read make {expected}; mend the data set"
    )]
    FaultyDataset {
        /// "samples", "ids" or "offsets".
        what: &'static str,
        /// How many it shows.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A data set with a bag that ends before it begins.
    #[error(
        "the data set's offsets descend, so that a bag ends before it begins; mend the data set"
    )]
    DescendingOffsets,
    /// Samples with more bags than can be held.
    #[error("a sample has {bags} bags of ids, at most {most} are possible; make sequences shorter")]
    TooManyBags {
        /// Bags of a sample.
        bags: usize,
        /// Most bags.
        most: usize,
    },
    /// A data set that cannot be read.
    #[error(transparent)]
    Data(#[from] recsys_data::Error),
    /// A file that cannot be read or written.
    #[error("{action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file that holds no hot set.
    #[error("{path} is no hot set: {source}; make one with `HotSet::select`", path = path.display())]
    NotAHotSet {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// A hot set of another release.
    #[error("{path} is version {found} of the format, this release reads version {supported}; make the hot set again", path = path.display())]
    FormatVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The version read.
        supported: u64,
    },
    /// A hot set made for another data set.
    #[error("{path} was made for another data set: {what} is {found}, here it is {expected}; profile this data set", path = path.display())]
    OtherDataset {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: String,
        /// In the file.
        found: String,
        /// In the data set.
        expected: String,
    },
    /// A hot set whose numbers do not fit each other.
    #[error("{path} was changed after it was written: {what} is {found}, {expected} expected; make the hot set again", path = path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
        /// In the file.
        found: String,
        /// What would fit.
        expected: String,
    },
    /// A partition was used with another data set than the one it was made of.
    #[error(
        "the partition was made of {classified} samples and the data set has {samples}: classify this data set"
    )]
    ForeignPartition {
        /// Samples classified.
        classified: u64,
        /// Samples of the data set.
        samples: u64,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
