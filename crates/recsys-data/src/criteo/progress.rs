//! Who is told how far a preparation is.

use serde::Serialize;

/// The parts of a preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Pass one: reading, and counting categories.
    Count,
    /// Pass two: reading again, and writing ids.
    Write,
}

impl Stage {
    /// A word for a progress bar.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "counting",
            Self::Write => "writing",
        }
    }
}

/// Receives the progress of long work; every method may do nothing. `()` does nothing at all.
pub trait Progress: Send + Sync {
    /// A stage begins that will read `bytes` bytes of raw files (compressed, where they are).
    fn begin(&self, stage: Stage, bytes: u64) {
        let _ = (stage, bytes);
    }

    /// Since the last call `bytes` more bytes were read and `rows` more rows done.
    fn advance(&self, bytes: u64, rows: u64) {
        let _ = (bytes, rows);
    }

    /// The stage that began last has ended.
    fn end(&self) {}
}

impl Progress for () {}
