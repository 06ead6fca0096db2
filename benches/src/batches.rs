//! Seeded batches whose ids are as skewed as click logs.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use recsys_data::{Batch, SparseIds};

/// Exponent of the ids' Zipf distribution.
pub const SKEW: f64 = 1.05;

/// Batches with one Zipf-distributed rank id for each table, dense features in `[0, 1)`, and random labels.
pub fn zipf_batches(
    table_rows: &[u64],
    dense_features: usize,
    batch: usize,
    count: usize,
) -> Vec<Batch> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let zipf: Vec<Zipf<f64>> = table_rows
        .iter()
        .map(|&rows| Zipf::new(rows as f64, SKEW).expect("at least one row"))
        .collect();
    (0..count)
        .map(|_| {
            let dense = (0..batch * dense_features)
                .map(|_| random.random())
                .collect();
            let label = (0..batch)
                .map(|_| f32::from(u8::from(random.random_bool(0.25))))
                .collect();
            let ids = (0..batch)
                .flat_map(|_| &zipf)
                .map(|zipf| zipf.sample(&mut random) as u32 - 1)
                .collect();
            Batch {
                label,
                dense,
                sparse: SparseIds {
                    ids,
                    offsets: Vec::new(),
                },
            }
        })
        .collect()
}
