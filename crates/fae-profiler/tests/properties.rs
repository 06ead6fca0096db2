//! What holds for any data set: counts, classification and budgets.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

use fae_profiler::{
    AccessCounts, CountOptions, HotCounts, HotEstimate, Partition, Selector, Strategy as Rule,
};
use proptest::prelude::*;
use recsys_data::Dataset;
use support::{Memory, on_threads, options};

/// Data sets of up to four tables, single-hot or with bags of any size, empty ones included, some of them sequences.
fn data() -> impl Strategy<Value = Memory> {
    (
        prop::collection::vec(1u64..40, 1..5),
        0usize..300,
        any::<bool>(),
        0u32..6,
    )
        .prop_flat_map(|(rows, samples, multi_hot, positions)| {
            // Small ids more often than large ones.
            let id = |rows: u64| (0..rows, 0..rows).prop_map(|(a, b)| a.min(b) as u32);
            let sizes = if multi_hot { 0..4 } else { 1..2 };
            let bags: Vec<_> = rows
                .iter()
                .map(|&rows| prop::collection::vec(id(rows), sizes.clone()))
                .collect();
            prop::collection::vec(bags, samples).prop_map(move |bags| {
                let items = Memory::new(&rows, bags);
                match positions {
                    0 => items,
                    positions => items.into_sequences(positions),
                }
            })
        })
}

fn hot_rows(data: &Memory, share: f64) -> Vec<u64> {
    let rows = data.schema.table_rows().into_iter();
    rows.map(|rows| (rows as f64 * share).round() as u64)
        .collect()
}

proptest! {
    #[test]
    fn classification_is_that_of_the_definition(data in data(), share in 0.0f64..1.2, threads in 1usize..4) {
        let hot_rows = hot_rows(&data, share.min(1.0));
        let partition = on_threads(threads, || Partition::classify(&data, &hot_rows)).unwrap();
        let (hot, cold): (Vec<u64>, Vec<u64>) =
            (0..data.len()).partition(|&sample| data.is_hot(sample as usize, &hot_rows));
        prop_assert_eq!(partition.len(), data.len());
        prop_assert_eq!(partition.hot_len(), hot.len() as u64);
        prop_assert_eq!(partition.cold_len(), cold.len() as u64);
        prop_assert_eq!(partition.iter_hot().collect::<Vec<_>>(), hot.clone());
        prop_assert_eq!(partition.iter_cold().collect::<Vec<_>>(), cold.clone());
        for (k, &sample) in hot.iter().enumerate() {
            prop_assert_eq!(partition.hot(k as u64), Some(sample));
            prop_assert_eq!(partition.is_hot(sample), Some(true));
        }
        for (k, &sample) in cold.iter().enumerate() {
            prop_assert_eq!(partition.cold(k as u64), Some(sample));
            prop_assert_eq!(partition.is_hot(sample), Some(false));
        }
        prop_assert_eq!(partition.hot(hot.len() as u64), None);
        prop_assert_eq!(partition.cold(cold.len() as u64), None);
        prop_assert_eq!(partition.is_hot(data.len()), None);
        let counts = HotCounts::count(&data, &hot_rows).unwrap();
        prop_assert_eq!((counts.inputs, counts.hot_inputs), (data.len(), hot.len() as u64));
    }

    #[test]
    fn counts_are_those_of_the_definition(data in data(), threads in 1usize..4) {
        let counts = on_threads(threads, || AccessCounts::count(&data, &CountOptions::default())).unwrap();
        for (table, rows) in data.schema.table_rows().into_iter().enumerate() {
            let mut expected = vec![0; rows as usize];
            let tables = data.schema.tables.len();
            let bags = data.bags.iter().flat_map(|bags| bags.iter().skip(table).step_by(tables));
            for &id in bags.flatten() {
                expected[id as usize] += 1;
            }
            prop_assert_eq!(counts.accesses(table), expected.iter().map(|&n| u64::from(n)).sum::<u64>());
            prop_assert_eq!(counts.table(table), expected);
        }
        prop_assert!(counts.is_exact() && counts.samples() == data.len());
    }

    #[test]
    fn hot_bytes_fill_the_budget_to_within_a_row(
        data in data(),
        row_bytes in prop::collection::vec(1u64..50, 4),
        share in 0.0f64..1.1,
        rate in 0.01f64..1.0,
    ) {
        let row_bytes = &row_bytes[..data.schema.tables.len()];
        let mut options = options(Rule::Inputs, 0, row_bytes);
        options.count = CountOptions { sample: rate, seed: 3 };
        let mut selector = Selector::new(&data, &options).unwrap();
        let budget = (selector.all_bytes() as f64 * share) as u64;
        let frequency = selector.select(Rule::Frequency, budget).unwrap();
        let inputs = selector.select(Rule::Inputs, budget).unwrap();
        prop_assert!(inputs.results.hot_inputs >= frequency.results.hot_inputs);
        prop_assert!(inputs.bound.unwrap().hot_inputs >= inputs.results.hot_inputs as f64);
        for selection in [frequency, inputs] {
            let bytes = selection.hot_rows.iter().zip(row_bytes).map(|(rows, bytes)| rows * bytes);
            prop_assert_eq!(selection.hot_bytes, bytes.sum::<u64>());
            prop_assert!(selection.hot_bytes <= budget);
            for (table, &hot_rows) in selection.hot_rows.iter().enumerate() {
                let rest = &selector.counts().table(table)[hot_rows as usize..];
                let seen = rest.iter().any(|&count| count > 0);
                prop_assert!(!seen || budget - selection.hot_bytes < row_bytes[table]);
            }
        }
        let share = selector.select(Rule::SHARE, budget).unwrap();
        prop_assert!(share.hot_bytes <= budget);
    }

    #[test]
    fn a_sequence_is_as_hot_as_one_bag_of_all_its_ids(data in data(), share in 0.0f64..1.1) {
        let tables = data.schema.tables.len();
        let merged = data.bags.iter().map(|bags| {
            let of_table = |table| bags.iter().skip(table).step_by(tables).flatten().copied().collect();
            (0..tables).map(of_table).collect()
        });
        let merged = Memory::new(&data.schema.table_rows(), merged.collect());
        let options = options(Rule::Inputs, 0, &vec![4; tables]);
        let select = |data: &Memory, rule| {
            let mut selector = Selector::new(data, &options).unwrap();
            let budget = (selector.all_bytes() as f64 * share) as u64;
            selector.select(rule, budget).unwrap()
        };
        for rule in [Rule::Inputs, Rule::Frequency, Rule::SHARE] {
            prop_assert_eq!(select(&data, rule), select(&merged, rule));
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads(data in data(), rate in 0.01f64..1.0) {
        let rows = data.schema.tables.len();
        let run = |threads| on_threads(threads, || {
            let mut options = options(Rule::Inputs, 0, &vec![8; rows]);
            options.count = CountOptions { sample: rate, seed: 5 };
            let mut selector = Selector::new(&data, &options).unwrap();
            let budget = selector.all_bytes() / 2;
            let selection = selector.select(Rule::Inputs, budget).unwrap();
            let estimate = HotEstimate::new(&data, &selection.hot_rows, &options.count, 0.95).unwrap();
            (selector.counts().clone(), selection, estimate)
        });
        prop_assert_eq!(run(1), run(3));
    }

    #[test]
    fn a_packed_data_set_gives_what_memory_gives(data in data(), share in 0.0f64..1.0) {
        let folder = tempfile::tempdir().unwrap();
        let packed = data.pack(&folder.path().join("data")).split(recsys_data::Split::Train);
        let hot_rows = hot_rows(&data, share);
        prop_assert_eq!(
            Partition::classify(&packed, &hot_rows).unwrap(),
            Partition::classify(&data, &hot_rows).unwrap()
        );
        for sample in [0.3, 1.0] {
            let options = CountOptions { sample, seed: 1 };
            prop_assert_eq!(
                AccessCounts::count(&packed, &options).unwrap(),
                AccessCounts::count(&data, &options).unwrap()
            );
        }
    }
}

/// 95% intervals of 400 seeds should cover the truth about 380 times (standard deviation 4.4).
#[test]
fn intervals_cover_the_truth_as_often_as_they_say() {
    let ids: Vec<Vec<u32>> = (0..4000u32)
        .map(|k| {
            vec![
                k.wrapping_mul(2_654_435_761) >> 28,
                k.wrapping_mul(40_503) % 7,
            ]
        })
        .collect();
    let data = Memory::single_hot(&[16, 7], &ids);
    let hot_rows = [9, 5];
    let truth = HotCounts::count(&data, &hot_rows).unwrap();
    let (mut inputs, mut lookups) = (0, 0);
    for seed in 0..400 {
        let options = CountOptions { sample: 0.05, seed };
        let estimate = HotEstimate::new(&data, &hot_rows, &options, 0.95).unwrap();
        assert_eq!((estimate.counted, estimate.judged), (200, 200));
        let covers = |share: fae_profiler::ShareEstimate, truth: f64| {
            u32::from(share.low <= truth && truth <= share.high)
        };
        inputs += covers(estimate.inputs, truth.input_share());
        lookups += covers(estimate.lookups, truth.lookup_share());
    }
    assert!((362..=397).contains(&inputs), "{inputs}");
    assert!((362..=397).contains(&lookups), "{lookups}");
    let all = HotEstimate::new(&data, &hot_rows, &CountOptions::default(), 0.95).unwrap();
    assert_eq!(
        [all.inputs.low, all.inputs.share, all.inputs.high],
        [truth.input_share(); 3]
    );
}
