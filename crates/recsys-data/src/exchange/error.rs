//! The errors of reading and writing data of other programs.

use std::path::PathBuf;

use crate::split::Split;

/// What can go wrong with reading and writing data of other programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value in a file of another program cannot be imported.
    #[error("{path}, {unit} {number}, column {column}: {value} {problem}", path = path.display())]
    BadForeignValue {
        /// The file.
        path: PathBuf,
        /// "sample", counted from 0 in its file, or "line", counted from 1.
        unit: &'static str,
        /// Which one.
        number: u64,
        /// The column.
        column: Box<str>,
        /// What stands there.
        value: Box<str>,
        /// What is wrong with it, and what would help.
        problem: String,
    },
    /// A line of a table is no row.
    #[error("{path}, line {line}: {problem}", path = path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Its number, counted from 1.
        line: u64,
        /// What is wrong with it, and what would help.
        problem: String,
    },
    /// A file of another program has another form than its format says.
    #[error("{path} {problem}", path = path.display())]
    BadForeignFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what would help.
        problem: String,
    },
    /// A column that a mapping names is not in the file.
    #[error("{path} has no column {column:?}; it has: {known}", path = path.display())]
    UnknownColumn {
        /// The file.
        path: PathBuf,
        /// The column that the mapping names.
        column: String,
        /// The columns there are.
        known: String,
    },
    /// A format is read and written only where the crate is built with a feature.
    #[error("{path} needs the feature `{feature}`: build recsys-data with it", path = path.display())]
    FeatureMissing {
        /// The file.
        path: PathBuf,
        /// The feature.
        feature: &'static str,
    },
    /// A format cannot hold a data set.
    #[error("{format} cannot hold this data set: {problem}")]
    NotExportable {
        /// The format.
        format: &'static str,
        /// Why, and what would help.
        problem: String,
    },
    /// A format cannot hold a value.
    #[error("{split} sample {sample}, column {column}: {value} {problem}")]
    ValueNotExportable {
        /// The split.
        split: Split,
        /// Number of the sample in its split.
        sample: u64,
        /// The column.
        column: String,
        /// The value.
        value: String,
        /// Why it cannot be written, and what would help.
        problem: String,
    },
    /// The output folder of an export holds files.
    #[error("{path} exists and is not empty: choose another folder; an export replaces nothing", path = path.display())]
    ExportExists {
        /// The folder.
        path: PathBuf,
    },
    /// A mapping of columns has a key or a value that does not exist.
    #[error("{origin}, line {line} (`{text}`): {message}")]
    Mapping {
        /// File or name.
        origin: String,
        /// Line, counted from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong, and what is allowed.
        message: String,
    },
}
