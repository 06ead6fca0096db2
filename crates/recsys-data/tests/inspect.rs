//! A look at a packed data set says what is in it.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;
mod numbered;

use criteo_text::{Workplace, prepare, row, rows};
use numbered::{schema, sequences, small_batch, write};
use recsys_data::criteo::{Numbering, PrepareOptions};
use recsys_data::inspect::{Counted, Inspect, Inspection};
use recsys_data::packed::{PackedDataset, PackedWriter, WriterOptions};
use recsys_data::{Split, SplitRows};

fn inspect(folder: &std::path::Path) -> Inspection {
    Inspect::new(&PackedDataset::open(folder).unwrap())
        .run()
        .unwrap()
}

#[test]
fn rows_are_decoded_to_the_raw_text() {
    for ids in [Numbering::Rank, Numbering::Reference] {
        let work = Workplace::new();
        work.file("train.txt", rows(700));
        let options = PrepareOptions {
            ids,
            ..work.options(&["train.txt"])
        };
        prepare(&options).unwrap();
        let data = PackedDataset::open(&options.out).unwrap();
        let inspection = Inspect::new(&data).with_rows(20).run().unwrap();
        assert_eq!(inspection.rows.len(), 20);
        for decoded in &inspection.rows {
            let raw = row(decoded.sample);
            let fields: Vec<&str> = raw.split('\t').collect();
            assert_eq!(decoded.label.to_string(), fields[0]);
            // Missing and negative numbers are 0 in a packed data set.
            let dense = fields[1..14].iter().map(|field| {
                let value: i64 = field.parse().unwrap_or(0);
                value.max(0).to_string()
            });
            assert!(dense.eq(decoded.dense.iter().cloned()), "{decoded:?}");
            for (&field, bags) in fields[14..].iter().zip(&decoded.categories) {
                // In the original's numbering a missing value is the category 00000000.
                let missing =
                    field.is_empty() || (ids == Numbering::Reference && field == "00000000");
                assert_eq!(bags.concat(), if missing { "-" } else { field });
            }
        }
    }
}

#[test]
fn counts_are_those_of_training() {
    let work = Workplace::new();
    work.file("train.txt", rows(700));
    prepare(&work.options(&["train.txt"])).unwrap();
    let inspection = inspect(&work.path("out"));
    assert_eq!(inspection.samples(), 700);
    assert_eq!((inspection.split, inspection.sampled), (Split::Train, 600));
    let train = &inspection.splits[0];
    assert_eq!(
        (train.rows, train.labels_read, train.label_mean),
        (600, 600, Some(0.25))
    );
    // Five values, one of them missing; each makes up about a fifth.
    let table = &inspection.tables[0];
    assert_eq!(
        (table.rows, table.counted, table.lookups),
        (5, Counted::Training, 600)
    );
    let missing = (0..600)
        .filter(|&index| row(index).split('\t').nth(14) == Some(""))
        .count();
    assert_eq!(table.missing, Some(missing as f64 / 600.0));
    assert_eq!((table.top_10, table.other), (1.0, None));
    assert!(table.top_1 > 0.2 && table.top_1 == table.top_1_percent);
    assert!((table.sketch.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    let column = &inspection.columns[0];
    assert!(column.least == 0.0 && column.mean > 0.0 && column.most == 44f32.ln());
    assert!(column.zeros > 0.0 && column.zeros < 1.0);
}

#[test]
fn a_sample_stands_for_large_splits_and_tables_without_a_vocabulary() {
    let folder = tempfile::tempdir().unwrap();
    let rows = SplitRows {
        train: 5_000,
        validation: 600,
        test: 0,
    };
    write(
        folder.path(),
        rows,
        &schema(true),
        WriterOptions::default(),
        1_000,
    )
    .unwrap();
    let data = PackedDataset::open(folder.path()).unwrap();
    let inspection = Inspect::new(&data)
        .with_sample(1_024)
        .with_split(Split::Train)
        .run()
        .unwrap();
    assert_eq!(inspection.sampled, 1_024);
    // Nobody counted positive samples, so labels are read.
    let [train, validation, test] = &inspection.splits[..] else {
        unreachable!("three splits");
    };
    assert_eq!(
        (train.labels_read, validation.labels_read, test.label_mean),
        (1_024, 600, None)
    );
    let pooling = inspection.tables[2].pooling.unwrap();
    assert_eq!((pooling.least, pooling.most), (0, 3));
    assert!((1.0..2.0).contains(&pooling.mean));

    let (schema, batch) = small_batch();
    let rows = SplitRows {
        train: 3,
        ..SplitRows::default()
    };
    let out = folder.path().join("bare");
    let mut writer = PackedWriter::create(&out, schema, rows, WriterOptions::default()).unwrap();
    writer.append(Split::Train, &batch).unwrap();
    writer.finish(numbered::provenance()).unwrap();
    let inspection = inspect(&out);
    let table = &inspection.tables[0];
    assert_eq!(
        (table.counted, table.lookups, table.once),
        (Counted::Sample, 3, 3)
    );
    let ids: Vec<String> = inspection
        .rows
        .iter()
        .map(|row| row.categories[0].concat())
        .collect();
    assert_eq!(ids, ["#0", "#9", "#3"]);
}

#[test]
fn sequences_are_decoded_position_by_position() {
    let folder = tempfile::tempdir().unwrap();
    let rows = SplitRows {
        train: 10,
        ..SplitRows::default()
    };
    write(
        folder.path(),
        rows,
        &sequences(false),
        WriterOptions::default(),
        10,
    )
    .unwrap();
    let inspection = inspect(folder.path());
    let first = &inspection.rows[0];
    assert_eq!((first.dense.len(), first.categories.len()), (15, 4));
    assert!(
        first
            .categories
            .iter()
            .all(|positions| positions.len() == 5)
    );
    let empty = Inspect::new(&PackedDataset::open(folder.path()).unwrap());
    let inspection = empty.with_split(Split::Test).run().unwrap();
    assert!(inspection.rows.is_empty() && inspection.sampled == 0);
}
