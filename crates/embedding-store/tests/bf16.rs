//! Rows that a device keeps as bf16: f32 arithmetic, and a rounding that can be repeated and keeps
//! small steps on average.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use candle_core::{Device, Tensor};
use cases::{Batch, Case, bits, case, contents, is_finite};
use embedding_store::kernel_input::Rounding;
use embedding_store::{
    CpuStore, DeviceStore, EmbeddingStore, Error, HotCold, HotReplicas, Ids, Optimizer, Plan,
    RowFormat, Rows, Side, StoreOptions, TableSpec, Tiered, hot_ranges,
};
use half::bf16;
use oracle::Oracle;
use proptest::prelude::*;

mod cases;
mod oracle;

fn bf16_case() -> impl Strategy<Value = Case> {
    case().prop_map(|mut case| {
        case.options.device_rows = RowFormat::Bf16;
        case
    })
}

/// The oracle, whose first rows of every part are on a device.
struct Rounded {
    oracle: Oracle,
    rounding: Rounding,
    updates: u64,
    /// For each part that lookups read: its class, the place of its first row there, and rows on
    /// the device.
    places: Vec<Option<(usize, u32, usize)>>,
}

impl Rounded {
    /// All rows are there without `hot_rows`: more than ids touch, where there are more remainders
    /// than ids.
    fn new(case: &Case, hot_rows: Option<&[u64]>) -> Self {
        let plain = case.plain();
        let hot = match hot_rows {
            Some(hot_rows) => hot_ranges(&case.tables, &case.options, hot_rows).unwrap(),
            None => plain.parts().iter().map(|part| 0..part.rows).collect(),
        };
        let is_read = |part: &embedding_store::Part| !part.name.ends_with("proj.weight");
        let read = plain.parts().iter().filter(|part| is_read(part));
        let widths: BTreeSet<usize> = read.map(|part| part.dim).collect();
        let mut next = vec![0; widths.len()];
        let places = plain.parts().iter().zip(hot).map(|(part, hot)| {
            let class = widths.iter().position(|&width| width == part.dim);
            let class = class.filter(|_| is_read(part))?;
            let first = next[class];
            next[class] += hot.end as u32;
            Some((class, first, hot.end as usize))
        });
        let mut rounded = Self {
            places: places.collect(),
            oracle: Oracle::of(&plain),
            rounding: Rounding::new(case.options.seed),
            updates: 0,
        };
        let rounding = rounded.rounding;
        rounded.round(|part, _, _, row, exact, into| {
            Rounding::round(rounding.import_key(0, part), row, exact, into);
        });
        rounded
    }

    /// Rounds all rows on the device; those that did not change are representable and stay.
    fn round(&mut self, f: impl Fn(usize, usize, u32, u32, &[f32], &mut [bf16])) {
        for (part, place) in self.places.iter().enumerate() {
            let &Some((class, first, rows)) = place else {
                continue;
            };
            let Rows { dim, weights, .. } = &mut self.oracle.parts[part];
            for (row, weights) in weights.chunks_mut(*dim).take(rows).enumerate() {
                let mut kept = vec![bf16::ZERO; *dim];
                let row = row as u32;
                f(part, class, first + row, row, weights, &mut kept);
                let kept = kept.iter().map(|x| x.to_f32());
                weights.iter_mut().zip(kept).for_each(|(x, kept)| *x = kept);
            }
        }
    }

    fn update(&mut self, ids: Ids<'_>, grad: &[f32], rate: f64) {
        if ids.batch == 0 {
            return;
        }
        self.oracle.update(ids, grad, rate);
        let (rounding, updates) = (self.rounding, self.updates);
        self.round(|_, class, place, _, exact, into| {
            Rounding::round(rounding.update_key(updates, class), place, exact, into);
        });
        self.updates += 1;
    }

    fn contents(&self) -> Vec<(Vec<u32>, Vec<u32>)> {
        let parts = self.oracle.parts.iter();
        parts
            .map(|part| (bits(&part.weights), bits(&part.state)))
            .collect()
    }
}

/// Trains a store beside the oracle; `hot_rows` of its rows are on the device.
fn check(case: &Case, mut store: impl EmbeddingStore + Tiered, hot_rows: Option<&[u64]>) {
    let mut oracle = Rounded::new(case, hot_rows);
    assert!(contents(&store) == oracle.contents());
    for (step, batch) in case.batches.iter().enumerate() {
        let plan = case.plan(&store, batch);
        store.prefetch(&plan).unwrap();
        let rows = case.lookup(&store, batch, &plan);
        assert_eq!(rows, bits(&oracle.oracle.lookup(batch.ids())));
        let grad = case.grad(batch, &rows, step);
        store.update(&plan, &grad, 0.1).unwrap();
        let grad = grad.flatten_all().unwrap().to_vec1().unwrap();
        oracle.update(batch.ids(), &grad, 0.1);
        if !is_finite(&oracle.contents()) {
            return;
        }
        assert!(contents(&store) == oracle.contents(), "after step {step}");
        assert_eq!(store.updates(), oracle.updates);
    }
}

fn whole(case: &Case) -> DeviceStore {
    DeviceStore::new(case.tables.clone(), case.options.clone(), &Device::Cpu).unwrap()
}

fn split(case: &Case) -> HotCold<DeviceStore, CpuStore> {
    let tables = case.tables.clone();
    HotCold::on_device(tables, case.options.clone(), &case.hot_rows, &Device::Cpu).unwrap()
}

fn replicas(case: &Case, count: usize) -> HotReplicas<DeviceStore> {
    let devices = vec![Device::Cpu; count];
    HotReplicas::on_devices(
        case.tables.clone(),
        case.options.clone(),
        &case.hot_rows,
        &devices,
    )
    .unwrap()
}

/// Gives a new store all that a checkpoint holds of another.
fn go_on<S: EmbeddingStore + Tiered>(from: &S, mut into: S) -> S {
    for (number, part) in from.parts().iter().enumerate() {
        let all = from.export(number, 0..part.rows).unwrap();
        into.import(number, 0, &all).unwrap();
    }
    into.continue_from(from.updates());
    into
}

/// Trains a store, and from every step on another one that goes on from there.
fn check_resume<S: EmbeddingStore + Tiered>(case: &Case, new: impl Fn() -> S, sides: &[Side]) {
    let mut store = new();
    let mut others: Vec<S> = Vec::new();
    for (step, (batch, &side)) in case.batches.iter().zip(sides).enumerate() {
        others.push(go_on(&store, new()));
        let batch = match side {
            Side::Hot => batch.within(&case.hot_rows),
            Side::Cold => batch.clone(),
        };
        let run = |store: &mut S| {
            store.enter(side).unwrap();
            let plan = case.plan(store, &batch);
            (case.step(store, &batch, &plan, step), contents(store))
        };
        let expected = run(&mut store);
        for (from, other) in others.iter_mut().enumerate() {
            assert!(run(other) == expected, "step {step}, resumed at {from}");
        }
    }
    // What is on the device, if that is another than what is written down.
    for side in [Side::Cold, Side::Hot] {
        store.enter(side).unwrap();
        for other in &mut others {
            other.enter(side).unwrap();
            assert!(contents(other) == contents(&store));
        }
    }
}

fn sides() -> impl Strategy<Value = Vec<Side>> {
    prop::collection::vec(prop_oneof![Just(Side::Hot), Just(Side::Cold)], 6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn rows_are_the_oracles_rounded(case in bf16_case()) {
        check(&case, whole(&case), None);
    }

    #[test]
    fn hot_rows_are_rounded_and_cold_ones_are_not(case in bf16_case()) {
        check(&case, split(&case), Some(&case.hot_rows));
    }

    #[test]
    fn a_store_goes_on_from_what_it_exports(case in bf16_case(), sides in sides(), count in 1usize..4) {
        let cold = [Side::Cold; 6];
        check_resume(&case, || whole(&case), &cold);
        check_resume(&case, || split(&case), &cold);
        check_resume(&case, || replicas(&case, count), &sides);
    }

    /// The rules of a sync, written down with one replica and sets.
    #[test]
    fn replicas_take_rounded_rows_and_give_back_what_they_moved(case in bf16_case(), sides in sides(), count in 1usize..4) {
        let hot = hot_ranges(&case.tables, &case.options, &case.hot_rows).unwrap();
        let mut host = case.plain();
        let mut device = DeviceStore::hot(case.tables.clone(), case.options.clone(), &case.hot_rows, &Device::Cpu).unwrap();
        let mut store = replicas(&case, count);
        let all = hot.iter().enumerate().flat_map(|(part, rows)| rows.clone().map(move |row| (part, row)));
        // Initial rows on devices are rounded where they are, and those in host memory are made
        // equal to them.
        for (part, row) in all {
            host.import(part, row, &device.export(part, row..row + 1).unwrap()).unwrap();
        }
        let (mut moved, mut current) = (BTreeSet::new(), Side::Cold);
        for (step, (batch, &side)) in case.batches.iter().zip(&sides).enumerate() {
            store.enter(side).unwrap();
            if side != current {
                for (part, row) in std::mem::take(&mut moved) {
                    if side == Side::Hot {
                        device.import(part, row, &host.export(part, row..row + 1).unwrap()).unwrap();
                    }
                    host.import(part, row, &device.export(part, row..row + 1).unwrap()).unwrap();
                }
                current = side;
            }
            let batch = if side == Side::Hot { batch.within(&case.hot_rows) } else { batch.clone() };
            let plan = case.plan(&store, &batch);
            let expected = match side {
                Side::Hot => {
                    let plan = case.plan(&device, &batch);
                    case.step(&mut device, &batch, &plan, step)
                }
                Side::Cold => {
                    let plan = case.plan(&host, &batch);
                    let rows = case.step(&mut host, &batch, &plan, step);
                    // A batch without samples is no update.
                    device.continue_from(device.updates() + u64::from(batch.size > 0));
                    rows
                }
            };
            prop_assert_eq!(case.step(&mut store, &batch, &plan, step), expected);
            prop_assert_eq!(store.updates(), device.updates());
            for (part, held) in hot.iter().enumerate() {
                if host.parts()[part].name.ends_with("proj.weight") {
                    moved.extend(held.clone().map(|row| (part, row)));
                } else {
                    let rows = plan.rows_of(part).iter().map(|&row| u64::from(row));
                    moved.extend(rows.filter(|row| held.contains(row)).map(|row| (part, row)));
                }
                let wanted = cases::rows(&device, part, held.clone());
                for replica in store.replicas() {
                    prop_assert!(cases::rows(replica, part, held.clone()) == wanted);
                }
                let current: &dyn EmbeddingStore = if side == Side::Hot { &device } else { &host };
                let wanted = cases::rows(current, part, held.clone());
                prop_assert!(cases::rows(&store, part, held.clone()) == wanted);
            }
        }
    }
}

#[test]
fn replicas_that_round_differently_are_refused() {
    let tables = vec![TableSpec::full(10)];
    let options = |device_rows, seed| StoreOptions {
        device_rows,
        seed,
        ..StoreOptions::default()
    };
    let replica = |device_rows, seed| {
        let options = options(device_rows, seed);
        DeviceStore::hot(tables.clone(), options, &[4], &Device::Cpu).unwrap()
    };
    let full = || CpuStore::new(tables.clone(), options(RowFormat::F32, 1)).unwrap();
    for second in [replica(RowFormat::F32, 1), replica(RowFormat::Bf16, 2)] {
        let error = HotReplicas::new(full(), vec![replica(RowFormat::Bf16, 1), second]);
        assert!(matches!(error, Err(Error::SidesMismatch { .. })));
    }
    let same = vec![replica(RowFormat::Bf16, 1), replica(RowFormat::Bf16, 1)];
    assert!(HotReplicas::new(full(), same).is_ok());
}

#[test]
fn rows_and_syncs_take_half_the_bytes() {
    let run = |device_rows| {
        let options = StoreOptions {
            device_rows,
            ..StoreOptions::default()
        };
        let mut store =
            HotReplicas::on_devices(vec![TableSpec::full(1000)], options, &[100], &[Device::Cpu])
                .unwrap();
        let bytes = store.replicas()[0].memory_bytes();
        let mut plan = Plan::default();
        let ids = Ids {
            batch: 3,
            ids: &[1, 2, 500],
            offsets: &[],
        };
        store.planner().plan(ids, &mut plan).unwrap();
        let grad = Tensor::ones((3, 1, 16), candle_core::DType::F32, &Device::Cpu).unwrap();
        store.update(&plan, &grad, 0.1).unwrap();
        store.enter(Side::Hot).unwrap();
        (bytes, store.traffic().sync_to_device)
    };
    assert_eq!(run(RowFormat::F32), (100 * 64, 2 * 64));
    assert_eq!(run(RowFormat::Bf16), (100 * 32, 2 * 32));
}

const ROWS: u64 = 100;
const DIM: usize = 64;

/// Rows of ones, and a batch of all of them.
fn ones() -> (Case, Batch, Rows) {
    let case = Case {
        tables: vec![TableSpec::full(ROWS)],
        options: StoreOptions {
            dim: DIM,
            optimizer: Optimizer::Sgd.into(),
            device_rows: RowFormat::Bf16,
            ..StoreOptions::default()
        },
        hot_rows: vec![ROWS],
        batches: Vec::new(),
    };
    let batch = Batch {
        size: ROWS as usize,
        ids: (0..ROWS as u32).collect(),
        offsets: Vec::new(),
    };
    let rows = Rows {
        dim: DIM,
        weights: vec![1.0; ROWS as usize * DIM],
        state: Vec::new(),
    };
    (case, batch, rows)
}

/// How far the weights are from one on average, in steps of bf16 above it.
fn moved_on_average(store: &impl EmbeddingStore) -> f64 {
    let rows = store.export(0, 0..ROWS).unwrap();
    let sum: f64 = rows.weights.iter().map(|&x| f64::from(x) - 1.0).sum();
    128.0 * sum / rows.weights.len() as f64
}

/// A fiftieth of the distance to the next number: rounding to the nearest would never leave 1.
const SMALL: f32 = 1.0 / 128.0 / 50.0;

#[test]
fn small_steps_of_hot_batches_are_taken_on_average() {
    let (case, batch, rows) = ones();
    assert_eq!(bf16::from_f32(1.0 + SMALL).to_f32(), 1.0);
    let mut store = whole(&case);
    store.import(0, 0, &rows).unwrap();
    let plan = case.plan(&store, &batch);
    let grad = case.tensor(&batch, vec![-SMALL; batch.size * DIM]);
    for _ in 0..400 {
        store.update(&plan, &grad, 1.0).unwrap();
    }
    // 400 steps go 8 numbers up, with a variance of 400 · 0.02 · 0.98; one σ of the mean of 6,400
    // weights is 0.035.
    let found = moved_on_average(&store);
    assert!((found - 8.0).abs() < 0.18, "{found}");
}

#[test]
fn small_steps_of_cold_batches_are_kept_on_average_by_replicas() {
    let (case, batch, rows) = ones();
    let mut store = replicas(&case, 2);
    store.import(0, 0, &rows).unwrap();
    let plan = case.plan(&store, &batch);
    let grads = [-SMALL, 0.0].map(|grad| case.tensor(&batch, vec![grad; batch.size * DIM]));
    // A batch that moves rows on the CPU, and one that touches them on the devices, so that the
    // rounded ones come back.
    for _ in 0..400 {
        store.enter(Side::Cold).unwrap();
        store.update(&plan, &grads[0], 1.0).unwrap();
        store.enter(Side::Hot).unwrap();
        store.update(&plan, &grads[1], 1.0).unwrap();
    }
    let found = moved_on_average(&store);
    assert!((found - 8.0).abs() < 0.18, "{found}");
}
