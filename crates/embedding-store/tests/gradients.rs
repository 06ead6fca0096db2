//! The update moves every part along the derivative of the lookup: finite differences.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use embedding_store::{
    Combine, CpuStore, EmbeddingStore, Encoding, Ids, Plan, StoreOptions, TableSpec,
};

const ROWS: u64 = 11;
const DIM: usize = 6;

fn store(encoding: Encoding) -> CpuStore {
    let options = StoreOptions {
        dim: DIM,
        seed: 5,
        ..Default::default()
    };
    let mut store = CpuStore::new(
        vec![TableSpec {
            rows: ROWS,
            encoding,
        }],
        options,
    )
    .unwrap();
    // Values of about 1, so that differences are well above rounding.
    for part in 0..store.parts().len() {
        let mut rows = store.export(part, 0..store.parts()[part].rows).unwrap();
        for (index, weight) in rows.weights.iter_mut().enumerate() {
            *weight = ((index * 37 % 19) as f32 - 9.0) / 9.0 + 0.05;
        }
        store.import(part, 0, &rows).unwrap();
    }
    store
}

fn check(encoding: Encoding) {
    // Bags [3, 3, 7], [], [10], [0, 7]; the loss is the sum of the rows times fixed factors.
    let ids = Ids {
        batch: 4,
        ids: &[3, 3, 7, 10, 0, 7],
        offsets: &[0, 3, 3, 4, 6],
    };
    let grad: Vec<f32> = (0..4 * DIM)
        .map(|index| (index * 29 % 17) as f32 / 8.0 - 1.0)
        .collect();
    let mut plan = Plan::default();
    store(encoding).planner().plan(ids, &mut plan).unwrap();
    let loss = |store: &CpuStore| {
        let mut rows = vec![0.0; 4 * DIM];
        store.lookup_slice(&plan, &mut rows).unwrap();
        rows.iter()
            .zip(&grad)
            .map(|(x, g)| f64::from(*x) * f64::from(*g))
            .sum::<f64>()
    };
    let mut moved = store(encoding);
    moved.update_slice(&plan, &grad, 1.0).unwrap();
    let before = store(encoding);
    for part in 0..before.parts().len() {
        let all = 0..before.parts()[part].rows;
        let (start, end) = (
            before.export(part, all.clone()).unwrap(),
            moved.export(part, all).unwrap(),
        );
        for index in 0..start.weights.len() {
            // The loss is linear in every single weight, so a central difference is exact up to
            // rounding.
            let step = 0.25;
            let at = |delta: f32| {
                let mut store = store(encoding);
                let mut rows = start.clone();
                rows.weights[index] += delta;
                store.import(part, 0, &rows).unwrap();
                loss(&store)
            };
            let slope = (at(step) - at(-step)) / f64::from(2.0 * step);
            let gradient = f64::from(start.weights[index] - end.weights[index]);
            let name = &before.parts()[part].name;
            assert!(
                (slope - gradient).abs() < 2e-5,
                "{encoding:?} {name}[{index}]: {slope} {gradient}"
            );
        }
    }
}

#[test]
fn quotient_remainder_gradients_are_derivatives() {
    for combine in [Combine::Multiply, Combine::Add, Combine::Concatenate] {
        check(Encoding::QuotientRemainder {
            collisions: 4,
            combine,
        });
    }
}

#[test]
fn mixed_dimension_gradients_are_derivatives() {
    for dim in [1, 4, DIM] {
        check(Encoding::MixedDimension { dim });
    }
}

#[test]
fn full_gradients_are_derivatives() {
    check(Encoding::Full);
}
