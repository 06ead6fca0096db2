//! The samples of the default rules, against a plain implementation of the same rules.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod taobao_text;

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use recsys_data::packed::PackedDataset;
use recsys_data::taobao::Error as TaobaoError;
use recsys_data::taobao::{Duplicates, PointsPerUser, PrepareOptions, SequenceSplit, ShortHistory};
use recsys_data::{Error, RankOn, Split};
use taobao_text::{Workplace, prepare, samples};

type Sample = (u32, Vec<[u32; 3]>);

/// Ranks by frequency, ties in order of first appearance; the first one is `first`.
fn ranks<'a>(values: impl Iterator<Item = &'a str>, first: u32) -> HashMap<&'a str, u32> {
    let mut counted: Vec<(&str, u32)> = Vec::new();
    for value in values {
        match counted.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => counted.push((value, 1)),
        }
    }
    counted.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    counted
        .into_iter()
        .zip(first..)
        .map(|((value, _), rank)| (value, rank))
        .collect()
}

/// The samples of every split, or `None` where a user touched everything.
fn plain(text: &str, options: &PrepareOptions) -> Option<[Vec<Sample>; 3]> {
    let mut events: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        if options.duplicates == Duplicates::Keep || !events.contains(&fields) {
            events.push(fields);
        }
    }
    let pad = options.short_history == ShortHistory::Pad;
    let column = |field: usize| events.iter().map(move |fields| fields[field]);
    let users = ranks(column(0), 0);
    let items = ranks(column(1), u32::from(pad));
    let categories = ranks(column(2), u32::from(pad));
    let category_of: HashMap<u32, u32> = events
        .iter()
        .map(|fields| (items[fields[1]], categories[fields[2]]))
        .collect();
    let history = options.history as usize;
    let mut out = [Vec::new(), Vec::new(), Vec::new()];
    let mut positives = 0u64;
    let mut done = HashSet::new();
    for user in column(0) {
        if !done.insert(user) {
            continue;
        }
        let mut own: Vec<&Vec<&str>> = events.iter().filter(|fields| fields[0] == user).collect();
        own.sort_by_key(|fields| fields[4].parse::<i64>().unwrap());
        let touched: HashSet<u32> = own.iter().map(|fields| items[fields[1]]).collect();
        let rows: Vec<[u32; 3]> = own
            .iter()
            .map(|fields| [users[user], items[fields[1]], categories[fields[2]]])
            .collect();
        let first = if pad { 1 } else { history };
        let windows: Vec<usize> = (first..rows.len()).collect();
        for (place, &end) in windows.iter().enumerate() {
            let mut sample = vec![[users[user], 0, 0]; history.saturating_sub(end)];
            sample.extend_from_slice(&rows[end.saturating_sub(history)..=end]);
            let rank = (positives.wrapping_mul(2_654_435_761) % (1 << 32)) % items.len() as u64;
            positives += 1;
            if touched.len() == items.len() {
                return None;
            }
            let mut rank = rank as u32;
            while touched.contains(&(rank + u32::from(pad))) {
                rank = (rank + 1) % items.len() as u32;
            }
            let item = rank + u32::from(pad);
            let mut negative = sample.clone();
            *negative.last_mut().unwrap() = [users[user], item, category_of[&item]];
            let behind = windows.len() - place;
            let (test, validation) = (windows.len() / 5, windows.len() / 4);
            let split = if behind <= test {
                2
            } else {
                usize::from(behind <= test + validation)
            };
            out[split].push((1, sample));
            out[split].push((0, negative));
        }
    }
    Some(out)
}

fn written(options: &PrepareOptions) -> [Vec<Sample>; 3] {
    Split::ALL.map(|split| {
        let batch = samples(&options.out, split);
        let positions = options.history as usize + 1;
        let rows = batch.sparse.ids.as_chunks::<3>().0;
        let dense: Vec<f32> = (0..positions)
            .map(|place| place as f32 / positions as f32)
            .collect();
        assert!(
            batch
                .dense
                .chunks_exact(positions)
                .all(|values| values == dense)
        );
        batch
            .label
            .iter()
            .zip(rows.chunks_exact(positions))
            .map(|(&label, rows)| (label as u32, rows.to_vec()))
            .collect()
    })
}

fn logs() -> impl Strategy<Value = String> {
    let event = (0u32..4, 0u32..24, 0usize..4, -3i32..12);
    prop::collection::vec(event, 1..120).prop_map(|events| {
        let line = |(user, item, behaviour, time): (u32, u32, usize, i32)| {
            let behaviour = ["pv", "cart", "fav", "buy"][behaviour];
            format!(
                "{},{item},{},{behaviour},{time}\n",
                user * 1_000_000_000,
                item % 5
            )
        };
        events.into_iter().map(line).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn samples_are_those_of_a_plain_implementation(text in logs(), history in 1u32..5, pad: bool, drop: bool) {
        let place = Workplace::new();
        place.file("events.csv", &text);
        let options = PrepareOptions {
            history,
            short_history: if pad { ShortHistory::Pad } else { ShortHistory::Skip },
            duplicates: if drop { Duplicates::Bad } else { Duplicates::Keep },
            bad_rows: recsys_data::text::BadRows::Skip,
            validation: 0.25,
            rank_on: RankOn::All,
            ..place.options(&["events.csv"])
        };
        match (prepare(&options), plain(&text, &options)) {
            (Ok(report), Some(expected)) => {
                let rows: Vec<usize> = report.splits.iter().map(|split| split.rows as usize).collect();
                prop_assert_eq!(rows, expected.each_ref().map(Vec::len));
                prop_assert_eq!(written(&options), expected);
                let data = PackedDataset::open(&options.out).unwrap();
                prop_assert!(data.verify().is_ok());
                let events: u64 = data.vocabulary(1).unwrap().unwrap().counts.iter().sum();
                prop_assert_eq!(events, report.events);
                prop_assert!(renumbered(&place, &options));
            }
            (Err(Error::Taobao(TaobaoError::NoNegative { .. })), None) => {}
            (Err(Error::Taobao(TaobaoError::NoWindows { .. })), Some(expected)) => {
                prop_assert!(expected.iter().all(Vec::is_empty));
            }
            (outcome, expected) => {
                prop_assert!(false, "{outcome:?} instead of {expected:?}");
            }
        }
    }
}

/// Whether ranks of training give the same samples, whose ids are in the order of their counts.
fn renumbered(place: &Workplace, all: &PrepareOptions) -> bool {
    let options = PrepareOptions {
        rank_on: RankOn::Train,
        out: place.path("ranked"),
        ..all.clone()
    };
    prepare(&options).unwrap();
    let [before, after] = [all, &options].map(|of| PackedDataset::open(&of.out).unwrap());
    after.verify().unwrap();
    let vocabularies = [&before, &after].map(|data| {
        let tables = (0..3).map(|table| data.vocabulary(table).unwrap().unwrap());
        tables.collect::<Vec<_>>()
    });
    let raw = |side: usize| {
        let of = if side == 0 { all } else { &options };
        let category =
            |(table, &id): (usize, &u32)| vocabularies[side][table].category(id).unwrap();
        let rows = |sample: &Sample| {
            let rows = sample
                .1
                .iter()
                .flat_map(|row| row.iter().enumerate().map(category));
            (sample.0, rows.collect::<Vec<_>>())
        };
        written(of).map(|samples| samples.iter().map(rows).collect::<Vec<_>>())
    };
    let [train, ..] = written(&options);
    let counted = (0..3).all(|table| {
        let mut counts = vec![0; vocabularies[1][table].rows()];
        for row in train.iter().flat_map(|(_, rows)| rows) {
            counts[row[table] as usize] += 1;
        }
        let first = usize::from(vocabularies[1][table].missing.is_some());
        train.is_empty()
            || counts == vocabularies[1][table].counts
                && counts[first..].is_sorted_by(|a, b| a >= b)
    });
    raw(0) == raw(1) && counted
}

/// Every event is an item of its own, so that samples tell which events they are made of: event `index` of user `index % 7`.
fn numbered(events: u32) -> String {
    let line = |index: u32| {
        format!(
            "{},{index},{},pv,{}\n",
            index % 7,
            index % 3,
            1000 + 60 * index
        )
    };
    (0..events).map(line).collect()
}

/// The events of positive samples' candidates, and the users, per split.
fn candidates(options: &PrepareOptions) -> [(Vec<u32>, HashSet<u32>); 3] {
    let data = PackedDataset::open(&options.out).unwrap();
    let items = data.vocabulary(1).unwrap().unwrap().categories;
    written(options).map(|samples| {
        let positive = samples.iter().filter(|(label, _)| *label == 1);
        let event = |(_, rows): &Sample| items[rows.last().unwrap()[1] as usize];
        (
            positive.map(event).collect(),
            samples.iter().map(|(_, rows)| rows[0][0]).collect(),
        )
    })
}

#[test]
fn users_of_different_parts_are_different() {
    let place = Workplace::new();
    place.file("events.csv", numbered(700));
    for seed in 0..3 {
        let options = PrepareOptions {
            split: SequenceSplit::User,
            validation: 0.3,
            test: 0.43,
            seed,
            ..place.options(&["events.csv"])
        };
        prepare(&options).unwrap();
        let users = candidates(&options).map(|(_, users)| users);
        assert_eq!(users.each_ref().map(HashSet::len), [2, 2, 3]);
        assert_eq!(users.iter().flatten().collect::<HashSet<_>>().len(), 7);
    }
}

#[test]
fn a_point_in_time_divides_the_windows_of_all_users() {
    let place = Workplace::new();
    place.file("events.csv", numbered(700));
    let options = PrepareOptions {
        split: SequenceSplit::Time,
        validation: 0.1,
        test: 0.2,
        ..place.options(&["events.csv"])
    };
    prepare(&options).unwrap();
    let [train, validation, test] = candidates(&options).map(|(mut events, _)| {
        events.sort_unstable();
        events
    });
    assert_eq!(train, (140..490).collect::<Vec<_>>());
    assert_eq!(validation, (490..560).collect::<Vec<_>>());
    assert_eq!(test, (560..700).collect::<Vec<_>>());
}

#[test]
fn at_most_as_many_windows_as_asked_for_each_once() {
    let place = Workplace::new();
    place.file("events.csv", numbered(700));
    let mut drawn = HashSet::new();
    for seed in 0..4 {
        let options = PrepareOptions {
            points_per_user: PointsPerUser::Most(10),
            seed,
            ..place.options(&["events.csv"])
        };
        let report = prepare(&options).unwrap();
        assert_eq!((report.windows, report.points), (560, 70));
        let rows: Vec<u64> = report.splits.iter().map(|split| split.rows).collect();
        assert_eq!(rows, [112, 0, 28]);
        let [(train, _), _, (test, _)] = candidates(&options);
        let all: HashSet<u32> = train.iter().chain(&test).copied().collect();
        assert_eq!(all.len(), 70);
        for user in 0..7 {
            // A user's test windows come after the training windows.
            let of = |events: &[u32]| -> Vec<u32> {
                events
                    .iter()
                    .copied()
                    .filter(|event| event % 7 == user)
                    .collect()
            };
            assert_eq!((of(&train).len(), of(&test).len()), (8, 2));
            assert!(of(&train).iter().max() < of(&test).iter().min());
        }
        drawn.insert(train);
    }
    assert_eq!(drawn.len(), 4, "seeds draw different windows");
}

#[test]
fn padding_is_an_id_of_its_own() {
    let place = Workplace::new();
    place.file("events.csv", "1,5,0,pv,10\n1,0,0,pv,20\n2,9,3,buy,5\n");
    let options = PrepareOptions {
        short_history: ShortHistory::Pad,
        rank_on: RankOn::All,
        ..place.options(&["events.csv"])
    };
    let report = prepare(&options).unwrap();
    assert_eq!((report.users, report.items, report.categories), (2, 3, 2));
    assert_eq!((report.single_event_users, report.windows), (1, 1));
    let data = PackedDataset::open(&options.out).unwrap();
    assert_eq!(data.schema().table_rows(), [2, 4, 3]);
    for table in [1, 2] {
        let vocabulary = data.vocabulary(table).unwrap().unwrap();
        assert_eq!((vocabulary.missing, vocabulary.counts[0]), (Some(0), 0));
    }
    let [train, ..] = written(&options);
    let expected = |candidate| {
        let mut rows = vec![[0, 0, 0]; 19];
        rows.push([0, 1, 1]);
        rows.push(candidate);
        rows
    };
    assert_eq!(train, [(1, expected([0, 2, 1])), (0, expected([0, 3, 2]))]);
}
