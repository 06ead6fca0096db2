//! Files of the original programs, imported.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod taobao_text;

use std::collections::HashSet;

use recsys_data::exchange::{DenseValues, ExportForeign, ExportFormat, ExportOptions};
use recsys_data::packed::PackedDataset;
use recsys_data::taobao::{ImportOptions, ImportReport, ImportTaobao, SequenceIds};
use recsys_data::{Result, Split};
use taobao_text::{Workplace, contents, samples, zip};

fn import(options: &ImportOptions) -> Result<ImportReport> {
    ImportTaobao::new(options.clone()).run(&())
}

/// A NumPy array, format 1.0.
fn npy(descr: &str, shape: &str, data: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data.flatten());
    bytes
}

/// The id of sample `sample` in table `table` at `position`.
fn id(table: usize, sample: usize, position: usize) -> u32 {
    match table {
        0 => 7 + (sample % 5) as u32,
        1 => (sample * 31 + position * position) as u32 % 97,
        _ => (sample * 31 + position * position) as u32 % 97 % 11,
    }
}

struct Parts {
    ids: Vec<u8>,
    dense: Vec<u8>,
    labels: Vec<u8>,
}

fn parts(samples: usize) -> Parts {
    let all = || {
        (0..3).flat_map(move |table| {
            (0..samples)
                .flat_map(move |sample| (0..21).map(move |position| id(table, sample, position)))
        })
    };
    Parts {
        ids: npy(
            "<i4",
            &format!("3, {samples}, 21"),
            all().map(|id| id.to_le_bytes().to_vec()),
        ),
        dense: npy(
            "<f8",
            &format!("1, {samples}, 21"),
            (0..samples * 21).map(|index| ((index % 21) as f64 / 21.0).to_le_bytes().to_vec()),
        ),
        labels: npy(
            "<i4",
            &format!("{samples},"),
            (0..samples).map(|sample| ((sample % 3 == 0) as i32).to_le_bytes().to_vec()),
        ),
    }
}

fn npz(parts: &Parts, deflate: bool) -> Vec<u8> {
    zip(
        &[
            ("X_cat.npy", &parts.ids),
            ("X_int.npy", &parts.dense),
            ("y.npy", &parts.labels),
        ],
        deflate,
    )
}

fn options(place: &Workplace, train: &str) -> ImportOptions {
    ImportOptions {
        train: place.path(train),
        out: place.path("out"),
        force: true,
        ..ImportOptions::default()
    }
}

#[test]
fn npz_files_round_trip_through_the_vocabulary() {
    let place = Workplace::new();
    for deflate in [false, true] {
        place.file("train.npz", npz(&parts(9000), deflate));
        place.file("test.npz", npz(&parts(50), deflate));
        let options = ImportOptions {
            test: Some(place.path("test.npz")),
            ..options(&place, "train.npz")
        };
        let report = import(&options).unwrap();
        assert_eq!(report.categories, [5, 97, 11]);
        assert_eq!(
            (report.splits[0].rows, report.splits[0].clicks),
            (9000, 3000)
        );
        assert_eq!((report.splits[1].rows, report.splits[2].rows), (0, 50));
        let size = place.path("train.npz").metadata().unwrap().len();
        assert_eq!(report.sources[0].bytes, size);
        let data = PackedDataset::open(&options.out).unwrap();
        data.verify().unwrap();
        let vocabularies: Vec<_> = (0..3)
            .map(|table| data.vocabulary(table).unwrap().unwrap())
            .collect();
        for vocabulary in &vocabularies {
            assert!(
                vocabulary
                    .counts
                    .is_sorted_by(|before, after| before >= after)
            );
            assert_eq!(vocabulary.counts.iter().sum::<u64>(), 9000 * 21);
        }
        for (split, rows) in [(Split::Train, 9000), (Split::Test, 50)] {
            let batch = samples(&options.out, split);
            let ids = batch.sparse.ids.as_chunks::<3>().0;
            assert_eq!(ids.len(), rows * 21);
            for (place, row) in ids.iter().enumerate() {
                let (sample, position) = (place / 21, place % 21);
                for table in 0..3 {
                    let raw = vocabularies[table].categories[row[table] as usize];
                    assert_eq!(raw, id(table, sample, position));
                }
                assert_eq!(batch.dense[place], (position as f64 / 21.0) as f32);
                assert_eq!(batch.label[sample] == 1.0, sample % 3 == 0);
            }
        }
    }
}

/// A line of the original's text: `events` of 200 events, the last one the target.
fn line(user: u32, events: usize, label: u32) -> String {
    let join = |values: Vec<u32>| {
        let values: Vec<String> = values.iter().map(u32::to_string).collect();
        values.join(",")
    };
    let event = |place: usize| user * 1000 + place as u32 + 1;
    let items: Vec<u32> = (0..200)
        .map(|place| {
            if place < 200 - events {
                0
            } else {
                event(place)
            }
        })
        .collect();
    let categories = items.iter().map(|item| item % 9 * item.min(&1)).collect();
    let negatives: Vec<u32> = (0..200).map(|place| 500_000 + place).collect();
    let negative_categories = negatives.iter().map(|item| item % 9).collect();
    format!(
        "{user}\t{}\t{}\t{label}\t{}\t{}\t{}\t{}\n",
        event(199),
        event(199) % 9,
        join(items),
        join(categories),
        join(negatives),
        join(negative_categories)
    )
}

#[test]
fn text_is_windowed_as_the_original_does() {
    let place = Workplace::new();
    let lengths = [200, 41, 40, 31, 21, 11, 10, 1];
    let text: String = lengths
        .iter()
        .zip(1..)
        .map(|(&events, user)| line(user, events, user % 2))
        .collect();
    place.file("train.txt", &text);
    place.file("validation.txt", text.replace('\n', "\r\n"));
    place.file("test.txt", text.trim_end());
    let options = ImportOptions {
        validation: Some(place.path("validation.txt")),
        test: Some(place.path("test.txt")),
        ..options(&place, "train.txt")
    };
    let report = import(&options).unwrap();
    // (n - 1) / 10 is 20, 4, 3, 3, 2, 1, 0, 0.
    let points = [10, 10, 6, 6, 3, 1, 0, 0u64];
    let rows: Vec<u64> = report.splits.iter().map(|split| split.rows).collect();
    assert_eq!(rows, [2 * points.iter().sum::<u64>(), 2 * 6, 8]);
    assert_eq!(report.splits[0].clicks, points.iter().sum::<u64>());
    let data = PackedDataset::open(&options.out).unwrap();
    let raw = |table| data.vocabulary(table).unwrap().unwrap().categories;
    let (users, items) = (raw(0), raw(1));
    for split in Split::ALL {
        let batch = samples(&options.out, split);
        for (sample, label) in batch
            .sparse
            .ids
            .as_chunks::<3>()
            .0
            .chunks_exact(21)
            .zip(&batch.label)
        {
            let user = users[sample[0][0] as usize];
            let raw: Vec<u32> = sample.iter().map(|row| items[row[1] as usize]).collect();
            let history = &raw[..20];
            let own: Vec<u32> = history.iter().copied().filter(|&item| item > 0).collect();
            // Consecutive events of the user, filling only in front.
            assert!(own.iter().all(|item| item / 1000 == user));
            assert!(own.windows(2).all(|pair| pair[1] == pair[0] + 1));
            assert!(history.ends_with(&own));
            let last = *own.last().unwrap_or(&(user * 1000 + 199)) % 1000;
            match split {
                Split::Test => {
                    assert_eq!(
                        (*label as u32, last, raw[20]),
                        (user % 2, 199, user * 1000 + 200)
                    );
                }
                // The target, event 200, is in no window.
                _ if *label == 1.0 => assert!(raw[20] % 1000 == last + 1 && raw[20] % 1000 < 200),
                _ => assert!((500_000..500_199).contains(&raw[20]) && last < 200),
            }
        }
    }
    let mut outputs = HashSet::new();
    for (threads, seed) in [(1, 0), (3, 0), (2, 1)] {
        let options = ImportOptions {
            seed,
            ..options.clone()
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| import(&options)).unwrap();
        outputs.insert(contents(&options.out));
    }
    assert_eq!(
        outputs.len(),
        2,
        "the bytes depend on the seed and not on the threads"
    );
}

#[test]
fn damaged_files_are_named_with_the_place() {
    let place = Workplace::new();
    let refusal = |name: &str, content: Vec<u8>| {
        place.file(name, content);
        let error = import(&options(&place, name)).expect_err("a damaged file was taken");
        assert!(!place.path("out").exists());
        let message = error.to_string();
        assert!(message.contains(name), "{message}");
        message
    };
    let whole = parts(40);
    let without = zip(&[("X_cat.npy", &whole.ids), ("y.npy", &whole.labels)], true);
    assert!(
        refusal("without.npz", without).contains("X_int is missing; there are: X_cat.npy, y.npy")
    );
    let negative = npy(
        "<i4",
        "3, 40, 21",
        (0..3 * 40 * 21).map(|place: i32| {
            (if place == 40 * 21 + 43 { -5i32 } else { 1 })
                .to_le_bytes()
                .to_vec()
        }),
    );
    let negative = Parts {
        ids: negative,
        ..parts(40)
    };
    let message = refusal("negative.npz", npz(&negative, false));
    assert!(
        message.contains("array X_cat has -5 at [1, 2, 1]"),
        "{message}"
    );
    let shape = Parts {
        ids: parts(39).ids,
        ..parts(40)
    };
    assert!(
        refusal("shape.npz", npz(&shape, true))
            .contains("shape [3, 39, 21] instead of [3, 40, 21]")
    );
    let objects = Parts {
        labels: npy("|O", "40,", std::iter::empty()),
        ..parts(40)
    };
    assert!(refusal("objects.npz", npz(&objects, true)).contains("type |O"));
    let short = Parts {
        labels: npy("<i4", "40,", (0..39).map(|_| vec![0; 4])),
        ..parts(40)
    };
    assert!(refusal("short.npz", npz(&short, true)).contains("array y is cut off"));
    let stream = npz(&whole, true);
    assert!(refusal("cut.npz", stream[..stream.len() / 2].to_vec()).contains("cut off or damaged"));
    let mut stream = npz(&whole, false);
    stream[2000] ^= 1;
    assert!(refusal("bit.npz", stream).contains("X_cat is damaged"));

    let good = line(3, 60, 1);
    let columns: Vec<&str> = good.trim_end().split('\t').collect();
    let with = |column: usize, text: &str| {
        let mut columns = columns.clone();
        columns[column] = text;
        format!("{good}{}\n", columns.join("\t")).into_bytes()
    };
    assert!(refusal("a.txt", with(3, "2")).contains("line 2: label (column 4) is 2"));
    assert!(
        refusal("b.txt", with(4, "1,2,3"))
            .contains("items (column 5) has 3 values, and 200 are needed")
    );
    assert!(
        refusal("c.txt", with(6, "1,x")).contains("negative items (column 7): value 2 is \"x\"")
    );
    assert!(refusal("d.txt", with(7, "1")).contains("has 1 values, and 200 are needed"));
    assert!(refusal("e.txt", with(6, "")).contains("1 to 200 are needed"));
    assert!(refusal("f.txt", b"1\t2\n".to_vec()).contains("line 1: 2 columns"));
}

#[test]
fn no_file_is_two_parts() {
    let place = Workplace::new();
    place.file("train.txt", line(3, 60, 1));
    let options = ImportOptions {
        validation: Some(place.path("train.txt")),
        ..options(&place, "train.txt")
    };
    let message = import(&options).unwrap_err().to_string();
    assert!(message.contains("is named twice"), "{message}");
}

#[test]
fn ids_stay_where_weights_of_the_original_are_to_fit() {
    let place = Workplace::new();
    place.file("train.npz", npz(&parts(60), true));
    for (rows, found) in [(None, [12, 97, 11]), (Some([20, 100, 30]), [20, 100, 30])] {
        let options = ImportOptions {
            ids: SequenceIds::Keep { rows },
            ..options(&place, "train.npz")
        };
        assert_eq!(import(&options).unwrap().categories, found);
        let data = PackedDataset::open(&options.out).unwrap();
        data.verify().unwrap();
        assert_eq!(data.schema().table_rows(), found);
        assert!(data.vocabulary(0).unwrap().is_none());
        let batch = samples(&options.out, Split::Train);
        for (place, row) in batch.sparse.ids.as_chunks::<3>().0.iter().enumerate() {
            let expected = [0, 1, 2].map(|table| id(table, place / 21, place % 21));
            assert_eq!(*row, expected);
        }
    }
    let options = ImportOptions {
        ids: SequenceIds::Keep {
            rows: Some([20, 96, 30]),
        },
        out: place.path("none"),
        ..options(&place, "train.npz")
    };
    let message = import(&options).unwrap_err().to_string();
    assert!(message.contains("96 rows for item"), "{message}");
}

/// Text numbers users and categories behind the items.
#[test]
fn ids_of_text_are_brought_back_as_the_original_does() {
    let place = Workplace::new();
    let list = |first: u32, modulus: u32| {
        let values = (0..200).map(|place| (first + place % modulus).to_string());
        values.collect::<Vec<_>>().join(",")
    };
    let (items, categories) = (list(0, 50), list(110, 7));
    let line = format!("103\t5\t112\t1\t{items}\t{categories}\t{items}\t{categories}\n");
    place.file("train.txt", line);
    let keep = |rows| ImportOptions {
        ids: SequenceIds::Keep { rows },
        ..options(&place, "train.txt")
    };
    let message = import(&keep(None)).unwrap_err().to_string();
    assert!(
        message.contains("train.txt") && message.contains("987994"),
        "{message}"
    );
    // 100 items, then 10 users, then 7 categories.
    let options = keep(Some([10, 100, 7]));
    assert_eq!(import(&options).unwrap().categories, [10, 100, 7]);
    let batch = samples(&options.out, Split::Train);
    let rows = batch.sparse.ids.as_chunks::<3>().0;
    assert!(
        rows.iter()
            .all(|row| row[0] == 3 && row[1] < 50 && row[2] < 7)
    );
    assert!(rows.iter().any(|row| row[2] == 6));
}

#[test]
fn sequences_are_exported_as_the_original_reads_them() {
    let place = Workplace::new();
    place.file("train.npz", npz(&parts(9_000), false));
    place.file("test.npz", npz(&parts(50), false));
    let first = ImportOptions {
        ids: SequenceIds::Keep { rows: None },
        test: Some(place.path("test.npz")),
        ..options(&place, "train.npz")
    };
    import(&first).unwrap();
    let export = ExportOptions {
        data: first.out.clone(),
        out: place.path("files"),
        format: ExportFormat::Npz,
        dense: DenseValues::Log,
        layout: None,
    };
    ExportForeign::new(export).run(&()).unwrap();
    let again = ImportOptions {
        train: place.path("files/taobao_train_t20.npz"),
        test: Some(place.path("files/taobao_test_t20.npz")),
        out: place.path("again"),
        ..first.clone()
    };
    import(&again).unwrap();
    for split in [Split::Train, Split::Test] {
        assert!(samples(&again.out, split) == samples(&first.out, split));
    }
}
