//! Mean and deviation of dense values, and what they do to a value.

use serde::Serialize;

/// What makes a column's training values have mean 0 and deviation 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(in crate::exchange) struct Scale {
    pub(in crate::exchange) mean: f64,
    pub(in crate::exchange) deviation: f64,
}

impl Scale {
    /// Where all training values are one, only their mean is taken away.
    pub(in crate::exchange) fn apply(self, value: f64) -> f64 {
        let divisor = if self.deviation > 0.0 {
            self.deviation
        } else {
            1.0
        };
        (value - self.mean) / divisor
    }
}

/// Mean and deviation (over all values, not one fewer) of values that come one by one: Welford's
/// recurrence.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::exchange) struct Measure {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Measure {
    pub(in crate::exchange) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let difference = value - self.mean;
        self.mean += difference / self.count;
        self.squares += difference * (value - self.mean);
    }

    pub(in crate::exchange) fn scale(self) -> Scale {
        Scale {
            mean: self.mean,
            deviation: (self.squares / self.count.max(1.0)).sqrt(),
        }
    }
}
