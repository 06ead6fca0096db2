//! Any sequence of sides gives the numbers of one store, and replicas stay equal.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use candle_core::Device;
use cases::{Case, case, contents};
use embedding_store::{EmbeddingStore, Error, HotReplicas, Side, Tiered, Traffic, hot_ranges};
use proptest::prelude::*;

mod cases;

/// The hot rows of every part of a store, bit for bit.
fn prefix(case: &Case, store: &impl EmbeddingStore) -> Vec<(Vec<u32>, Vec<u32>)> {
    let hot = hot_ranges(&case.tables, &case.options, &case.hot_rows).unwrap();
    hot.into_iter()
        .enumerate()
        .map(|(part, rows)| {
            let rows = store.export(part, rows).unwrap();
            (cases::bits(&rows.weights), cases::bits(&rows.state))
        })
        .collect()
}

/// Runs all batches on both stores; those on the hot side are cut down to hot ids. Some are shown
/// ahead, whatever their side.
macro_rules! check {
    ($case:expr, $sides:expr, $store:expr) => {
        let (case, mut store) = ($case, $store);
        let mut plain = case.plain();
        let turns = case.batches.iter().zip($sides).map(|(batch, &side)| {
            let batch = match side {
                Side::Hot => batch.within(&case.hot_rows),
                Side::Cold => batch.clone(),
            };
            let plan = case.plan(&store, &batch);
            (side, batch, plan)
        });
        let turns: Vec<_> = turns.collect();
        for (step, (side, batch, plan)) in turns.iter().enumerate() {
            let side = *side;
            store.enter(side).unwrap();
            prop_assert!(contents(&store) == contents(&plain), "entering {:?}", side);
            for (_, _, coming) in turns[step..].iter().take(step % 4) {
                store.prefetch(coming).unwrap();
            }
            let expected = case.step(&mut plain, batch, &case.plan(&case.plain(), batch), step);
            prop_assert_eq!(case.step(&mut store, batch, plan, step), expected);
            prop_assert!(contents(&store) == contents(&plain), "after step {}", step);
            if side == Side::Hot {
                for replica in store.replicas() {
                    prop_assert!(prefix(case, replica) == prefix(case, &plain));
                }
            }
        }
        store.enter(Side::Cold).unwrap();
        store.enter(Side::Hot).unwrap();
        prop_assert!(contents(&store) == contents(&plain));
        // Nothing changes from here on, so nothing is copied.
        let before = store.traffic();
        store.enter(Side::Cold).unwrap();
        store.enter(Side::Hot).unwrap();
        let Traffic {
            sync_to_device,
            sync_to_host,
            syncs,
            ..
        } = store.traffic().since(&before);
        prop_assert_eq!((sync_to_device, sync_to_host, syncs), (0, 0, 2));
        for replica in store.replicas() {
            prop_assert!(prefix(case, replica) == prefix(case, &plain));
        }
    };
}

fn sides() -> impl Strategy<Value = Vec<Side>> {
    prop::collection::vec(prop_oneof![Just(Side::Hot), Just(Side::Cold)], 6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn replicas_in_memory(case in case(), sides in sides(), replicas in 1usize..5) {
        let tables = case.tables.clone();
        let store = HotReplicas::on_cpu(tables, case.options.clone(), &case.hot_rows, replicas).unwrap();
        check!(&case, &sides, store);
    }

    #[test]
    fn replicas_on_devices(case in case(), sides in sides(), replicas in 1usize..4) {
        let tables = case.tables.clone();
        let devices = vec![Device::Cpu; replicas];
        let store =
            HotReplicas::on_devices(tables, case.options.clone(), &case.hot_rows, &devices).unwrap();
        check!(&case, &sides, store);
    }

    #[test]
    fn rows_are_imported_on_either_side(case in case(), side in prop_oneof![Just(Side::Hot), Just(Side::Cold)]) {
        let mut source = case.plain();
        let mut store = HotReplicas::on_cpu(case.tables.clone(), case.options.clone(), &case.hot_rows, 2).unwrap();
        for (step, batch) in case.batches.iter().enumerate() {
            let plan = case.plan(&source, batch);
            case.step(&mut source, batch, &plan, step);
        }
        store.enter(side).unwrap();
        for (index, part) in source.parts().iter().enumerate() {
            store.import(index, 0, &source.export(index, 0..part.rows).unwrap()).unwrap();
        }
        prop_assert!(contents(&store) == contents(&source));
        store.enter(Side::Cold).unwrap();
        prop_assert!(contents(&store) == contents(&source));
        store.enter(Side::Hot).unwrap();
        prop_assert!(contents(&store) == contents(&source));
    }

    #[test]
    fn a_cold_row_on_the_hot_side_is_refused(case in case()) {
        let mut store = HotReplicas::on_cpu(case.tables.clone(), case.options.clone(), &case.hot_rows, 2).unwrap();
        store.enter(Side::Hot).unwrap();
        for batch in &case.batches {
            let plan = case.plan(&store, batch);
            let hot = hot_ranges(&case.tables, &case.options, &case.hot_rows).unwrap();
            let cold = hot.iter().enumerate().any(|(part, rows)| {
                plan.rows_of(part).iter().any(|&row| u64::from(row) >= rows.end)
            });
            let tensor = case.tensor(batch, vec![0.5; batch.size * case.tables.len() * case.options.dim]);
            let before = contents(&store);
            let (looked_up, updated) = (store.lookup(&plan, &tensor), store.update(&plan, &tensor, 0.1));
            if cold {
                let refused = matches!(looked_up, Err(Error::RowNotHeld { .. }))
                    && matches!(updated, Err(Error::RowNotHeld { .. }));
                prop_assert!(refused);
                prop_assert!(contents(&store) == before);
            } else {
                prop_assert!(looked_up.is_ok() && updated.is_ok());
            }
        }
    }
}
