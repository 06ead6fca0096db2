//! Rows out of one store and into another.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use embedding_store::{
    Combine, CpuStore, EmbeddingStore, Encoding, Ids, Initialization, Optimizer, Plan, Rows,
    StoreOptions, TableSpec,
};
use proptest::prelude::*;

const BATCH: usize = 30;

fn tables() -> Vec<TableSpec> {
    let combine = Combine::Concatenate;
    vec![
        TableSpec::full(20),
        TableSpec {
            rows: 50,
            encoding: Encoding::QuotientRemainder {
                collisions: 4,
                combine,
            },
        },
        TableSpec {
            rows: 30,
            encoding: Encoding::MixedDimension { dim: 3 },
        },
        TableSpec {
            rows: 10,
            encoding: Encoding::MixedDimension { dim: 6 },
        },
    ]
}

fn store(optimizer: Optimizer, initialization: Initialization) -> CpuStore {
    CpuStore::new(
        tables(),
        StoreOptions {
            dim: 6,
            optimizer: optimizer.into(),
            initialization,
            seed: 1,
            ..StoreOptions::default()
        },
    )
    .unwrap()
}

fn step(store: &mut CpuStore) -> Vec<f32> {
    let ids: Vec<u32> = (0..BATCH as u32 * 4).map(|index| index * 13 % 10).collect();
    let mut plan = Plan::default();
    store
        .planner()
        .plan(
            Ids {
                batch: BATCH,
                ids: &ids,
                offsets: &[],
            },
            &mut plan,
        )
        .unwrap();
    let mut rows = vec![0.0; BATCH * 4 * 6];
    store.lookup_slice(&plan, &mut rows).unwrap();
    let grad: Vec<f32> = rows
        .iter()
        .enumerate()
        .map(|(index, x)| x + (index % 5) as f32 * 0.1)
        .collect();
    store.update_slice(&plan, &grad, 0.1).unwrap();
    rows
}

#[test]
fn parts_have_the_names_and_shapes_of_the_reference() {
    let store = store(
        Optimizer::rowwise_adagrad(),
        Initialization::ReferenceUniform,
    );
    let parts: Vec<_> = store
        .parts()
        .iter()
        .map(|part| {
            (
                part.name.as_str(),
                part.table,
                part.rows,
                part.dim,
                part.state_width,
            )
        })
        .collect();
    assert_eq!(
        parts,
        [
            ("emb_l.0.weight", 0, 20, 6, 1),
            ("emb_l.1.weight_q", 1, 13, 3, 1),
            ("emb_l.1.weight_r", 1, 4, 3, 1),
            ("emb_l.2.embs.weight", 2, 30, 3, 1),
            // Dense in the reference, so its state is one per element.
            ("emb_l.2.proj.weight", 2, 6, 3, 3),
            ("emb_l.3.embs.weight", 3, 10, 6, 1),
        ]
    );
    // Whole cache lines of rows, and of one state a row.
    assert!(store.memory_bytes() > (20 * 6 + 13 * 3 + 30 * 3 + 10 * 6) * 4);
}

proptest! {
    #[test]
    fn training_goes_on_in_another_store_bit_for_bit(piece in 1u64..25) {
        for optimizer in [Optimizer::Sgd, Optimizer::adagrad(), Optimizer::rowwise_adagrad()] {
            let mut first = store(optimizer, Initialization::ReferenceUniform);
            step(&mut first);
            let mut second = store(optimizer, Initialization::Zeros);
            for (index, part) in first.parts().iter().enumerate() {
                for start in (0..part.rows).step_by(piece as usize) {
                    let rows = first.export(index, start..part.rows.min(start + piece)).unwrap();
                    second.import(index, start, &rows).unwrap();
                }
            }
            prop_assert_eq!(step(&mut first), step(&mut second));
            prop_assert_eq!(step(&mut first), step(&mut second));
        }
    }
}

#[test]
fn rows_without_state_start_the_optimizer_anew() {
    let optimizer = Optimizer::Adagrad {
        epsilon: 1e-10,
        initial_accumulator: 0.5,
    };
    let mut store = store(optimizer, Initialization::ReferenceUniform);
    step(&mut store);
    for part in [0, 4] {
        let dim = store.parts()[part].dim;
        assert!(
            store
                .export(part, 2..4)
                .unwrap()
                .state
                .iter()
                .any(|&state| state != 0.5)
        );
        store
            .import(
                part,
                2,
                &Rows {
                    dim,
                    weights: vec![1.0; 2 * dim],
                    state: Vec::new(),
                },
            )
            .unwrap();
        let imported = store.export(part, 2..4).unwrap();
        assert_eq!(
            (imported.weights, imported.state),
            (vec![1.0; 2 * dim], vec![0.5; 2 * dim])
        );
        let neighbour = store.export(part, 1..2).unwrap();
        assert!(neighbour.weights.iter().all(|&weight| weight != 1.0));
    }
}

#[test]
fn no_rows_are_no_error() {
    let mut store = store(Optimizer::Sgd, Initialization::Zeros);
    let none = store.export(0, 20..20).unwrap();
    assert_eq!(
        none,
        Rows {
            dim: 6,
            weights: Vec::new(),
            state: Vec::new()
        }
    );
    store.import(0, 20, &none).unwrap();
}
