//! Planted behaviour sequences: ids that are ranks, a known separation, raw events that keep their rules.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use recsys_data::generate::{PlantedSequences, PlantedSequencesOptions};
use recsys_data::{Batch, Dataset};

const HISTORY: usize = 20;
const TABLES: usize = 3;

fn planted(options: PlantedSequencesOptions) -> PlantedSequences {
    PlantedSequences::new(options).unwrap()
}

fn small(seed: u64) -> PlantedSequences {
    let options = PlantedSequencesOptions {
        samples: 20_000,
        seed,
        ..PlantedSequencesOptions::default()
    };
    planted(options.with_scale(0.1))
}

fn read(data: &dyn Dataset, samples: impl IntoIterator<Item = u64>) -> Batch {
    let mut batch = Batch::default();
    data.read(&samples.into_iter().collect::<Vec<_>>(), &mut batch)
        .unwrap();
    batch
}

fn on_threads<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(run)
}

/// The AUC of scores, by pairs; scores are few different numbers.
fn auc(scores: &[u32], labels: &[f32]) -> f64 {
    let mut counts = std::collections::BTreeMap::<u32, [f64; 2]>::new();
    for (&score, &label) in scores.iter().zip(labels) {
        counts.entry(score).or_default()[usize::from(label == 1.0)] += 1.0;
    }
    let (mut below, mut positives, mut pairs) = (0.0, 0.0, 0.0);
    for [negative, positive] in counts.into_values() {
        pairs += positive * (below + 0.5 * negative);
        positives += positive;
        below += negative;
    }
    pairs / (positives * below)
}

#[test]
fn the_share_of_the_history_in_the_candidates_category_tells_much_but_not_all() {
    let samples = 100_000;
    let data = planted(PlantedSequencesOptions::default());
    let batch = read(&data, 0..samples);
    let rows = batch.sparse.ids.chunks((HISTORY + 1) * TABLES);
    let categories: Vec<Vec<u32>> = rows
        .clone()
        .map(|row| row.iter().skip(2).step_by(TABLES).copied().collect())
        .collect();
    let score = |of: &dyn Fn(&[u32]) -> u32| -> f64 {
        let scores: Vec<u32> = categories.iter().map(|row| of(row)).collect();
        auc(&scores, &batch.label)
    };
    let same = |row: &[u32], from: usize| {
        row[from..HISTORY]
            .iter()
            .filter(|&&category| category == row[HISTORY])
            .count() as u32
    };
    let best = data.best_auc(0..samples).unwrap();
    let share = score(&|row| same(row, 0));
    // What is frequent at the end of the history counts more: interests drift.
    let recent = score(&|row| 2 * same(row, 0) + 3 * same(row, 15));
    assert!((0.88..0.90).contains(&best), "{best}");
    assert!(
        0.78 < share && share + 0.005 < recent && recent + 0.03 < best,
        "{share}, {recent}, {best}"
    );
    // Popularity alone tells nothing.
    let items: Vec<u32> = rows
        .map(|row| u32::MAX - row[HISTORY * TABLES + 1])
        .collect();
    let popular = auc(&items, &batch.label);
    assert!((popular - 0.5).abs() < 0.01, "{popular}");
}

#[test]
fn labels_come_with_the_probability_that_is_told() {
    let data = small(4);
    let samples = 100_000;
    let batch = {
        let options = PlantedSequencesOptions {
            samples,
            ..data.options().clone()
        };
        read(&planted(options), 0..samples)
    };
    let mut bins = [(0.0, 0.0, 0.0); 10];
    let mut scored = Vec::new();
    for sample in 0..samples {
        let probability = data.probability(sample);
        let label = f64::from(batch.label[sample as usize]);
        let bin = &mut bins[((probability * 10.0) as usize).min(9)];
        *bin = (bin.0 + 1.0, bin.1 + probability, bin.2 + label);
        scored.push((probability * 1e6) as u32);
    }
    for (count, expected, labels) in bins.into_iter().filter(|bin| bin.0 > 0.0) {
        let deviation = (0.25f64 * count).sqrt();
        assert!(
            (expected - labels).abs() < 4.5 * deviation + 1.0,
            "{labels} of {count} where {expected} are expected"
        );
    }
    let best = data.best_auc(0..samples).unwrap();
    let counted = auc(&scored, &batch.label);
    assert!((best - counted).abs() < 1e-4, "{best} and {counted}");
    let expected = data.expected_best_auc(0..samples).unwrap();
    assert!((best - expected).abs() < 0.005, "{best} and {expected}");
}

#[test]
fn ids_are_ranks_and_an_item_has_one_category() {
    let options = PlantedSequencesOptions {
        samples: 60_000,
        seed: 7,
        ..PlantedSequencesOptions::default()
    };
    let data = planted(options);
    let batch = read(&data, 0..60_000);
    let mut categories = HashMap::new();
    let mut counts: Vec<Vec<f64>> = data
        .schema()
        .table_rows()
        .iter()
        .map(|&rows| vec![0.0; rows as usize])
        .collect();
    for sample in batch.sparse.ids.chunks((HISTORY + 1) * TABLES) {
        for event in sample.chunks(TABLES) {
            assert_eq!(event[0], sample[0], "a sample has one user");
            assert_eq!(*categories.entry(event[1]).or_insert(event[2]), event[2]);
            counts[1][event[1] as usize] += 1.0;
            counts[2][event[2] as usize] += 1.0;
        }
        counts[0][sample[0] as usize] += 1.0;
    }
    for (table, counts) in counts.iter().enumerate() {
        // Groups of rows twice as large each: the mean count of a row falls from one to the next.
        let means: Vec<f64> = (0..)
            .map(|group| (1 << group) - 1)
            .take_while(|first| 2 * first < counts.len())
            .map(|first| counts[first..=2 * first].iter().sum::<f64>() / (first + 1) as f64)
            .collect();
        for pair in means[if table == 0 { 4 } else { 0 }..].windows(2) {
            // The events of a sample are not independent: few users and interests stand behind them.
            assert!(pair[1] < 1.1 * pair[0] + 1.0, "table {table}: {means:?}");
        }
        assert!(means[0] > 2.0 * means[means.len() - 1], "{means:?}");
    }
    // As skewed as Taobao's: half of the lookups of categories are of 1 % of them or a little more.
    let head = |table: usize, rows: usize| {
        counts[table][..rows].iter().sum::<f64>() / counts[table].iter().sum::<f64>()
    };
    assert!((0.38..0.55).contains(&head(2, 10)), "{}", head(2, 10));
    assert!((0.28..0.42).contains(&head(1, 2_000)), "{}", head(1, 2_000));
    assert!((0.13..0.20).contains(&head(0, 2_500)), "{}", head(0, 2_500));
    // The dense feature is the position, as the original has it.
    for (position, &value) in batch.dense.iter().take(HISTORY + 1).enumerate() {
        assert_eq!(value, (position as f64 / 21.0) as f32);
    }
}

/// User, item, category, behaviour, time.
fn events(text: &str) -> Vec<(u64, u64, u64, &str, u64)> {
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields.len(), 5, "{line}");
            let number = |field: usize| {
                let value: u64 = fields[field].parse().unwrap();
                assert_eq!(value.to_string(), fields[field], "no other way to write it");
                value
            };
            (number(0), number(1), number(2), fields[3], number(4))
        })
        .collect()
}

#[test]
fn raw_events_keep_the_rules_of_the_real_file() {
    let count = 150_000;
    let mut text = Vec::new();
    small(2).write_user_behaviour(count, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let events = events(&text);
    assert_eq!(events.len() as u64, count);
    let mut categories = HashMap::new();
    let mut kinds = HashMap::<&str, u64>::new();
    for &(_, item, category, kind, time) in &events {
        assert!((1..=20_000).contains(&item) && (1..=100).contains(&category));
        assert_eq!(*categories.entry(item).or_insert(category), category);
        // 25 November to 3 December 2017 in UTC+8.
        assert!((1_511_539_200..1_512_316_800).contains(&time), "{time}");
        *kinds.entry(kind).or_default() += 1;
    }
    let share = |kind: &str| kinds[kind] as f64 / count as f64;
    assert_eq!(kinds.len(), 4);
    assert!((share("pv") - 0.896).abs() < 0.005 && (share("cart") - 0.055).abs() < 0.004);
    assert!((share("fav") - 0.029).abs() < 0.003 && (share("buy") - 0.020).abs() < 0.003);
    // Users in text order, each in one piece, its events by time.
    let users: Vec<&[_]> = events.chunk_by(|left, right| left.0 == right.0).collect();
    let names: Vec<String> = users.iter().map(|user| user[0].0.to_string()).collect();
    assert!(names.is_sorted_by(|left, right| left < right));
    assert_eq!(
        users.iter().map(|user| user[0].0).collect::<HashSet<_>>(),
        (1..=users.len() as u64).collect()
    );
    assert!(
        users
            .iter()
            .all(|user| user.is_sorted_by_key(|event| event.4))
    );
    let mut lengths: Vec<usize> = users.iter().map(|user| user.len()).collect();
    lengths.sort_unstable();
    assert!((76..=92).contains(&lengths[lengths.len() / 2]));
    assert!(lengths[lengths.len() - 1] > 400);
    // Interests persist: the category of an event is often among those of the twenty before, and rarely among those of
    // another user.
    let recurs = |past: &[(u64, u64, u64, &str, u64)], category: u64| {
        past.iter().any(|event| event.2 == category)
    };
    let (mut own, mut other, mut windows) = (0.0, 0.0, 0.0);
    for pair in users.windows(2) {
        let (user, next) = (pair[0], pair[1]);
        if user.len() > HISTORY && next.len() > HISTORY {
            windows += 1.0;
            own += f64::from(u8::from(recurs(&user[..HISTORY], user[HISTORY].2)));
            other += f64::from(u8::from(recurs(&next[..HISTORY], user[HISTORY].2)));
        }
    }
    assert!(own / windows > 0.7, "{own} of {windows}");
    assert!(own > 1.5 * other, "{own} and {other} of {windows}");
}

#[test]
fn nothing_depends_on_threads() {
    let run = || {
        let data = small(5);
        let mut text = Vec::new();
        data.write_user_behaviour(200_000, &mut text).unwrap();
        (text, data.best_auc(0..20_000).unwrap())
    };
    let alone = on_threads(1, run);
    assert_eq!(alone, on_threads(3, run));
    assert_ne!(alone.0, {
        let mut text = Vec::new();
        small(6).write_user_behaviour(200_000, &mut text).unwrap();
        text
    });
}

#[test]
fn one_class_has_no_auc_and_bad_options_are_named() {
    let message = small(1).best_auc(3..4).unwrap_err().to_string();
    assert!(message.contains("3..4"), "{message}");
    let message = small(1)
        .read(&[20_000], &mut Batch::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("20000"), "{message}");
    type Change = fn(&mut PlantedSequencesOptions);
    let changes: [(&str, Change); 12] = [
        ("users", |options| options.users = 0),
        ("items", |options| options.items = u32::MAX),
        ("categories", |options| options.categories = 0),
        ("categories", |options| {
            options.categories = options.items + 1
        }),
        ("history", |options| options.history = 0),
        ("user_exponent", |options| options.user_exponent = -1.0),
        ("item_exponent", |options| options.item_exponent = f64::NAN),
        ("category_exponent", |options| {
            options.category_exponent = f64::INFINITY
        }),
        ("interests", |options| options.interests = 0),
        ("drift", |options| options.drift = 1.1),
        ("noise", |options| options.noise = -0.1),
        ("noise", |options| options.noise = f64::NAN),
    ];
    for (name, change) in changes {
        let mut options = PlantedSequencesOptions::default();
        change(&mut options);
        let message = PlantedSequences::new(options).unwrap_err().to_string();
        assert!(message.starts_with(name), "{message}");
    }
}

prop_compose! {
    fn any_options()(
        users in 1u32..30, categories in 1u32..20, more in 0u32..100, history in 1u32..25, interests in 1u32..6,
        drift in 0.0..=1.0f64, noise in 0.0..=1.0f64, seed: u64,
    ) -> PlantedSequencesOptions {
        PlantedSequencesOptions {
            samples: 500,
            items: categories + more,
            users, categories, history, interests, drift, noise, seed,
            ..PlantedSequencesOptions::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn reading_in_any_order_gives_the_same_samples(options in any_options(), samples in prop::collection::vec(0u64..500, 1..40)) {
        let data = planted(options);
        let schema = data.schema();
        let batch = read(&data, samples.iter().copied());
        prop_assert_eq!(batch.dense.len(), samples.len() * schema.dense_values());
        prop_assert_eq!(batch.sparse.ids.len(), samples.len() * schema.bags());
        for (bag, &id) in batch.sparse.ids.iter().enumerate() {
            prop_assert!(u64::from(id) < schema.tables[bag % TABLES].rows);
        }
        for (place, &sample) in samples.iter().enumerate() {
            let alone = read(&data, [sample]);
            prop_assert_eq!(alone.label[0], batch.label[place]);
            prop_assert_eq!(&alone.sparse.ids[..], &batch.sparse.ids[place * schema.bags()..][..schema.bags()]);
            prop_assert!((0.0..=1.0).contains(&data.probability(sample)));
        }
    }

    #[test]
    fn any_number_of_events_is_written(options in any_options(), events in 0u64..600) {
        let mut text = Vec::new();
        planted(options).write_user_behaviour(events, &mut text).unwrap();
        prop_assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count() as u64, events);
    }
}
