//! PyTorch's optimizers, by hand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use embedding_store::{
    CpuStore, EmbeddingStore, Ids, Initialization, Optimizer, Plan, Rows, StoreOptions, TableSpec,
};

/// One table of three rows of two floats, all zero, updated once by a batch of three samples: bags
/// [1, 1], [], [1, 2] with gradients (1, 2), (100, 100), (4, 0).
///
/// Row 1 is named three times: g = 2·(1, 2) + (4, 0) = (6, 4). Row 2: (4, 0). Row 0 is not touched.
fn updated(optimizer: Optimizer) -> Rows {
    let options = StoreOptions {
        dim: 2,
        optimizer: optimizer.into(),
        initialization: Initialization::Zeros,
        seed: 0,
        ..StoreOptions::default()
    };
    let mut store = CpuStore::new(vec![TableSpec::full(3)], options).unwrap();
    let mut plan = Plan::default();
    let ids = Ids {
        batch: 3,
        ids: &[1, 1, 1, 2],
        offsets: &[0, 2, 2, 4],
    };
    store.planner().plan(ids, &mut plan).unwrap();
    assert_eq!(
        (
            plan.batch(),
            plan.lookups(),
            plan.distinct_rows(),
            plan.rows_of(0)
        ),
        (3, 4, 2, &[1, 2][..])
    );
    store
        .update_slice(&plan, &[1.0, 2.0, 100.0, 100.0, 4.0, 0.0], 0.5)
        .unwrap();
    store.export(0, 0..3).unwrap()
}

#[test]
fn sgd_subtracts_the_summed_gradient() {
    let rows = updated(Optimizer::Sgd);
    assert_eq!(rows.weights, [0.0, 0.0, -3.0, -2.0, -2.0, 0.0]);
    assert!(rows.state.is_empty());
}

#[test]
fn adagrad_squares_the_sum_not_the_parts() {
    // state = initial + g²; the step is lr · g / (sqrt(state) + ε), so with initial 0 and ε = 1:
    // 0.5 · 6/7, 0.5 · 4/5.
    let rows = updated(Optimizer::Adagrad {
        epsilon: 1.0,
        initial_accumulator: 0.0,
    });
    assert_eq!(rows.state, [0.0, 0.0, 36.0, 16.0, 16.0, 0.0]);
    assert_eq!(
        rows.weights,
        [
            0.0,
            0.0,
            -0.5 * (6.0 / 7.0),
            -0.5 * (4.0 / 5.0),
            -0.5 * (4.0 / 5.0),
            0.0
        ]
    );
}

#[test]
fn rowwise_adagrad_has_the_mean_square_of_a_row_as_state() {
    // Row 1: initial 10 + (36 + 16) / 2 = 36. Row 2: 10 + (16 + 0) / 2 = 18.
    let rows = updated(Optimizer::RowwiseAdagrad {
        epsilon: 0.0,
        initial_accumulator: 10.0,
    });
    assert_eq!(rows.state, [10.0, 36.0, 18.0]);
    let step = 0.5 * (4.0 / 18f32.sqrt());
    assert_eq!(
        rows.weights,
        [0.0, 0.0, -0.5 * (6.0 / 6.0), -0.5 * (4.0 / 6.0), -step, 0.0]
    );
}

#[test]
fn a_gradient_of_zero_moves_nothing() {
    // PyTorch's default ε keeps 0 / (0 + ε) a number.
    for optimizer in [Optimizer::adagrad(), Optimizer::rowwise_adagrad()] {
        let options = StoreOptions {
            dim: 3,
            optimizer: optimizer.into(),
            ..Default::default()
        };
        let mut store = CpuStore::new(vec![TableSpec::full(4)], options).unwrap();
        let before = store.export(0, 0..4).unwrap();
        let mut plan = Plan::default();
        store
            .planner()
            .plan(
                Ids {
                    batch: 2,
                    ids: &[3, 0],
                    offsets: &[],
                },
                &mut plan,
            )
            .unwrap();
        store.update_slice(&plan, &[0.0; 6], 1.0).unwrap();
        assert_eq!(store.export(0, 0..4).unwrap(), before);
    }
}
