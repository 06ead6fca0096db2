//! The parts of long work.

use serde::{Deserialize, Serialize};

/// The parts of a preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stage {
    /// Text to columns, where later passes read those instead.
    Parse,
    /// Pass one: reading, and counting categories.
    Count,
    /// Between the passes: reading what does not train, which does not count for ranks.
    Rank,
    /// Between the passes: putting the events of every user into order, where the options need that
    /// before samples are counted.
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
            Self::Rank => "ranking",
            Self::Sort => "sorting",
            Self::Write => "writing",
            Self::Verify => "checking",
        }
    }
}
