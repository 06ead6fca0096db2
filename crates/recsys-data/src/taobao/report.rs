//! What a preparation of events found and did.

use serde::Serialize;

use crate::criteo::{PassReport, SplitReport};
use crate::packed::SourceFile;
use crate::text::SkippedRows;

/// What a preparation of events found and did. Times are here alone, never in the data set.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct PrepareReport {
    /// Events read, without those left out.
    pub events: u64,
    /// Distinct users, items and categories.
    pub users: u64,
    /// Distinct items.
    pub items: u64,
    /// Distinct categories.
    pub categories: u64,
    /// Events of every behaviour: `pv`, `cart`, `fav`, `buy`.
    pub behaviours: Vec<(&'static str, u64)>,
    /// The earliest event, Unix time in seconds.
    pub first_time: i32,
    /// The latest event.
    pub last_time: i32,
    /// Events kept whose time lies outside the days that the data are of.
    pub out_of_range: u64,
    /// Events that are equal to one before them; left out if the options say so, and then not among the events.
    pub duplicates: u64,
    /// Events of a user.
    pub events_per_user: Spread,
    /// Users that have one event only.
    pub single_event_users: u64,
    /// Users with at least one sample.
    pub sampled_users: u64,
    /// Windows of all users; under the rules of the original, points of either sign and test users.
    pub windows: u64,
    /// Windows that became samples.
    pub points: u64,
    /// Train, validation and test; clicks are positive samples.
    pub splits: Vec<SplitReport>,
    /// Lines left out, by kind of defect.
    pub skipped: Vec<SkippedRows>,
    /// The raw files.
    pub sources: Vec<SourceFile>,
    /// The passes; rows are events in the first ones and samples in the last.
    pub passes: Vec<PassReport>,
    /// From start to end, in seconds.
    pub seconds: f64,
    /// Bytes of events that went to temporary files.
    pub spilled_bytes: u64,
    /// Size of the data set on disk, in bytes.
    pub packed_bytes: u64,
}

impl PrepareReport {
    /// Events per second over all passes and everything between.
    pub fn events_per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    /// Samples of all splits.
    pub fn samples(&self) -> u64 {
        self.splits.iter().map(|split| split.rows).sum()
    }

    /// Lines left out, of all kinds.
    pub fn skipped_rows(&self) -> u64 {
        self.skipped.iter().map(|kind| kind.rows).sum()
    }
}

/// How numbers are spread. Between two of them a quantile is interpolated linearly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Spread {
    /// The smallest.
    pub least: f64,
    /// A quarter is below.
    pub quarter: f64,
    /// Half is below.
    pub median: f64,
    /// Three quarters are below.
    pub three_quarters: f64,
    /// 90 % are below.
    pub percent_90: f64,
    /// 99 % are below.
    pub percent_99: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// The spread of some numbers; all 0 where there are none.
    pub(super) fn of(mut counts: Vec<u64>) -> Self {
        counts.sort_unstable();
        let quantile = |share: f64| {
            let Some(last) = counts.len().checked_sub(1) else {
                return 0.0;
            };
            let place = share * last as f64;
            let below = place as usize;
            let above = (below + 1).min(last);
            let (low, high) = (counts[below] as f64, counts[above] as f64);
            low + (high - low) * (place - below as f64)
        };
        Self {
            least: quantile(0.0),
            quarter: quantile(0.25),
            median: quantile(0.5),
            three_quarters: quantile(0.75),
            percent_90: quantile(0.9),
            percent_99: quantile(0.99),
            most: quantile(1.0),
        }
    }
}
