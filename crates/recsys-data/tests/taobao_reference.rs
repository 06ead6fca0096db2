//! The rules of the original, against counts and properties computed by a plain implementation of them.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod taobao_text;

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use recsys_data::Split;
use recsys_data::packed::PackedDataset;
use recsys_data::taobao::{PointsPerUser, PrepareOptions, SequenceRules};
use taobao_text::{Workplace, prepare, samples};

/// A user of the original's first program.
struct User {
    tests: bool,
    /// Raw items of the last 200 events, the true target last.
    items: Vec<u32>,
}

fn users(text: &str) -> HashMap<u32, User> {
    let mut events: HashMap<u32, Vec<(i64, u32)>> = HashMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let user = events.entry(fields[0].parse().unwrap()).or_default();
        user.push((fields[4].parse().unwrap(), fields[1].parse().unwrap()));
    }
    events
        .values_mut()
        .for_each(|events| events.sort_by_key(|(time, _)| *time));
    let mut last: Vec<i64> = events
        .values()
        .map(|events| events.last().unwrap().0)
        .collect();
    last.sort_unstable();
    let split_time = last[(0.7 * last.len() as f64) as usize];
    let user = |events: Vec<(i64, u32)>| User {
        tests: events.last().unwrap().0 > split_time,
        items: events[events.len().saturating_sub(200)..]
            .iter()
            .map(|(_, item)| *item)
            .collect(),
    };
    events
        .into_iter()
        .map(|(number, events)| (number, user(events)))
        .collect()
}

/// Points of either sign, with the item that the original takes for padding.
fn points(user: &User, zero: u32, most: u64) -> u64 {
    let mut sequence = vec![0; 200 - user.items.len()];
    sequence.extend(user.items.iter().map(|&item| u32::from(item != zero)));
    let first = sequence.iter().position(|&item| item > 0).unwrap_or(0);
    match (199 - first) / 10 {
        0 => 0,
        1 => 1,
        2 => 3,
        3 => 6,
        _ => most,
    }
}

fn logs() -> impl Strategy<Value = String> {
    // Users with 2 to 260 events; item 3 is the smallest of all and often comes first, but never alone before the target: then the
    // number of points would depend on the draw of the target.
    let user = (prop_oneof![2usize..60, 2usize..260], 0u32..3, any::<u64>());
    prop::collection::vec(user, 3..14).prop_map(|users| {
        let mut text = String::from("9,3,3,pv,0\n9,1003,0,pv,1\n9,1003,0,pv,2\n");
        for (user, (events, zeros, seed)) in users.into_iter().enumerate() {
            for index in 0..events as u64 {
                let bits = (seed ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
                let item = if index < u64::from(zeros).min(events as u64 - 2) {
                    3
                } else {
                    4 + bits % 400
                };
                let time = index * 50 + (seed >> 3) % 5000;
                text += &format!("{},{item},{},fav,{time}\n", 100 - user, item % 17);
            }
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn users_points_and_windows_follow_the_rules(text in logs(), most in 1u32..12, validation in 0usize..2, seed: u64) {
        let place = Workplace::new();
        place.file("events.csv", &text);
        let options = PrepareOptions {
            rules: SequenceRules::Reference,
            points_per_user: PointsPerUser::Most(most),
            validation: 0.4 * validation as f64,
            seed,
            ..place.options(&["events.csv"])
        };
        let users = users(&text);
        let report = prepare(&options).unwrap();
        let data = PackedDataset::open(&options.out).unwrap();
        data.verify().unwrap();
        let raw = |table| data.vocabulary(table).unwrap().unwrap().categories;
        let (raw_users, raw_items, raw_categories) = (raw(0), raw(1), raw(2));

        let trains = users.values().filter(|user| !user.tests).count();
        let kept = trains - if validation == 1 { (0.4 * trains as f64 + 1e-9) as usize } else { 0 };
        prop_assert_eq!(report.splits[2].rows as usize, users.len() - trains);
        let mut expected = 0;
        let mut seen = [HashSet::new(), HashSet::new(), HashSet::new()];
        for split in Split::ALL {
            let batch = samples(&options.out, split);
            let rows = batch.sparse.ids.as_chunks::<3>().0;
            let mut by_user: HashMap<u32, [u64; 2]> = HashMap::new();
            for (sample, &label) in rows.chunks_exact(21).zip(&batch.label) {
                let number = raw_users[sample[0][0] as usize];
                let user = &users[&number];
                prop_assert_eq!(user.tests, split == Split::Test);
                seen[split as usize].insert(number);
                by_user.entry(number).or_default()[label as usize] += 1;
                // Padding first; everything else with the category of its item.
                let pads = sample.iter().take_while(|row| row[1] == 0).count();
                for (place, row) in sample.iter().enumerate() {
                    prop_assert_eq!(row[0], sample[0][0]);
                    prop_assert_eq!(row[1] == 0, place < pads);
                    prop_assert_eq!(row[1] == 0, row[2] == 0);
                    if row[1] > 0 {
                        prop_assert_eq!(raw_items[row[1] as usize] % 17, raw_categories[row[2] as usize]);
                    }
                }
                let items: Vec<u32> = sample[pads..].iter().map(|row| raw_items[row[1] as usize]).collect();
                let (candidate, history) = items.split_last().unwrap();
                let before = &user.items[..user.items.len() - 1];
                match split {
                    Split::Test => {
                        prop_assert!(before.ends_with(history));
                        prop_assert_eq!(history.len(), before.len().min(20));
                        prop_assert_eq!(label == 1.0, candidate == user.items.last().unwrap());
                    }
                    _ if label == 1.0 => {
                        // Never with the target; padded only where the sequence is short.
                        prop_assert!(before.windows(items.len()).any(|window| window == items));
                        prop_assert!(pads == 0 || before.starts_with(&items));
                    }
                    _ => {
                        prop_assert!(history.is_empty() || before.windows(history.len()).any(|window| window == history));
                        prop_assert!(!before.contains(candidate));
                    }
                }
            }
            for (number, counts) in by_user {
                let of_user = points(&users[&number], 3, most.into());
                match split {
                    Split::Train => prop_assert_eq!(counts, [of_user; 2]),
                    Split::Validation => prop_assert_eq!(counts, [of_user.min(1); 2]),
                    Split::Test => prop_assert_eq!(counts[0] + counts[1], 1),
                }
                expected += counts[0] + counts[1];
            }
        }
        prop_assert_eq!(report.samples(), expected);
        prop_assert!(seen[0].is_disjoint(&seen[1]));
        if validation == 0 {
            let all: u64 = users.values().filter(|user| !user.tests).map(|user| points(user, 3, most.into())).sum();
            prop_assert_eq!(report.splits[0].rows, 2 * all);
        } else {
            prop_assert!(seen[0].len() <= kept && seen[1].len() <= trains - kept);
        }
    }
}

/// 600 users of 60 events.
fn many_users() -> String {
    (0..36_000u64)
        .map(|index| {
            let bits = (index + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 30;
            format!(
                "{},{},{},pv,{index}\n",
                index % 600,
                bits % 3000,
                bits % 3000 % 7
            )
        })
        .collect()
}

#[test]
fn every_second_target_is_true_and_windows_lie_everywhere() {
    let place = Workplace::new();
    place.file("events.csv", many_users());
    let options = PrepareOptions {
        rules: SequenceRules::Reference,
        ..place.options(&["events.csv"])
    };
    let report = prepare(&options).unwrap();
    // Last times are all different, so that 179 of 600 are later than number 420.
    assert_eq!(report.splits[2].rows, 179);
    assert_eq!(
        (report.splits[0].rows, report.splits[0].clicks),
        (421 * 20, 4210)
    );
    // 179 throws of a coin: 89.5 expected, standard deviation 6.7.
    assert!(
        report.splits[2].clicks.abs_diff(89) < 34,
        "{:?}",
        report.splits
    );

    // A positive's candidate is event 20 to 58 of 60, each as likely as the others: 4,210 / 39 = 108, standard deviation 10.
    let batch = samples(&options.out, Split::Train);
    let data = PackedDataset::open(&options.out).unwrap();
    let raw = |table| data.vocabulary(table).unwrap().unwrap().categories;
    let (raw_users, raw_items) = (raw(0), raw(1));
    let users = users(&many_users());
    let mut ends = [0u32; 60];
    let mut negatives: HashMap<u32, u32> = HashMap::new();
    for (sample, &label) in batch
        .sparse
        .ids
        .as_chunks::<3>()
        .0
        .chunks_exact(21)
        .zip(&batch.label)
    {
        let items: Vec<u32> = sample
            .iter()
            .map(|row| raw_items[row[1] as usize])
            .collect();
        if label == 0.0 {
            *negatives.entry(items[20]).or_default() += 1;
            continue;
        }
        let own = &users[&raw_users[sample[0][0] as usize]].items;
        let end = own.windows(21).position(|window| window == items).unwrap() + 20;
        ends[end] += 1;
    }
    assert_eq!(ends[..20], [0; 20]);
    assert_eq!(ends[59], 0);
    assert!(
        ends[20..59].iter().all(|count| count.abs_diff(108) < 55),
        "{ends:?}"
    );
    // Negatives are uniform over items, however often those occur: 4,210 / 3,000 each.
    assert!(negatives.len() > 2000 && negatives.values().all(|&count| count < 12));
}

#[test]
fn no_more_users_train_than_asked_for() {
    let place = Workplace::new();
    place.file("events.csv", many_users());
    let options = PrepareOptions {
        rules: SequenceRules::Reference,
        train_users: 100,
        validation: 0.1,
        ..place.options(&["events.csv"])
    };
    let report = prepare(&options).unwrap();
    let rows: Vec<u64> = report.splits.iter().map(|split| split.rows).collect();
    assert_eq!(rows, [90 * 20, 10 * 2, 179]);
}
