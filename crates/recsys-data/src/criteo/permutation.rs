//! NumPy's legacy permutation, so that shuffles of the original programs can be repeated.

/// Words of the generator's state.
const WORDS: usize = 624;
const MIDDLE: usize = 397;

/// MT19937 (Matsumoto and Nishimura 1998) as `numpy.random.RandomState(seed)` sets and uses it.
pub(super) struct LegacyGenerator {
    state: [u32; WORDS],
    next: usize,
}

impl LegacyGenerator {
    /// The state after `init_genrand` of the published program, which NumPy's legacy seeding with one integer is.
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        for place in 1..WORDS {
            let before = state[place - 1];
            state[place] = 1_812_433_253u32
                .wrapping_mul(before ^ before >> 30)
                .wrapping_add(place as u32);
        }
        Self { state, next: WORDS }
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == WORDS {
            for place in 0..WORDS {
                let joined =
                    self.state[place] & 0x8000_0000 | self.state[(place + 1) % WORDS] & 0x7fff_ffff;
                let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[place] = self.state[(place + MIDDLE) % WORDS] ^ joined >> 1 ^ odd;
            }
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    /// A number in `0..=most`: the low bits that can hold it, drawn again while beyond (`random_interval`).
    fn at_most(&mut self, most: u32) -> u32 {
        let mask = u32::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
        loop {
            let value = self.next_u32() & mask;
            if value <= most {
                return value;
            }
        }
    }

    /// `permutation(len)`: the numbers `0..len` shuffled from the back (Fisher and Yates).
    pub(super) fn permutation(&mut self, len: u32) -> Vec<u32> {
        let mut values: Vec<u32> = (0..len).collect();
        for last in (1..len).rev() {
            values.swap(last as usize, self.at_most(last) as usize);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values printed by `numpy.random.RandomState`, NumPy 2.
    #[test]
    fn permutations_are_those_of_numpy() {
        let mut generator = LegacyGenerator::new(123);
        assert_eq!(generator.permutation(10), [4, 0, 7, 5, 8, 3, 1, 6, 9, 2]);
        assert_eq!(generator.permutation(7), [3, 5, 4, 2, 6, 0, 1]);
        let long = LegacyGenerator::new(0).permutation(70_000);
        assert_eq!(long[..5], [10840, 56267, 14849, 62726, 47180]);
        let sum: u64 = long
            .iter()
            .zip(0u64..)
            .map(|(&value, place)| u64::from(value) * place)
            .sum();
        assert_eq!(sum, 85_565_595_342_992);
    }

    #[test]
    fn nothing_and_one_number() {
        let mut generator = LegacyGenerator::new(1);
        assert!(generator.permutation(0).is_empty());
        assert_eq!(generator.permutation(1), [0]);
    }
}
