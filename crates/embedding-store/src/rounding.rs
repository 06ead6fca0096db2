//! Rounding rows to bf16 at random, reproducibly.

use half::bf16;

use crate::initialization::mix;

/// Keeps the random bits apart from those of initial rows, which come from the same seed.
const UPDATES: u64 = u64::from_be_bytes(*b"updates ");
const VALUES: u64 = u64::from_be_bytes(*b"values  ");

/// How a store rounds. Two stores that round alike and are given the same stay equal, bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounding {
    updates: u64,
    values: u64,
}

impl Rounding {
    /// For the seed of a store.
    pub fn new(seed: u64) -> Self {
        Self {
            updates: mix(seed ^ UPDATES),
            values: mix(seed ^ VALUES),
        }
    }

    /// The key of the update that follows `updates` others, for the rows of one class.
    pub fn update_key(self, updates: u64, class: usize) -> u64 {
        mix(mix(self.updates.wrapping_add(updates)).wrapping_add(class as u64))
    }

    /// Rounds a row that an update has moved; `row` is its number in the matrix of its class. As `write` in `rows.cu`, bit for bit.
    pub fn round_moved(key: u64, row: u32, exact: &[f32], into: &mut [bf16]) {
        let words = exact.chunks(4).zip(into.chunks_mut(4));
        for (word, (exact, into)) in words.enumerate() {
            let mut random = mixed(key ^ mixed(u64::from(row) << 32 | word as u64));
            for (&exact, into) in exact.iter().zip(into) {
                *into = rounded(exact, random as u16);
                random >>= 16;
            }
        }
    }

    /// Rounds a row of a part that comes from elsewhere. The random bits depend on the values too: with those of the place alone, a row
    /// that is changed a little elsewhere, again and again, would come out the same every time.
    pub fn round_value(self, part: usize, row: u64, exact: &[f32], into: &mut [bf16]) {
        let start = mix(mix(self.values.wrapping_add(part as u64)).wrapping_add(row));
        for (column, (&exact, into)) in exact.iter().zip(into).enumerate() {
            let random = mixed(start ^ ((column as u64) << 32 | u64::from(exact.to_bits())));
            *into = rounded(exact, random as u16);
        }
    }
}

/// The neighbour below (in magnitude) or above, the more likely the nearer it is; what bf16 holds stays as it is.
fn rounded(exact: f32, noise: u16) -> bf16 {
    let bits = exact.to_bits();
    // Noise would turn an infinity into something else; what is not a number stays so by its highest bit.
    let bits = match (exact.is_finite(), exact.is_nan()) {
        (true, _) => bits + u32::from(noise),
        (_, true) => bits | 0x0040_0000,
        _ => bits,
    };
    bf16::from_bits((bits >> 16) as u16)
}

/// As in `rows.cu`: the output function of SplitMix64.
fn mixed(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row of one value.
    fn value(seed: u64, row: u64, x: f32) -> f32 {
        let mut out = [bf16::ZERO];
        Rounding::new(seed).round_value(0, row, &[x], &mut out);
        out[0].to_f32()
    }

    #[test]
    fn what_fits_stays_and_what_is_no_number_too() {
        for x in [0.0, -0.0, 1.0, -1.5, f32::INFINITY, f32::NEG_INFINITY, 3e38, 1e-40] {
            let fits = f32::from_bits(x.to_bits() & 0xffff_0000);
            for row in 0..200 {
                assert_eq!(value(1, row, fits).to_bits(), fits.to_bits());
            }
        }
        assert!(value(1, 2, f32::from_bits(0x7f80_0001)).is_nan());
        assert!(value(1, 2, f32::from_bits(0xffff_ffff)).is_nan());
    }

    #[test]
    fn values_are_kept_on_average_over_rows_seeds_and_neighbours() {
        // A third of the way from 1 to the next number, 1 + 1/128.
        let x = 1.0 + 1.0 / 384.0;
        let neighbour = |n: u64| f32::from_bits(x.to_bits() - 500 + n as u32);
        let n = 30_000;
        for (what, found) in [
            ("rows", (0..n).map(|row| value(1, row, x)).sum::<f32>()),
            ("seeds", (0..n).map(|seed| value(seed, 5, x)).sum()),
            ("values", (0..1000).map(|n| 30.0 * value(1, 5, neighbour(n))).sum()),
        ] {
            let ups = (found / n as f32 - 1.0) * 128.0;
            // One σ of 1000 roundings is 0.015.
            assert!((ups - 1.0 / 3.0).abs() < 0.06, "{what}: {ups}");
        }
    }

    #[test]
    fn updates_classes_rows_and_seeds_have_bits_of_their_own() {
        let bits = |seed, updates, class, row| {
            let mut out = [bf16::ZERO; 64];
            let key = Rounding::new(seed).update_key(updates, class);
            Rounding::round_moved(key, row, &[1.0 + 1.0 / 256.0; 64], &mut out);
            out.map(bf16::to_bits)
        };
        let one = bits(1, 2, 3, 4);
        assert_eq!(one, bits(1, 2, 3, 4));
        for other in [bits(2, 2, 3, 4), bits(1, 3, 3, 4), bits(1, 2, 4, 4), bits(1, 2, 3, 5)] {
            // Half of 64 columns, within four σ.
            let equal = one.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((16..=48).contains(&equal), "{equal}");
        }
    }
}
