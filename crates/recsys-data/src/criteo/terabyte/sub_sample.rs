//! Which rows without a click are left out.

use super::TerabyteOptions;
use crate::generate::Counter;

/// A draw for every row of a day: a function of seed, day and row alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct SubSample {
    rate: f64,
    draws: Counter,
}

impl SubSample {
    pub(super) fn new(options: &TerabyteOptions, day: usize) -> Self {
        Self {
            rate: options.sub_sample,
            draws: Counter::new(options.sub_sample_seed, day as u64),
        }
    }

    /// Whether row `row` of the day, counted from 0 over all that are rows, is left out.
    #[inline]
    pub(super) fn drops(self, row: u64, label: u8) -> bool {
        label == 0 && self.rate > 0.0 && self.draws.sample(row).uniform() < self.rate
    }
}
