//! What a preparation writes, whatever the files and threads.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;

use std::io::Write;

use criteo_text::{Workplace, contents, ids, prepare, row, rows, samples};
use recsys_data::Split;
use recsys_data::criteo::{Numbering, PrepareCriteo, PrepareOptions, Randomize, SplitRule};
use recsys_data::packed::PackedDataset;
use recsys_data::text::BadRows;

const IN_ORDER: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_row_arrives_with_its_ids_logarithms_and_label() {
    let place = Workplace::new();
    place.file("train.txt", rows(70));
    let options = place.options(&["train.txt"]);
    let report = prepare(&options).unwrap();
    assert_eq!((report.rows, report.clicks), (70, 18));
    assert_eq!(
        report
            .splits
            .iter()
            .map(|split| split.rows)
            .collect::<Vec<_>>(),
        [60, 5, 5]
    );

    let data = PackedDataset::open(&options.out).unwrap();
    data.verify().unwrap();
    assert_eq!(data.schema().table_rows(), report.categories);
    let (dense, categories): (Vec<&str>, Vec<&str>) = (
        data.schema().dense.iter().map(String::as_str).collect(),
        data.schema()
            .tables
            .iter()
            .map(|table| table.name.as_str())
            .collect(),
    );
    assert_eq!(
        (dense[0], dense[12], categories[0], categories[25]),
        ("I1", "I13", "C1", "C26")
    );
    let train = samples(&options.out, Split::Train);
    for sample in 0..60 {
        let text = row(sample as u64);
        let fields: Vec<&str> = text.split('\t').collect();
        assert_eq!(train.label[sample].to_string(), fields[0]);
        for column in 0..13 {
            let value: i32 = fields[1 + column].parse().unwrap_or(0);
            assert_eq!(
                train.dense[sample * 13 + column],
                (value.max(0) as f32 + 1.0).ln()
            );
        }
        for table in 0..26 {
            let vocabulary = data.vocabulary(table).unwrap().unwrap();
            let id = train.sparse.ids[sample * 26 + table];
            match fields[14 + table] {
                "" => assert_eq!(vocabulary.missing, Some(id)),
                category => {
                    assert_ne!(vocabulary.missing, Some(id));
                    assert_eq!(
                        format!("{:08x}", vocabulary.categories[id as usize]),
                        category
                    );
                }
            }
        }
    }
    for table in 0..26 {
        let counts = data.vocabulary(table).unwrap().unwrap().counts;
        assert!(counts.is_sorted_by(|before, after| before >= after));
        assert_eq!(counts.iter().sum::<u64>(), 60);
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let place = Workplace::new();
    // Several chunks and several groups of them.
    place.file("train.txt", rows(60_000));
    let shuffled = SplitRule::ReferenceDays {
        randomize: Randomize::Total,
        seed: 123,
    };
    for split in [SplitRule::TimeOrdered, shuffled] {
        let outputs = [1, 2, 5].map(|threads| {
            let options = PrepareOptions {
                split,
                force: true,
                ..place.options(&["train.txt"])
            };
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| PrepareCriteo::new(options.clone()).run(&()))
                .unwrap();
            contents(&options.out)
        });
        assert!(outputs[0].len() > 26);
        assert!(outputs[0] == outputs[1] && outputs[0] == outputs[2]);
    }
}

#[test]
fn compression_line_ends_and_file_borders_change_no_sample() {
    let place = Workplace::new();
    let text = rows(300);
    let (first, second) = text.split_at(text.match_indices('\n').nth(99).unwrap().0 + 1);
    place.file("plain.txt", &text);
    place.file("crlf.txt", text.replace('\n', "\r\n"));
    place.file("unended.txt", text.trim_end_matches('\n'));
    place.file("upper.txt", text.to_uppercase());
    place.file("whole.gz", gzip(text.as_bytes()));
    place.file(
        "members.txt.gz",
        [gzip(first.as_bytes()), gzip(second.as_bytes())].concat(),
    );
    place.file(
        "whole.txt.zst",
        zstd::encode_all(text.as_bytes(), 3).unwrap(),
    );
    place.file("a.txt", first.trim_end_matches('\n'));
    place.file("b.gz", gzip(second.as_bytes()));
    prepare(&place.options(&["plain.txt"])).unwrap();
    let expected = IN_ORDER.map(|split| samples(&place.path("out"), split));
    for raw in [
        &["crlf.txt"][..],
        &["unended.txt"],
        &["upper.txt"],
        &["whole.gz"],
        &["members.txt.gz"],
        &["whole.txt.zst"],
        &["a.txt", "b.gz"],
    ] {
        let options = PrepareOptions {
            force: true,
            ..place.options(raw)
        };
        let report = prepare(&options).unwrap();
        assert_eq!(report.sources.len(), raw.len());
        assert_eq!(
            report.sources[0].bytes,
            place.path(raw[0]).metadata().unwrap().len()
        );
        assert!(
            IN_ORDER.map(|split| samples(&options.out, split)) == expected,
            "{raw:?}"
        );
    }
}

#[test]
fn skipped_rows_are_left_out_counted_and_shown() {
    let place = Workplace::new();
    place.file("clean.txt", rows(40));
    let mut dirty = String::from("\n");
    for index in 0..40 {
        dirty.push_str(&row(index));
        dirty.push('\n');
        match index {
            7 => dirty.push_str("2\tx\n"),
            9 => dirty.push_str(&row(1).replacen('0', "7", 1)),
            _ => continue,
        }
        if index == 9 {
            dirty.push('\n');
        }
    }
    dirty.push_str(&"z".repeat(5 << 20));
    place.file("dirty.txt", &dirty);
    prepare(&place.options(&["clean.txt"])).unwrap();
    let expected = ids(&place.path("out"), IN_ORDER);
    let options = PrepareOptions {
        bad_rows: BadRows::Skip,
        force: true,
        ..place.options(&["dirty.txt"])
    };
    let report = prepare(&options).unwrap();
    assert_eq!(ids(&options.out, IN_ORDER), expected);
    let skipped: Vec<(&str, u64, u64)> = report
        .skipped
        .iter()
        .map(|kind| (kind.kind.as_ref(), kind.rows, kind.line))
        .collect();
    let expected = [
        ("empty line", 1, 1),
        ("label not 0 or 1", 1, 13),
        ("line too long", 1, 44),
        ("wrong number of fields", 1, 10),
    ];
    assert_eq!(skipped, expected);
    assert_eq!(report.skipped_rows(), 4);
    let manifest = PackedDataset::open(&options.out)
        .unwrap()
        .manifest()
        .provenance
        .report
        .to_string();
    assert!(manifest.contains("label (field 1)"), "{manifest}");
}

#[test]
fn reference_order_is_numpys_permutation_of_the_training_rows() {
    let place = Workplace::new();
    place.file("train.txt", rows(77));
    let prepared = |randomize| {
        let split = SplitRule::ReferenceDays {
            randomize,
            seed: 123,
        };
        let options = PrepareOptions {
            split,
            ids: Numbering::Reference,
            force: true,
            ..place.options(&["train.txt"])
        };
        prepare(&options).unwrap();
        [Split::Train, Split::Test, Split::Validation].map(|split| samples(&options.out, split))
    };
    let [ordered, test, validation] = prepared(Randomize::None);
    assert_eq!((ordered.len(), test.len(), validation.len()), (66, 6, 5));
    let [shuffled, same_test, same_validation] = prepared(Randomize::Day);
    assert!(same_test == test && same_validation == validation);
    // numpy.random.RandomState(123).permutation(11) is the first day's order.
    for (place, row) in [0, 4, 5, 7, 8, 9, 3, 1, 6, 10, 2].into_iter().enumerate() {
        assert_eq!(
            shuffled.sparse.ids[place * 26..][..26],
            ordered.sparse.ids[row * 26..][..26]
        );
    }
    let [total, ..] = prepared(Randomize::Total);
    assert!(total != ordered && total != shuffled);
    assert_eq!(
        total.label.iter().sum::<f32>(),
        ordered.label.iter().sum::<f32>()
    );
}
