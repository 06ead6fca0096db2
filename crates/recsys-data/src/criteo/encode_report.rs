//! What encoding by a vocabulary found.

use serde::Serialize;

use super::PassReport;
use crate::packed::SourceFile;
use crate::split::Split;
use crate::text::SkippedRows;

/// What encoding found and did. Times are here alone, never in the data set.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct EncodeReport {
    /// Rows written.
    pub rows: u64,
    /// Whether the rows have labels.
    pub labels: bool,
    /// Rows with label 1.
    pub clicks: u64,
    /// The split that holds them.
    pub split: Split,
    /// Categories that are not in the vocabulary, by table.
    pub unseen: Vec<UnseenReport>,
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

impl EncodeReport {
    /// Share of all lookups whose category is not in the vocabulary.
    pub fn unseen_share(&self) -> f64 {
        let unseen: u64 = self.unseen.iter().map(|table| table.rows).sum();
        unseen as f64 / (self.rows * self.unseen.len() as u64).max(1) as f64
    }

    /// Rows per second over both passes and everything between.
    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }
}

/// Categories of a table that are not in the vocabulary.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UnseenReport {
    /// The table.
    pub table: String,
    /// Rows with such a category.
    pub rows: u64,
    /// Their share of all rows.
    pub share: f64,
}
