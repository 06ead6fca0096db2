//! Packed data sets exported to the formats of other programs and imported again: the same samples, bit for bit.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;

use std::path::{Path, PathBuf};

use criteo_text::{Workplace, contents, prepare, rows, samples};
use recsys_data::criteo::{Numbering, PrepareOptions};
use recsys_data::exchange::Error as ExchangeError;
use recsys_data::exchange::{
    DenseValues, ExportForeign, ExportFormat, ExportLayout, ExportOptions, ForeignIds,
    ForeignParts, ImportForeign, ImportFormat, ImportOptions, Rerank, RerankOptions,
};
use recsys_data::packed::PackedDataset;
use recsys_data::{Error, RankOn, Split};

/// Exports a data set and returns the files of train, validation and test.
fn export(data: &Path, out: &Path, format: ExportFormat, dense: DenseValues) -> [PathBuf; 3] {
    let options = ExportOptions {
        data: data.to_path_buf(),
        out: out.to_path_buf(),
        format,
        dense,
        layout: match format {
            ExportFormat::Npz | ExportFormat::TorchRec => Some(ExportLayout::Splits),
            _ => None,
        },
    };
    let report = ExportForeign::new(options).run(&()).unwrap();
    for file in &report.files {
        assert_eq!(out.join(&file.name).metadata().unwrap().len(), file.bytes);
    }
    let names = match format {
        ExportFormat::Npz => ["train.npz", "validation.npz", "test.npz"],
        ExportFormat::MlPerf => ["train", "val", "test"],
        _ => ["train", "validation", "test"],
    };
    names.map(|name| match format {
        ExportFormat::MlPerf => out.join(format!("terabyte_processed_{name}.bin")),
        _ => out.join(name),
    })
}

fn import(
    files: [PathBuf; 3],
    out: &Path,
    format: ExportFormat,
    dense: DenseValues,
    ids: ForeignIds,
) {
    let counts = files[0].with_file_name("day_fea_count.npz");
    let format = match format {
        ExportFormat::Npz => ImportFormat::Npz,
        ExportFormat::MlPerf => ImportFormat::MlPerf,
        _ => ImportFormat::TorchRec,
    };
    let [train, validation, test] = files.map(|file| vec![file]);
    let parts = ForeignParts::Named {
        train,
        validation,
        test,
    };
    let options = ImportOptions {
        dense,
        ids,
        counts: counts.exists().then_some(counts),
        ..ImportOptions::new(format, parts, out.to_path_buf())
    };
    ImportForeign::new(options).run(&()).unwrap();
}

const WAYS: [(ExportFormat, DenseValues); 4] = [
    (ExportFormat::Npz, DenseValues::Log),
    (ExportFormat::Npz, DenseValues::AsIs),
    (ExportFormat::MlPerf, DenseValues::Log),
    (ExportFormat::TorchRec, DenseValues::AsIs),
];

/// Takes a data set with rank ids through every format; ids that stay and ids that are ranked again are the same.
fn round_trips(place: &Workplace, data: &Path) {
    let expected = Split::ALL.map(|split| samples(data, split));
    let tables = PackedDataset::open(data).unwrap().schema().tables.clone();
    for (number, (format, dense)) in WAYS.into_iter().enumerate() {
        let files = export(data, &place.path(&format!("files {number}")), format, dense);
        for ids in [ForeignIds::Keep, ForeignIds::Rank] {
            let out = place.path(&format!("back {number} {ids:?}"));
            import(files.clone(), &out, format, dense, ids);
            let back = PackedDataset::open(&out).unwrap();
            back.verify().unwrap();
            assert_eq!(
                Split::ALL.map(|split| samples(&out, split)),
                expected,
                "{format:?} {ids:?}"
            );
            if ids == ForeignIds::Rank {
                for table in 0..tables.len() {
                    let vocabulary = back.vocabulary(table).unwrap().unwrap();
                    assert!(vocabulary.counts.is_sorted_by(|a, b| a >= b));
                }
            } else {
                let rows = |tables: &[recsys_data::TableSchema]| {
                    tables.iter().map(|table| table.rows).collect::<Vec<_>>()
                };
                let counted = format != ExportFormat::TorchRec;
                assert!(!counted || rows(&back.schema().tables) == rows(&tables));
            }
        }
    }
}

#[test]
fn planted_rows_survive_every_format() {
    let place = Workplace::new();
    place.file("raw.txt", rows(20_000));
    let options = place.options(&["raw.txt"]);
    prepare(&options).unwrap();
    let data = options.out;
    round_trips(&place, &data);
}

#[test]
fn real_data_survives_every_format() {
    let Some(shared) = std::env::var_os("RECSYS_SHARED") else {
        println!("skipped: RECSYS_SHARED does not name the folder of the real data");
        return;
    };
    let place = Workplace::new();
    let options = PrepareOptions {
        raw: vec![PathBuf::from(shared).join("data/criteo_kaggle_sample.txt")],
        out: place.path("out"),
        ..PrepareOptions::default()
    };
    prepare(&options).unwrap();
    round_trips(&place, &options.out);
}

#[test]
fn other_ids_become_ranks_and_the_vocabulary_follows() {
    let place = Workplace::new();
    place.file("raw.txt", rows(3_000));
    let reference = PrepareOptions {
        ids: Numbering::Reference,
        ..place.options(&["raw.txt"])
    };
    prepare(&reference).unwrap();
    let out = place.path("ranked");
    let rerank = |data: &Path, out: &Path| {
        let options = RerankOptions {
            data: data.to_path_buf(),
            out: out.to_path_buf(),
            rank_on: RankOn::default(),
            force: false,
            shard_rows: 1_000,
        };
        Rerank::new(options).run(&()).unwrap()
    };
    let report = rerank(&reference.out, &out);
    assert_eq!(report.rows, 3_000);
    let [before, after] = [&reference.out, &out].map(|folder| PackedDataset::open(folder).unwrap());
    after.verify().unwrap();
    assert_eq!(before.schema(), after.schema());
    let vocabularies = |data: &PackedDataset| -> Vec<_> {
        (0..26)
            .map(|table| data.vocabulary(table).unwrap().unwrap())
            .collect()
    };
    let (old, new) = (vocabularies(&before), vocabularies(&after));
    for split in Split::ALL {
        let (before, after) = (samples(&reference.out, split), samples(&out, split));
        assert_eq!((&before.label, &before.dense), (&after.label, &after.dense));
        for (at, (&a, &b)) in before.sparse.ids.iter().zip(&after.sparse.ids).enumerate() {
            assert_eq!(old[at % 26].category(a), new[at % 26].category(b));
        }
    }
    for vocabulary in &new {
        assert!(vocabulary.counts.is_sorted_by(|a, b| a >= b));
    }
    let again = place.path("again");
    rerank(&out, &again);
    for split in Split::ALL {
        assert_eq!(samples(&out, split), samples(&again, split));
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let place = Workplace::new();
    place.file("raw.txt", rows(10_000));
    let options = place.options(&["raw.txt"]);
    prepare(&options).unwrap();
    let data = options.out;
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let (files, out) = (
            place.path(&format!("files{threads}")),
            place.path(&format!("back{threads}")),
        );
        pool.install(|| {
            let names = export(&data, &files, ExportFormat::Npz, DenseValues::Log);
            import(
                names,
                &out,
                ExportFormat::Npz,
                DenseValues::Log,
                ForeignIds::Rank,
            );
        });
        (contents(&files), contents(&out))
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn what_a_format_cannot_hold_is_named() {
    let place = Workplace::new();
    let line = |dense: &str| format!("1\t{dense}{}{}\n", "\t".repeat(12), "\tab".repeat(26));
    place.file(
        "raw.txt",
        (0..20)
            .map(|row| line(&row.to_string()))
            .collect::<String>(),
    );
    let options = place.options(&["raw.txt"]);
    prepare(&options).unwrap();
    let data = options.out;
    let run = |format, dense, out: &str| {
        let options = ExportOptions {
            data: data.clone(),
            out: place.path(out),
            format,
            dense,
            layout: None,
        };
        ExportForeign::new(options)
            .run(&())
            .unwrap_err()
            .to_string()
    };
    assert!(run(ExportFormat::MlPerf, DenseValues::AsIs, "x").contains("DenseValues::Log"));
    assert!(run(ExportFormat::TorchRec, DenseValues::Log, "x").contains("DenseValues::AsIs"));
    place.file("kept", "");
    std::fs::create_dir(place.path("full")).unwrap();
    place.file("full/kept", "");
    assert!(run(ExportFormat::Npz, DenseValues::Log, "full").contains("choose another folder"));
    let files = export(
        &data,
        &place.path("files"),
        ExportFormat::Npz,
        DenseValues::Log,
    );
    // Integers taken for what they are have no logarithm to invert.
    let back = place.path("back");
    import(
        files,
        &back,
        ExportFormat::Npz,
        DenseValues::AsIs,
        ForeignIds::Keep,
    );
    let options = ExportOptions {
        data: back,
        out: place.path("lost"),
        format: ExportFormat::Npz,
        dense: DenseValues::Log,
        layout: Some(ExportLayout::Splits),
    };
    let error = ExportForeign::new(options).run(&()).unwrap_err();
    let Error::Exchange(ExchangeError::ValueNotExportable {
        split,
        sample,
        column,
        value,
        ..
    }) = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (*split, *sample, column.as_str(), value.as_str()),
        (Split::Train, 1, "I1", "1")
    );
    assert!(error.to_string().contains("DenseValues::AsIs"));
    assert!(!place.path("lost").exists());
    assert!(!place.names().iter().any(|name| name.contains("partial")));
}

/// Exports into `out` and returns the report's notes.
fn export_days(data: &Path, out: &Path, format: ExportFormat, layout: ExportLayout) -> Vec<String> {
    let options = ExportOptions {
        data: data.to_path_buf(),
        out: out.to_path_buf(),
        format,
        dense: format.usual_dense(),
        layout: Some(layout),
    };
    ExportForeign::new(options).run(&()).unwrap().notes
}

#[test]
fn days_hold_training_samples_in_order_and_both_halves_of_the_last() {
    let place = Workplace::new();
    // 6,000 rows train, and 500 each validate and test.
    place.file("raw.txt", rows(7_000));
    let options = place.options(&["raw.txt"]);
    prepare(&options).unwrap();
    let expected = Split::ALL.map(|split| samples(&options.out, split));
    let [train, validation, test] = &expected;
    let all = |last: [&recsys_data::Batch; 2]| {
        let labels = [&train.label, &last[0].label, &last[1].label];
        labels.map(|labels| labels.as_slice()).concat()
    };
    let days = |folder: &Path, ending: &str| -> Vec<PathBuf> {
        let day = |day: u64| folder.join(format!("day_{day}{ending}"));
        (0..24).map(day).collect()
    };
    let kaggle = place.path("kaggle");
    let notes = export_days(
        &options.out,
        &kaggle,
        ExportFormat::Npz,
        ExportLayout::Kaggle,
    );
    assert!(notes.is_empty(), "{notes:?}");
    let terabyte = place.path("terabyte");
    export_days(
        &options.out,
        &terabyte,
        ExportFormat::Npz,
        ExportLayout::Terabyte,
    );
    let torchrec = place.path("torchrec");
    export_days(
        &options.out,
        &torchrec,
        ExportFormat::TorchRec,
        ExportLayout::Terabyte,
    );
    for name in ["train_day_count.npz", "train_fea_count.npz"] {
        assert!(kaggle.join(name).exists(), "{name}");
    }
    for name in ["day_day_count.npz", "day_fea_count.npz"] {
        assert!(terabyte.join(name).exists(), "{name}");
    }
    // The original tests with the first half of the last day, TorchRec with the second.
    for (format, files, labels) in [
        (
            ImportFormat::Npz,
            vec![kaggle.join("kaggleAdDisplayChallenge_processed.npz")],
            all([test, validation]),
        ),
        (
            ImportFormat::Npz,
            days(&terabyte, "_reordered.npz"),
            all([test, validation]),
        ),
        (
            ImportFormat::TorchRec,
            days(&torchrec, ""),
            all([validation, test]),
        ),
    ] {
        let parts = ForeignParts::Named {
            train: files,
            validation: Vec::new(),
            test: Vec::new(),
        };
        let options = ImportOptions {
            ids: ForeignIds::Keep,
            force: true,
            ..ImportOptions::new(format, parts, place.path("back"))
        };
        ImportForeign::new(options).run(&()).unwrap();
        assert_eq!(samples(&place.path("back"), Split::Train).label, labels);
    }
}

#[test]
fn integers_that_share_a_logarithm_are_counted() {
    let place = Workplace::new();
    let line = |dense: i32| format!("1\t{dense}{}{}\n", "\t".repeat(12), "\tab".repeat(26));
    let numbers = [0, 7, 1_000_000, 1_312_407, 1_312_406, i32::MAX];
    place.file("raw.txt", numbers.map(line).concat());
    let options = place.options(&["raw.txt"]);
    prepare(&options).unwrap();
    let export = ExportOptions {
        data: options.out,
        out: place.path("files"),
        format: ExportFormat::Npz,
        dense: DenseValues::Log,
        layout: None,
    };
    assert_eq!(ExportForeign::new(export).run(&()).unwrap().inexact, 3);
}
