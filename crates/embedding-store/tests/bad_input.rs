//! Bad input is an error that names what is wrong, and changes nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use candle_core::{DType, Device, Tensor};
use embedding_store::{
    Combine, CpuStore, EmbeddingStore, Encoding, Error, Ids, Optimizer, Plan, Rows, StoreOptions,
    TableSpec,
};

fn options(dim: usize) -> StoreOptions {
    StoreOptions {
        dim,
        ..Default::default()
    }
}

fn store() -> CpuStore {
    CpuStore::new(vec![TableSpec::full(10), TableSpec::full(4)], options(2)).unwrap()
}

fn refused(dim: usize, rows: u64, encoding: Encoding, words: &str) {
    let error = CpuStore::new(vec![TableSpec { rows, encoding }], options(dim))
        .unwrap_err()
        .to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn impossible_tables_are_refused() {
    let quotient_remainder = |collisions, combine| Encoding::QuotientRemainder {
        collisions,
        combine,
    };
    assert!(matches!(
        CpuStore::new(Vec::new(), options(2)),
        Err(Error::NoTables)
    ));
    assert!(matches!(
        CpuStore::new(vec![TableSpec::full(1)], options(0)),
        Err(Error::ZeroDim)
    ));
    refused(2, 0, Encoding::Full, "at least one row");
    refused(2, 1 << 32, Encoding::Full, "at most 4294967295");
    refused(2, 5, quotient_remainder(0, Combine::Add), "0 collisions");
    refused(
        2,
        5,
        quotient_remainder(1 << 32, Combine::Add),
        "4294967296 collisions",
    );
    refused(3, 5, quotient_remainder(2, Combine::Concatenate), "odd");
    refused(4, 5, Encoding::MixedDimension { dim: 5 }, "choose 1 to 4");
    refused(4, 5, Encoding::MixedDimension { dim: 0 }, "choose 1 to 4");
    refused(1 << 33, 1 << 30, Encoding::Full, "address space");
    refused(
        1 << 26,
        1 << 31,
        Encoding::Full,
        "cannot allocate 576460752303423488 bytes for emb_l.0.weight",
    );
}

#[test]
fn impossible_optimizers_are_refused() {
    for (epsilon, initial_accumulator) in [
        (-1.0, 0.0),
        (f64::NAN, 0.0),
        (0.0, f64::INFINITY),
        (1e300, 0.0),
    ] {
        let optimizer = Optimizer::Adagrad {
            epsilon,
            initial_accumulator,
        };
        let made = CpuStore::new(
            vec![TableSpec::full(1)],
            StoreOptions {
                optimizer,
                ..options(2)
            },
        );
        assert!(matches!(made, Err(Error::InvalidOptimizer { .. })));
    }
}

#[test]
fn bad_ids_are_named_and_leave_the_plan_empty() {
    let store = store();
    let mut plan = Plan::default();
    let mut refused = |batch, ids: &[u32], offsets: &[u32], words: &str| {
        store
            .planner()
            .plan(
                Ids {
                    batch: 1,
                    ids: &[0, 0],
                    offsets: &[],
                },
                &mut plan,
            )
            .unwrap();
        let error = store
            .planner()
            .plan(
                Ids {
                    batch,
                    ids,
                    offsets,
                },
                &mut plan,
            )
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!((plan.batch(), plan.distinct_rows()), (0, 0));
        assert!(matches!(
            store.lookup_slice(&plan, &mut []),
            Err(Error::EmptyPlan)
        ));
    };
    refused(
        2,
        &[9, 3, 9, 4],
        &[],
        "sample 1, table 1: id 4 is not below the table's 4 rows",
    );
    refused(2, &[1, 1, 1], &[], "3 ids for 2 samples of 2 tables");
    refused(1, &[1, 1], &[0, 1], "2 offsets for 1 samples of 2 tables");
    refused(1, &[1, 1], &[1, 1, 2], "sample 0, table 0");
    refused(
        1,
        &[1, 1],
        &[0, 1, 1],
        "sample 0, table 1: its bag runs from offset 1 to 1 of 2 ids",
    );
    refused(
        1,
        &[1, 1],
        &[0, 3, 2],
        "sample 0, table 0: its bag runs from offset 0 to 3",
    );
    refused(
        1,
        &[1, 1],
        &[0, 2, 1],
        "sample 0, table 1: its bag runs from offset 2 to 1",
    );
    refused(0, &[1], &[0], "sample 0, table 0");
    refused(usize::MAX, &[], &[], "bags is too large");
}

#[test]
fn plans_of_other_tables_are_refused_and_those_of_equal_ones_are_not() {
    let other = CpuStore::new(vec![TableSpec::full(11), TableSpec::full(4)], options(2)).unwrap();
    let ids = Ids {
        batch: 1,
        ids: &[1, 2],
        offsets: &[],
    };
    let mut plan = Plan::default();
    other.planner().plan(ids, &mut plan).unwrap();
    let mut rows = [0.0; 4];
    assert!(matches!(
        store().lookup_slice(&plan, &mut rows),
        Err(Error::ForeignPlan)
    ));
    assert!(matches!(
        store().update_slice(&plan, &rows, 0.1),
        Err(Error::ForeignPlan)
    ));
    store().planner().plan(ids, &mut plan).unwrap();
    store().lookup_slice(&plan, &mut rows).unwrap();
}

#[test]
fn slices_tensors_and_learning_rates_that_do_not_fit_are_refused() {
    let mut store = store();
    let before = store.export(0, 0..10).unwrap();
    let mut plan = Plan::default();
    store
        .planner()
        .plan(
            Ids {
                batch: 1,
                ids: &[1, 2],
                offsets: &[],
            },
            &mut plan,
        )
        .unwrap();
    assert!(matches!(
        store.lookup_slice(&plan, &mut [0.0; 3]),
        Err(Error::SliceLength { expected: 4, .. })
    ));
    assert!(matches!(
        store.update_slice(&plan, &[0.0; 5], 0.1),
        Err(Error::SliceLength { got: 5, .. })
    ));
    for rate in [f64::NAN, f64::INFINITY, 1e300] {
        assert!(matches!(
            store.update_slice(&plan, &[1.0; 4], rate),
            Err(Error::LearningRate { .. })
        ));
    }
    let tensor = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    assert!(matches!(
        store.lookup(&plan, &tensor(&[1, 4], DType::F32)),
        Err(Error::Shape { .. })
    ));
    assert!(matches!(
        store.lookup(&plan, &tensor(&[1, 2, 2], DType::F64)),
        Err(Error::WrongDType { .. })
    ));
    assert!(matches!(
        store.update(&plan, &tensor(&[2, 2], DType::F32), 0.1),
        Err(Error::Shape { .. })
    ));
    let strided = tensor(&[1, 2, 2], DType::F32).transpose(1, 2).unwrap();
    assert!(matches!(
        store.update(&plan, &strided, 0.1),
        Err(Error::NotContiguous { .. })
    ));
    assert_eq!(store.export(0, 0..10).unwrap(), before);
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let optimizer = Optimizer::adagrad();
    let mut store = CpuStore::new(
        vec![TableSpec::full(10)],
        StoreOptions {
            optimizer,
            ..options(2)
        },
    )
    .unwrap();
    let rows = |dim, weights: usize, state: usize| Rows {
        dim,
        weights: vec![1.0; weights],
        state: vec![1.0; state],
    };
    let before = store.export(0, 0..10).unwrap();
    assert!(matches!(
        store.export(1, 0..1),
        Err(Error::PartOutOfRange { part: 1, parts: 1 })
    ));
    assert!(matches!(
        store.export(0, 5..11),
        Err(Error::RowsOutOfRange {
            end: 11,
            rows: 10,
            ..
        })
    ));
    #[expect(clippy::reversed_empty_ranges, reason = "what a caller may get wrong")]
    let reversed = 5..4;
    assert!(matches!(
        store.export(0, reversed),
        Err(Error::RowsOutOfRange { .. })
    ));
    assert!(matches!(
        store.import(0, 0, &rows(3, 3, 0)),
        Err(Error::RowsMismatch {
            got: 3,
            expected: 2,
            ..
        })
    ));
    assert!(matches!(
        store.import(0, 0, &rows(2, 3, 0)),
        Err(Error::RowsMismatch { .. })
    ));
    assert!(matches!(
        store.import(0, 0, &rows(2, 4, 3)),
        Err(Error::RowsMismatch { expected: 4, .. })
    ));
    assert!(matches!(
        store.import(0, 9, &rows(2, 4, 4)),
        Err(Error::RowsOutOfRange { end: 11, .. })
    ));
    assert!(matches!(
        store.import(0, u64::MAX, &rows(2, 4, 4)),
        Err(Error::RowsOutOfRange { .. })
    ));
    assert_eq!(store.export(0, 0..10).unwrap(), before);
}
