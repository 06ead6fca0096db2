//! A permutation that is computed number by number.

use crate::generate::mix;

/// Rounds of the network; four make it indistinguishable from random with random round functions (Luby and Rackoff 1988),
/// and the two more cost next to nothing.
const ROUNDS: u64 = 6;

/// A permutation of `0..len` that needs no memory: a Feistel network on the smallest power of two that holds `len`, walked
/// until it comes back into the range (Black and Rogaway 2002, "cycle walking": fewer than two steps on average).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permutation {
    len: u64,
    low_bits: u32,
    high_bits: u32,
    keys: [u64; ROUNDS as usize],
}

impl Permutation {
    /// The permutation of `len` numbers that belongs to a seed and an epoch.
    pub(crate) fn new(len: u64, seed: u64, epoch: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let key = mix(mix(seed) ^ epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            len,
            low_bits: bits / 2,
            high_bits: bits - bits / 2,
            keys: std::array::from_fn(|round| mix(key.wrapping_add(1 + round as u64))),
        }
    }

    /// Where `place` (below `len`) is sent.
    pub(crate) fn at(&self, place: u64) -> u64 {
        let mut number = place;
        loop {
            number = self.step(number);
            if number < self.len {
                return number;
            }
        }
    }

    /// One pass through the network: the halves, which may differ by a bit, take turns.
    fn step(&self, number: u64) -> u64 {
        let (low_mask, high_mask) = ((1u64 << self.low_bits) - 1, (1u64 << self.high_bits) - 1);
        let (mut low, mut high) = (number & low_mask, number >> self.low_bits);
        for pair in self.keys.as_chunks::<2>().0 {
            high ^= mix(low ^ pair[0]) & high_mask;
            low ^= mix(high ^ pair[1]) & low_mask;
        }
        high << self.low_bits | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_once(len in 1u64..3000, seed: u64, epoch in 0u64..5) {
            let permutation = Permutation::new(len, seed, epoch);
            let mut seen = vec![false; len as usize];
            for place in 0..len {
                let number = permutation.at(place);
                prop_assert!(number < len);
                prop_assert!(!std::mem::replace(&mut seen[number as usize], true));
            }
        }

        #[test]
        fn large_ranges_are_kept(len in 1u64..=u64::MAX / 2, place: u64) {
            prop_assert!(Permutation::new(len, 1, 2).at(place % len) < len);
        }
    }

    /// Ten bins of the first tenth of the places: a chi-squared statistic of 9 degrees of freedom stays below 33.7 in all but
    /// one of 10,000 cases.
    #[test]
    fn the_first_places_come_from_everywhere() {
        let (len, drawn) = (100_000, 10_000);
        for epoch in 0..20 {
            let permutation = Permutation::new(len, 7, epoch);
            let mut bins = [0f64; 10];
            (0..drawn).for_each(|place| bins[(permutation.at(place) * 10 / len) as usize] += 1.0);
            let expected = drawn as f64 / 10.0;
            let chi: f64 = bins
                .iter()
                .map(|bin| (bin - expected).powi(2) / expected)
                .sum();
            assert!(chi < 33.7, "{chi} {bins:?}");
        }
    }

    /// A random permutation keeps one number in its place, on average.
    #[test]
    fn few_numbers_stay_and_few_neighbours_stay_together() {
        let len = 10_000;
        let (mut fixed, mut neighbours) = (0, 0);
        for epoch in 0..20 {
            let permutation = Permutation::new(len, 3, epoch);
            let numbers: Vec<u64> = (0..len).map(|place| permutation.at(place)).collect();
            fixed += numbers
                .iter()
                .zip(0..)
                .filter(|&(&number, place)| number == place)
                .count();
            neighbours += numbers
                .windows(2)
                .filter(|pair| pair[0] + 1 == pair[1])
                .count();
        }
        assert!(
            (5..50).contains(&fixed) && (5..50).contains(&neighbours),
            "{fixed} {neighbours}"
        );
    }
}
