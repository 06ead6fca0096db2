//! Rounding rows to bf16 at random, reproducibly.

use half::bf16;

use crate::initialization::mix;

/// Keeps the random bits apart from those of initial rows, which come from the same seed, and those
/// of the two uses from each other.
const UPDATES: u64 = u64::from_be_bytes(*b"updates ");
const IMPORTS: u64 = u64::from_be_bytes(*b"imports ");

/// How a store rounds. Two stores that round alike and are given the same stay equal, bit for bit.
///
/// The random bits are a function of a key, the row and the column; the keys are functions of the
/// seed and of how many updates the store has made. Without that number, a row that is changed a
/// little on the host, again and again from the same value, would be rounded to the same side every
/// time, and never move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounding {
    updates: u64,
    imports: u64,
}

impl Rounding {
    /// For the seed of a store.
    pub fn new(seed: u64) -> Self {
        Self {
            updates: mix(seed ^ UPDATES),
            imports: mix(seed ^ IMPORTS),
        }
    }

    /// The key of the update that follows `updates` others, for the rows of one class.
    pub fn update_key(self, updates: u64, class: usize) -> u64 {
        key(self.updates, updates, class)
    }

    /// The key of rows of a part that come from the host after that many updates, initial ones
    /// included.
    pub fn import_key(self, updates: u64, part: usize) -> u64 {
        key(self.imports, updates, part)
    }

    /// Rounds a row: of an update, numbered in the matrix of its class; of an import, in its part.
    /// As `write` in `rows.cu`, bit for bit.
    pub fn round(key: u64, row: u32, exact: &[f32], into: &mut [bf16]) {
        let words = exact.chunks(4).zip(into.chunks_mut(4));
        for (word, (exact, into)) in words.enumerate() {
            let mut random = mixed(key ^ mixed(u64::from(row) << 32 | word as u64));
            for (&exact, into) in exact.iter().zip(into) {
                *into = rounded(exact, random as u16);
                random >>= 16;
            }
        }
    }
}

fn key(seed: u64, updates: u64, of: usize) -> u64 {
    mix(mix(seed.wrapping_add(updates)).wrapping_add(of as u64))
}

/// The neighbour below (in magnitude) or above, the more likely the nearer it is; what bf16 holds
/// stays as it is.
fn rounded(exact: f32, noise: u16) -> bf16 {
    let bits = exact.to_bits();
    // Noise would turn an infinity into something else; what is not a number stays so by its
    // highest bit.
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

    /// A row of one value.
    fn round(key: u64, row: u32, x: f32) -> f32 {
        let mut out = [bf16::ZERO];
        Rounding::round(key, row, &[x], &mut out);
        out[0].to_f32()
    }

    #[test]
    fn what_fits_stays_and_what_is_no_number_too() {
        let ends = [f32::INFINITY, f32::NEG_INFINITY, 3e38, 1e-40];
        for x in [0.0, -0.0, 1.0, -1.5].into_iter().chain(ends) {
            let fits = f32::from_bits(x.to_bits() & 0xffff_0000);
            for row in 0..200 {
                assert_eq!(round(1, row, fits).to_bits(), fits.to_bits());
            }
        }
        assert!(round(1, 2, f32::from_bits(0x7f80_0001)).is_nan());
        assert!(round(1, 2, f32::from_bits(0xffff_ffff)).is_nan());
    }

    #[test]
    fn values_are_kept_on_average_over_rows_updates_and_seeds() {
        // A third of the way from 1 to the next number, 1 + 1/128.
        let x = 1.0 + 1.0 / 384.0;
        let n = 30_000;
        let keyed =
            |seed, updates| f64::from(round(Rounding::new(seed).import_key(updates, 3), 7, x));
        for (what, found) in [
            (
                "rows",
                (0..n).map(|row| f64::from(round(1, row, x))).sum::<f64>(),
            ),
            ("updates", (0..n).map(|n| keyed(1, n.into())).sum()),
            ("seeds", (0..n).map(|n| keyed(n.into(), 1)).sum()),
        ] {
            let ups = (found / f64::from(n) - 1.0) * 128.0;
            // Seven σ of that many roundings.
            assert!((ups - 1.0 / 3.0).abs() < 0.02, "{what}: {ups}");
        }
    }

    #[test]
    fn seeds_updates_classes_rows_and_imports_have_bits_of_their_own() {
        let bits = |key, row| {
            let mut out = [bf16::ZERO; 64];
            Rounding::round(key, row, &[1.0 + 1.0 / 256.0; 64], &mut out);
            out.map(bf16::to_bits)
        };
        let key = |seed, updates, class| Rounding::new(seed).update_key(updates, class);
        let one = bits(key(1, 2, 3), 4);
        assert_eq!(one, bits(key(1, 2, 3), 4));
        for other in [
            bits(key(2, 2, 3), 4),
            bits(key(1, 3, 3), 4),
            bits(key(1, 2, 4), 4),
            bits(key(1, 2, 3), 5),
            bits(Rounding::new(1).import_key(2, 3), 4),
        ] {
            // Half of 64 columns, within four σ.
            let equal = one.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((16..=48).contains(&equal), "{equal}");
        }
    }
}
