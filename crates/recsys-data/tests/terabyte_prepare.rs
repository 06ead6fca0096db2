//! What a preparation by days writes, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;

use std::fs;
use std::io::Write;

use criteo_text::{Workplace, contents, prepare, row, rows, samples};
use recsys_data::criteo::Error as CriteoError;
use recsys_data::criteo::{
    DaySplit, Numbering, PrepareOptions, PrepareTerabyte, TerabyteOptions, TerabyteReport,
};
use recsys_data::packed::Error as PackedError;
use recsys_data::packed::PackedDataset;
use recsys_data::text::BadRows;
use recsys_data::{Error, RankOn, Result, Split};

const DAYS: [std::ops::Range<u64>; 3] = [0..1500, 1500..1800, 1800..2801];

/// Three days in a folder.
fn days(place: &Workplace) -> TerabyteOptions {
    let raw = DAYS.into_iter().enumerate().map(|(day, rows)| {
        let text: String = rows.map(|index| row(index) + "\n").collect();
        place.file(&format!("day_{day}"), text)
    });
    TerabyteOptions {
        raw: raw.collect(),
        out: place.path("out"),
        ..TerabyteOptions::default()
    }
}

fn run(options: &TerabyteOptions) -> Result<TerabyteReport> {
    PrepareTerabyte::new(options.clone()).run(&())
}

/// All samples of a data set in the order of the text.
fn all(options: &TerabyteOptions, order: [Split; 3]) -> (Vec<f32>, Vec<f32>, Vec<u32>) {
    let mut all = (Vec::new(), Vec::new(), Vec::new());
    for split in order {
        let batch = samples(&options.out, split);
        all.0.extend(batch.label);
        all.1.extend(batch.dense);
        all.2.extend(batch.sparse.ids);
    }
    all
}

#[test]
fn ranks_of_training_are_those_of_the_days_before_the_last() {
    let place = Workplace::new();
    let options = days(&place);
    run(&options).unwrap();
    let before = PrepareOptions {
        raw: options.raw[..options.raw.len() - 1].to_vec(),
        out: place.path("before"),
        rank_on: RankOn::All,
        ..PrepareOptions::default()
    };
    prepare(&before).unwrap();
    let [all, before] = [&options.out, &before.out].map(|out| PackedDataset::open(out).unwrap());
    all.verify().unwrap();
    for table in 0..26 {
        let [all, before] = [&all, &before].map(|data| data.vocabulary(table).unwrap().unwrap());
        let known = before.rows();
        assert_eq!(all.categories[..known], before.categories);
        assert_eq!(all.counts[..known], before.counts);
        assert!(all.counts[known..].iter().all(|&count| count == 0));
    }
}

#[test]
fn samples_and_vocabularies_are_those_of_one_file() {
    const IN_ORDER: [Split; 3] = [Split::Train, Split::Validation, Split::Test];
    const REFERENCE: [Split; 3] = [Split::Train, Split::Test, Split::Validation];
    for (ids, split, order, max_ind_range, min_count) in [
        (Numbering::Rank, DaySplit::TimeOrdered, IN_ORDER, None, 0),
        (
            Numbering::Reference,
            DaySplit::Reference,
            REFERENCE,
            Some(1000),
            0,
        ),
        (
            Numbering::Rank,
            DaySplit::Reference,
            REFERENCE,
            Some(50),
            30,
        ),
        (
            Numbering::Reference,
            DaySplit::TimeOrdered,
            IN_ORDER,
            None,
            30,
        ),
    ] {
        let place = Workplace::new();
        let options = TerabyteOptions {
            ids,
            split,
            rank_on: RankOn::All,
            max_ind_range,
            min_count,
            shard_rows: 700,
            ..days(&place)
        };
        let report = run(&options).unwrap();
        let one = PrepareOptions {
            raw: options.raw.clone(),
            out: place.path("one"),
            ids,
            rank_on: RankOn::All,
            max_ind_range,
            min_count,
            ..PrepareOptions::default()
        };
        let expected = prepare(&one).unwrap();
        assert_eq!((report.rows, report.clicks), (2801, expected.clicks));
        assert_eq!(report.categories, expected.categories);
        let split_rows: Vec<u64> = order
            .iter()
            .map(|split| report.splits[*split as usize].rows)
            .collect();
        assert_eq!(split_rows, [1800, 501, 500]);
        let (ours, theirs) = (
            PackedDataset::open(&options.out).unwrap(),
            PackedDataset::open(&one.out).unwrap(),
        );
        ours.verify().unwrap();
        for table in 0..26 {
            assert_eq!(
                ours.vocabulary(table).unwrap(),
                theirs.vocabulary(table).unwrap()
            );
        }
        let theirs = TerabyteOptions {
            out: one.out,
            ..options.clone()
        };
        assert!(all(&options, order) == all(&theirs, IN_ORDER));
        let clicks: u64 = report.splits.iter().map(|split| split.clicks).sum();
        assert_eq!(clicks, report.clicks);
        assert_eq!(place.names(), ["day_0", "day_1", "day_2", "one", "out"]);
    }
}

#[test]
fn sub_sampling_keeps_clicks_and_a_share_of_the_rest_again_and_again() {
    let place = Workplace::new();
    let options = TerabyteOptions {
        sub_sample: 0.875,
        sub_sample_seed: 7,
        force: true,
        ..days(&place)
    };
    let report = run(&options).unwrap();
    let clicks = (0..2801u64).filter(|index| index % 4 == 0).count() as u64;
    assert_eq!(report.clicks, clicks);
    let kept = (report.rows - clicks) as f64 / (2801 - clicks) as f64;
    // Five standard deviations of 2,100 draws.
    assert!((kept - 0.125).abs() < 0.036, "{kept}");
    assert_eq!(report.rows + report.dropped, 2801);
    let first = contents(&options.out);
    for (threads, seed, same) in [(1, 7, true), (3, 7, true), (3, 8, false)] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let options = TerabyteOptions {
            sub_sample_seed: seed,
            ..options.clone()
        };
        pool.install(|| run(&options)).unwrap();
        assert_eq!(contents(&options.out) == first, same);
    }
}

#[test]
fn an_interrupted_preparation_goes_on() {
    let place = Workplace::new();
    let options = days(&place);
    run(&options).unwrap();
    let expected = contents(&options.out);
    fs::remove_dir_all(&options.out).unwrap();

    let last = fs::read(&options.raw[2]).unwrap();
    place.file("day_2", b"0\t1\n");
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let error = pool.install(|| run(&options)).unwrap_err();
    assert!(
        matches!(&error, Error::Criteo(CriteoError::BadRow { path, line: 1, .. }) if path.ends_with("day_2")),
        "{error}"
    );
    assert_eq!(place.names(), [".out.work", "day_0", "day_1", "day_2"]);

    let other = TerabyteOptions {
        max_ind_range: Some(9),
        ..options.clone()
    };
    let error = run(&other).unwrap_err().to_string();
    assert!(
        error.contains("max_ind_range was null and is 9") && error.contains("`restart`"),
        "{error}"
    );
    let mended = TerabyteOptions {
        memory: 300 << 20,
        ..options.clone()
    };
    // The day that was not parsed may be mended; one that was may not change.
    let first = fs::read(&options.raw[0]).unwrap();
    place.file("day_0", &first[..1000]);
    let error = run(&mended).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Criteo(CriteoError::ParsedSourceChanged { now: 1000, .. })
        ),
        "{error}"
    );
    place.file("day_0", &first);
    place.file("day_2", &last);
    let report = run(&mended).unwrap();
    assert_eq!(report.resumed.days, 2);
    assert!(contents(&options.out) == expected);
    assert_eq!(place.names(), ["day_0", "day_1", "day_2", "out"]);
}

#[test]
fn a_restart_discards_what_was_there() {
    let place = Workplace::new();
    let options = days(&place);
    let last = fs::read(&options.raw[2]).unwrap();
    place.file("day_2", b"0\t1\n");
    run(&options).unwrap_err();
    place.file("day_2", &last);
    let restart = TerabyteOptions {
        min_count: 2,
        restart: true,
        ..options
    };
    assert_eq!(run(&restart).unwrap().resumed, Default::default());
}

/// A run may be killed while it removes its work folder, when all is done.
#[test]
fn what_is_left_of_a_removed_work_folder_goes() {
    let place = Workplace::new();
    let options = days(&place);
    run(&options).unwrap();
    let complete = contents(&options.out);
    for left in [None, Some("published.json"), Some("tables/00")] {
        let work = place.path(".out.work");
        fs::create_dir_all(work.join("tables")).unwrap();
        if let Some(left) = left {
            fs::write(work.join(left), "left behind").unwrap();
        }
        run(&options).unwrap_err();
        assert_eq!(place.names(), ["day_0", "day_1", "day_2", "out"]);
        assert!(contents(&options.out) == complete);
    }
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let place = Workplace::new();
    let options = days(&place);
    let lock = fs::File::create(place.path(".out.lock")).unwrap();
    lock.try_lock().unwrap();
    let error = run(&options).unwrap_err();
    assert!(
        matches!(&error, Error::Packed(PackedError::OutputBusy { .. })),
        "{error}"
    );
    drop(lock);
    run(&options).unwrap();
}

#[test]
fn bad_input_is_named_and_leaves_nothing_behind() {
    let place = Workplace::new();
    let options = days(&place);
    let one = TerabyteOptions {
        raw: options.raw[..1].to_vec(),
        ..options.clone()
    };
    let error = run(&one).unwrap_err().to_string();
    assert!(
        error.contains("two at least") && error.contains("PrepareCriteo"),
        "{error}"
    );
    let little = TerabyteOptions {
        memory: 1 << 20,
        ..options.clone()
    };
    assert!(matches!(
        run(&little),
        Err(Error::Criteo(CriteoError::LittleMemory { .. }))
    ));

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(rows(3000).as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    let cut = TerabyteOptions {
        raw: vec![
            place.file("day_0.gz", &whole[..whole.len() / 2]),
            place.file("day_1.gz", &whole[..whole.len() / 3]),
        ],
        ..options.clone()
    };
    let error = run(&cut).unwrap_err().to_string();
    assert!(error.contains(".gz: the gzip stream is cut off"), "{error}");

    let text = format!("{}\n{}\n", row(1), row(2).replacen('0', "x", 1));
    let bad = TerabyteOptions {
        raw: vec![place.file("day_0", &text), place.file("day_1", &text)],
        ..options.clone()
    };
    let error = run(&bad).unwrap_err().to_string();
    assert!(error.contains(", line 2: label (field 1)"), "{error}");
    let names = ["day_0", "day_0.gz", "day_1", "day_1.gz", "day_2"];
    assert_eq!(place.names(), names);
    let skipping = TerabyteOptions {
        bad_rows: BadRows::Skip,
        ..bad
    };
    let report = run(&skipping).unwrap();
    assert_eq!((report.rows, report.skipped_rows()), (2, 2));
    assert_eq!(
        (report.skipped[0].rows, &report.skipped[0].file[..]),
        (2, "day_0")
    );
    let error = run(&skipping).unwrap_err();
    assert!(
        matches!(error, Error::Packed(PackedError::OutputExists { .. })),
        "{error}"
    );
}
