//! Real events: the figures of the README beside them, which other programs found.
//!
//! The data may not be distributed. Where the environment variable `RECSYS_SHARED` does not name the folder that holds them in
//! `data`, these tests say so and end.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod taobao_text;

use std::path::PathBuf;

use md5::{Digest, Md5};
use recsys_data::packed::PackedDataset;
use recsys_data::taobao::{PointsPerUser, PrepareOptions, SequenceRules, ShortHistory};
use recsys_data::{Dataset, RankOn, Split};
use taobao_text::{Workplace, prepare, samples};

fn real_data(name: &str) -> Option<PathBuf> {
    let Some(shared) = std::env::var_os("RECSYS_SHARED") else {
        println!("skipped: RECSYS_SHARED does not name the folder of the real data");
        return None;
    };
    Some(PathBuf::from(shared).join("data").join(name))
}

fn options(place: &Workplace, raw: PathBuf) -> PrepareOptions {
    PrepareOptions {
        raw: vec![raw],
        rank_on: RankOn::All,
        ..place.options(&[])
    }
}

#[test]
fn real_data_of_43_users_give_the_published_counts_and_samples() {
    let Some(raw) = real_data("taobao_sample.csv") else {
        return;
    };
    let place = Workplace::new();
    let options = options(&place, raw);
    let report = prepare(&options).unwrap();
    assert_eq!(report.events, 4321);
    assert_eq!(
        (report.users, report.items, report.categories),
        (43, 3276, 567)
    );
    assert_eq!(
        report.behaviours,
        [("pv", 3926), ("cart", 190), ("fav", 128), ("buy", 77)]
    );
    assert_eq!(
        (report.first_time, report.last_time),
        (1_505_117_799, 1_512_316_753)
    );
    assert_eq!((report.out_of_range, report.duplicates), (1, 0));
    let spread = report.events_per_user;
    assert_eq!(
        (spread.least, spread.quarter, spread.median),
        (12.0, 44.0, 84.0)
    );
    assert_eq!((spread.three_quarters, spread.most), (119.5, 466.0));
    assert!((spread.percent_90 - 180.6).abs() < 1e-9 && (spread.percent_99 - 387.46).abs() < 1e-9);
    assert_eq!((report.windows, report.points), (3477, 3477));
    let rows: Vec<u64> = report.splits.iter().map(|split| split.rows).collect();
    assert_eq!(rows, [5592, 0, 1362]);

    let data = PackedDataset::open(&options.out).unwrap();
    data.verify().unwrap();
    assert_eq!(data.schema().positions(), 21);
    assert_eq!(data.split(Split::Train).len(), 5592);
    let (train, test) = (
        samples(&options.out, Split::Train),
        samples(&options.out, Split::Test),
    );
    let place_values: Vec<f32> = (0..21).map(|place| place as f32 / 21.0).collect();
    assert!(
        train
            .dense
            .chunks_exact(21)
            .all(|dense| dense == place_values)
    );

    // The samples of a user lie together in either split; the published list has the user's training samples, then the test ones.
    let mut hash = Md5::new();
    let (mut trains, mut tests) = (
        train.sparse.ids.chunks_exact(63).peekable(),
        test.sparse.ids.chunks_exact(63).peekable(),
    );
    while let Some(user) = trains.peek().map(|sample| sample[0]) {
        for part in [&mut trains, &mut tests] {
            while let Some(sample) = part.next_if(|sample| sample[0] == user) {
                sample
                    .iter()
                    .for_each(|id| hash.update((*id as i32).to_le_bytes()));
            }
        }
    }
    let hash: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hash, "b71c359b285a1d0acef5032866cb997c");
}

#[test]
fn real_data_of_two_hours_have_no_window_and_are_counted_all_the_same() {
    let Some(raw) = real_data("taobao_slice.csv") else {
        return;
    };
    let place = Workplace::new();
    let plain = options(&place, raw);
    let error = prepare(&plain).expect_err("there is no window");
    assert!(error.to_string().contains("58732 users"), "{error}");
    let padded = PrepareOptions {
        short_history: ShortHistory::Pad,
        points_per_user: PointsPerUser::All,
        ..plain
    };
    let report = prepare(&padded).unwrap();
    assert_eq!(report.events, 96_168);
    assert_eq!(
        (report.users, report.items, report.categories),
        (58_732, 75_384, 3_757)
    );
    assert_eq!(
        report.behaviours,
        [
            ("pv", 85_773),
            ("cart", 5_292),
            ("fav", 2_959),
            ("buy", 2_144)
        ]
    );
    assert_eq!(
        (report.first_time, report.last_time),
        (1_511_658_000, 1_511_664_909)
    );
    assert_eq!(report.single_event_users, 58_732 - 20_550);
    assert_eq!(report.windows, 96_168 - 58_732);
}

#[test]
fn real_data_by_the_rules_of_the_original() {
    let Some(raw) = real_data("taobao_sample.csv") else {
        return;
    };
    let place = Workplace::new();
    let report = prepare(&PrepareOptions {
        rules: SequenceRules::Reference,
        ..options(&place, raw)
    })
    .unwrap();
    assert_eq!(
        (report.users, report.items, report.categories),
        (43, 3276, 567)
    );
    // The last time of 43 users in order, number 30: at most 12 are later.
    let test = &report.splits[2];
    assert!(test.rows <= 12, "{test:?}");
}
