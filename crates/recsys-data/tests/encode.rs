//! New rows in the ids of a data set that was prepared before.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;
mod numbered;

use criteo_text::{Workplace, contents, ids, prepare, row, rows, samples};
use numbered::{schema, write};
use recsys_data::criteo::Error as CriteoError;
use recsys_data::criteo::{
    EncodeCriteo, EncodeOptions, EncodeReport, Numbering, PrepareOptions, RawRow, RowEncoder,
    Unseen, parse_row,
};
use recsys_data::packed::{PackedDataset, Verify, WriterOptions};
use recsys_data::text::BadRows;
use recsys_data::{Error, Result, Split, SplitRows};

const TRAIN_FIRST: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

/// Options to encode a file by the vocabulary in `out`.
fn options(work: &Workplace, raw: &str, unseen: Unseen) -> EncodeOptions {
    EncodeOptions {
        raw: vec![work.path(raw)],
        vocabulary: work.path("out"),
        out: work.path("encoded"),
        unseen,
        ..EncodeOptions::default()
    }
}

fn encode(options: &EncodeOptions) -> Result<EncodeReport> {
    EncodeCriteo::new(options.clone()).run(&())
}

/// A row with another category in the first table; an empty one is missing.
fn with_first_category(index: u64, category: &str) -> String {
    let row = row(index);
    let mut fields: Vec<&str> = row.split('\t').collect();
    fields[14] = category;
    fields.join("\t") + "\n"
}

#[test]
fn the_file_that_a_data_set_was_made_of_gets_the_same_ids() {
    let cases: [&dyn Fn(&mut PrepareOptions); 5] = [
        &|_| (),
        &|options| options.ids = Numbering::Reference,
        &|options| options.max_ind_range = Some(97),
        &|options| options.min_count = 4,
        &|options| {
            options.ids = Numbering::Reference;
            options.max_ind_range = Some(1_000);
            options.min_count = 3;
        },
    ];
    for (case, change) in cases.into_iter().enumerate() {
        let work = Workplace::new();
        work.file("train.txt", rows(700));
        let mut prepared = work.options(&["train.txt"]);
        change(&mut prepared);
        prepare(&prepared).unwrap();
        let report = encode(&options(&work, "train.txt", Unseen::Unknown)).unwrap();
        let encoded = samples(&work.path("encoded"), Split::Test);
        assert_eq!(
            encoded.sparse.ids,
            ids(&work.path("out"), TRAIN_FIRST),
            "case {case}"
        );
        let whole = TRAIN_FIRST.map(|split| samples(&work.path("out"), split));
        assert!(
            encoded
                .dense
                .iter()
                .eq(whole.iter().flat_map(|batch| &batch.dense))
        );
        assert!(
            encoded
                .label
                .iter()
                .eq(whole.iter().flat_map(|batch| &batch.label))
        );
        assert_eq!(report.rows, 700);
        // Rare categories are in the vocabulary under their common id only.
        let unseen = report.unseen.iter().any(|table| table.rows > 0);
        assert_eq!(unseen, prepared.min_count > 1, "case {case}");
    }
}

#[test]
fn the_result_is_a_sound_data_set_with_the_same_tables_that_names_its_vocabulary() {
    let work = Workplace::new();
    work.file("train.txt", rows(700));
    work.file("new.txt", rows(300));
    prepare(&work.options(&["train.txt"])).unwrap();
    let report = encode(&options(&work, "new.txt", Unseen::Error)).unwrap();
    assert_eq!((report.rows, report.split), (300, Split::Test));
    let (old, new) = ["out", "encoded"]
        .map(|name| PackedDataset::open(work.path(name)).unwrap())
        .into();
    assert_eq!(new.schema(), old.schema());
    assert_eq!(new.vocabulary(3).unwrap(), old.vocabulary(3).unwrap());
    let named = &new.manifest().provenance.options["vocabulary"];
    assert_eq!(named["manifest_xxh3"], old.manifest_xxh3().unwrap());
    assert_eq!(new.manifest().provenance.sources[0].name, "new.txt");
    let checked = Verify::new(work.path("encoded")).run(&()).unwrap();
    assert!(checked.is_sound(), "{checked:?}");
    assert_eq!(checked.rows.test, 300);
    // What was encoded serves as a vocabulary like the first data set.
    let again = EncodeOptions {
        vocabulary: work.path("encoded"),
        out: work.path("again"),
        ..options(&work, "new.txt", Unseen::Error)
    };
    encode(&again).unwrap();
    assert!(
        samples(&work.path("again"), Split::Test) == samples(&work.path("encoded"), Split::Test)
    );
}

#[test]
fn unseen_categories_follow_the_policy() {
    let work = Workplace::new();
    work.file("train.txt", rows(700));
    prepare(&work.options(&["train.txt"])).unwrap();
    // The first table has a row for missing values.
    let text = rows(2) + &with_first_category(2, "00c0ffee") + &with_first_category(3, "");
    work.file("new.txt", text);
    let data = PackedDataset::open(work.path("out")).unwrap();
    let missing = data.vocabulary(0).unwrap().unwrap().missing.unwrap();
    let first = |out: &str| {
        let batch = samples(&work.path(out), Split::Test);
        [batch.sparse.ids[2 * 26], batch.sparse.ids[3 * 26]]
    };
    let report = encode(&options(&work, "new.txt", Unseen::Unknown)).unwrap();
    assert_eq!(first("encoded"), [missing, missing]);
    assert_eq!((report.unseen[0].rows, report.unseen[1].rows), (1, 0));
    assert_eq!(report.unseen[0].share, 0.25);
    assert_eq!(report.unseen_share(), 1.0 / (4.0 * 26.0));

    let hashed = EncodeOptions {
        force: true,
        ..options(&work, "new.txt", Unseen::Hash)
    };
    encode(&hashed).unwrap();
    let bucket = xxhash_rust::xxh3::xxh3_64(&0x00c0_ffee_u32.to_le_bytes());
    let bucket = (bucket % data.schema().tables[0].rows) as u32;
    assert_eq!(first("encoded"), [bucket, missing]);

    let refused = EncodeOptions {
        out: work.path("refused"),
        ..options(&work, "new.txt", Unseen::Error)
    };
    let message = encode(&refused).unwrap_err().to_string();
    assert!(
        message.contains("new.txt, line 3: category 00c0ffee of C1"),
        "{message}"
    );
    assert!(!work.path("refused").exists());
}

#[test]
fn a_table_without_an_id_for_others_says_so() {
    let work = Workplace::new();
    let known: String = (0..70)
        .map(|index| with_first_category(index, "0000000a"))
        .collect();
    work.file("train.txt", known);
    prepare(&work.options(&["train.txt"])).unwrap();
    for (category, expected) in [
        ("0000000b", "category 0000000b of C1"),
        ("", "C1 is missing"),
    ] {
        work.file("new.txt", with_first_category(0, category));
        let message = encode(&options(&work, "new.txt", Unseen::Unknown))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(expected) && message.contains("Unseen::Hash"),
            "{message}"
        );
    }
}

#[test]
fn single_rows_are_encoded_as_files_are() {
    let work = Workplace::new();
    work.file("train.txt", rows(700));
    prepare(&work.options(&["train.txt"])).unwrap();
    let encoder = RowEncoder::new(
        &PackedDataset::open(work.path("out")).unwrap(),
        Unseen::Error,
    )
    .unwrap();
    let train = samples(&work.path("out"), Split::Train);
    let mut raw = RawRow::default();
    for index in 0..600 {
        parse_row(row(index as u64).as_bytes(), &mut raw).unwrap();
        let encoded = encoder.encode(&raw).unwrap();
        assert_eq!(encoded.ids, train.sparse.ids[26 * index..][..26]);
        assert_eq!(encoded.dense, train.dense[13 * index..][..13]);
    }
    raw.categories[4] = 0xdead_beef;
    raw.missing = 0;
    let error = encoder.encode(&raw).unwrap_err();
    assert!(
        matches!(error, Error::Criteo(CriteoError::Unseen { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("deadbeef of C5"), "{error}");
}

#[test]
fn bad_rows_are_treated_as_in_the_first_preparation_unless_somebody_says_otherwise() {
    let work = Workplace::new();
    work.file("train.txt", rows(700) + "nothing\n");
    let prepared = PrepareOptions {
        bad_rows: BadRows::Skip,
        ..work.options(&["train.txt"])
    };
    prepare(&prepared).unwrap();
    work.file("new.txt", format!("{}?\n{}", rows(5), row(6)));
    let skipping = options(&work, "new.txt", Unseen::Error);
    let report = encode(&skipping).unwrap();
    assert_eq!(
        (report.rows, report.skipped[0].rows, report.skipped[0].line),
        (6, 1, 6)
    );
    let strict = EncodeOptions {
        bad_rows: Some(BadRows::Error),
        force: true,
        ..skipping
    };
    let message = encode(&strict).unwrap_err().to_string();
    assert!(message.contains("new.txt, line 6"), "{message}");
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let work = Workplace::new();
    work.file("train.txt", rows(700));
    work.file("new.txt", rows(9_000));
    prepare(&work.options(&["train.txt"])).unwrap();
    let with = |threads: usize| {
        let options = EncodeOptions {
            force: true,
            shard_rows: 2_000,
            ..options(&work, "new.txt", Unseen::Hash)
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| encode(&options)).unwrap();
        contents(&work.path("encoded"))
    };
    let one = with(1);
    assert!(one == with(3));
}

#[test]
fn data_of_another_kind_and_the_data_set_itself_are_refused() {
    let work = Workplace::new();
    work.file("train.txt", rows(70));
    prepare(&work.options(&["train.txt"])).unwrap();
    let onto_itself = EncodeOptions {
        out: work.path("out"),
        force: true,
        ..options(&work, "train.txt", Unseen::Hash)
    };
    assert!(encode(&onto_itself).is_err());
    let foreign = tempfile::tempdir().unwrap();
    let some = SplitRows {
        train: 5,
        ..SplitRows::default()
    };
    write(
        foreign.path(),
        some,
        &schema(false),
        WriterOptions::default(),
        5,
    )
    .unwrap();
    let by_foreign = EncodeOptions {
        vocabulary: foreign.path().into(),
        ..options(&work, "train.txt", Unseen::Hash)
    };
    let error = encode(&by_foreign).unwrap_err();
    assert!(
        matches!(error, Error::Criteo(CriteoError::NotEncodable { .. })),
        "{error}"
    );
    assert_eq!(work.names(), ["out", "train.txt"]);
}

#[test]
fn rows_without_labels_and_in_other_forms_are_read() {
    let work = Workplace::new();
    work.file("train.txt", rows(700));
    prepare(&work.options(&["train.txt"])).unwrap();
    encode(&options(&work, "train.txt", Unseen::Unknown)).unwrap();
    let expected = samples(&work.path("encoded"), Split::Test);
    let labelled: Vec<String> = rows(700).lines().map(str::to_owned).collect();
    let unlabelled: Vec<String> = labelled.iter().map(|line| line[2..].to_owned()).collect();
    let with_id = |lines: &[String]| -> Vec<String> {
        let line = |(number, line)| format!("{}\t{line}", 60_000_000 + number);
        lines.iter().enumerate().map(line).collect()
    };
    let header = |first: &str| {
        let names = (1..=13)
            .map(|i| format!("I{i}"))
            .chain((1..=26).map(|c| format!("C{c}")));
        first.to_owned() + &names.collect::<Vec<_>>().join("\t")
    };
    let file = |header: Option<String>, lines: Vec<String>| {
        header
            .into_iter()
            .chain(lines)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let forms = [
        (true, file(None, labelled.clone())),
        (false, file(None, unlabelled.clone())),
        (false, file(Some(header("")), unlabelled.clone())),
        (true, file(Some(header("label\t")), labelled.clone())),
        (false, file(None, with_id(&unlabelled))),
        (false, file(Some(header("Id\t")), with_id(&unlabelled))),
        (true, file(None, with_id(&labelled))),
        (true, file(Some(header("Id\tLabel\t")), with_id(&labelled))),
    ];
    for (labels, text) in forms {
        let tabs = format!("{text}\n");
        for text in [
            tabs.replace('\t', ","),
            tabs.replace('\n', "\r\n"),
            format!("\u{feff}{text}"),
        ] {
            let front: String = text.chars().take(30).collect();
            work.file("new.csv", &text);
            let forced = EncodeOptions {
                force: true,
                ..options(&work, "new.csv", Unseen::Error)
            };
            let report = encode(&forced).unwrap();
            assert_eq!((report.rows, report.labels), (700, labels), "{front}");
            let found = samples(&work.path("encoded"), Split::Test);
            assert_eq!(found.sparse.ids, expected.sparse.ids, "{front}");
            assert_eq!(found.dense, expected.dense, "{front}");
            assert_eq!(found.label == expected.label, labels, "{front}");
            let data = PackedDataset::open(work.path("encoded")).unwrap();
            assert_eq!(data.has_labels(), labels);
        }
    }

    let broken = format!("{}\n{}\n", unlabelled[0], &unlabelled[1][5..]);
    work.file("broken.txt", broken.replace('\t', ","));
    let refused = |raw: &[&str]| {
        let raw = raw.iter().map(|name| work.path(name)).collect();
        let options = EncodeOptions {
            raw,
            force: true,
            ..options(&work, "new.csv", Unseen::Error)
        };
        encode(&options).unwrap_err().to_string()
    };
    let message = refused(&["broken.txt"]);
    assert!(
        message.contains("broken.txt, line 2, read as a row with a label"),
        "{message}"
    );
    work.file("unlabelled.txt", file(None, unlabelled));
    let message = refused(&["unlabelled.txt", "train.txt"]);
    assert!(message.contains("train.txt has labels and"), "{message}");
}
