//! What a preparation of events writes, whatever the files, memory and threads.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod taobao_text;

use std::io::Write;

use recsys_data::taobao::{
    OutOfRange, PointsPerUser, PrepareOptions, PrepareTaobao, SequenceRules, SequenceSplit,
    ShortHistory,
};
use recsys_data::text::BadRows;
use taobao_text::{Workplace, contents, events, prepare, zip};

#[test]
fn the_bytes_do_not_depend_on_threads_and_memory() {
    let place = Workplace::new();
    // More users than one partition holds, more text than one chunk, and more events than the smallest memory.
    let text: String = (0..120_000u64)
        .map(|index| {
            let bits = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let (user, item) = (bits % 3001, (bits >> 12) % 997);
            format!("{user},{item},{},pv,{}\n", item % 31, bits >> 22 & 0xfff)
        })
        .collect();
    place.file("events.csv", text);
    let variants = [
        PrepareOptions::default(),
        PrepareOptions {
            split: SequenceSplit::Time,
            validation: 0.1,
            points_per_user: PointsPerUser::Most(3),
            seed: 9,
            ..PrepareOptions::default()
        },
        PrepareOptions {
            short_history: ShortHistory::Pad,
            split: SequenceSplit::User,
            ..PrepareOptions::default()
        },
        PrepareOptions {
            rules: SequenceRules::Reference,
            ..PrepareOptions::default()
        },
    ];
    for variant in variants {
        let mut spilled = Vec::new();
        let outputs: Vec<_> = [(1, 2 << 30), (2, 1 << 20), (5, 1 << 20)]
            .into_iter()
            .map(|(threads, memory)| {
                let options = PrepareOptions {
                    memory,
                    force: true,
                    raw: vec![place.path("events.csv")],
                    out: place.path("out"),
                    ..variant.clone()
                };
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let run = || PrepareTaobao::new(options.clone()).run(&());
                spilled.push(pool.install(run).unwrap().spilled_bytes);
                assert_eq!(
                    place.names(),
                    ["events.csv", "out"],
                    "temporary files were left"
                );
                contents(&options.out)
            })
            .collect();
        assert!(
            spilled[0] == 0 && spilled[1] > 0 && spilled[2] > 0,
            "{spilled:?}"
        );
        assert!(outputs[0].len() > 4);
        assert!(
            outputs[0] == outputs[1] && outputs[0] == outputs[2],
            "{variant:?}"
        );
    }
}

#[test]
fn compression_line_ends_and_file_borders_change_no_sample() {
    let place = Workplace::new();
    let text = events(900);
    let (first, second) = text.split_at(text.match_indices('\n').nth(400).unwrap().0 + 1);
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    place.file("plain.csv", &text);
    place.file("crlf.csv", text.replace('\n', "\r\n"));
    place.file("unended.csv", text.trim_end_matches('\n'));
    place.file("whole.csv.gz", gzip(&text));
    place.file(
        "whole.csv.zst",
        zstd::encode_all(text.as_bytes(), 3).unwrap(),
    );
    let file = [("UserBehavior.csv", text.as_bytes())];
    place.file("deflated.zip", zip(&file, true));
    place.file("stored.ZIP", zip(&file, false));
    place.file("a.csv", first.trim_end_matches('\n'));
    place.file("b.csv.gz", gzip(second));
    let shards = |raw: &[&str]| {
        let options = place.options(raw);
        let report = prepare(&options).unwrap();
        for (source, raw) in report.sources.iter().zip(raw) {
            assert_eq!(source.bytes, place.path(raw).metadata().unwrap().len());
        }
        let mut files = contents(&options.out);
        files.retain(|(path, _)| {
            path.extension()
                .is_some_and(|extension| extension != "json")
        });
        files
    };
    let expected = shards(&["plain.csv"]);
    for raw in [
        &["crlf.csv"][..],
        &["unended.csv"],
        &["whole.csv.gz"],
        &["whole.csv.zst"],
        &["deflated.zip"],
        &["stored.ZIP"],
        &["a.csv", "b.csv.gz"],
    ] {
        assert!(shards(raw) == expected, "{raw:?}");
    }
}

#[test]
fn skipped_lines_are_left_out_counted_and_shown() {
    let place = Workplace::new();
    place.file("clean.csv", events(900));
    let mut dirty = String::from("\n");
    for (index, line) in events(900).lines().enumerate() {
        let line = format!("{line}\n");
        dirty.push_str(&line);
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        match index {
            200 => dirty.push_str("1,2,3,pv\n"),
            300 => dirty.push_str("1,2,3,look,4\n"),
            // An item with another category than on its line before.
            400 => dirty.push_str(&format!("4711,{},999,pv,1511600000\n", fields[1])),
            500 => dirty.push_str("1,2,3,pv,4294967296\n1,2,3,pv,2000000000\n"),
            _ => {}
        }
    }
    place.file("dirty.csv", dirty);
    let skipping = |raw: &str| PrepareOptions {
        bad_rows: BadRows::Skip,
        out_of_range: OutOfRange::Bad,
        ..place.options(&[raw])
    };
    let clean = prepare(&skipping("clean.csv")).unwrap();
    let expected = contents(&place.path("out"));
    assert_eq!(clean.skipped_rows(), 0);
    let report = prepare(&skipping("dirty.csv")).unwrap();
    assert_eq!((report.events, report.skipped_rows()), (900, 6));
    let kinds: Vec<(&str, u64, u64)> = report
        .skipped
        .iter()
        .map(|kind| (kind.kind.as_ref(), kind.rows, kind.line))
        .collect();
    assert_eq!(
        kinds,
        [
            ("empty line", 1, 1),
            ("item in two categories", 1, 405),
            ("time beyond 32 bits", 1, 506),
            ("time out of range", 1, 507),
            ("unknown behaviour", 1, 304),
            ("wrong number of fields", 1, 203),
        ]
    );
    for (file, content) in contents(&place.path("out")) {
        let (_, expected) = expected.iter().find(|(name, _)| *name == file).unwrap();
        assert!(
            file.ends_with("dataset.json") || content == *expected,
            "{file:?}"
        );
    }
}

#[test]
fn only_many_windows_are_thinned_without_being_asked() {
    let place = Workplace::new();
    place.file("events.csv", events(3000));
    let report = prepare(&place.options(&["events.csv"])).unwrap();
    assert_eq!(report.windows, report.points);
    assert_eq!(report.samples(), 2 * report.points);
}
