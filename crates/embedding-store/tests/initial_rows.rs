//! Initial rows: ranges, scale, and independence of what else is made.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use embedding_store::{
    Combine, CpuStore, EmbeddingStore, Encoding, Ids, Initialization, Plan, StoreOptions, TableSpec,
};

const ROWS: u64 = 20_000;

fn store(rows: u64, encoding: Encoding, initialization: Initialization, seed: u64) -> CpuStore {
    let options = StoreOptions {
        dim: 8,
        initialization,
        seed,
        ..Default::default()
    };
    CpuStore::new(
        vec![TableSpec::full(10), TableSpec { rows, encoding }],
        options,
    )
    .unwrap()
}

fn weights(store: &CpuStore, part: usize) -> Vec<f32> {
    store
        .export(part, 0..store.parts()[part].rows)
        .unwrap()
        .weights
}

/// Mean and variance of the looked-up rows of the second table.
fn moments(store: &CpuStore) -> (f64, f64) {
    let ids: Vec<u32> = (0..ROWS as u32).flat_map(|id| [0, id]).collect();
    let mut plan = Plan::default();
    store
        .planner()
        .plan(
            Ids {
                batch: ROWS as usize,
                ids: &ids,
                offsets: &[],
            },
            &mut plan,
        )
        .unwrap();
    let mut rows = vec![0.0; ids.len() * 8];
    store.lookup_slice(&plan, &mut rows).unwrap();
    let values: Vec<f64> = rows
        .chunks(16)
        .flat_map(|sample| &sample[8..])
        .map(|&x| f64::from(x))
        .collect();
    let n = values.len() as f64;
    (
        values.iter().sum::<f64>() / n,
        values.iter().map(|x| x * x).sum::<f64>() / n,
    )
}

#[test]
fn rows_lie_within_the_square_root_of_one_over_rows() {
    let store = store(ROWS, Encoding::Full, Initialization::ReferenceUniform, 1);
    let bound = (1.0 / ROWS as f64).sqrt() as f32;
    let rows = weights(&store, 1);
    assert!(rows.iter().all(|x| (-bound..bound).contains(x)));
    let largest = rows.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    assert!(largest > 0.999 * bound);
}

#[test]
fn combined_rows_have_the_variance_of_full_ones() {
    let combines = [Combine::Multiply, Combine::Add, Combine::Concatenate];
    let quotient_remainder = combines.map(|combine| Encoding::QuotientRemainder {
        collisions: 150,
        combine,
    });
    for encoding in [[Encoding::Full].as_slice(), &quotient_remainder].concat() {
        let (mean, variance) = moments(&store(ROWS, encoding, Initialization::ReferenceUniform, 3));
        let expected = 1.0 / ROWS as f64 / 3.0;
        assert!(mean.abs() < 0.1 * expected.sqrt(), "{encoding:?} {mean}");
        assert!(
            (variance / expected - 1.0).abs() < 0.15,
            "{encoding:?} {}",
            variance / expected
        );
    }
}

#[test]
fn reference_quotient_remainder_rows_reach_up_to_one() {
    let encoding = Encoding::QuotientRemainder {
        collisions: 150,
        combine: Combine::Multiply,
    };
    let store = store(ROWS, encoding, Initialization::Reference, 1);
    let low = (1.0 / ROWS as f64).sqrt() as f32;
    for part in [1, 2] {
        let rows = weights(&store, part);
        assert!(rows.iter().all(|x| (low..1.0).contains(x)));
        assert!(rows.iter().any(|&x| x > 0.99) && rows.iter().any(|&x| x < low + 0.02));
    }
}

#[test]
fn projections_are_xavier_uniform() {
    let store = store(
        ROWS,
        Encoding::MixedDimension { dim: 4 },
        Initialization::ReferenceUniform,
        1,
    );
    let bound = (6f32 / 12.0).sqrt();
    assert_eq!(store.parts()[2].name, "emb_l.1.proj.weight");
    let rows = weights(&store, 2);
    assert_eq!(rows.len(), 32);
    assert!(rows.iter().all(|x| x.abs() <= bound) && rows.iter().any(|x| x.abs() > 0.8 * bound));
}

#[test]
fn zeros_are_zero() {
    let store = store(
        9,
        Encoding::MixedDimension { dim: 4 },
        Initialization::Zeros,
        1,
    );
    assert!((0..3).all(|part| weights(&store, part).iter().all(|&x| x == 0.0)));
}

#[test]
fn seeds_tables_and_parts_differ_and_threads_do_not_matter() {
    let encoding = Encoding::QuotientRemainder {
        collisions: 10,
        combine: Combine::Concatenate,
    };
    let made = |seed| store(100, encoding, Initialization::ReferenceUniform, seed);
    let (one, two) = (made(1), made(2));
    assert_ne!(weights(&one, 0), weights(&two, 0));
    assert_ne!(weights(&one, 1), weights(&one, 2));
    let big = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            weights(
                &store(ROWS, Encoding::Full, Initialization::ReferenceUniform, 1),
                1,
            )
        })
    };
    assert_eq!(big(1), big(3));
}
