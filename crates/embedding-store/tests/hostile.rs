//! Numbers that nobody means: public constructors, plans and rows in and out answer with errors. No
//! input panics, or asks for memory that is not there.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use candle_core::Device;
use embedding_store::{
    Combine, CpuStore, DeviceStore, EmbeddingStore, Encoding, Held, HotCold, HotReplicas, Ids,
    Initialization, Optimizer, Part, Plan, Planner, RowOptimizer, RowRule, Rows, StoreOptions,
    TableSpec, copy_rows, device_row_bytes, device_table_bytes, hot_ranges,
};
use proptest::prelude::*;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..9,
        Just(u64::from(u32::MAX)),
        Just(1 << 32),
        Just(1 << 61),
        Just(u64::MAX - 1),
        Just(u64::MAX),
        any::<u64>(),
    ]
}

fn encoding() -> impl Strategy<Value = Encoding> {
    let combine = prop_oneof![
        Just(Combine::Multiply),
        Just(Combine::Add),
        Just(Combine::Concatenate)
    ];
    prop_oneof![
        Just(Encoding::Full),
        (number(), combine).prop_map(|(collisions, combine)| Encoding::QuotientRemainder {
            collisions,
            combine
        }),
        number().prop_map(|dim| Encoding::MixedDimension { dim: dim as usize }),
    ]
}

fn tables() -> impl Strategy<Value = Vec<TableSpec>> {
    let spec = (number(), encoding()).prop_map(|(rows, encoding)| TableSpec { rows, encoding });
    prop::collection::vec(spec, 0..4)
}

fn optimizer() -> impl Strategy<Value = RowOptimizer> {
    let value = prop_oneof![
        Just(0.0),
        Just(-1.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(1e300),
        0.0..1.0
    ];
    let factors = prop::collection::vec(
        prop_oneof![Just(0.0f32), Just(1.0), Just(-1.0), Just(f32::NAN)],
        0..4,
    );
    let rule = prop_oneof![
        Just(RowOptimizer::default()),
        (value.clone(), value).prop_map(|(epsilon, initial_accumulator)| Optimizer::Adagrad {
            epsilon,
            initial_accumulator
        }
        .into()),
        number().prop_map(|width| RowOptimizer::external(Wide(width as usize))),
    ];
    (rule, factors).prop_map(|(rule, factors)| rule.with_factors(&factors))
}

/// A rule with any width of state.
#[derive(Debug)]
struct Wide(usize);

impl RowRule for Wide {
    fn name(&self) -> &str {
        "wide"
    }

    fn state_width(&self, _: usize) -> usize {
        self.0
    }

    fn step(&self, _: &[f32], _: &mut [f32], _: &mut [f32], _: f32, _: u64) {}

    fn dense(&self) -> Optimizer {
        Optimizer::rowwise_adagrad()
    }
}

/// Whether every matrix is small, or larger than any machine, whatever share of its rows is held:
/// nobody waits for a test that fills half of the memory.
fn is_tried(tables: &[TableSpec], options: &StoreOptions) -> bool {
    let Ok(parts) = Part::of_tables(tables, options.dim, &options.optimizer) else {
        return true;
    };
    parts.iter().all(|part| {
        [part.dim, part.state_width].into_iter().all(|width| {
            let bytes = u128::from(part.rows).saturating_mul(width.max(16) as u128 * 4);
            !(64..=1 << 46).contains(&width) && !(1 << 20..=1 << 50).contains(&bytes)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn constructors_take_any_numbers(
        tables in tables(), dim in number(), optimizer in optimizer(), hot in prop::collection::vec(number(), 0..4)
    ) {
        let options = StoreOptions { dim: dim as usize, optimizer, ..StoreOptions::default() };
        for spec in &tables {
            for &hot in &hot {
                device_table_bytes(spec, &options, hot);
            }
            device_row_bytes(spec, &options);
        }
        let _ = Planner::new(tables.clone(), options.dim);
        let _ = hot_ranges(&tables, &options, &hot);
        if !is_tried(&tables, &options) {
            return Ok(());
        }
        let _ = CpuStore::new(tables.clone(), options.clone());
        let _ = CpuStore::hot(tables.clone(), options.clone(), &hot);
        let ranges: Vec<_> = hot.iter().map(|&end| end / 2..end).collect();
        let _ = CpuStore::with_rows(tables.clone(), options.clone(), &ranges);
        let backing = embedding_store::Backing::Memory;
        let _ = CpuStore::with_backing(tables.clone(), options.clone(), Held::Cold(&hot), &backing);
        let _ = DeviceStore::new(tables.clone(), options.clone(), &Device::Cpu);
        let _ = HotCold::on_cpu(tables.clone(), options.clone(), &hot);
        let _ = HotReplicas::on_cpu(tables, options, &hot, hot.len());
    }

    #[test]
    fn plans_take_any_ids(
        batch in number(), ids in prop::collection::vec(number(), 0..9), offsets in prop::collection::vec(number(), 0..9)
    ) {
        let planner = Planner::new(vec![TableSpec::full(5), TableSpec::full(9)], 3).unwrap();
        let small = |numbers: &[u64]| numbers.iter().map(|&x| x as u32).collect::<Vec<_>>();
        let (ids, offsets) = (small(&ids), small(&offsets));
        let mut plan = Plan::default();
        for planner in [planner.clone(), planner.with_slots()] {
            for batch in [batch as usize, ids.len() / 2, offsets.len().saturating_sub(1) / 2] {
                let given = Ids { batch, ids: &ids, offsets: &offsets };
                if planner.plan(given, &mut plan).is_err() {
                    prop_assert!(planner.check(&plan).is_err() && plan.distinct_rows() == 0);
                }
            }
        }
    }

    #[test]
    fn rows_in_and_out_take_any_numbers(
        part in number(), start in number(), end in number(), singles in prop::collection::vec(number(), 0..5),
        dim in 0usize..4, weights in 0usize..9, state in 0usize..9,
    ) {
        let options = StoreOptions { dim: 2, optimizer: Optimizer::adagrad().into(), ..StoreOptions::default() };
        let tables = vec![TableSpec::full(6), TableSpec { rows: 8, encoding: Encoding::MixedDimension { dim: 1 } }];
        let rows = Rows { dim, weights: vec![1.0; weights], state: vec![1.0; state] };
        let singles: Vec<u32> = singles.iter().map(|&row| row as u32).collect();
        let mut stores: Vec<Box<dyn EmbeddingStore>> = vec![
            Box::new(CpuStore::new(tables.clone(), options.clone()).unwrap()),
            Box::new(DeviceStore::new(tables.clone(), options.clone(), &Device::Cpu).unwrap()),
            Box::new(HotCold::on_cpu(tables.clone(), options.clone(), &[2, 3]).unwrap()),
            Box::new(HotReplicas::on_cpu(tables.clone(), options.clone(), &[2, 3], 1).unwrap()),
        ];
        for store in &mut stores {
            for part in [part as usize, (part % 3) as usize] {
                let _ = store.export(part, start..end);
                let _ = store.import(part, start, &rows);
                let _ = store.export_rows(part, &singles);
                let _ = store.import_rows(part, &singles, &rows);
            }
        }
        let mut store = CpuStore::new(tables, options).unwrap();
        // Rows beyond these would be filled.
        let small = |rows: u64| if rows > 100 { u64::MAX } else { rows };
        let _ = store.grow(&[small(start), small(end)]);
        prop_assert!(store.grow(&[]).is_err());
    }
}

#[test]
fn rows_go_to_stores_of_the_same_tables_alone() {
    let options = |dim, optimizer: Optimizer| StoreOptions {
        dim,
        optimizer: optimizer.into(),
        initialization: Initialization::Zeros,
        ..StoreOptions::default()
    };
    let make = |rows: &[u64], dim, optimizer| {
        let tables = rows.iter().map(|&rows| TableSpec::full(rows)).collect();
        CpuStore::new(tables, options(dim, optimizer)).unwrap()
    };
    let from = make(&[4, 5], 2, Optimizer::Sgd);
    copy_rows(&from, &mut make(&[4, 9], 2, Optimizer::Sgd)).unwrap();
    for mut other in [
        make(&[4], 2, Optimizer::Sgd),
        make(&[4, 4], 2, Optimizer::Sgd),
        make(&[4, 5], 3, Optimizer::Sgd),
        make(&[4, 5], 2, Optimizer::adagrad()),
    ] {
        assert!(copy_rows(&from, &mut other).is_err());
    }
}

/// Systems grant each of these, and end the program that writes to all of them.
#[test]
fn tables_that_fit_the_machine_one_by_one_only_are_refused() {
    let Some(limit) = embedding_store::memory_limit() else {
        return;
    };
    let options = StoreOptions::default();
    let rows = limit / (4 * options.dim as u64 * 4);
    let tables = vec![TableSpec::full(rows); 5];
    let error = CpuStore::new(tables, options).unwrap_err().to_string();
    assert!(
        error.contains("bytes for all tables; use fewer rows"),
        "{error}"
    );
}
