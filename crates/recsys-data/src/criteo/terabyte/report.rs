//! What a preparation by days found and did.

use serde::{Deserialize, Serialize};

use crate::criteo::report::{PassReport, SplitReport};
use crate::packed::SourceFile;
use crate::split::Split;
use crate::text::SkippedRows;

/// What a preparation by days found and did. Times are here alone, never in the data set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TerabyteReport {
    /// The days in their order.
    pub days: Vec<DayReport>,
    /// Rows written.
    pub rows: u64,
    /// Those with label 1.
    pub clicks: u64,
    /// Rows without a click that sub-sampling left out.
    pub dropped: u64,
    /// Categories of every table: its number of ids.
    pub categories: Vec<u64>,
    /// Train, validation and test.
    pub splits: Vec<SplitReport>,
    /// Lines left out, by kind of defect.
    pub skipped: Vec<SkippedRows>,
    /// Parsing, counting and writing, as far as this run had to do them.
    pub passes: Vec<PassReport>,
    /// From start to end, in seconds.
    pub seconds: f64,
    /// Size of the data set on disk, in bytes.
    pub packed_bytes: u64,
    /// Bytes of disk that the work folder and the data set were expected to take at most at a time.
    pub disk_bytes: u64,
    /// Pieces that the counts of all tables were written in: one a table where the memory holds its counts.
    pub count_runs: u64,
    /// Passes over the columns to encode them: one where the memory holds all dictionaries.
    pub encode_passes: u64,
    /// What an interrupted run had done before.
    pub resumed: Resumed,
}

/// A day of a prepared data set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DayReport {
    /// Its raw file.
    pub source: SourceFile,
    /// What its rows are for.
    #[serde(default)]
    pub splits: Vec<Split>,
    /// Rows kept.
    pub rows: u64,
    /// Those with label 1.
    pub clicks: u64,
    /// Rows without a click that sub-sampling left out.
    pub dropped: u64,
}

/// What an interrupted run had done before, and this one did not do again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Resumed {
    /// Days that were parsed.
    pub days: u64,
    /// Tables that were counted and numbered.
    pub tables: u64,
    /// Shards that were written.
    pub shards: u64,
}

impl TerabyteReport {
    /// Share of rows with label 1.
    pub fn click_rate(&self) -> f64 {
        self.clicks as f64 / self.rows as f64
    }

    /// Rows read per second, those left out by sub-sampling too, over everything that was done.
    pub fn rows_per_second(&self) -> f64 {
        (self.rows + self.dropped) as f64 / self.seconds
    }

    /// Lines left out, of all kinds.
    pub fn skipped_rows(&self) -> u64 {
        self.skipped.iter().map(|kind| kind.rows).sum()
    }
}
