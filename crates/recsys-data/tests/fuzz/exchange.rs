//! Files of other programs.

use std::path::Path;

use recsys_data::exchange::{
    ForeignCut, ForeignParts, ImportForeign, ImportFormat, ImportOptions, TableMapping,
    parse_mlperf,
};
use recsys_data::packed::PackedDataset;
use testing::fuzzing::{Check, Target};

use crate::sequences::npy;
use crate::taobao_text::{Workplace, zip};

/// Samples of a file.
const SAMPLES: usize = 14;
const MAPPING: &str =
    "label = \"y\"\ndense = [\"x\"]\ncategorical = [\"c\", { column = \"h\", type = \"hex\" }]\n";

pub(crate) fn targets() -> Vec<Target<'static>> {
    let table = TableMapping::parse(MAPPING, "mapping").unwrap();
    let rows = (0..SAMPLES).map(|row| format!("{},{row}.5,{},{:x}\n", row % 2, row % 5, row * 31));
    let csv: String = ["y,x,c,h\n".to_owned()].into_iter().chain(rows).collect();
    let mut targets = vec![
        Target {
            name: "MLPerf samples",
            seeds: vec![mlperf()],
            executions: 5_000,
            check: Box::new(|bytes| parse_mlperf(bytes).is_ok()),
        },
        target("MLPerf binary", "day.bin", ImportFormat::MlPerf, mlperf()),
        target("npz of clicks", "day.npz", ImportFormat::Npz, npz(false)),
        target("npz by columns", "day.npz", ImportFormat::Npz, npz(true)),
        target(
            "TorchRec ids",
            "d_sparse.npy",
            ImportFormat::TorchRec,
            ids(),
        ),
        target(
            "TorchRec multi-hot ids",
            "m_sparse_multi_hot.npz",
            ImportFormat::TorchRec,
            zip(&[("0.npy", &ids()), ("1.npy", &ids())], false),
        ),
        target(
            "CSV",
            "day.csv",
            ImportFormat::Table(table),
            csv.into_bytes(),
        ),
        Target {
            name: "mapping of columns",
            seeds: vec![
                MAPPING.into(),
                format!("{MAPPING}[csv]\nseparator = \";\"\n").into(),
            ],
            executions: 1_000,
            check: Box::new(|text| {
                let mapping = TableMapping::parse(&String::from_utf8_lossy(text), "mine.toml");
                mapping.is_ok()
            }),
        },
    ];
    if cfg!(feature = "parquet") {
        targets.extend(columns());
    }
    targets
}

/// Parquet and Arrow, of every encoding and compression that the samples have.
fn columns() -> [Target<'static>; 2] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exchange_samples");
    let mapping = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        ImportFormat::Table(TableMapping::parse(&text, name).unwrap())
    };
    let (tables, kinds) = (mapping("mapping.toml"), mapping("kinds.toml"));
    let target = |name, file, files: [&str; 5]| {
        let seeds = files.map(|file| std::fs::read(folder.join(file)).unwrap());
        let (mut of_tables, mut of_kinds) = (
            importer(file, tables.clone()),
            importer(file, kinds.clone()),
        );
        Target {
            name,
            seeds: seeds.to_vec(),
            executions: 500,
            check: Box::new(move |bytes| {
                let is_table = of_tables(bytes);
                of_kinds(bytes) || is_table
            }),
        }
    };
    [
        target(
            "Parquet",
            "day.parquet",
            [
                "snappy.parquet",
                "zstd.parquet",
                "plain.parquet",
                "kinds.parquet",
                "delta.parquet",
            ],
        ),
        target(
            "Arrow IPC",
            "day.arrow",
            [
                "batches.arrow",
                "lz4.feather",
                "zstd.feather",
                "stream.arrow",
                "kinds.feather",
            ],
        ),
    ]
}

fn target(
    name: &'static str,
    file: &'static str,
    format: ImportFormat,
    seed: Vec<u8>,
) -> Target<'static> {
    Target {
        name,
        seeds: vec![seed],
        executions: 60,
        check: importer(file, format),
    }
}

fn importer(file: &'static str, format: ImportFormat) -> Check<'static> {
    let place = Workplace::new();
    let parts = ForeignParts::InOrder {
        files: vec![place.path(file)],
        cut: ForeignCut::TimeOrdered,
    };
    let options = ImportOptions::new(format, parts, place.path("out"));
    // The other files of a triple are whole.
    if let Some((name, _)) = file.split_once("_sparse") {
        let zeros = |count: usize| (0..count).map(|_| [0; 4]);
        let labels = npy("<i4", &format!("{SAMPLES}, 1"), zeros(SAMPLES));
        place.file(&format!("{name}_labels.npy"), labels);
        let dense = npy("<f4", &format!("{SAMPLES}, 2"), zeros(2 * SAMPLES));
        place.file(&format!("{name}_dense.npy"), dense);
    }
    let others = place.names();
    let stem = file.split('_').next().unwrap_or(file);
    Box::new(move |input| {
        place.file(file, input);
        match ImportForeign::new(options.clone()).run(&()) {
            Ok(_) => {
                PackedDataset::open(&options.out).unwrap().verify().unwrap();
                std::fs::remove_dir_all(&options.out).unwrap();
                true
            }
            Err(error) => {
                let mut left = place.names();
                left.retain(|name| name != file && !others.contains(name));
                assert!(left.is_empty(), "{left:?} was left behind");
                let message = error.to_string();
                assert!(
                    message.contains(stem) || message.contains("no row is left"),
                    "{message}"
                );
                false
            }
        }
    })
}

/// Label, 13 dense values and 26 ids of every sample.
fn mlperf() -> Vec<u8> {
    let value = |place: usize| {
        if place.is_multiple_of(40) {
            place / 40 % 2
        } else {
            place % 37
        }
    };
    let values = (0..SAMPLES * 40).map(value);
    values
        .flat_map(|value| (value as i32).to_le_bytes())
        .collect()
}

/// `[SAMPLES, 3]` ids.
fn ids() -> Vec<u8> {
    let numbers = (0..3 * SAMPLES).map(|place| (place as i32 % 5).to_le_bytes());
    npy("<i4", &format!("{SAMPLES}, 3"), numbers)
}

/// `X_int`, `X_cat` and `y` of the original's clicks.
fn npz(by_columns: bool) -> Vec<u8> {
    let numbers = |count: usize| (0..count).map(|place| (place as i32 % 2).to_le_bytes());
    let mut arrays = [
        (
            "X_int.npy",
            npy("<i4", &format!("{SAMPLES}, 13"), numbers(SAMPLES * 13)),
        ),
        (
            "X_cat.npy",
            npy("<i4", &format!("{SAMPLES}, 26"), numbers(SAMPLES * 26)),
        ),
        (
            "y.npy",
            npy("<i4", &format!("{SAMPLES},"), numbers(SAMPLES)),
        ),
    ];
    if by_columns {
        let at = |bytes: &[u8]| bytes.windows(5).position(|part| part == b"False").unwrap();
        for (_, array) in &mut arrays[..2] {
            let start = at(array);
            array[start..start + 5].copy_from_slice(b"True ");
        }
    }
    zip(
        &arrays
            .each_ref()
            .map(|(name, bytes)| (*name, bytes.as_slice())),
        false,
    )
}
