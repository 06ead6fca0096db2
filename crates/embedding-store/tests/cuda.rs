//! Rows on an NVIDIA device are those in memory, bit for bit. Needs the feature `cuda` and a
//! device; says so where there is none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use candle_core::{DType, Device, Tensor};
use cases::{Case, bits, case, contents, is_finite};
use embedding_store::{
    DeviceStore, EmbeddingStore, Encoding, HotCold, HotReplicas, Optimizer, RowFormat, Side,
    StoreOptions, TableSpec, Tiered,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use recsys_device::cuda_device;

mod cases;

fn floats(tensor: &Tensor) -> Vec<u32> {
    bits(&tensor.flatten_all().unwrap().to_vec1().unwrap())
}

/// Trains a store on the device and one in memory.
fn check(
    case: &Case,
    mut store: impl EmbeddingStore + Tiered,
    mut plain: impl EmbeddingStore + Tiered,
    device: &Device,
) {
    assert!(contents(&store) == contents(&plain));
    // Not every device has empty tensors.
    let batches = case.batches.iter().filter(|batch| batch.size > 0);
    for (step, batch) in batches.enumerate() {
        let (plan, own) = (case.plan(&store, batch), case.plan(&plain, batch));
        let shape = (batch.size, case.tables.len(), case.options.dim);
        let into = Tensor::zeros(shape, DType::F32, device).unwrap();
        store.prefetch(&plan).unwrap();
        store.lookup(&plan, &into).unwrap();
        let rows = floats(&into);
        assert_eq!(rows, case.lookup(&plain, batch, &own));
        let grad = case.grad(batch, &rows, step);
        plain.update(&own, &grad, 0.1).unwrap();
        let grad = grad.to_device(device).unwrap();
        store.update(&plan, &grad, 0.1).unwrap();
        if !is_finite(&contents(&plain)) {
            return;
        }
        assert!(contents(&store) == contents(&plain), "after step {step}");
    }
}

/// Trains replicas on the device and with the CPU in its place, batches of any rows and of hot ones
/// in turns, each shown while the one before runs.
fn check_replicas(case: &Case, device: &Device) {
    let replicas = |device: &Device| {
        let (tables, devices) = (case.tables.clone(), [device.clone(), device.clone()]);
        HotReplicas::on_devices(tables, case.options.clone(), &case.hot_rows, &devices).unwrap()
    };
    let (mut store, mut plain) = (replicas(device), replicas(&Device::Cpu));
    let all = case.batches.iter().filter(|batch| batch.size > 0);
    let turns: Vec<_> = all
        .enumerate()
        .map(|(step, batch)| {
            let (side, batch) = match step % 4 {
                0 | 1 => (Side::Cold, batch.clone()),
                _ => (Side::Hot, batch.within(&case.hot_rows)),
            };
            let plans = (case.plan(&store, &batch), case.plan(&plain, &batch));
            (side, batch, plans)
        })
        .collect();
    for (step, (side, batch, (plan, own))) in turns.iter().enumerate() {
        store.enter(*side).unwrap();
        plain.enter(*side).unwrap();
        let shape = (batch.size, case.tables.len(), case.options.dim);
        let into = Tensor::zeros(shape, DType::F32, device).unwrap();
        store.lookup(plan, &into).unwrap();
        let rows = floats(&into);
        assert_eq!(rows, case.lookup(&plain, batch, own));
        if let Some((_, _, (coming, _))) = turns.get(step + 1) {
            store.prefetch(coming).unwrap();
        }
        let grad = case.grad(batch, &rows, step);
        plain.update(own, &grad, 0.1).unwrap();
        let grad = grad.to_device(device).unwrap();
        store.update(plan, &grad, 0.1).unwrap();
        if !is_finite(&contents(&plain)) {
            return;
        }
        assert!(contents(&store) == contents(&plain), "after step {step}");
    }
}

#[test]
fn rows_on_a_device_are_rows_in_memory() {
    let device = match cuda_device(0) {
        Ok(device) => device,
        Err(error) => return println!("skipped: {error}"),
    };
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(100)
    });
    // Other encodings go through candle's own operations too.
    let plain = case().prop_map(|mut case| {
        for table in &mut case.tables {
            table.encoding = Encoding::Full;
        }
        case
    });
    runner
        .run(&plain, |case| {
            let tables = case.tables.clone();
            let whole = DeviceStore::new(tables.clone(), case.options.clone(), &device).unwrap();
            check(&case, whole, case.plain(), &device);
            let split =
                HotCold::on_device(tables, case.options.clone(), &case.hot_rows, &device).unwrap();
            check(&case, split, case.plain(), &device);
            check_replicas(&case, &device);
            Ok(())
        })
        .unwrap();
}

/// Tables with rates of their own, and frozen ones.
#[test]
fn tables_with_factors_move_as_in_memory() {
    let device = match cuda_device(0) {
        Ok(device) => device,
        Err(error) => return println!("skipped: {error}"),
    };
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(30)
    });
    let factored = (case(), any::<bool>()).prop_map(|(mut case, plain)| {
        for table in case.tables.iter_mut().filter(|_| plain) {
            table.encoding = Encoding::Full;
        }
        let factors = [0.0, 1.0, 0.5, 1.0].into_iter().cycle();
        let factors: Vec<f32> = factors.take(case.tables.len()).collect();
        case.options.optimizer = case.options.optimizer.with_factors(&factors);
        case
    });
    runner
        .run(&factored, |case| {
            let (tables, options) = (|| case.tables.clone(), || case.options.clone());
            let whole = DeviceStore::new(tables(), options(), &device).unwrap();
            check(&case, whole, case.plain(), &device);
            let split = HotCold::on_device(tables(), options(), &case.hot_rows, &device).unwrap();
            check(&case, split, case.plain(), &device);
            check_replicas(&case, &device);
            Ok(())
        })
        .unwrap();
}

/// bf16 rows are those that `Device::Cpu` keeps, in every encoding; replicas too, whose rows go to
/// and fro.
#[test]
fn rounded_rows_on_a_device_are_rounded_rows_in_memory() {
    let device = match cuda_device(0) {
        Ok(device) => device,
        Err(error) => return println!("skipped: {error}"),
    };
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(40)
    });
    let rounded = case().prop_map(|mut case| {
        case.options.device_rows = RowFormat::Bf16;
        case
    });
    runner
        .run(&rounded, |case| {
            let (tables, options) = (&case.tables, case.options.clone());
            let whole = |device| DeviceStore::new(tables.clone(), options.clone(), device).unwrap();
            check(&case, whole(&device), whole(&Device::Cpu), &device);
            let split = |device| {
                HotCold::on_device(tables.clone(), options.clone(), &case.hot_rows, device).unwrap()
            };
            check(&case, split(&device), split(&Device::Cpu), &device);
            check_replicas(&case, &device);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_row_in_every_bag_on_a_device() {
    let device = match cuda_device(0) {
        Ok(device) => device,
        Err(error) => return println!("skipped: {error}"),
    };
    for optimizer in [
        Optimizer::Sgd,
        Optimizer::adagrad(),
        Optimizer::rowwise_adagrad(),
    ] {
        // The sums of so many pieces as 2,200 bags have are added by a kernel of their own.
        for (dim, size) in [
            (1, 600),
            (16, 2200),
            (30, 600),
            (64, 600),
            (512, 600),
            (516, 600),
        ] {
            let batch = cases::Batch {
                size,
                ids: (0..2 * size as u32).map(|id| id % 2 * (id % 700)).collect(),
                offsets: Vec::new(),
            };
            let case = Case {
                tables: vec![TableSpec::full(1), TableSpec::full(700)],
                options: StoreOptions {
                    dim,
                    optimizer: optimizer.into(),
                    ..StoreOptions::default()
                },
                hot_rows: vec![1, 100],
                batches: vec![batch.clone(), batch],
            };
            let store = HotCold::on_device(
                case.tables.clone(),
                case.options.clone(),
                &case.hot_rows,
                &device,
            );
            check(&case, store.unwrap(), case.plain(), &device);
            let options = StoreOptions {
                device_rows: RowFormat::Bf16,
                ..case.options.clone()
            };
            let case = Case { options, ..case };
            let [store, plain] = [&device, &Device::Cpu].map(|device| {
                HotCold::on_device(
                    case.tables.clone(),
                    case.options.clone(),
                    &case.hot_rows,
                    device,
                )
                .unwrap()
            });
            check(&case, store, plain, &device);
        }
    }
}
