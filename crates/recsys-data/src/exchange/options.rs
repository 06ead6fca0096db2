//! What to import, and how.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::rules::{DenseValues, ForeignIds};
use super::table::TableMapping;
use crate::criteo::{PassReport, SplitReport};
use crate::error::{Error, Result};
use crate::packed::SourceFile;
use crate::rank_on::RankOn;
use crate::split::Split;
use crate::text::{BadRows, SkippedRows};

/// How the files of another program are laid out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "an import has one of them")]
pub enum ImportFormat {
    /// `.npz` archives of the original: `X_int`, `X_cat`, `y` and perhaps `counts`.
    Npz,
    /// The MLPerf binary: 40 little-endian integers of 32 bits for each sample.
    MlPerf,
    /// TorchRec's triples `NAME_dense.npy`, `NAME_sparse.npy`, `NAME_labels.npy`; a name or any of its three files is given.
    TorchRec,
    /// Any columns, as a mapping says: CSV, or with the feature `parquet` Parquet and Arrow IPC,
    /// files and streams.
    Table(TableMapping),
}

impl ImportFormat {
    /// A word for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Npz => "npz",
            Self::MlPerf => "mlperf",
            Self::TorchRec => "torchrec",
            Self::Table(_) => "table",
        }
    }

    /// What the dense values of such files usually are.
    pub fn usual_dense(&self) -> DenseValues {
        match self {
            Self::Npz | Self::MlPerf => DenseValues::Log,
            Self::TorchRec | Self::Table(_) => DenseValues::AsIs,
        }
    }
}

/// How files in the order of time are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ForeignCut {
    /// The first `n - n / 7` of all samples train, the first half of the rest validates, the second half tests.
    TimeOrdered,
    /// All files but the last train; the first half of the last one validates, the second half tests.
    LastFile,
}

/// Which samples train, validate and test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeignParts {
    /// Files of each split, read in this order.
    Named {
        /// Files of [`Split::Train`].
        train: Vec<PathBuf>,
        /// Files of [`Split::Validation`].
        validation: Vec<PathBuf>,
        /// Files of [`Split::Test`].
        test: Vec<PathBuf>,
    },
    /// Files in the order of time.
    InOrder {
        /// The files.
        files: Vec<PathBuf>,
        /// Where they are cut.
        cut: ForeignCut,
    },
}

impl ForeignParts {
    /// All files in reading order, with their split where it is named.
    pub(super) fn files(&self) -> Vec<(Option<Split>, &Path)> {
        match self {
            Self::Named {
                train,
                validation,
                test,
            } => [train, validation, test]
                .into_iter()
                .zip(Split::ALL)
                .flat_map(|(files, split)| {
                    files.iter().map(move |path| (Some(split), path.as_path()))
                })
                .collect(),
            Self::InOrder { files, .. } => {
                files.iter().map(|path| (None, path.as_path())).collect()
            }
        }
    }

    /// Files of which all samples train, by their number in reading order, and whether those of the
    /// others are known not to train before they are counted.
    pub(super) fn training_files(&self) -> (usize, bool) {
        match self {
            Self::Named { train, .. } => (train.len(), true),
            Self::InOrder { files, cut } => match cut {
                ForeignCut::TimeOrdered => (files.len(), false),
                ForeignCut::LastFile => (files.len().saturating_sub(1), true),
            },
        }
    }

    /// For the manifest: the split rule, or the number of files of each split.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Named {
                train,
                validation,
                test,
            } => serde_json::json!({
                "train": train.len(), "validation": validation.len(), "test": test.len()
            }),
            Self::InOrder { cut, .. } => serde_json::json!(cut),
        }
    }
}

/// What to import, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportOptions {
    /// How the files are laid out.
    pub format: ImportFormat,
    /// The files.
    pub parts: ForeignParts,
    /// Folder of the packed data set.
    pub out: PathBuf,
    /// What becomes of ids.
    pub ids: ForeignIds,
    /// Over which samples ranks are counted.
    pub rank_on: RankOn,
    /// What dense values are; a table's mapping says it column by column instead.
    pub dense: DenseValues,
    /// An `.npz` file whose `counts` bound the ids of every table.
    pub counts: Option<PathBuf>,
    /// What becomes of rows that are bad: tables only, others hold samples and no rows.
    pub bad_rows: BadRows,
    /// Whether an output folder that holds a packed data set is replaced.
    pub force: bool,
    /// Most samples of one output file.
    pub shard_rows: u64,
}

impl ImportOptions {
    /// The usual options for a format.
    pub fn new(format: ImportFormat, parts: ForeignParts, out: PathBuf) -> Self {
        Self {
            dense: format.usual_dense(),
            format,
            parts,
            out,
            ids: ForeignIds::Rank,
            rank_on: RankOn::default(),
            counts: None,
            bad_rows: BadRows::Error,
            force: false,
            shard_rows: 1 << 21,
        }
    }

    /// # Errors
    /// No file to train on, or an option without meaning.
    pub(super) fn validate(&self) -> Result<()> {
        let invalid = |option, value: String, allowed| {
            Err(Error::InvalidOption {
                option,
                value,
                allowed,
            })
        };
        let files = self.parts.files();
        if files.is_empty() {
            return invalid("input", "no file".to_owned(), "one file or more");
        }
        let is_table = matches!(self.format, ImportFormat::Table(_));
        if is_table && self.counts.is_some() {
            return invalid(
                "counts",
                "given".to_owned(),
                "the formats npz, mlperf and torchrec, whose ids have bounds",
            );
        }
        if !is_table && self.bad_rows != BadRows::Error {
            return invalid("bad_rows", "skip".to_owned(), "error, except for tables");
        }
        Ok(())
    }
}

/// What an import found and did.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Samples written.
    pub rows: u64,
    /// Rows of every table.
    pub categories: Vec<u64>,
    /// Train, validation and test; clicks are samples with label 1.
    pub splits: Vec<SplitReport>,
    /// Rows left out, by kind of defect.
    pub skipped: Vec<SkippedRows>,
    /// The files.
    pub sources: Vec<SourceFile>,
    /// The passes over them.
    pub passes: Vec<PassReport>,
    /// From start to end, in seconds.
    pub seconds: f64,
    /// Size of the data set on disk, in bytes.
    pub packed_bytes: u64,
}
