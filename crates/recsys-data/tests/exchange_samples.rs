//! Files written by NumPy and PyArrow (`exchange_samples/make.py`), imported.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;

use std::path::{Path, PathBuf};

use criteo_text::{Workplace, samples};
use recsys_data::exchange::{
    DenseValues, ForeignIds, ForeignParts, ImportForeign, ImportFormat, ImportOptions, TableMapping,
};
use recsys_data::packed::PackedDataset;
use recsys_data::{Batch, Result, Split};

const ROWS: usize = 14;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/exchange_samples")
        .join(name)
}

fn options(place: &Workplace, format: ImportFormat, name: &str) -> ImportOptions {
    let parts = ForeignParts::Named {
        train: vec![sample(name)],
        validation: Vec::new(),
        test: Vec::new(),
    };
    ImportOptions::new(format, parts, place.path("out"))
}

fn import(options: &ImportOptions) -> Result<Batch> {
    ImportForeign::new(options.clone()).run(&())?;
    Ok(samples(&options.out, Split::Train))
}

fn label(row: usize) -> f32 {
    f32::from(u8::from(row.is_multiple_of(3)))
}

fn integer(row: usize, column: usize) -> i32 {
    ((row * (column + 2)) % 7) as i32 * 10_i32.pow(column as u32)
}

/// The samples that all arrays hold, `[ROWS, tables]` ids among them.
fn arrays(dense: usize, tables: usize) -> Batch {
    let id = |row: usize, table: usize| ((row * row + table % 4) % (table % 4 + 3)) as u32;
    let mut batch = Batch::default();
    for row in 0..ROWS {
        batch.label.push(label(row));
        batch
            .dense
            .extend((0..dense).map(|column| (integer(row, column % 3) as f32 + 1.0).ln()));
        batch
            .sparse
            .ids
            .extend((0..tables).map(|table| id(row, table)));
    }
    batch
}

#[test]
fn archives_of_numpy_hold_the_same_samples_however_they_are_written() {
    for name in [
        "processed.npz",
        "compressed.npz",
        "reordered.npz",
        "not_contiguous.npz",
        "column_order.npz",
    ] {
        let place = Workplace::new();
        let options = ImportOptions {
            ids: ForeignIds::Keep,
            ..options(&place, ImportFormat::Npz, name)
        };
        assert_eq!(import(&options).unwrap(), arrays(3, 4), "{name}");
        let data = PackedDataset::open(&options.out).unwrap();
        let rows = data.schema().table_rows();
        assert!(
            rows == [3, 4, 5, 6] || name == "reordered.npz",
            "{name}: {rows:?}"
        );
    }
}

#[test]
fn archives_that_are_not_read_say_why() {
    for (name, problem) in [
        (
            "large_id.npz",
            "sample 0, column C1: 1099511627776 is no id",
        ),
        ("multi_hot.npz", "ImportFormat::TorchRec"),
    ] {
        let place = Workplace::new();
        let error = import(&options(&place, ImportFormat::Npz, name)).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(problem) && message.contains(name),
            "{message}"
        );
        assert!(place.names().is_empty());
    }
}

#[test]
fn the_binary_and_the_triple_of_numpy_hold_the_same_samples() {
    let place = Workplace::new();
    let mut binary = options(&place, ImportFormat::MlPerf, "mlperf.bin");
    binary.ids = ForeignIds::Keep;
    assert_eq!(import(&binary).unwrap(), arrays(13, 26));
    for name in ["day_0", "day_0_sparse.npy"] {
        let place = Workplace::new();
        let mut triple = options(&place, ImportFormat::TorchRec, name);
        triple.ids = ForeignIds::Keep;
        assert_eq!(triple.dense, DenseValues::AsIs);
        let (found, expected) = (import(&triple).unwrap(), arrays(3, 4));
        assert_eq!(
            (found.label, found.sparse),
            (expected.label, expected.sparse)
        );
        // NumPy's logarithm may differ from the standard library's in the last place.
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs();
        assert!(found.dense.iter().zip(&expected.dense).all(near));
    }
}

fn mapping() -> TableMapping {
    let text = std::fs::read_to_string(sample("mapping.toml")).unwrap();
    TableMapping::parse(&text, "mapping.toml").unwrap()
}

/// The categories of a sample in the tables of `mapping.toml`, as texts; none for a missing one.
fn categories(row: usize) -> [Vec<Option<String>>; 5] {
    let some = |text: String| vec![Some(text)];
    let shop = ["Grüße", "a \"b\"; c", "kiosk"][row % 3].to_owned();
    let hash = (row % 5) as u32 * 0x0bad_cafe;
    let numbers = [row % 3, 7].map(|number| Some(number.to_string()));
    [
        some(((1_u64 << 40) + row as u64 % 4).to_string()),
        if row % 7 == 6 { vec![None] } else { some(shop) },
        some(hash.to_string()),
        (0..row % 4).map(|tag| Some(format!("t{tag}"))).collect(),
        if row % 6 == 5 {
            Vec::new()
        } else {
            numbers.into()
        },
    ]
}

/// Compares an imported table with what `make.py` wrote, through the vocabularies.
fn check_table(name: &str) {
    let place = Workplace::new();
    let found = import(&options(&place, ImportFormat::Table(mapping()), name)).unwrap();
    let data = PackedDataset::open(place.path("out")).unwrap();
    data.verify().unwrap();
    assert_eq!(data.schema().dense, ["price", "age"]);
    let names: Vec<&str> = data
        .schema()
        .tables
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    assert_eq!(names, ["user", "shop", "hashed", "tags", "numbers"]);
    let vocabularies: Vec<_> = (0..5)
        .map(|table| data.vocabulary(table).unwrap().unwrap())
        .collect();
    for row in 0..ROWS {
        assert_eq!(found.label[row], label(row));
        let price = if row % 5 == 4 {
            0.0
        } else {
            (row as f32 / 4.0 + 1.0).ln()
        };
        assert_eq!(
            found.dense[2 * row..2 * row + 2],
            [price, (row * 3 % 11) as f32],
            "{name}"
        );
        for (table, expected) in categories(row).into_iter().enumerate() {
            let decode = |&id: &u32| match vocabularies[table].category(id).unwrap() {
                recsys_data::vocabulary::Category::Missing => None,
                category => Some(category.to_string()),
            };
            let found: Vec<_> = found
                .sparse
                .bag(row * 5 + table)
                .iter()
                .map(decode)
                .collect();
            assert_eq!(found, expected, "{name}, row {row}, table {table}");
        }
    }
}

#[test]
fn csv_holds_the_rows() {
    check_table("table.csv");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_and_arrow_files_of_pyarrow_hold_the_rows() {
    for name in [
        "snappy.parquet",
        "zstd.parquet",
        "plain.parquet",
        "batches.arrow",
        "lz4.feather",
        "zstd.feather",
    ] {
        check_table(name);
    }
}

#[cfg(feature = "parquet")]
#[test]
fn types_of_other_programs_are_numbers_texts_and_truth_values() {
    let text = std::fs::read_to_string(sample("kinds.toml")).unwrap();
    let mapping = TableMapping::parse(&text, "kinds.toml").unwrap();
    for name in [
        "kinds.parquet",
        "delta.parquet",
        "stream.arrow",
        "kinds.feather",
    ] {
        let place = Workplace::new();
        let format = ImportFormat::Table(mapping.clone());
        let found = import(&options(&place, format, name)).unwrap();
        let data = PackedDataset::open(place.path("out")).unwrap();
        for row in 0..ROWS {
            assert_eq!(found.label[row], label(row), "{name}");
            let price = match row % 5 {
                4 => 0.0,
                // With two digits, as decimals round: half to even.
                _ => {
                    let cents = (row as f64 * 25.0).round() / 100.0;
                    (cents as f32 + 1.0).ln()
                }
            };
            let width = if row % 4 == 3 { 0.0 } else { row as f32 + 0.5 };
            assert_eq!(
                found.dense[3 * row..3 * row + 3],
                [price, (row * 3 % 11) as f32, width],
                "{name}"
            );
            let shop = ["kiosk", "\\xff\\x00", "a\\\\b"][row % 3];
            let expected = [
                (row % 5 != 4).then(|| row.to_string()),
                Some(((1_u64 << 63) + row as u64 % 3).to_string()),
                Some((row % 2).to_string()),
                (row % 7 != 6).then(|| shop.to_owned()),
                Some(((row % 3) * 256 + 255).to_string()),
                Some((row % 4).to_string()),
            ];
            for (table, expected) in expected.into_iter().enumerate() {
                let vocabulary = data.vocabulary(table).unwrap().unwrap();
                let found = match vocabulary
                    .category(found.sparse.ids[row * 6 + table])
                    .unwrap()
                {
                    recsys_data::vocabulary::Category::Missing => None,
                    category => Some(category.to_string()),
                };
                assert_eq!(found, expected, "{name}, row {row}, table {table}");
            }
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_and_arrow_files_cut_off_anywhere_are_refused() {
    let text = std::fs::read_to_string(sample("kinds.toml")).unwrap();
    let mapping = TableMapping::parse(&text, "kinds.toml").unwrap();
    for name in ["kinds.parquet", "stream.arrow", "kinds.feather"] {
        let whole = std::fs::read(sample(name)).unwrap();
        let place = Workplace::new();
        for length in (1..whole.len()).step_by(7) {
            let mut options = options(&place, ImportFormat::Table(mapping.clone()), name);
            options.parts = ForeignParts::Named {
                train: vec![place.file(name, &whole[..length])],
                validation: Vec::new(),
                test: Vec::new(),
            };
            let error = ImportForeign::new(options).run(&()).unwrap_err();
            assert!(error.to_string().contains(name), "{length}: {error}");
        }
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_says_which_feature_it_needs() {
    let place = Workplace::new();
    let error = import(&options(
        &place,
        ImportFormat::Table(mapping()),
        "snappy.parquet",
    ))
    .unwrap_err();
    assert!(error.to_string().contains("feature `parquet`"), "{error}");
}

#[cfg(feature = "parquet")]
mod parquet_round_trip {
    use super::*;
    use criteo_text::{prepare, rows};
    use recsys_data::exchange::{ExportForeign, ExportFormat, ExportOptions};
    use recsys_data::packed::{PackedWriter, Provenance, WriterOptions};
    use recsys_data::{Schema, SparseIds, SplitRows, TableSchema};

    /// Exports, imports with both kinds of ids, and compares.
    fn round_trip(place: &Workplace, data: &Path, dense: DenseValues) {
        let files = place.path(&format!("files {dense:?}"));
        let export = ExportOptions {
            data: data.to_path_buf(),
            out: files.clone(),
            format: ExportFormat::Parquet,
            dense,
            layout: None,
        };
        ExportForeign::new(export).run(&()).unwrap();
        let text = std::fs::read_to_string(files.join("mapping.toml")).unwrap();
        let mapping = TableMapping::parse(&text, "mapping.toml").unwrap();
        for ids in [ForeignIds::Keep, ForeignIds::Rank] {
            let file = |name: &str| vec![files.join(name)];
            let parts = ForeignParts::Named {
                train: file("train.parquet"),
                validation: file("validation.parquet"),
                test: file("test.parquet"),
            };
            let out = place.path(&format!("back {dense:?} {ids:?}"));
            let options = ImportOptions {
                ids,
                ..ImportOptions::new(ImportFormat::Table(mapping.clone()), parts, out.clone())
            };
            ImportForeign::new(options).run(&()).unwrap();
            PackedDataset::open(&out).unwrap().verify().unwrap();
            for split in Split::ALL {
                assert_eq!(
                    samples(&out, split),
                    samples(data, split),
                    "{dense:?} {ids:?}"
                );
            }
        }
    }

    #[test]
    fn planted_rows_survive() {
        let place = Workplace::new();
        place.file("raw.txt", rows(20_000));
        let options = place.options(&["raw.txt"]);
        prepare(&options).unwrap();
        for dense in [DenseValues::AsIs, DenseValues::Log] {
            round_trip(&place, &options.out, dense);
        }
    }

    #[test]
    fn real_data_survives() {
        let Some(shared) = std::env::var_os("RECSYS_SHARED") else {
            println!("skipped: RECSYS_SHARED does not name the folder of the real data");
            return;
        };
        let place = Workplace::new();
        let mut options = place.options(&[]);
        options.raw = vec![PathBuf::from(shared).join("data/criteo_kaggle_sample.txt")];
        prepare(&options).unwrap();
        for dense in [DenseValues::AsIs, DenseValues::Log] {
            round_trip(&place, &options.out, dense);
        }
    }

    #[test]
    fn bags_of_any_size_survive() {
        let place = Workplace::new();
        let table = |name: &str, rows| TableSchema {
            name: name.to_owned(),
            rows,
        };
        let schema = Schema {
            dense: vec!["x".to_owned()],
            tables: vec![table("a", 3), table("b", 2)],
            multi_hot: true,
            sequence_length: None,
        };
        let rows = SplitRows {
            train: 3,
            validation: 3,
            test: 3,
        };
        let out = place.path("packed");
        let mut writer =
            PackedWriter::create(&out, schema, rows, WriterOptions::default()).unwrap();
        let batch = Batch {
            label: vec![0.0, 1.0, 0.25],
            dense: vec![0.5, -1.0, 2.0],
            sparse: SparseIds {
                ids: vec![0, 0, 1, 0, 2, 0, 1],
                offsets: vec![0, 3, 3, 3, 4, 5, 7],
            },
        };
        for split in Split::ALL {
            writer.append(split, &batch).unwrap();
        }
        writer.finish(Provenance::default()).unwrap();
        round_trip(&place, &out, DenseValues::AsIs);
    }
}
