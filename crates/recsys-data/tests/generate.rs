//! Generated data sets: random access, agreement of their views, known separation.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

use proptest::prelude::*;
use recsys_data::generate::{Planted, PlantedOptions, RandomData, RandomDataOptions};
use recsys_data::{Batch, Dataset};

fn small(seed: u64) -> Planted {
    Planted::new(
        PlantedOptions {
            samples: 20_000,
            seed,
            ..PlantedOptions::default()
        }
        .with_scale(0.1),
    )
    .unwrap()
}

fn read(data: &dyn Dataset, samples: &[u64]) -> Batch {
    let mut batch = Batch::default();
    data.read(samples, &mut batch).unwrap();
    batch
}

fn on_threads<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(run)
}

#[test]
fn planted_text_and_data_set_show_the_same_values() {
    let planted = small(3);
    let (first, end) = (100, 12_000);
    let mut text = Vec::new();
    planted.write_criteo_text(first..end, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count() as u64, end - first);
    let batch = read(&planted, &(first..end).collect::<Vec<_>>());
    let mut values = vec![std::collections::HashMap::new(); 26];
    let (mut missing, mut negative) = (0, 0);
    for (row, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields.len(), 40);
        assert_eq!(fields[0].parse::<f32>().unwrap(), batch.label[row]);
        for feature in 0..13 {
            let field = fields[1 + feature];
            let raw: i32 = if field.is_empty() {
                0
            } else {
                field.parse().unwrap()
            };
            missing += u64::from(field.is_empty());
            negative += u64::from(raw < 0);
            assert_eq!(
                (raw.max(0) as f32 + 1.0).ln(),
                batch.dense[row * 13 + feature]
            );
        }
        for table in 0..26 {
            let field = fields[14 + table];
            assert!(
                field.is_empty() || (field.len() == 8 && field != "00000000"),
                "{field}"
            );
            assert!(
                field
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            );
            let id = batch.sparse.ids[row * 26 + table];
            assert_eq!(
                values[table].entry(id).or_insert(field),
                &field,
                "an id has one value"
            );
        }
    }
    assert!(missing > 0 && negative > 0);
    for table in &values {
        let distinct: std::collections::HashSet<_> = table.values().collect();
        assert_eq!(
            distinct.len(),
            table.len(),
            "values of different ids differ"
        );
    }
    assert!(values[21].values().any(|value| value.is_empty()));
}

#[test]
fn planted_samples_do_not_depend_on_threads() {
    let run = || {
        let planted = small(5);
        let mut text = Vec::new();
        planted.write_criteo_text(0..20_000, &mut text).unwrap();
        (text, planted.best_auc(0..20_000).unwrap())
    };
    assert_eq!(on_threads(1, run), on_threads(3, run));
}

#[test]
fn planted_defaults_keep_their_promises() {
    let planted = Planted::new(PlantedOptions {
        samples: 100_000,
        ..PlantedOptions::default()
    })
    .unwrap();
    let batch = read(&planted, &(0..100_000).collect::<Vec<_>>());
    let clicks = batch.label.iter().sum::<f32>() / 100_000.0;
    assert!((clicks - 0.25).abs() < 0.006, "{clicks}");
    let best = planted.best_auc(0..100_000).unwrap();
    assert!((0.79..0.82).contains(&best), "{best}");
    assert!((planted.expected_best_auc(0..100_000).unwrap() - best).abs() < 0.006);
    // Skew: the most popular tenth of a large table takes most lookups.
    let head = batch
        .sparse
        .ids
        .iter()
        .skip(2)
        .step_by(26)
        .filter(|&&id| id < 2_000)
        .count();
    assert!(head > 70_000, "{head}");
    // Correlation: the same columns drawn independently agree less with each other.
    let topics = |correlation| {
        let planted = Planted::new(PlantedOptions {
            correlation,
            ..PlantedOptions::default()
        })
        .unwrap();
        let batch = read(&planted, &(0..50_000).collect::<Vec<_>>());
        mutual_information(batch.sparse.ids.chunks(26).map(|ids| (ids[16], ids[13])))
    };
    let (dependent, independent) = (topics(0.8), topics(0.0));
    assert!(
        dependent > 2.0 * independent,
        "{dependent} and {independent} nats"
    );
}

/// In nats, of pairs of small numbers.
fn mutual_information(pairs: impl Iterator<Item = (u32, u32)>) -> f64 {
    let (mut joint, mut left, mut right, mut total) =
        (vec![[0f64; 32]; 32], [0f64; 32], [0f64; 32], 0.0);
    for (a, b) in pairs {
        joint[a as usize][b as usize] += 1.0;
        left[a as usize] += 1.0;
        right[b as usize] += 1.0;
        total += 1.0;
    }
    let term = |a: usize, b: usize| {
        let count = joint[a][b];
        if count == 0.0 {
            0.0
        } else {
            count / total * (count * total / (left[a] * right[b])).ln()
        }
    };
    (0..32)
        .flat_map(|a| (0..32).map(move |b| (a, b)))
        .map(|(a, b)| term(a, b))
        .sum()
}

#[test]
fn one_class_has_no_auc_and_bad_options_are_named() {
    let message = small(1).best_auc(3..4).unwrap_err().to_string();
    assert!(message.contains("3..4"), "{message}");
    for (options, name) in [
        (
            PlantedOptions {
                click_rate: 1.0,
                ..PlantedOptions::default()
            },
            "click_rate",
        ),
        (
            PlantedOptions {
                correlation: f64::NAN,
                ..PlantedOptions::default()
            },
            "correlation",
        ),
        (
            PlantedOptions {
                topics: 0,
                ..PlantedOptions::default()
            },
            "topics",
        ),
    ] {
        let message = Planted::new(options).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
    let message = small(1)
        .read(&[20_000], &mut Batch::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("20000"), "{message}");
    assert!(
        RandomData::new(RandomDataOptions {
            table_rows: vec![3, 0],
            ..RandomDataOptions::default()
        })
        .is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn reading_in_any_order_gives_the_same_samples(samples in prop::collection::vec(0u64..500, 1..40), seed in 0u64..4) {
        let planted = Planted::new(PlantedOptions {
            samples: 500,
            seed,
            tables: PlantedOptions::default().tables[4..9].to_vec(),
            dense: 15,
            ..PlantedOptions::default()
        }).unwrap();
        let random = RandomData::new(RandomDataOptions { samples: 500, seed, ..RandomDataOptions::default() }).unwrap();
        for data in [&planted as &dyn Dataset, &random] {
            let batch = read(data, &samples);
            for (position, &sample) in samples.iter().enumerate() {
                let alone = read(data, &[sample]);
                let dense = data.schema().dense.len();
                let tables = data.schema().tables.len();
                prop_assert_eq!(alone.label[0], batch.label[position]);
                prop_assert_eq!(&alone.dense, &batch.dense[position * dense..(position + 1) * dense]);
                for table in 0..tables {
                    prop_assert_eq!(alone.sparse.bag(table), batch.sparse.bag(position * tables + table));
                    prop_assert!(alone.sparse.bag(table).iter().all(|&id| u64::from(id) < data.schema().tables[table].rows));
                }
            }
        }
    }

    #[test]
    fn random_bags_are_sorted_distinct_and_short(lookups in 1u32..20, fixed: bool, rows in 1u64..30) {
        let options = RandomDataOptions { samples: 50, lookups, fixed_lookups: fixed, table_rows: vec![rows, 7], ..RandomDataOptions::default() };
        let batch = read(&RandomData::new(options).unwrap(), &(0..50).collect::<Vec<_>>());
        for bag in 0..100 {
            let ids = batch.sparse.bag(bag);
            prop_assert!(!ids.is_empty() && ids.len() <= lookups as usize);
            prop_assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        }
        prop_assert!(batch.label.iter().chain(&batch.dense).all(|value| (0.0..=1.0).contains(value)));
    }
}
