//! Seeded batches whose ids are as skewed as click logs.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use recsys_data::{Batch, SparseIds};

/// Exponent of the ids' Zipf distribution.
pub const SKEW: f64 = 1.05;

/// Batches of sequences of a user's items with their categories: tables user, item and category. The user stays the same over
/// a sequence; a category is a function of its item. The dense feature is the position, as a share of the length.
pub fn sequence_batches(
    table_rows: &[u64; 3],
    positions: usize,
    batch: usize,
    count: usize,
) -> Vec<Batch> {
    let items = zipf_batches(&table_rows[..2], 0, batch * positions, count);
    let categories = table_rows[2] as u32;
    let mut random = ChaCha8Rng::seed_from_u64(2);
    // The square makes low categories more frequent.
    let category = |item: u32| {
        let share = f64::from(item.wrapping_mul(0x9e37_79b9)) / f64::from(u32::MAX);
        ((f64::from(categories) * share * share) as u32).min(categories - 1)
    };
    let sequences = |items: Batch| {
        let label = (0..batch).map(|_| f32::from(u8::from(random.random_bool(0.5))));
        let ids = items.sparse.ids.chunks_exact(2 * positions);
        let ids = ids.flat_map(|ids| {
            let user = ids[0];
            ids.chunks_exact(2)
                .flat_map(move |pair| [user, pair[1], category(pair[1])])
        });
        Batch {
            label: label.collect(),
            dense: (0..batch * positions)
                .map(|at| (at % positions) as f32 / positions as f32)
                .collect(),
            sparse: SparseIds {
                ids: ids.collect(),
                offsets: Vec::new(),
            },
        }
    };
    items.into_iter().map(sequences).collect()
}

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
