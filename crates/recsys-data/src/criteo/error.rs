//! The errors of reading, preparing or encoding click logs.

use std::path::PathBuf;

use super::{RowDefect, UnseenCategory};

/// What can go wrong with reading, preparing or encoding click logs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A line of a raw file is no row.
    #[error("{path}, line {line}: {defect}; mend the file, or leave such lines out with `BadRows::Skip`", path = path.display())]
    BadRow {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        defect: RowDefect,
    },
    /// A line of a raw file that is not in the usual form is no row.
    #[error(
        "{path}, line {line}, read as a row with a label in front, without an id, separated by \
        TAB: {defect}; mend the file, \
         or leave such lines out with `BadRows::Skip`", path = path.display()
    )]
    BadRowOfOtherForm {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        defect: RowDefect,
    },
    /// Some files have labels, and others have none.
    #[error(
        "{labelled} has labels and {unlabelled} has none: encode them one by one",
        labelled = labelled.display(),
        unlabelled = unlabelled.display()
    )]
    MixedLabels {
        /// The first file with labels.
        labelled: PathBuf,
        /// The first file without.
        unlabelled: PathBuf,
    },
    /// Files of days are needed, and there is one.
    #[error(
        "{path} is the only raw file, and days need two at least (the last one validates and tests): name the others, or \
         split the rows of one file with `PrepareCriteo`", path = path.display()
    )]
    OneDay {
        /// The file.
        path: PathBuf,
    },
    /// The memory allowed is too little for the work.
    #[error(
        "`memory` is {found}, which is too little: {least} bytes are the least for {threads} threads"
    )]
    LittleMemory {
        /// Bytes allowed.
        found: u64,
        /// Bytes that are needed.
        least: u64,
        /// Threads that the work may use.
        threads: usize,
    },
    /// An interrupted preparation had other options.
    #[error(
        "{path} holds an interrupted preparation with other options ({difference}): repeat its command to continue it, or \
         discard it with `restart`", path = path.display()
    )]
    OtherOptions {
        /// The work folder.
        path: PathBuf,
        /// The first option that differs, then and now.
        difference: String,
    },
    /// A raw file changed after it was parsed, and before the preparation was continued.
    #[error(
        "{path} had {before} bytes when it was parsed and has {now}: restore the file, or begin anew with `restart`",
        path = path.display()
    )]
    ParsedSourceChanged {
        /// The file.
        path: PathBuf,
        /// Its size then.
        before: u64,
        /// Its size now.
        now: u64,
    },
    /// A file of an interrupted preparation is not what it should be.
    #[error("{path} {problem}: discard the interrupted preparation with `restart`", path = path.display())]
    WorkFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Raw rows cannot be encoded by the vocabulary of a data set.
    #[error("rows cannot be encoded by the vocabulary of {path}: {reason}", path = path.display())]
    NotEncodable {
        /// The data set's folder.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A category is not in the vocabulary, and its table has no id for such categories.
    #[error("{unseen}")]
    Unseen {
        /// The category and its table.
        unseen: UnseenCategory,
    },
    /// A category of a line is not in the vocabulary, and its table has no id for such categories.
    #[error("{path}, line {line}: {unseen}", path = path.display())]
    UnseenInLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The category and its table.
        unseen: UnseenCategory,
    },
}
