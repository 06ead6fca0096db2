//! Who is told how far a preparation is.

use std::time::Instant;

use crate::error::Result;
pub use crate::stage::Stage;

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
