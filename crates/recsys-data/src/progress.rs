//! Who is told how far a preparation is.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// The parts of a preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stage {
    /// Text to columns, where later passes read those instead.
    Parse,
    /// Pass one: reading, and counting categories.
    Count,
    /// Between the passes: putting the events of every user into order, where the options need that before samples are counted.
    Sort,
    /// Pass two: reading again, and writing ids.
    Write,
    /// Comparing a packed data set with its checksums, bounds and counts.
    Verify,
}

impl Stage {
    /// A word for a progress bar.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parsing",
            Self::Count => "counting",
            Self::Sort => "sorting",
            Self::Write => "writing",
            Self::Verify => "checking",
        }
    }
}

/// Receives the progress of long work; every method may do nothing. `()` does nothing at all.
pub trait Progress: Send + Sync {
    /// A stage begins that will read `bytes` bytes of raw files (compressed, where they are), or of what was made of them.
    fn begin(&self, stage: Stage, bytes: u64) {
        let _ = (stage, bytes);
    }

    /// Since the last call `bytes` more bytes were read and `rows` more rows done.
    fn advance(&self, bytes: u64, rows: u64) {
        let _ = (bytes, rows);
    }

    /// The work will take `needed` bytes of disk at its peak, of which `free` are free, where the system can tell.
    fn disk(&self, needed: u64, free: Option<u64>) {
        let _ = (needed, free);
    }

    /// The stage that began last has ended.
    fn end(&self) {}
}

impl Progress for () {}

/// Runs a stage between its announcements and measures it, in seconds.
pub(crate) fn staged<T>(
    progress: &dyn Progress,
    stage: Stage,
    bytes: u64,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, f64)> {
    let start = Instant::now();
    progress.begin(stage, bytes);
    let result = work();
    progress.end();
    Ok((result?, start.elapsed().as_secs_f64()))
}
