//! Stores and rules that are written outside of this crate, with public API alone, give the numbers
//! of those inside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cases;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Tensor};
use cases::{Case, bits, case, contents, is_finite};
use embedding_store::{
    CpuStore, DeviceStore, EmbeddingStore, Encoding, Error, HotCold, HotReplicas, Ids, OnDevice,
    Optimizer, Part, Plan, Planner, Result, RowOptimizer, RowRule, Rows, Side, StoreOptions,
    TableSpec, Tiered, copy_rows,
};
use proptest::prelude::*;
use recsys_device::{read_slice, write_slice};

/// Rows of plain tables in a map: weights, and behind them the optimizer's state.
struct HashMapStore {
    dim: usize,
    tables: Vec<TableSpec>,
    optimizer: RowOptimizer,
    planner: Planner,
    parts: Vec<Part>,
    rows: HashMap<(usize, u32), (Vec<f32>, Vec<f32>)>,
    updates: u64,
}

impl HashMapStore {
    fn new(tables: Vec<TableSpec>, options: &StoreOptions) -> Result<Self> {
        if tables.iter().any(|spec| spec.encoding != Encoding::Full) {
            return Err(Error::external("this store has plain tables only"));
        }
        let parts = Part::of_tables(&tables, options.dim, &options.optimizer)?;
        Ok(Self {
            dim: options.dim,
            planner: Planner::new(tables.clone(), options.dim)?,
            tables,
            optimizer: options.optimizer.clone(),
            parts,
            rows: HashMap::new(),
            updates: 0,
        })
    }

    fn fresh(&self, part: usize) -> (Vec<f32>, Vec<f32>) {
        let mut state = vec![0.0; self.parts[part].state_width];
        self.optimizer.fresh_state(&mut state);
        (vec![0.0; self.parts[part].dim], state)
    }

    fn check(&self, part: usize, rows: &Range<u64>) -> Result<()> {
        match self.parts.get(part) {
            Some(part) if rows.start <= rows.end && rows.end <= part.rows => Ok(()),
            _ => Err(Error::external(format!("no rows {rows:?} of part {part}"))),
        }
    }
}

impl EmbeddingStore for HashMapStore {
    fn dim(&self) -> usize {
        self.dim
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn optimizer(&self) -> &RowOptimizer {
        &self.optimizer
    }

    fn planner(&self) -> Planner {
        self.planner.clone()
    }

    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        self.planner.check(plan)?;
        let pooled = |into: &mut [f32], sample: usize, table: usize| {
            into.fill(0.0);
            for (place, id) in plan.bag(sample, table).iter().enumerate() {
                let (weights, _) = &self.rows[&(table, *id)];
                for (into, x) in into.iter_mut().zip(weights) {
                    *into = if place == 0 { *x } else { *into + x };
                }
            }
        };
        write_slice(into, |into| {
            for (bag, into) in into.chunks_exact_mut(self.dim).enumerate() {
                pooled(into, bag / self.tables.len(), bag % self.tables.len());
            }
        })?;
        Ok(())
    }

    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()> {
        self.planner.check(plan)?;
        let mut sum = vec![0.0; self.dim];
        read_slice(grad, |grad| {
            for part in 0..self.parts.len() {
                for (place, &row) in plan.rows_of(part).iter().enumerate() {
                    assert!(plan.samples_of(part, place).is_sorted());
                    plan.sum_gradient(part, place, grad, &mut sum)?;
                    let (weights, state) = self.rows.get_mut(&(part, row)).unwrap();
                    let table = self.parts[part].table;
                    let step = self.updates;
                    self.optimizer
                        .step(table, &sum, weights, state, learning_rate, step)?;
                }
            }
            Ok::<_, Error>(())
        })??;
        self.updates += u64::from(plan.batch() > 0);
        Ok(())
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn continue_from(&mut self, updates: u64) {
        self.updates = updates;
    }

    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        self.check(part, &rows)?;
        let mut out = Rows {
            dim: self.dim,
            ..Rows::default()
        };
        for row in rows {
            let (weights, state) = match self.rows.get(&(part, row as u32)) {
                Some(row) => row.clone(),
                None => self.fresh(part),
            };
            out.weights.extend(weights);
            out.state.extend(state);
        }
        Ok(out)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        let count = rows.weights.len() / self.dim;
        self.check(part, &(first_row..first_row + count as u64))?;
        for (index, weights) in rows.weights.chunks_exact(self.dim).enumerate() {
            let (_, fresh) = self.fresh(part);
            let width = fresh.len();
            let state = match rows.state.is_empty() {
                true => fresh,
                false => rows.state[index * width..][..width].to_vec(),
            };
            let row = first_row as u32 + index as u32;
            self.rows.insert((part, row), (weights.to_vec(), state));
        }
        Ok(())
    }

    fn memory_bytes(&self) -> u64 {
        let floats = |(weights, state): &(Vec<f32>, Vec<f32>)| weights.len() + state.len();
        let floats: usize = self.rows.values().map(floats).sum();
        (floats * size_of::<f32>()) as u64
    }
}

/// Counts what passes through to another store.
struct Counting<S> {
    inner: S,
    lookups: AtomicUsize,
    updates: usize,
}

impl<S> Counting<S> {
    fn new(inner: S) -> Self {
        Self {
            inner,
            lookups: AtomicUsize::new(0),
            updates: 0,
        }
    }
}

impl<S: EmbeddingStore> EmbeddingStore for Counting<S> {
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    fn tables(&self) -> &[TableSpec] {
        self.inner.tables()
    }

    fn optimizer(&self) -> &RowOptimizer {
        self.inner.optimizer()
    }

    fn planner(&self) -> Planner {
        self.inner.planner()
    }

    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        self.lookups.fetch_add(plan.lookups(), Ordering::Relaxed);
        self.inner.lookup(plan, into)
    }

    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()> {
        self.updates += 1;
        self.inner.update(plan, grad, learning_rate)
    }

    fn updates(&self) -> u64 {
        self.inner.updates()
    }

    fn continue_from(&mut self, updates: u64) {
        self.inner.continue_from(updates);
    }

    fn parts(&self) -> &[Part] {
        self.inner.parts()
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        self.inner.export(part, rows)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        self.inner.import(part, first_row, rows)
    }

    fn export_rows(&self, part: usize, rows: &[u32]) -> Result<Rows> {
        self.inner.export_rows(part, rows)
    }

    fn import_rows(&mut self, part: usize, rows: &[u32], values: &Rows) -> Result<()> {
        self.inner.import_rows(part, rows, values)
    }

    fn memory_bytes(&self) -> u64 {
        self.inner.memory_bytes()
    }

    fn device(&self) -> Device {
        self.inner.device()
    }

    fn tiers(&self) -> Option<&dyn Tiered> {
        self.inner.tiers()
    }

    fn tiers_mut(&mut self) -> Option<&mut dyn Tiered> {
        self.inner.tiers_mut()
    }
}

/// Adam on the rows that a batch touches: two moments an element, corrected by the number of the
/// store's updates.
#[derive(Debug)]
struct LazyAdam {
    beta: [f32; 2],
    start: f32,
}

impl Default for LazyAdam {
    fn default() -> Self {
        Self {
            beta: [0.9, 0.99],
            start: 0.0,
        }
    }
}

impl RowRule for LazyAdam {
    fn name(&self) -> &str {
        "lazy-adam"
    }

    fn parameters(&self) -> Vec<(String, f64)> {
        let [first, second] = self.beta.map(f64::from);
        vec![("beta1".into(), first), ("beta2".into(), second)]
    }

    fn validate(&self) -> std::result::Result<(), String> {
        match self.beta.iter().all(|beta| (0.0..1.0).contains(beta)) {
            true => Ok(()),
            false => Err(format!("β are {:?}, choose them from [0, 1)", self.beta)),
        }
    }

    fn state_width(&self, dim: usize) -> usize {
        2 * dim
    }

    fn fresh_state(&self, state: &mut [f32]) {
        state.fill(self.start);
    }

    fn step(&self, gradient: &[f32], row: &mut [f32], state: &mut [f32], rate: f32, step: u64) {
        let (first, second) = state.split_at_mut(row.len());
        let correction = self.beta.map(|beta| 1.0 - beta.powi(step as i32 + 1));
        for (index, g) in gradient.iter().enumerate() {
            first[index] = self.beta[0] * first[index] + (1.0 - self.beta[0]) * g;
            second[index] = self.beta[1] * second[index] + (1.0 - self.beta[1]) * g * g;
            let (m, v) = (first[index] / correction[0], second[index] / correction[1]);
            row[index] -= rate * m / (v.sqrt() + 1e-8);
        }
    }

    fn dense(&self) -> Optimizer {
        Optimizer::adagrad()
    }
}

/// SGD, from outside: all numbers are those of the built-in one.
#[derive(Debug)]
struct OwnSgd;

impl RowRule for OwnSgd {
    fn name(&self) -> &str {
        "own-sgd"
    }

    fn state_width(&self, _: usize) -> usize {
        0
    }

    fn step(&self, gradient: &[f32], row: &mut [f32], _: &mut [f32], rate: f32, _: u64) {
        for (row, g) in row.iter_mut().zip(gradient) {
            *row -= rate * g;
        }
    }

    fn dense(&self) -> Optimizer {
        Optimizer::Sgd
    }
}

fn plain_case() -> impl Strategy<Value = Case> {
    case().prop_map(|mut case| {
        for table in &mut case.tables {
            table.encoding = Encoding::Full;
        }
        case
    })
}

/// One of the factors 0, 1 and others for every table.
fn with_factors(mut case: Case, factors: &[f32]) -> Case {
    let factors: Vec<f32> = factors.iter().copied().take(case.tables.len()).collect();
    case.options.optimizer = case.options.optimizer.with_factors(&factors);
    case
}

fn factors() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(prop_oneof![Just(0.0f32), Just(1.0), Just(0.5)], 16)
}

/// Trains a store beside one in host memory; they stay equal in every bit as long as all is finite.
fn check_equal(case: &Case, store: &mut dyn EmbeddingStore, sides: &[Side]) {
    let mut host = CpuStore::new(case.tables.clone(), case.options.clone()).unwrap();
    for (step, batch) in case.batches.iter().enumerate() {
        let side = sides.get(step).copied().unwrap_or(Side::Cold);
        let batch = match side {
            Side::Hot => batch.within(&case.hot_rows),
            Side::Cold => batch.clone(),
        };
        if let Some(tiers) = store.tiers_mut() {
            tiers.enter(side).unwrap();
        }
        let plans = [case.plan(&host, &batch), case.plan(&*store, &batch)];
        if let Some(tiers) = store.tiers_mut() {
            tiers.prefetch(&plans[1]).unwrap();
        }
        let expected = case.step(&mut host, &batch, &plans[0], step);
        assert_eq!(case.step(store, &batch, &plans[1], step), expected);
        let (found, expected) = (contents(store), contents(&host));
        if !is_finite(&expected) {
            return;
        }
        assert!(found == expected, "after step {step}");
    }
}

/// All stores whose rows lie in host memory, with `Device::Cpu` where there is a device.
fn all_stores(case: &Case) -> Vec<Box<dyn EmbeddingStore>> {
    let (tables, options) = (|| case.tables.clone(), || case.options.clone());
    let (hot, device) = (&case.hot_rows[..], Device::Cpu);
    let cpu = CpuStore::new(tables(), options()).unwrap();
    vec![
        Box::new(OnDevice::new(cpu, Device::Cpu)),
        Box::new(DeviceStore::new(tables(), options(), &device).unwrap()),
        Box::new(HotCold::on_cpu(tables(), options(), hot).unwrap()),
        Box::new(HotCold::on_device(tables(), options(), hot, &device).unwrap()),
        Box::new(HotReplicas::on_cpu(tables(), options(), hot, 2).unwrap()),
        Box::new(HotReplicas::on_devices(tables(), options(), hot, &[device]).unwrap()),
    ]
}

fn sides() -> impl Strategy<Value = Vec<Side>> {
    prop::collection::vec(prop_oneof![Just(Side::Hot), Just(Side::Cold)], 6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn rows_in_a_map_are_those_of_the_store_in_memory(case in plain_case(), factors in factors()) {
        let case = with_factors(case, &factors);
        let mut store = HashMapStore::new(case.tables.clone(), &case.options).unwrap();
        copy_rows(&CpuStore::new(case.tables.clone(), case.options.clone()).unwrap(), &mut store).unwrap();
        let mut store = Counting::new(store);
        check_equal(&case, &mut store, &[]);
        prop_assert_eq!(store.updates as u64, case.batches.len() as u64);
    }

    #[test]
    fn a_wrapper_changes_nothing(case in case(), sides in sides()) {
        for store in all_stores(&case) {
            let mut counted = Counting::new(store);
            check_equal(&case, &mut counted, &sides);
        }
    }

    #[test]
    fn a_rule_from_outside_is_the_same_in_every_store(case in case(), sides in sides(), factors in factors()) {
        let mut case = case;
        case.options.optimizer = RowOptimizer::external(LazyAdam::default());
        let case = with_factors(case, &factors);
        for mut store in all_stores(&case) {
            check_equal(&case, &mut *store, &sides);
        }
    }

    #[test]
    fn factors_are_the_same_in_every_store_and_freeze(case in case(), sides in sides(), factors in factors()) {
        let case = with_factors(case, &factors);
        let before = contents(&CpuStore::new(case.tables.clone(), case.options.clone()).unwrap());
        for mut store in all_stores(&case) {
            check_equal(&case, &mut *store, &sides);
            for (index, part) in store.parts().to_vec().iter().enumerate() {
                if factors[part.table] == 0.0 {
                    let rows = store.export(index, 0..part.rows).unwrap();
                    prop_assert!((bits(&rows.weights), bits(&rows.state)) == before[index]);
                }
            }
        }
    }

    #[test]
    fn sgd_from_outside_is_sgd(case in case()) {
        let mut case = case;
        case.options.optimizer = Optimizer::Sgd.into();
        let mut own = case.options.clone();
        own.optimizer = RowOptimizer::external(OwnSgd);
        let mut store = CpuStore::new(case.tables.clone(), own).unwrap();
        check_equal(&case, &mut store, &[]);
    }

    /// The number of the update is all that a store needs besides its rows.
    #[test]
    fn a_rule_goes_on_where_it_was_interrupted(case in case()) {
        let mut case = case;
        case.options.optimizer = RowOptimizer::external(LazyAdam::default());
        let make = || CpuStore::new(case.tables.clone(), case.options.clone()).unwrap();
        let mut whole = make();
        let mut part = make();
        for (step, batch) in case.batches.iter().enumerate() {
            let plan = case.plan(&whole, batch);
            case.step(&mut whole, batch, &plan, step);
            let mut resumed = make();
            copy_rows(&part, &mut resumed).unwrap();
            prop_assert_eq!(resumed.updates(), part.updates());
            part = resumed;
            let plan = case.plan(&part, batch);
            case.step(&mut part, batch, &plan, step);
            prop_assert!(contents(&part) == contents(&whole));
        }
    }

    #[test]
    fn grown_tables_keep_their_rows_and_start_others_as_new(case in case(), more in prop::collection::vec(0u64..30, 16)) {
        let mut store = CpuStore::new(case.tables.clone(), case.options.clone()).unwrap();
        for (step, batch) in case.batches.iter().enumerate() {
            let plan = case.plan(&store, batch);
            case.step(&mut store, batch, &plan, step);
        }
        let before = store.parts().to_vec();
        let old: Vec<_> = contents(&store);
        let rows: Vec<u64> = case.tables.iter().zip(&more).map(|(spec, more)| spec.rows + more).collect();
        store.grow(&rows).unwrap();
        let mut tables = case.tables.clone();
        for (spec, rows) in tables.iter_mut().zip(&rows) {
            spec.rows = *rows;
        }
        let fresh = CpuStore::new(tables, case.options.clone()).unwrap();
        prop_assert_eq!(store.parts(), fresh.parts());
        for (part, described) in before.iter().enumerate() {
            let kept = store.export(part, 0..described.rows).unwrap();
            prop_assert!((bits(&kept.weights), bits(&kept.state)) == old[part]);
            let rest = described.rows..store.parts()[part].rows;
            prop_assert!(store.export(part, rest.clone()).unwrap() == fresh.export(part, rest).unwrap());
        }
        prop_assert!(store.grow(&vec![0; rows.len()]).is_err());
        prop_assert!(store.grow(&rows[1..]).is_err());
    }

    #[test]
    fn single_rows_go_in_and_out(case in case(), picks in prop::collection::vec(0u64..1000, 0..20)) {
        for mut store in all_stores(&case) {
            for part in 0..store.parts().len() {
                let described = store.parts()[part].clone();
                let rows: Vec<u32> = picks.iter().map(|pick| (pick % described.rows) as u32).collect();
                let picked = store.export_rows(part, &rows).unwrap();
                for (index, &row) in rows.iter().enumerate() {
                    let one = store.export(part, u64::from(row)..u64::from(row) + 1).unwrap();
                    prop_assert_eq!(&picked.weights[index * described.dim..][..described.dim], &one.weights[..]);
                }
                let before = contents(&*store);
                store.import_rows(part, &rows, &picked).unwrap();
                prop_assert!(contents(&*store) == before);
                let beyond = [described.rows.min(u64::from(u32::MAX)) as u32];
                prop_assert!(store.export_rows(part, &beyond).is_err());
                prop_assert!(store.import_rows(part, &beyond, &picked).is_err());
            }
            prop_assert!(store.export_rows(usize::MAX, &[0]).is_err());
        }
    }
}

#[test]
fn errors_of_stores_outside_pass_through() {
    let spec = TableSpec {
        rows: 4,
        encoding: Encoding::MixedDimension { dim: 2 },
    };
    let error = HashMapStore::new(vec![spec], &StoreOptions::default()).err();
    assert!(matches!(&error, Some(Error::External(_))));
    assert_eq!(
        error.unwrap().to_string(),
        "this store has plain tables only"
    );
}

#[test]
fn rules_and_factors_that_cannot_be_used_are_refused() {
    let make = |optimizer: RowOptimizer| {
        let options = StoreOptions {
            optimizer,
            ..StoreOptions::default()
        };
        CpuStore::new(vec![TableSpec::full(3); 2], options).map(|_| ())
    };
    let adam = |beta| RowOptimizer::external(LazyAdam { beta, start: 0.0 });
    let error = make(adam([0.9, 1.5])).unwrap_err();
    assert!(error.to_string().contains("lazy-adam"), "{error}");
    for factors in [
        &[1.0][..],
        &[1.0; 3],
        &[1.0, -1.0],
        &[f32::NAN, 1.0],
        &[1.0, f32::INFINITY],
    ] {
        assert!(make(RowOptimizer::default().with_factors(factors)).is_err());
    }
    assert_eq!(adam([0.9, 0.99]), adam([0.9, 0.99]));
    assert_ne!(adam([0.9, 0.99]), adam([0.8, 0.99]));
    assert_ne!(adam([0.9, 0.99]), Optimizer::Sgd.into());
    assert_eq!(
        RowOptimizer::default().with_factors(&[1.0, 1.0]),
        Optimizer::Sgd.into()
    );
    let sides = |optimizer: RowOptimizer| StoreOptions {
        optimizer,
        ..StoreOptions::default()
    };
    let tables = vec![TableSpec::full(3); 2];
    let hot = CpuStore::hot(tables.clone(), sides(adam([0.9, 0.99])), &[1, 1]).unwrap();
    let cold = CpuStore::cold(tables, sides(adam([0.9, 0.9])), &[1, 1]).unwrap();
    assert!(matches!(
        HotCold::new(hot, cold),
        Err(Error::SidesMismatch { .. })
    ));
}

/// Plans show what they hold, and answer nothing for what they do not.
#[test]
fn a_plan_can_be_read() {
    let planner = Planner::new(vec![TableSpec::full(10), TableSpec::full(4)], 2).unwrap();
    let mut plan = Plan::default();
    assert_eq!((plan.tables(), plan.bag(0, 0)), (0, &[][..]));
    assert!(planner.check(&plan).is_err());
    let ids = Ids {
        batch: 2,
        ids: &[7, 7, 3, 1, 7],
        offsets: &[0, 2, 3, 4, 5],
    };
    assert!(planner.plan(ids, &mut plan).is_err());
    let ids = Ids {
        ids: &[7, 7, 3, 7, 1],
        ..ids
    };
    planner.plan(ids, &mut plan).unwrap();
    planner.check(&plan).unwrap();
    assert_eq!((plan.batch(), plan.tables(), plan.ids().len()), (2, 2, 5));
    assert_eq!(plan.offsets(), [0, 2, 3, 4, 5]);
    assert_eq!((plan.bag(0, 0), plan.bag(1, 1)), (&[7, 7][..], &[1][..]));
    for (sample, table) in [(2, 0), (0, 2), (usize::MAX, usize::MAX)] {
        assert!(plan.bag(sample, table).is_empty());
    }
    assert_eq!((plan.rows_of(0), plan.rows_of(1)), (&[7][..], &[1, 3][..]));
    assert_eq!(plan.samples_of(0, 0), [0, 0, 1]);
    assert!(plan.samples_of(0, 1).is_empty() && plan.samples_of(9, usize::MAX).is_empty());
    let grad = [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0];
    let mut sum = [0.0; 2];
    plan.sum_gradient(0, 0, &grad, &mut sum).unwrap();
    assert_eq!(sum, [5.0, 8.0]);
    assert!(plan.sum_gradient(0, 1, &grad, &mut sum).is_err());
    assert!(
        plan.sum_gradient(usize::MAX, usize::MAX, &grad, &mut sum)
            .is_err()
    );
    assert!(plan.sum_gradient(0, 0, &grad[1..], &mut sum).is_err());
    assert!(plan.sum_gradient(0, 0, &grad, &mut sum[1..]).is_err());
    let other = Planner::new(vec![TableSpec::full(10), TableSpec::full(4)], 4).unwrap();
    assert!(other.check(&plan).is_err());
}
