//! Rows of which several threads do a part each.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::progress::Progress;

/// Tells of a row when all its parts are done, on average.
pub(super) struct RowMeter<'a> {
    progress: &'a dyn Progress,
    parts: u64,
    done: AtomicU64,
}

impl<'a> RowMeter<'a> {
    /// Rows have `parts` parts.
    pub(super) fn new(progress: &'a dyn Progress, parts: u64) -> Self {
        Self {
            progress,
            parts,
            done: AtomicU64::new(0),
        }
    }

    /// `bytes` more bytes were read, and `parts` more parts of rows are done.
    pub(super) fn advance(&self, bytes: u64, parts: u64) {
        let before = self.done.fetch_add(parts, Ordering::Relaxed);
        let rows = (before + parts) / self.parts - before / self.parts;
        self.progress.advance(bytes, rows);
    }
}
