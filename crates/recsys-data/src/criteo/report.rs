//! What a preparation found and did.

use serde::{Deserialize, Serialize};

use crate::packed::SourceFile;
use crate::progress::Stage;
use crate::split::Split;
use crate::text::SkippedRows;

/// What a preparation found and did. Times are here alone, never in the data set.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SplitReport {
    /// Which one.
    pub split: Split,
    /// Its rows.
    pub rows: u64,
    /// Those with label 1.
    pub clicks: u64,
}

impl SplitReport {
    /// All splits, without rows so far.
    pub(crate) fn none() -> [Self; 3] {
        Split::ALL.map(|split| Self {
            split,
            rows: 0,
            clicks: 0,
        })
    }

    /// Counts samples by their labels.
    pub(crate) fn add(&mut self, labels: &[f32]) {
        self.rows += labels.len() as u64;
        self.clicks += labels.iter().filter(|&&label| label == 1.0).count() as u64;
    }
}

/// One pass over the raw files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PassReport {
    /// What the pass is for.
    pub stage: Stage,
    /// Time taken, in seconds.
    pub seconds: f64,
    /// Rows per second.
    pub rows_per_second: f64,
}

impl PassReport {
    /// A pass over `rows` rows.
    pub(crate) fn new(stage: Stage, rows: u64, seconds: f64) -> Self {
        Self {
            stage,
            seconds,
            rows_per_second: rows as f64 / seconds,
        }
    }
}
