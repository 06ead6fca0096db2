//! Which samples are looked at: all of them, or a seeded sample of exact size, drawn without replacement.
//!
//! Every sample number has a pseudo-random 64-bit key, and the `m` smallest keys are the sample. Keys are distinct and a
//! pure function of seed and number, so membership is one comparison, in any order and on any thread; the numbers of the
//! next `m` keys are a second sample that shares no input with the first.

use std::ops::Range;

use rayon::prelude::*;
use recsys_data::Batch;

use crate::{Error, Result};

/// Sample numbers of one unit of work.
const CHUNK: u64 = 1 << 15;

/// The odd constant of SplitMix64, 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finaliser, a bijection on 64-bit words (Steele, Lea, Flood, OOPSLA 2014).
#[inline]
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Some of the sample numbers below `population`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    population: u64,
    size: u64,
    seed: u64,
    /// Keys above the first and up to the second are in the sample; no lower limit means from the smallest one.
    above: Option<u64>,
    up_to: u64,
}

impl Sample {
    /// All numbers.
    pub(crate) fn all(population: u64) -> Self {
        Self {
            population,
            size: population,
            seed: 0,
            above: None,
            up_to: u64::MAX,
        }
    }

    /// `round(rate * population)` numbers, at least one where there is one.
    pub(crate) fn draw(population: u64, rate: f64, seed: u64) -> Result<Self> {
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(Error::InvalidOption {
                option: "the sampling rate",
                value: rate.to_string(),
                allowed: "more than 0 and at most 1",
            });
        }
        let size = ((population as f64 * rate).round() as u64).clamp(population.min(1), population);
        Ok(Self::of_size(population, size, seed))
    }

    /// That many numbers.
    pub(crate) fn of_size(population: u64, size: u64, seed: u64) -> Self {
        let size = size.min(population);
        Self {
            size,
            seed,
            up_to: limit(population, size, seed),
            ..Self::all(population)
        }
    }

    /// Another sample, of this size where enough numbers are left, that shares no number with this one.
    pub(crate) fn next_disjoint(&self) -> Self {
        let size = self.size.min(self.population - self.size);
        Self {
            size,
            above: Some(self.up_to),
            up_to: limit(self.population, self.size + size, self.seed),
            ..*self
        }
    }

    pub(crate) fn population(&self) -> u64 {
        self.population
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds the sample's numbers in `range` to a list, ascending.
    fn extend(&self, range: Range<u64>, into: &mut Vec<u64>) {
        if self.size == self.population {
            into.extend(range);
        } else if self.size > 0 {
            into.extend(range.filter(|&number| {
                let key = key(self.seed, number);
                key <= self.up_to && self.above.is_none_or(|above| key > above)
            }));
        }
    }

    /// Calls `work` with the sample's numbers, ascending, a chunk at a time, in parallel, and collects what it returns in the
    /// order of the numbers. The first error in that order counts.
    pub(crate) fn map_chunks<T: Send>(
        &self,
        work: impl Fn(&[u64], &mut Batch) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let results: Vec<Result<T>> = (0..self.population.div_ceil(CHUNK))
            .into_par_iter()
            .map_init(
                || (Vec::new(), Batch::default()),
                |(numbers, scratch), chunk| {
                    numbers.clear();
                    let range = chunk * CHUNK..self.population.min((chunk + 1) * CHUNK);
                    self.extend(range, numbers);
                    work(numbers, scratch)
                },
            )
            .collect();
        results.into_iter().collect()
    }
}

#[inline]
fn key(seed: u64, number: u64) -> u64 {
    mix(mix(seed).wrapping_add(number.wrapping_mul(GOLDEN)))
}

/// The `size`-th smallest key of the numbers below `population`.
///
/// Keys are evenly spread, so it lies within a few `sqrt(size)` ranks of where it is expected; one pass counts the keys
/// below that window and collects those inside.
fn limit(population: u64, size: u64, seed: u64) -> u64 {
    if size == population {
        return u64::MAX;
    }
    if size == 0 {
        return 0;
    }
    let spacing = u64::MAX as f64 / population as f64;
    let mut margin = 8.0 * (size as f64).sqrt() + 64.0;
    loop {
        // Float to integer saturates at both ends.
        let low = ((size as f64 - margin) * spacing) as u64;
        let high = ((size as f64 + margin) * spacing) as u64;
        let parts: Vec<(u64, Vec<u64>)> = (0..population.div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let (mut below, mut inside) = (0, Vec::new());
                for number in chunk * CHUNK..population.min((chunk + 1) * CHUNK) {
                    let key = key(seed, number);
                    below += u64::from(key < low);
                    if key >= low && key <= high {
                        inside.push(key);
                    }
                }
                (below, inside)
            })
            .collect();
        let below: u64 = parts.iter().map(|(below, _)| below).sum();
        let mut inside: Vec<u64> = parts.into_iter().flat_map(|(_, inside)| inside).collect();
        if let Some(rank) = (size - 1).checked_sub(below)
            && (rank as usize) < inside.len()
        {
            return *inside.select_nth_unstable(rank as usize).1;
        }
        margin *= 16.0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use super::*;

    fn numbers(sample: &Sample) -> Vec<u64> {
        sample
            .map_chunks(|numbers, _| Ok(numbers.to_vec()))
            .unwrap()
            .concat()
    }

    #[test]
    fn a_sample_has_exactly_its_size_and_no_number_twice() {
        for population in [1, 2, 10, 1000, 100_000] {
            for rate in [1e-9, 0.05, 0.3, 0.5, 0.77, 1.0] {
                let sample = Sample::draw(population, rate, 7).unwrap();
                let expected = ((population as f64 * rate).round() as u64).max(1);
                assert_eq!(sample.size(), expected);
                let first = numbers(&sample);
                assert_eq!(first.len() as u64, expected);
                assert!(first.is_sorted_by(|a, b| a < b) && first.iter().all(|&n| n < population));
                let second = numbers(&sample.next_disjoint());
                assert_eq!(second.len() as u64, expected.min(population - expected));
                assert!(second.iter().all(|number| !first.contains(number)) || population > 1000);
            }
        }
    }

    #[test]
    fn another_seed_is_another_sample_and_the_same_seed_the_same() {
        let draw = |seed| numbers(&Sample::draw(10_000, 0.1, seed).unwrap());
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn every_number_is_drawn_about_equally_often() {
        let mut drawn = [0u32; 50];
        for seed in 0..2000 {
            for number in numbers(&Sample::draw(50, 0.2, seed).unwrap()) {
                drawn[number as usize] += 1;
            }
        }
        // Binomial(2000, 0.2): mean 400, standard deviation 18.
        assert!(
            drawn.iter().all(|&count| (310..490).contains(&count)),
            "{drawn:?}"
        );
    }

    #[test]
    fn rates_outside_the_unit_interval_are_refused() {
        for rate in [0.0, -0.1, 1.01, f64::NAN, f64::INFINITY] {
            let error = Sample::draw(10, rate, 0).unwrap_err();
            assert!(error.to_string().starts_with("the sampling rate is"));
        }
        assert!(numbers(&Sample::draw(0, 0.5, 0).unwrap()).is_empty());
    }
}
