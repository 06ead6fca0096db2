//! What a preparation found and did.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::{RowDefect, Stage};
use crate::{SourceFile, Split};

/// What a preparation found and did. Times are here alone, never in the data set.
#[derive(Debug, Clone, Serialize)]
pub struct PrepareReport {
    /// Rows written.
    pub rows: u64,
    /// Rows with label 1.
    pub clicks: u64,
    /// Categories of every table: its number of ids.
    pub categories: Vec<u64>,
    /// Train, validation and test.
    pub splits: Vec<SplitReport>,
    /// Lines left out, by kind of defect.
    pub skipped: Vec<SkippedRows>,
    /// The raw files.
    pub sources: Vec<SourceFile>,
    /// The two passes over them.
    pub passes: Vec<PassReport>,
    /// From start to end, in seconds.
    pub seconds: f64,
    /// Size of the data set on disk, in bytes.
    pub packed_bytes: u64,
}

impl PrepareReport {
    /// Share of rows with label 1.
    pub fn click_rate(&self) -> f64 {
        self.clicks as f64 / self.rows as f64
    }

    /// Rows per second over both passes and everything between.
    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }

    /// Lines left out, of all kinds.
    pub fn skipped_rows(&self) -> u64 {
        self.skipped.iter().map(|kind| kind.rows).sum()
    }
}

/// One split of a prepared data set.
#[derive(Debug, Clone, Serialize)]
pub struct SplitReport {
    /// Which one.
    pub split: Split,
    /// Its rows.
    pub rows: u64,
    /// Those with label 1.
    pub clicks: u64,
}

/// One pass over the raw files.
#[derive(Debug, Clone, Serialize)]
pub struct PassReport {
    /// What the pass is for.
    pub stage: Stage,
    /// Time taken, in seconds.
    pub seconds: f64,
    /// Rows per second.
    pub rows_per_second: f64,
}

/// Lines that were left out for one kind of defect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedRows {
    /// The kind, as in [`RowDefect::kind`].
    pub kind: &'static str,
    /// How many lines.
    pub rows: u64,
    /// File name of the first one.
    pub file: String,
    /// Line number of the first one, counted from 1.
    pub line: u64,
    /// What is wrong with the first one.
    pub example: String,
}

/// Lines left out so far. Logs of neighbouring pieces of text are merged in their order.
#[derive(Debug, Default)]
pub(super) struct SkipLog(BTreeMap<&'static str, Skipped>);

#[derive(Debug)]
struct Skipped {
    rows: u64,
    file: usize,
    line: u64,
    defect: RowDefect,
}

impl SkipLog {
    pub(super) fn add(&mut self, file: usize, line: u64, defect: RowDefect) {
        let skipped = self.0.entry(defect.kind()).or_insert(Skipped {
            rows: 0,
            file,
            line,
            defect,
        });
        skipped.rows += 1;
    }

    /// Adds the log of text that comes later.
    pub(super) fn append(&mut self, later: Self) {
        for (kind, more) in later.0 {
            match self.0.get_mut(kind) {
                Some(skipped) => skipped.rows += more.rows,
                None => {
                    self.0.insert(kind, more);
                }
            }
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.0.values().map(|skipped| skipped.rows).sum()
    }

    pub(super) fn into_report(self, files: &[PathBuf]) -> Vec<SkippedRows> {
        let name = |file: usize| {
            files[file]
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let report = |(kind, skipped): (&'static str, Skipped)| SkippedRows {
            kind,
            rows: skipped.rows,
            file: name(skipped.file),
            line: skipped.line,
            example: skipped.defect.to_string(),
        };
        self.0.into_iter().map(report).collect()
    }
}
