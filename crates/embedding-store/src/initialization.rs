//! Initial rows from a counter-based generator.

use crate::encoding::{Combine, Encoding};
use crate::layout::{Layout, Part, PartKind, RowOf};

/// How rows start.
///
/// Every row is drawn by a generator keyed (seed, table, part, row), so any range of rows can be
/// made alone, on any number of threads, and is the same as in the whole table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Initialization {
    /// `U[-a, a)` with `a = sqrt(1 / rows)` and the rows of the feature, as the reference's tables.
    ///
    /// Parts of a quotient–remainder table start so that the combined row has the mean and the
    /// variance of a full table's, `a² / 3`. Multiply: quotient `U[-a, a)`, remainder `U[-√3, √3)`
    /// (variance 1, so that the quotient part learns as fast as a full table); add: both `U[-a /
    /// √2, a / √2)`; concatenate: both `U[-a, a)`. Mixed dimension: rows `U[-a, a)`, projection
    /// Xavier uniform, `U[-b, b)` with `b = sqrt(6 / (dim + dim_i))`.
    #[default]
    ReferenceUniform,
    /// As [`ReferenceUniform`](Self::ReferenceUniform), but both parts of a quotient–remainder
    /// table start as `U[sqrt(1 / rows), 1)`, which the reference does because it leaves the upper
    /// bound at its default.
    Reference,
    /// All zero: for a store whose rows are imported. Products and projections of zeros have no
    /// gradient, so quotient–remainder (multiply) and mixed-dimension tables do not learn from
    /// there.
    Zeros,
}

/// Draws the rows of one part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowGenerator {
    key: u64,
    low: f64,
    high: f64,
}

impl RowGenerator {
    pub(crate) fn new(
        initialization: Initialization,
        seed: u64,
        layout: &Layout,
        parts: &[Part],
        part: usize,
        dim: usize,
    ) -> Self {
        let placed = layout.parts[part];
        let spec = layout.specs[placed.table];
        let a = (1.0 / spec.rows as f64).sqrt();
        let (low, high) = match (initialization, placed.kind, spec.encoding) {
            (Initialization::Zeros, ..) => (0.0, 0.0),
            (_, PartKind::Projection, _) => {
                let bound = (6.0 / (dim + parts[part].dim) as f64).sqrt();
                (-bound, bound)
            }
            (Initialization::Reference, _, Encoding::QuotientRemainder { .. }) => (a, 1.0),
            (_, PartKind::Rows(row_of), Encoding::QuotientRemainder { combine, .. }) => {
                let bound = match (combine, row_of) {
                    (Combine::Multiply, RowOf::Remainder(_)) => 3f64.sqrt(),
                    (Combine::Multiply | Combine::Concatenate, _) => a,
                    (Combine::Add, _) => a / 2f64.sqrt(),
                };
                (-bound, bound)
            }
            _ => (-a, a),
        };
        let part_of_table = (part - layout.tables[placed.table].first) as u64;
        let key = mix(mix(mix(seed).wrapping_add(placed.table as u64)).wrapping_add(part_of_table));
        Self { key, low, high }
    }

    /// Writes one row; which rows are written before or beside it does not matter.
    pub(crate) fn write(&self, row: u64, into: &mut [f32]) {
        if self.low == self.high {
            into.fill(self.low as f32);
            return;
        }
        // 24 bits, all that a float in [0, 1) holds with equal spacing; two floats from every 64
        // random bits.
        let scale = (self.high - self.low) / f64::from(1u32 << 24);
        let float = |bits: u64| (self.low + bits as f64 * scale) as f32;
        let start = mix(self.key ^ mix(row));
        for (pair, floats) in into.chunks_mut(2).enumerate() {
            let bits = mix(start.wrapping_add(pair as u64));
            floats[0] = float(bits >> 40);
            if let Some(second) = floats.get_mut(1) {
                *second = float(bits & 0xff_ffff);
            }
        }
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators",
/// OOPSLA 2014) from a given state: a bijection of 64-bit numbers whose outputs for consecutive
/// inputs are statistically independent.
pub(crate) fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CpuStore, EmbeddingStore, StoreOptions, TableSpec};

    #[test]
    fn mix_is_splitmix64() {
        // The first two outputs of the published generator with seed 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn floats_cover_the_range_evenly() {
        let generator = RowGenerator {
            key: 7,
            low: -0.5,
            high: 0.5,
        };
        let mut floats = vec![0.0; 100_001];
        generator.write(3, &mut floats);
        assert!(floats.iter().all(|&x| (-0.5..0.5).contains(&x)));
        let n = floats.len() as f64;
        let mean = floats.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let variance = floats.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
        // Five standard errors of the mean, sqrt(1/12/n), and a generous bound for the variance
        // 1/12.
        assert!(mean.abs() < 5.0 * (1.0 / 12.0 / n).sqrt(), "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < 1e-3, "{variance}");
    }

    #[test]
    fn rows_made_alone_are_those_of_the_whole_table() {
        let combine = Combine::Multiply;
        let tables = vec![
            TableSpec::full(9000),
            TableSpec {
                rows: 9000,
                encoding: Encoding::QuotientRemainder {
                    collisions: 2,
                    combine,
                },
            },
        ];
        let options = StoreOptions {
            dim: 5,
            seed: 4,
            ..Default::default()
        };
        let store = CpuStore::new(tables, options.clone()).unwrap();
        for part in 0..3 {
            let generator = RowGenerator::new(
                options.initialization,
                4,
                &store.layout,
                &store.parts,
                part,
                5,
            );
            let last = store.parts[part].rows;
            for rows in [0..1, last / 2..last.min(last / 2 + 5), last - 2..last] {
                let mut alone = vec![0.0; 5 * (rows.end - rows.start) as usize];
                for (row, into) in rows.clone().zip(alone.chunks_mut(5)) {
                    generator.write(row, into);
                }
                assert_eq!(store.export(part, rows).unwrap().weights, alone);
            }
        }
    }
}
