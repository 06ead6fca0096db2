//! How much of a data set a hot set serves: exactly, or estimated from a sample.

use std::ops::AddAssign;

use recsys_data::{Dataset, IdBlock};
use serde::{Deserialize, Serialize};

use crate::classify::HotRows;
use crate::partition::check_hot_rows;
use crate::sample::Sample;
use crate::visit::visit_ids;
use crate::{Error, Result, student_t};

/// Inputs and lookups that a hot set serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotCounts {
    /// Inputs looked at.
    pub inputs: u64,
    /// Those whose lookups are all hot.
    pub hot_inputs: u64,
    /// Lookups of all inputs.
    pub lookups: u64,
    /// Those of hot rows.
    pub hot_lookups: u64,
}

impl HotCounts {
    /// Counts every sample of a data set.
    ///
    /// # Errors
    /// Hot rows that do not fit the data set's tables, or data that cannot be read.
    pub fn count(dataset: &dyn Dataset, hot_rows: &[u64]) -> Result<Self> {
        Ok(Tally::of(dataset, &Sample::all(dataset.len()), hot_rows)?.counts)
    }

    /// Share of the inputs that is hot; 0 where there are none.
    pub fn input_share(&self) -> f64 {
        ratio(self.hot_inputs, self.inputs)
    }

    /// Share of the lookups that is hot; 0 where there are none.
    pub fn lookup_share(&self) -> f64 {
        ratio(self.hot_lookups, self.lookups)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// A share with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShareEstimate {
    /// The estimate.
    pub share: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// What a sample says about a hot set, with intervals that hold with the stated confidence.
///
/// The sample that chose a hot set flatters it, so a second sample of the same size, disjoint from the first, judges it. Inputs
/// of the first sample are known exactly; the share of all others is the second sample's mean, with Student's t interval
/// and the correction for a finite population. Shares of lookups are ratios of two means, with the usual linear
/// approximation. Where the second sample is all hot or all cold, the one-sided exact bound takes the interval's place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HotEstimate {
    /// Inputs of the sample that was counted.
    pub counted: u64,
    /// Inputs of the second sample.
    pub judged: u64,
    /// Probability with which each interval covers the true share.
    pub confidence: f64,
    /// Share of hot inputs.
    pub inputs: ShareEstimate,
    /// Share of hot lookups.
    pub lookups: ShareEstimate,
}

impl HotEstimate {
    /// Estimates the shares that a hot set serves of a data set from two samples of `round(sample * len)` inputs, the first
    /// being the one that [`AccessCounts::count`](crate::AccessCounts::count) draws with the same rate and seed.
    ///
    /// # Errors
    /// A sampling rate or a confidence out of range, hot rows that do not fit, or data that cannot be read.
    pub fn new(
        dataset: &dyn Dataset,
        hot_rows: &[u64],
        options: &crate::CountOptions,
        confidence: f64,
    ) -> Result<Self> {
        if !(confidence > 0.0 && confidence < 1.0) {
            return Err(Error::InvalidOption {
                option: "the confidence",
                value: confidence.to_string(),
                allowed: "more than 0 and less than 1",
            });
        }
        let counted = Sample::draw(dataset.len(), options.sample, options.seed)?;
        let judging = counted.next_disjoint();
        let known = Tally::of(dataset, &counted, hot_rows)?;
        let fresh = Tally::of(dataset, &judging, hot_rows)?;
        let rest = dataset.len() - counted.size();
        Ok(Self {
            counted: counted.size(),
            judged: judging.size(),
            confidence,
            inputs: known.inputs(&fresh, rest, 1.0 - confidence),
            lookups: known.lookups(&fresh, rest, 1.0 - confidence),
        })
    }
}

/// Sums over samples of `y` (hot lookups), `x` (lookups) and their products. Integers, so that their order means nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) counts: HotCounts,
    yy: u128,
    xy: u128,
    xx: u128,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.counts.inputs += other.counts.inputs;
        self.counts.hot_inputs += other.counts.hot_inputs;
        self.counts.lookups += other.counts.lookups;
        self.counts.hot_lookups += other.counts.hot_lookups;
        self.yy += other.yy;
        self.xy += other.xy;
        self.xx += other.xx;
    }
}

impl Tally {
    /// The sums over a sample.
    pub(crate) fn of(dataset: &dyn Dataset, sample: &Sample, hot_rows: &[u64]) -> Result<Self> {
        check_hot_rows(dataset, hot_rows)?;
        let hot = HotRows::new(hot_rows, dataset.schema())?;
        let parts = sample.map_chunks(|numbers, scratch| {
            let mut tally = Self::default();
            visit_ids(dataset, numbers, scratch, &mut |block| {
                tally.add_block(&hot, block);
                Ok(())
            })?;
            Ok(tally)
        })?;
        let mut sum = Self::default();
        parts.into_iter().for_each(|part| sum += part);
        Ok(sum)
    }

    fn add_block(&mut self, hot: &HotRows, block: IdBlock<'_>) {
        let bags = hot.bags();
        for sample in 0..block.samples {
            let (mut y, mut x) = (0u64, 0u64);
            let mut add = |bag: usize, ids: &[u32]| {
                x += ids.len() as u64;
                let hot = ids.iter().filter(|&&id| hot.contains(bag, id));
                y += hot.count() as u64;
            };
            if block.offsets.is_empty() {
                let ids = &block.ids[sample * bags..(sample + 1) * bags];
                ids.chunks_exact(1)
                    .enumerate()
                    .for_each(|(bag, id)| add(bag, id));
            } else {
                let offsets = &block.offsets[sample * bags..=(sample + 1) * bags];
                for (bag, ends) in offsets.windows(2).enumerate() {
                    add(bag, &block.ids[ends[0] as usize..ends[1] as usize]);
                }
            }
            self.counts.inputs += 1;
            self.counts.hot_inputs += u64::from(x == y);
            self.counts.lookups += x;
            self.counts.hot_lookups += y;
            self.yy += u128::from(y) * u128::from(y);
            self.xy += u128::from(x) * u128::from(y);
            self.xx += u128::from(x) * u128::from(x);
        }
    }

    /// Share of hot inputs in `self` and `rest` further inputs, of which `fresh` are a sample.
    fn inputs(&self, fresh: &Self, rest: u64, tail: f64) -> ShareEstimate {
        let (n, hot) = (fresh.counts.inputs, fresh.counts.hot_inputs);
        let total = (self.counts.inputs + rest) as f64;
        let known = self.counts.hot_inputs as f64;
        let share = |mean: f64| {
            if total == 0.0 {
                0.0
            } else {
                ((known + rest as f64 * mean) / total).clamp(0.0, 1.0)
            }
        };
        let mean = ratio(hot, n);
        // What the second sample has not seen.
        let unseen = if rest == 0 {
            0.0
        } else {
            1.0 - n as f64 / rest as f64
        };
        let (down, up) = if n < 2 || unseen == 0.0 {
            let all = if unseen == 0.0 { 0.0 } else { 1.0 };
            (all, all)
        } else if hot == 0 || hot == n {
            let bound = unseen * (1.0 - (tail / 2.0).powf(1.0 / n as f64));
            if hot == 0 { (0.0, bound) } else { (bound, 0.0) }
        } else {
            let deviation = (mean * (1.0 - mean) / (n - 1) as f64 * unseen).sqrt();
            let half = student_t::two_sided(tail, n - 1) * deviation;
            (half, half)
        };
        ShareEstimate {
            share: share(mean),
            low: share((mean - down).max(0.0)),
            high: share((mean + up).min(1.0)),
        }
    }

    /// Share of hot lookups in `self` and `rest` further inputs, of which `fresh` are a sample.
    fn lookups(&self, fresh: &Self, rest: u64, tail: f64) -> ShareEstimate {
        let n = fresh.counts.inputs;
        let (mean_x, mean_y) = if n == 0 {
            (0.0, 0.0)
        } else {
            (
                fresh.counts.lookups as f64 / n as f64,
                fresh.counts.hot_lookups as f64 / n as f64,
            )
        };
        let all = self.counts.lookups as f64 + rest as f64 * mean_x;
        if all == 0.0 {
            return ShareEstimate {
                share: 0.0,
                low: 0.0,
                high: if rest == 0 { 0.0 } else { 1.0 },
            };
        }
        let share = (self.counts.hot_lookups as f64 + rest as f64 * mean_y) / all;
        let unseen = if rest == 0 {
            0.0
        } else {
            1.0 - n as f64 / rest as f64
        };
        let half = if unseen == 0.0 {
            0.0
        } else if n < 2 {
            1.0
        } else {
            // Sum of squares of y - share * x about its mean.
            let sum = fresh.counts.hot_lookups as f64 - share * fresh.counts.lookups as f64;
            let squares =
                fresh.yy as f64 - 2.0 * share * fresh.xy as f64 + share * share * fresh.xx as f64;
            let variance = (squares - sum * sum / n as f64).max(0.0) / (n - 1) as f64;
            let deviation = (variance / n as f64 * unseen).sqrt();
            student_t::two_sided(tail, n - 1) * deviation * rest as f64 / all
        };
        ShareEstimate {
            share,
            low: (share - half).max(0.0),
            high: (share + half).min(1.0),
        }
    }
}
