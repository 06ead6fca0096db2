//! Bad input is an error that names what is wrong, and changes nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use candle_core::{DType, Device, Tensor};
use embedding_store::{
    Combine, CpuStore, DeviceStore, EmbeddingStore, Encoding, Error, HotCold, HotReplicas, Ids,
    OnDevice, Optimizer, Plan, Rows, StoreOptions, TableSpec,
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
        "bytes for all tables; use fewer rows",
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
                optimizer: optimizer.into(),
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
        Err(Error::Device(recsys_device::Error::WrongDType { .. }))
    ));
    assert!(matches!(
        store.update(&plan, &tensor(&[2, 2], DType::F32), 0.1),
        Err(Error::Shape { .. })
    ));
    let strided = tensor(&[1, 2, 2], DType::F32).transpose(1, 2).unwrap();
    assert!(matches!(
        store.update(&plan, &strided, 0.1),
        Err(Error::Device(recsys_device::Error::NotContiguous { .. }))
    ));
    assert_eq!(store.export(0, 0..10).unwrap(), before);
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let optimizer = Optimizer::adagrad();
    let mut store = CpuStore::new(
        vec![TableSpec::full(10)],
        StoreOptions {
            optimizer: optimizer.into(),
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

const IDS: Ids<'_> = Ids {
    batch: 1,
    ids: &[7, 2],
    offsets: &[],
};

fn tables() -> Vec<TableSpec> {
    vec![TableSpec::full(10), TableSpec::full(4)]
}

fn planned(store: &dyn EmbeddingStore) -> Plan {
    let mut plan = Plan::default();
    store.planner().plan(IDS, &mut plan).unwrap();
    plan
}

#[test]
fn hot_rows_that_do_not_fit_the_tables_are_refused() {
    let words = |error: Error| error.to_string();
    for (hot, expected) in [
        (&[1][..], "1 numbers of hot rows for 2 tables"),
        (&[1, 2, 3], "3 numbers of hot rows for 2 tables"),
        (&[10, 5], "table 1: 5 hot rows, the table has 4"),
    ] {
        let cpu = HotCold::on_cpu(tables(), options(2), hot).unwrap_err();
        let device = HotCold::on_device(tables(), options(2), hot, &Device::Cpu).unwrap_err();
        let replicas = HotReplicas::on_cpu(tables(), options(2), hot, 1).unwrap_err();
        for error in [cpu, device, replicas].map(words) {
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[test]
fn ranges_that_do_not_fit_the_parts_are_refused() {
    let made = |ranges: &[std::ops::Range<u64>]| {
        let projected = TableSpec {
            rows: 10,
            encoding: Encoding::MixedDimension { dim: 1 },
        };
        CpuStore::with_rows(vec![projected], options(2), ranges)
    };
    assert!(made(&[2..5, 0..0]).is_ok());
    assert!(matches!(
        made(std::slice::from_ref(&(2..5))),
        Err(Error::RangesCount { got: 1, parts: 2 })
    ));
    assert!(matches!(
        made(&[2..11, 0..2]),
        Err(Error::RowsOutOfRange { end: 11, .. })
    ));
    // A projection is whole or absent.
    assert!(matches!(
        made(&[0..10, 0..1]),
        Err(Error::RowsOutOfRange { rows: 2, .. })
    ));
}

#[test]
fn rows_that_a_store_does_not_hold_are_refused() {
    let mut store = CpuStore::hot(tables(), options(2), &[7, 4]).unwrap();
    let plan = planned(&store);
    let error = store.lookup_slice(&plan, &mut [0.0; 4]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the plan touches row 7 of emb_l.0.weight, of which the store holds 0..7 only"
    );
    let refused = |result: Result<(), Error>| matches!(result, Err(Error::RowNotHeld { .. }));
    assert!(refused(store.update_slice(&plan, &[0.0; 4], 0.1)));
    assert!(refused(store.export(0, 6..8).map(|_| ())));
    let row = Rows {
        dim: 2,
        weights: vec![1.0; 2],
        state: Vec::new(),
    };
    assert!(refused(store.import(0, 7, &row)));
    let tensor = Tensor::zeros((1, 2, 2), DType::F32, &Device::Cpu).unwrap();
    let device = DeviceStore::hot(tables(), options(2), &[7, 4], &Device::Cpu).unwrap();
    assert!(refused(device.lookup(&planned(&device), &tensor)));
    assert!(refused(device.export(0, 6..8).map(|_| ())));
}

#[test]
fn sides_that_do_not_make_one_store_are_refused() {
    let (tables, options) = (tables(), options(2));
    let hot = |rows: &[u64]| CpuStore::hot(tables.clone(), options.clone(), rows).unwrap();
    let cold = |rows: &[u64]| CpuStore::cold(tables.clone(), options.clone(), rows).unwrap();
    let refused = |hot, cold| matches!(HotCold::new(hot, cold), Err(Error::SidesMismatch { .. }));
    assert!(!refused(hot(&[3, 1]), cold(&[3, 1])));
    assert!(refused(hot(&[3, 1]), cold(&[4, 1])));
    assert!(refused(hot(&[3, 1]), cold(&[2, 1])));
    assert!(refused(cold(&[3, 1]), hot(&[3, 1])));
    let optimizer = Optimizer::adagrad();
    let other = StoreOptions {
        optimizer: optimizer.into(),
        ..options.clone()
    };
    let other = CpuStore::cold(tables.clone(), other, &[3, 1]).unwrap();
    assert!(refused(hot(&[3, 1]), other));
    let replicas = |full, replicas| {
        matches!(
            HotReplicas::new(full, replicas),
            Err(Error::SidesMismatch { .. })
        )
    };
    assert!(replicas(hot(&[3, 1]), vec![hot(&[3, 1])]));
    assert!(replicas(hot(&[10, 4]), Vec::new()));
    assert!(replicas(hot(&[10, 4]), vec![hot(&[3, 1]), hot(&[2, 1])]));
    assert!(replicas(hot(&[10, 4]), vec![cold(&[3, 1])]));
    assert!(!replicas(hot(&[10, 4]), vec![hot(&[3, 1]), hot(&[3, 1])]));
}

/// Plans without slots, plans of other tables, wrong tensors and learning rates, for every store in
/// several places.
fn refuses(mut store: impl EmbeddingStore, needs_slots: bool) {
    let tensor = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let fits = tensor(&[1, 2, 2]);
    let before = store.export(0, 0..10).unwrap();
    let other = CpuStore::new(vec![TableSpec::full(11), TableSpec::full(4)], options(2)).unwrap();
    let foreign = planned(&other);
    assert!(matches!(
        store.lookup(&foreign, &fits),
        Err(Error::ForeignPlan)
    ));
    assert!(matches!(
        store.update(&foreign, &fits, 0.1),
        Err(Error::ForeignPlan)
    ));
    assert!(matches!(
        store.lookup(&Plan::default(), &tensor(&[0, 2, 2])),
        Err(Error::EmptyPlan)
    ));
    if needs_slots {
        let plain = planned(&CpuStore::new(tables(), options(2)).unwrap());
        assert!(matches!(
            store.lookup(&plain, &fits),
            Err(Error::PlanWithoutSlots)
        ));
        assert!(matches!(
            store.update(&plain, &fits, 0.1),
            Err(Error::PlanWithoutSlots)
        ));
    }
    let plan = planned(&store);
    assert!(matches!(
        store.lookup(&plan, &tensor(&[2, 2])),
        Err(Error::Shape { .. })
    ));
    assert!(matches!(
        store.lookup(&plan, &fits.to_dtype(DType::F64).unwrap()),
        Err(Error::Device(recsys_device::Error::WrongDType { .. }))
    ));
    let strided = fits.transpose(1, 2).unwrap();
    assert!(matches!(
        store.update(&plan, &strided, 0.1),
        Err(Error::Device(recsys_device::Error::NotContiguous { .. }))
    ));
    assert!(matches!(
        store.update(&plan, &fits, f64::NAN),
        Err(Error::LearningRate { .. })
    ));
    assert!(matches!(
        store.export(2, 0..1),
        Err(Error::PartOutOfRange { .. })
    ));
    assert!(matches!(
        store.export(0, 5..11),
        Err(Error::RowsOutOfRange { .. })
    ));
    let rows = |count| Rows {
        dim: 2,
        weights: vec![1.0; count],
        state: Vec::new(),
    };
    assert!(matches!(
        store.import(0, 9, &rows(4)),
        Err(Error::RowsOutOfRange { .. })
    ));
    assert!(matches!(
        store.import(0, u64::MAX, &rows(4)),
        Err(Error::RowsOutOfRange { .. })
    ));
    assert!(matches!(
        store.import(0, 0, &rows(3)),
        Err(Error::RowsMismatch { .. })
    ));
    assert!(matches!(
        store.import(7, 0, &rows(4)),
        Err(Error::PartOutOfRange { .. })
    ));
    assert_eq!(store.export(0, 0..10).unwrap(), before);
    store.lookup(&plan, &fits).unwrap();
}

#[test]
fn every_store_refuses_what_the_one_in_memory_refuses() {
    let device = &Device::Cpu;
    let plain = || CpuStore::new(tables(), options(2)).unwrap();
    refuses(OnDevice::new(plain(), Device::Cpu), false);
    refuses(Box::new(plain()) as Box<dyn EmbeddingStore>, false);
    refuses(
        DeviceStore::new(tables(), options(2), device).unwrap(),
        true,
    );
    refuses(
        HotCold::on_cpu(tables(), options(2), &[3, 4]).unwrap(),
        true,
    );
    refuses(
        HotCold::on_device(tables(), options(2), &[3, 4], device).unwrap(),
        true,
    );
    refuses(
        HotReplicas::on_cpu(tables(), options(2), &[3, 4], 2).unwrap(),
        false,
    );
}
