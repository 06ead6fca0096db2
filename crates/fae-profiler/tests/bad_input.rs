//! Odd budgets, odd data sets and options out of range.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

use fae_profiler::{
    AccessCounts, CountOptions, Error, HotCounts, HotEstimate, HotSet, Partition, SelectOptions,
    Selector, Strategy,
};
use support::{Memory, options};

const STRATEGIES: [Strategy; 3] = [Strategy::Frequency, Strategy::SHARE, Strategy::Inputs];

fn small() -> Memory {
    Memory::single_hot(&[4, 3], &[vec![0, 0], vec![0, 1], vec![1, 0], vec![2, 0]])
}

#[test]
fn budgets_from_nothing_to_more_than_everything() {
    let data = small();
    for strategy in STRATEGIES {
        let mut selector = Selector::new(&data, &options(strategy, 0, &[8, 8])).unwrap();
        let nothing = selector.select(strategy, 0).unwrap();
        assert_eq!(
            (nothing.hot_rows, nothing.results.hot_inputs),
            (vec![0, 0], 0)
        );
        // Row 3 of the first table and row 2 of the second were never seen.
        let all = selector.select(strategy, u64::MAX).unwrap();
        assert_eq!((all.hot_rows, all.results.hot_inputs), (vec![3, 2], 4));
        assert_eq!((all.results.lookups, all.results.hot_lookups), (8, 8));
    }
}

#[test]
fn a_table_whose_row_exceeds_the_budget_stays_cold() {
    let data = small();
    for strategy in STRATEGIES {
        let mut selector = Selector::new(&data, &options(strategy, 0, &[1000, 8])).unwrap();
        let selection = selector.select(strategy, 100).unwrap();
        assert_eq!(
            (selection.hot_rows, selection.results.hot_inputs),
            (vec![0, 2], 0)
        );
    }
}

#[test]
fn empty_data_and_a_single_sample() {
    let folder = tempfile::tempdir().unwrap();
    for (name, data) in [
        ("empty", Memory::single_hot(&[4, 3], &[])),
        ("one", Memory::single_hot(&[4, 3], &[vec![1, 2]])),
    ] {
        let samples = data.bags.len() as u64;
        let packed = data.pack(&folder.path().join(name));
        for strategy in STRATEGIES {
            for sample in [0.01, 1.0] {
                let options = SelectOptions {
                    count: CountOptions { sample, seed: 0 },
                    ..options(strategy, 1 << 20, &[8, 8])
                };
                let set = HotSet::select(&packed, &options).unwrap();
                assert_eq!(
                    (set.results().inputs, set.results().hot_inputs),
                    (samples, samples)
                );
                assert_eq!(set.sampling().counted, samples);
                assert_eq!(set.hot_rows(), [2 * samples, 3 * samples]);
                let path = folder.path().join("hot.json");
                set.save(&path).unwrap();
                assert_eq!(HotSet::load(&path, &packed).unwrap(), set);
                let out = folder.path().join(format!("{name}-split"));
                set.materialise(&packed, &out, true, &mut |_| ()).unwrap();
            }
        }
        let partition = Partition::classify(&data, &[0, 3]).unwrap();
        assert_eq!(
            (partition.is_empty(), partition.cold_len()),
            (samples == 0, samples)
        );
        assert_eq!(HotCounts::count(&data, &[0, 0]).unwrap().input_share(), 0.0);
    }
}

#[test]
fn rows_unseen_in_the_sample_stay_cold() {
    let ids: Vec<Vec<u32>> = (0..100).map(|k| vec![k]).collect();
    let data = Memory::single_hot(&[100], &ids);
    let options = SelectOptions {
        count: CountOptions {
            sample: 0.1,
            seed: 1,
        },
        ..options(Strategy::Frequency, 0, &[8])
    };
    let mut selector = Selector::new(&data, &options).unwrap();
    let last = selector
        .counts()
        .table(0)
        .iter()
        .rposition(|&count| count > 0)
        .unwrap();
    let selection = selector.select(Strategy::Frequency, 1 << 20).unwrap();
    assert_eq!(selection.hot_rows, [last as u64 + 1]);
    assert!(selection.results.hot_inputs < 100);
}

#[test]
fn options_out_of_range_are_named() {
    let data = small();
    let count = |sample| AccessCounts::count(&data, &CountOptions { sample, seed: 0 });
    for rate in [0.0, 1.5, -1.0, f64::NAN] {
        let error = count(rate).unwrap_err();
        assert!(
            error.to_string().contains("more than 0 and at most 1"),
            "{error}"
        );
    }
    let selector = |row_bytes: &[u64]| {
        Selector::new(&data, &options(Strategy::Inputs, 0, row_bytes))
            .err()
            .unwrap()
    };
    assert!(matches!(
        selector(&[8]),
        Error::TableCount {
            found: 1,
            expected: 2,
            ..
        }
    ));
    assert!(matches!(selector(&[8, 0]), Error::InvalidOption { .. }));
    assert!(matches!(
        selector(&[u64::MAX, 8]),
        Error::InvalidOption { .. }
    ));
    let mut good = Selector::new(&data, &options(Strategy::Inputs, 0, &[8, 8])).unwrap();
    for share in [-0.1, 1.1, f64::NAN] {
        let error = good.select(Strategy::Share(share), 100).unwrap_err();
        assert!(error.to_string().contains("0 to 1"), "{error}");
    }
    for confidence in [0.0, 1.0, f64::NAN] {
        let estimate = HotEstimate::new(&data, &[1, 1], &CountOptions::default(), confidence);
        assert!(matches!(estimate, Err(Error::InvalidOption { .. })));
    }
    let classify = |hot_rows: &[u64]| Partition::classify(&data, hot_rows).unwrap_err();
    assert!(matches!(classify(&[1]), Error::TableCount { .. }));
    assert!(matches!(
        classify(&[1, 4]),
        Error::HotRowsBeyondTable {
            hot_rows: 4,
            rows: 3,
            ..
        }
    ));
}

#[test]
fn an_id_beyond_its_table_is_named() {
    for id in [5, 2000] {
        let data = Memory::single_hot(&[4, 3], &[vec![0, 0], vec![id, 0]]);
        let error = AccessCounts::count(&data, &CountOptions::default()).unwrap_err();
        let expected = format!("table C1: id {id} is not below the table's 4 rows");
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[test]
fn an_input_without_ids_is_hot() {
    let data = Memory::new(
        &[4, 3],
        vec![vec![vec![], vec![]], vec![vec![0, 3], vec![1]]],
    );
    let partition = Partition::classify(&data, &[0, 0]).unwrap();
    assert_eq!((partition.hot(0), partition.cold(0)), (Some(0), Some(1)));
    let mut selector = Selector::new(&data, &options(Strategy::Inputs, 0, &[8, 8])).unwrap();
    assert_eq!(
        selector
            .select(Strategy::Inputs, 0)
            .unwrap()
            .results
            .hot_inputs,
        1
    );
    assert_eq!(
        selector.select(Strategy::Inputs, 48).unwrap().hot_rows,
        [4, 2]
    );
}
