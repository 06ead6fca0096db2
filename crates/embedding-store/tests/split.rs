//! A store in two places gives the numbers of the store in one, bit for bit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ops::Range;

use candle_core::Device;
use cases::{Case, case, contents};
use embedding_store::{
    CpuStore, DeviceStore, EmbeddingStore, HotCold, OnDevice, Plan, Tiered, hot_ranges,
};
use proptest::prelude::*;

mod cases;

/// Runs all batches on both stores, showing the coming `ahead` ones to the split store, and looking
/// every second one up twice, as an evaluation would.
fn check(case: &Case, mut split: impl EmbeddingStore + Tiered, ahead: usize) {
    let mut plain = case.plain();
    let plans: Vec<Plan> = case
        .batches
        .iter()
        .map(|batch| case.plan(&split, batch))
        .collect();
    assert!(contents(&split) == contents(&plain));
    for (step, batch) in case.batches.iter().enumerate() {
        for plan in plans.iter().skip(step).take(ahead) {
            split.prefetch(plan).unwrap();
        }
        let expected = case.step(&mut plain, batch, &case.plan(&case.plain(), batch), step);
        if step % 2 == 1 {
            assert_eq!(case.lookup(&split, batch, &plans[step]), expected);
        }
        assert_eq!(case.step(&mut split, batch, &plans[step], step), expected);
        assert!(contents(&split) == contents(&plain), "after step {step}");
    }
}

fn on_cpu(case: &Case) -> HotCold<CpuStore, CpuStore> {
    HotCold::on_cpu(case.tables.clone(), case.options.clone(), &case.hot_rows).unwrap()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn split_is_unsplit_with_and_without_prefetch(case in case(), ahead in 0usize..5, threads in 1usize..4) {
        pool(threads).install(|| check(&case, on_cpu(&case), ahead));
    }

    #[test]
    fn split_with_tensors_is_unsplit(case in case(), ahead in 0usize..5) {
        let device = &Device::Cpu;
        let tables = case.tables.clone();
        let store = HotCold::on_device(tables, case.options.clone(), &case.hot_rows, device).unwrap();
        check(&case, store, ahead);
    }

    #[test]
    fn tables_on_a_device_are_tables_in_memory(case in case()) {
        let store = DeviceStore::new(case.tables.clone(), case.options.clone(), &Device::Cpu).unwrap();
        check(&case, store, 0);
    }

    #[test]
    fn rows_that_cross_are_the_same(case in case()) {
        check(&case, OnDevice::new(case.plain(), Device::Cpu), 1);
    }

    #[test]
    fn fewer_prefetched_batches_than_shown_change_nothing(case in case(), kept in 0usize..3) {
        check(&case, on_cpu(&case).with_prefetched_batches(kept), 4);
    }

    #[test]
    fn a_range_of_rows_is_that_of_the_whole(case in case()) {
        let plain = case.plain();
        let hot = hot_ranges(&case.tables, &case.options, &case.hot_rows).unwrap();
        let cold: Vec<Range<u64>> = hot
            .iter()
            .zip(plain.parts())
            .map(|(hot, part)| hot.end..part.rows)
            .collect();
        for ranges in [hot, cold] {
            let some = CpuStore::with_rows(case.tables.clone(), case.options.clone(), &ranges).unwrap();
            for (part, range) in ranges.into_iter().enumerate() {
                prop_assert_eq!(
                    some.export(part, range.clone()).unwrap(),
                    plain.export(part, range).unwrap()
                );
            }
        }
    }

    #[test]
    fn hot_batches_touch_the_hot_prefix_only(case in case()) {
        let mut plain = case.plain();
        let mut hot = CpuStore::hot(case.tables.clone(), case.options.clone(), &case.hot_rows).unwrap();
        for (step, batch) in case.batches.iter().enumerate() {
            let batch = batch.within(&case.hot_rows);
            let plan = case.plan(&plain, &batch);
            prop_assert_eq!(
                case.step(&mut hot, &batch, &plan, step),
                case.step(&mut plain, &batch, &plan, step)
            );
        }
    }

    #[test]
    fn imported_rows_reach_both_sides(case in case()) {
        let mut source = case.plain();
        let mut split = on_cpu(&case);
        for (step, batch) in case.batches.iter().enumerate() {
            let plan = case.plan(&source, batch);
            case.step(&mut source, batch, &plan, step);
            split.prefetch(&case.plan(&split, batch)).unwrap();
        }
        for (index, part) in source.parts().iter().enumerate() {
            split.import(index, 0, &source.export(index, 0..part.rows).unwrap()).unwrap();
        }
        prop_assert!(contents(&split) == contents(&source));
        prop_assert_eq!(split.staged_batches(), 0);
    }
}
