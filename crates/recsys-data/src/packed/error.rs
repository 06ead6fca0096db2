//! The errors of packed data sets.

use std::path::PathBuf;

use crate::split::Split;

/// What can go wrong with packed data sets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A folder holds no packed data set.
    #[error("{path} is not a packed data set: {reason}; prepare one, or give the folder of one", path = path.display())]
    NotPacked {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A manifest cannot be read or written as JSON.
    #[error("{path} is damaged ({source}): restore the file or prepare the data again", path = path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A manifest names a file that lies outside of the data set, which a program must not read for
    /// a stranger.
    #[error(
        "{path} names the file `{name}`, which does not lie in the data set: restore it or \
         prepare the data again",
        path = path.display()
    )]
    Outside {
        /// The manifest.
        path: PathBuf,
        /// The file.
        name: String,
    },
    /// A file was written in another version of the packed format.
    #[error(
        "{path} has format version {found}, and this release reads version {supported}: use the release that wrote it, or \
         prepare the data again", path = path.display()
    )]
    FormatVersion {
        /// The file.
        path: PathBuf,
        /// The version that it names.
        found: String,
        /// The version that can be read.
        supported: u64,
    },
    /// A file is shorter or longer than its manifest says.
    #[error(
        "{path} has {found} bytes and should have {expected}: it was truncated or replaced; restore the file or prepare the \
         data again", path = path.display()
    )]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Size in the manifest.
        expected: u64,
        /// Size on disk.
        found: u64,
    },
    /// A file holds another shard than its name says.
    #[error("{path} should be {expected} and is {found}: files were swapped; give them their names back", path = path.display())]
    WrongShard {
        /// The file.
        path: PathBuf,
        /// The shard that the manifest names.
        expected: String,
        /// The shard that the file says it is.
        found: String,
    },
    /// Part of a file does not have the checksum that is recorded for it.
    #[error(
        "{part} of {path} does not match its checksum: the file was altered or belongs to another data set; restore it or \
         prepare the data again", path = path.display()
    )]
    Altered {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        part: &'static str,
    },
    /// A block of samples does not have the checksum that is recorded for it.
    #[error(
        "{path}: checksum mismatch of `{tensor}` in the block of {split} samples {first} to {last}: restore the file or \
         prepare the data again", path = path.display()
    )]
    DamagedBlock {
        /// The shard.
        path: PathBuf,
        /// The damaged tensor.
        tensor: &'static str,
        /// The split that the samples belong to.
        split: Split,
        /// First sample of the block.
        first: u64,
        /// Last sample of the block.
        last: u64,
    },
    /// A value is out of its range.
    #[error(
        "{path}: {split} sample {sample}, column {column}: {value} is not allowed ({allowed}); restore the file or prepare \
         the data again", path = path.display()
    )]
    BadValue {
        /// The shard.
        path: PathBuf,
        /// The split that the sample belongs to.
        split: Split,
        /// Number of the sample in its split.
        sample: u64,
        /// The column: "label", a dense feature or a table; "offsets" where bags of ids overlap.
        column: String,
        /// The value found.
        value: String,
        /// What would be allowed.
        allowed: String,
    },
    /// The output folder holds files.
    #[error("{path} exists and is not empty: choose another folder, or set `force` to replace the packed data set in it", path = path.display())]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// Another writer works on the output folder.
    #[error("{path} is being written by another process: wait until that is done, or choose another folder", path = path.display())]
    OutputBusy {
        /// The folder.
        path: PathBuf,
    },
    /// The output folder holds files that are not a packed data set's, so that it is not replaced.
    #[error(
        "{path} is not replaced, because {}: move them away or choose another folder",
        entry.as_ref().map_or("its files are not those of a packed data set".into(),
            |entry| format!("it holds files that no packed data set has, such as {entry:?}")), path = path.display()
    )]
    NotReplaceable {
        /// The folder.
        path: PathBuf,
        /// A file that no packed data set has; none where there is no manifest.
        entry: Option<String>,
    },
    /// A column name is not usable.
    #[error("column name {name:?} {problem}")]
    ColumnName {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More samples came than were announced.
    #[error(
        "{written} samples came for {split}, and {announced} were announced: the input grew, or was counted wrong"
    )]
    TooManyRows {
        /// The split.
        split: Split,
        /// Number announced when the writer was made.
        announced: u64,
        /// Number that would have been written.
        written: u64,
    },
    /// Fewer samples came than were announced.
    #[error(
        "{written} samples came for {split}, and {announced} were announced: the input shrank, or was counted wrong"
    )]
    RowsMissing {
        /// The split.
        split: Split,
        /// Number announced when the writer was made.
        announced: u64,
        /// Number written.
        written: u64,
    },
    /// A row was written a second time.
    #[error("row {row} of {split} was written twice: positions must be a permutation")]
    RowWrittenTwice {
        /// The split.
        split: Split,
        /// The row.
        row: u64,
    },
    /// Samples of one split were appended and scattered.
    #[error("samples of {split} were both appended and scattered: write each split in one way")]
    MixedWriting {
        /// The split.
        split: Split,
    },
    /// Multi-hot samples cannot be scattered, because their sizes differ.
    #[error("multi-hot samples cannot be written in any order: append them in their final order")]
    ScatterMultiHot,
    /// A writer was used after an error.
    #[error("nothing more can be written to {path} after an error: make a new writer", path = path.display())]
    WriterFailed {
        /// The output folder.
        path: PathBuf,
    },
    /// A vocabulary does not fit its table.
    #[error("the vocabulary of table {table} has {found} {what}, and {expected} are needed")]
    VocabularyShape {
        /// The table.
        table: String,
        /// What does not fit.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
}
