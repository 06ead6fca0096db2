//! Real rows: the ids of the original programs, and ranks as computed independently.

mod criteo_text;

use criteo_text::{ids, prepare, samples};
use md5::{Digest, Md5};
use recsys_data::criteo::{Numbering, PrepareOptions, Randomize, SplitRule};
use recsys_data::packed::PackedDataset;
use recsys_data::{RankOn, Split};

/// The sample file, if the data are there.
fn sample() -> Option<std::path::PathBuf> {
    let Some(shared) = std::env::var_os("RECSYS_SHARED") else {
        println!("skipped: set RECSYS_SHARED to the folder that holds `data`");
        return None;
    };
    Some(std::path::PathBuf::from(shared).join("data/criteo_kaggle_sample.txt"))
}

fn md5(words: impl IntoIterator<Item = u32>) -> String {
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    Md5::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Categories per table, from the README beside the file.
const CATEGORIES: [u64; 26] = [
    147, 360, 4137, 3101, 51, 8, 2645, 76, 3, 2410, 1805, 3969, 1515, 22, 1751, 3577, 9, 1012, 457,
    4, 3792, 8, 12, 2008, 38, 1526,
];

#[test]
fn real_data_ranks() {
    let Some(raw) = sample() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let report = prepare(&PrepareOptions {
        raw: vec![raw.clone()],
        out: out.clone(),
        rank_on: RankOn::All,
        ..PrepareOptions::default()
    })
    .unwrap();
    assert_eq!(
        (report.rows, report.categories.as_slice()),
        (7_200, &CATEGORIES[..])
    );
    let splits: Vec<(u64, u64)> = report
        .splits
        .iter()
        .map(|split| (split.rows, split.clicks))
        .collect();
    assert_eq!(splits, [(6_172, 1_342), (514, 102), (514, 105)]);
    PackedDataset::open(&out).unwrap().verify().unwrap();
    let all = [Split::Train, Split::Validation, Split::Test];
    assert_eq!(md5(ids(&out, all)), "34aedeeeba6ba33e1815443bfb814fdf");
    let labels = all.into_iter().flat_map(|split| samples(&out, split).label);
    assert_eq!(
        md5(labels.map(|label| label as u32)),
        "39c9cc77881469332f889e982a90c7e1"
    );
    // The integers of the text, negative and missing ones as 0, are those that the original program writes …
    let text = std::fs::read_to_string(&raw).unwrap();
    let integers = text
        .lines()
        .flat_map(|line| line.split('\t').skip(1).take(13));
    let integers: Vec<u32> = integers
        .map(|field| field.parse::<i32>().unwrap_or(0).max(0) as u32)
        .collect();
    assert_eq!(
        md5(integers.iter().copied()),
        "d7b0848ef11927e0acc9e6d1e8578ba8"
    );
    // … and the data set holds their logarithms. A few bits of an f32's logarithm are the library's choice.
    let dense: Vec<f32> = all
        .into_iter()
        .flat_map(|split| samples(&out, split).dense)
        .collect();
    assert_eq!(dense.len(), integers.len());
    for (found, integer) in dense.iter().zip(integers) {
        let expected = (f64::from(integer) + 1.0).ln();
        assert!((f64::from(*found) - expected).abs() <= 2e-7 * expected.max(1.0));
    }
}

#[test]
fn real_data_ranks_of_training() {
    let Some(raw) = sample() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let options = PrepareOptions {
        raw: vec![raw.clone()],
        out: out.clone(),
        ..PrepareOptions::default()
    };
    assert_eq!(prepare(&options).unwrap().categories, CATEGORIES);
    let data = PackedDataset::open(&out).unwrap();
    data.verify().unwrap();
    let text = std::fs::read_to_string(&raw).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    for table in 0..26 {
        // Fields in order of first appearance, with their training rows.
        let mut counted: Vec<(&str, u64)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for (number, row) in rows.iter().enumerate() {
            let place = *places.entry(row[14 + table]).or_insert_with(|| {
                counted.push((row[14 + table], 0));
                counted.len() - 1
            });
            counted[place].1 += u64::from(number < 6_172);
        }
        counted.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let vocabulary = data.vocabulary(table).unwrap().unwrap();
        let counts: Vec<u64> = counted.iter().map(|&(_, count)| count).collect();
        assert_eq!(vocabulary.counts, counts);
        for ((id, &(field, _)), &category) in (0u32..).zip(&counted).zip(&vocabulary.categories) {
            match u32::from_str_radix(field, 16) {
                Ok(number) => assert_eq!(category, number),
                Err(_) => assert_eq!(vocabulary.missing, Some(id)),
            }
        }
    }
}

#[test]
fn real_data_reference_ids() {
    let Some(raw) = sample() else { return };
    let split = SplitRule::ReferenceDays {
        randomize: Randomize::None,
        seed: 0,
    };
    let cases = [
        (None, 34_443, "d58234902c822da74d03972da9224577"),
        (Some(1_000), 12_497, "0613f1469e9f2b677a3def2daab8439f"),
        (Some(10_000_000), 34_436, "58c336a12337479370f98a2c2bfdb80c"),
    ];
    for (max_ind_range, categories, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let raw = vec![raw.clone()];
        let ids_rule = Numbering::Reference;
        let options = PrepareOptions {
            raw,
            out: out.clone(),
            ids: ids_rule,
            max_ind_range,
            split,
            ..PrepareOptions::default()
        };
        let report = prepare(&options).unwrap();
        assert_eq!(report.categories.iter().sum::<u64>(), categories);
        // In the original's rules the first half of the last day tests.
        assert_eq!(
            md5(ids(&out, [Split::Train, Split::Test, Split::Validation])),
            expected
        );
    }
}
