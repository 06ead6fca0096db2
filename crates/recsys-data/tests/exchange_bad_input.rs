//! Files of other programs that are wrong: an error with the place, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;
mod taobao_text;

use std::path::PathBuf;

use criteo_text::Workplace;
use recsys_data::exchange::{
    DenseValues, ForeignCut, ForeignIds, ForeignParts, ImportForeign, ImportFormat, ImportOptions,
    TableMapping,
};
use taobao_text::zip;

/// A NumPy array of version `version` that holds `numbers` as `descr` says.
fn npy(version: u8, descr: &str, shape: &str, numbers: &[f64]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut bytes = [b"\x93NUMPY".as_slice(), &[version, 0]].concat();
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.as_bytes());
    for number in numbers {
        match descr {
            "<i4" => bytes.extend((*number as i32).to_le_bytes()),
            "<i8" => bytes.extend((*number as i64).to_le_bytes()),
            "<f4" => bytes.extend((*number as f32).to_le_bytes()),
            _ => bytes.extend(number.to_le_bytes()),
        }
    }
    bytes
}

/// Two samples with one dense value and two ids.
struct Arrays {
    y: Vec<u8>,
    x_int: Vec<u8>,
    x_cat: Vec<u8>,
    counts: Vec<u8>,
}

impl Arrays {
    fn good() -> Self {
        Self {
            y: npy(1, "<i4", "2,", &[0.0, 1.0]),
            x_int: npy(2, "<f4", "2, 1", &[3.0, -4.0]),
            x_cat: npy(3, "<f8", "2, 2", &[0.0, 5.0, 1.0, 5.0]),
            counts: npy(1, "<i8", "2,", &[2.0, 6.0]),
        }
    }

    fn npz(&self, deflate: bool) -> Vec<u8> {
        let members = [
            ("y.npy", self.y.as_slice()),
            ("X_int.npy", &self.x_int),
            ("X_cat.npy", &self.x_cat),
            ("counts.npy", &self.counts),
        ];
        zip(&members, deflate)
    }
}

fn options(place: &Workplace, format: ImportFormat, files: &[PathBuf]) -> ImportOptions {
    let parts = ForeignParts::InOrder {
        files: files.to_vec(),
        cut: ForeignCut::TimeOrdered,
    };
    ImportOptions::new(format, parts, place.path("out"))
}

/// The message of an import that fails and leaves nothing behind.
fn refused(place: &Workplace, options: ImportOptions) -> String {
    let before = place.names();
    let error = ImportForeign::new(options).run(&()).unwrap_err();
    assert_eq!(place.names(), before, "{error}");
    error.to_string()
}

#[test]
fn every_version_and_type_of_array_is_read() {
    let place = Workplace::new();
    for deflate in [false, true] {
        let file = place.file("a.npz", Arrays::good().npz(deflate));
        let mut options = options(&place, ImportFormat::Npz, &[file]);
        options.force = true;
        let report = ImportForeign::new(options).run(&()).unwrap();
        assert_eq!((report.rows, report.categories), (2, vec![2, 1]));
    }
}

#[test]
fn archives_with_wrong_arrays_are_named() {
    let good = Arrays::good;
    let change = |change: fn(&mut Arrays)| {
        let mut arrays = good();
        change(&mut arrays);
        arrays
    };
    let cases = [
        (
            change(|a| a.y = npy(1, "<i4", "2,", &[0.0, 2.0])),
            "sample 1, column label: 2 is no label",
        ),
        (
            change(|a| a.y = npy(1, "<f8", "2,", &[0.0, f64::NAN])),
            "sample 1, column label: NaN is no label",
        ),
        (
            change(|a| a.y = npy(1, "<i4", "3,", &[0.0; 3])),
            "X_int has shape [2, 1] instead of [3, 1]",
        ),
        (
            change(|a| a.y = npy(1, "<c8", "2,", &[])),
            "array y has elements of type <c8",
        ),
        (
            change(|a| a.y = npy(1, "<i4", "4611686018427387904, 4", &[])),
            "impossible shape",
        ),
        (
            change(|a| a.x_int = npy(1, "<f8", "2, 1", &[1.0, f64::NAN])),
            "sample 1, column I1: NaN is no integer",
        ),
        (
            change(|a| a.x_int = npy(1, "<f8", "2, 1", &[1.5, 0.0])),
            "`DenseValues::AsIs`",
        ),
        (
            change(|a| a.x_cat = npy(1, "<i4", "2, 2", &[0.0, 6.0, 0.0, 0.0])),
            "sample 0, column C2: 6 is beyond its table",
        ),
        (
            change(|a| a.x_cat = npy(1, "<i4", "2, 2", &[0.0, -1.0, 0.0, 0.0])),
            "column C2: -1 is no id",
        ),
        (
            change(|a| a.x_cat = npy(1, "<i4", "4,", &[0.0; 4])),
            "array X_cat has shape [4]",
        ),
        (
            change(|a| a.x_cat = npy(1, "<i4", "2, 2", &[0.0; 3])),
            "array X_cat is cut off",
        ),
        (
            change(|a| a.x_cat = npy(1, "<i4", "2, 2", &[0.0; 5])),
            "array X_cat is longer",
        ),
        (
            change(|a| a.counts = npy(1, "<i4", "3,", &[9.0; 3])),
            "counts are those of 3",
        ),
        (
            change(|a| a.counts = npy(1, "<f8", "2,", &[2.5; 2])),
            "2.5, which is no number",
        ),
    ];
    for (arrays, problem) in cases {
        let place = Workplace::new();
        let file = place.file("a.npz", arrays.npz(false));
        let message = refused(&place, options(&place, ImportFormat::Npz, &[file]));
        assert!(
            message.contains(problem) && message.contains("a.npz"),
            "{message}"
        );
    }
    let place = Workplace::new();
    let (a, b) = (
        good(),
        change(|a| a.counts = npy(1, "<i8", "2,", &[3.0, 6.0])),
    );
    let files = [
        place.file("a.npz", a.npz(false)),
        place.file("b.npz", b.npz(false)),
    ];
    let message = refused(&place, options(&place, ImportFormat::Npz, &files));
    assert!(message.contains("b.npz has other counts"), "{message}");
    let twice = [files[0].clone(), files[0].clone()];
    let message = refused(&place, options(&place, ImportFormat::Npz, &twice));
    assert!(message.contains("named twice"), "{message}");
}

#[test]
fn archives_cut_off_anywhere_are_refused() {
    for deflate in [false, true] {
        let whole = Arrays::good().npz(deflate);
        let place = Workplace::new();
        for length in 0..whole.len() {
            let file = place.file("cut.npz", &whole[..length]);
            refused(&place, options(&place, ImportFormat::Npz, &[file]));
        }
    }
}

#[test]
fn binaries_with_wrong_samples_are_named() {
    let sample = |change: (usize, i32)| -> Vec<u8> {
        let mut numbers = [1; 40];
        numbers[change.0] = change.1;
        numbers
            .iter()
            .flat_map(|number: &i32| number.to_le_bytes())
            .collect()
    };
    let good = sample((0, 0));
    for (bad, problem) in [
        (sample((0, 2)), "sample 1, column label: 2 is no label"),
        (sample((14, -1)), "sample 1, column C1: -1 is no id"),
        (good[..159].to_vec(), "319 bytes"),
        (good[..4].to_vec(), "164 bytes"),
    ] {
        let place = Workplace::new();
        let file = place.file("a.bin", [good.clone(), bad].concat());
        let message = refused(&place, options(&place, ImportFormat::MlPerf, &[file]));
        assert!(
            message.contains(problem) && message.contains("a.bin"),
            "{message}"
        );
    }
    let place = Workplace::new();
    let file = place.file("a.bin", &good);
    let mut bounded = options(&place, ImportFormat::MlPerf, &[file]);
    let counts = npy(1, "<i4", "26,", &[1.0; 26]);
    bounded.counts = Some(place.file("counts.npz", zip(&[("counts.npy", &counts)], false)));
    let message = refused(&place, bounded);
    assert!(
        message.contains("sample 0, column C1: 1 is beyond"),
        "{message}"
    );
}

#[test]
fn triples_with_wrong_arrays_are_named() {
    let write = |place: &Workplace, labels: &[u8], dense: &[u8], sparse: &[u8]| {
        place.file("d_labels.npy", labels);
        place.file("d_dense.npy", dense);
        place.file("d_sparse.npy", sparse);
        place.path("d")
    };
    let labels = npy(1, "<i4", "2, 1", &[0.0, 1.0]);
    let dense = npy(1, "<f4", "2, 1", &[0.5, -0.5]);
    let sparse = npy(1, "<i4", "2, 1", &[-7.0, 3.0]);
    let place = Workplace::new();
    let name = write(&place, &labels, &dense, &sparse);
    let kept = ImportOptions {
        ids: ForeignIds::Keep,
        ..options(&place, ImportFormat::TorchRec, std::slice::from_ref(&name))
    };
    let message = refused(&place, kept);
    assert!(
        message.contains("d_sparse.npy, sample 0, column C1: -7 is no id"),
        "{message}"
    );
    let ranked = options(&place, ImportFormat::TorchRec, std::slice::from_ref(&name));
    let data = {
        ImportForeign::new(ranked.clone()).run(&()).unwrap();
        recsys_data::packed::PackedDataset::open(&ranked.out).unwrap()
    };
    // A hash of 32 bits, as it was before it was written as a signed number.
    let vocabulary = data.vocabulary(0).unwrap().unwrap();
    assert_eq!(vocabulary.categories, [3, (-7_i32) as u32]);
    for length in 0..sparse.len() {
        let place = Workplace::new();
        let name = write(&place, &labels, &dense, &sparse[..length]);
        refused(&place, options(&place, ImportFormat::TorchRec, &[name]));
    }
    let place = Workplace::new();
    let infinite = npy(1, "<f4", "2, 1", &[0.5, f64::INFINITY]);
    let name = write(&place, &labels, &infinite, &sparse);
    let message = refused(&place, options(&place, ImportFormat::TorchRec, &[name]));
    assert!(
        message.contains("sample 1, column I1: inf is no finite"),
        "{message}"
    );
    std::fs::remove_file(place.path("d_sparse.npy")).unwrap();
    place.file("d_sparse_multi_hot.npz", "x");
    let name = place.path("d");
    let message = refused(&place, options(&place, ImportFormat::TorchRec, &[name]));
    assert!(message.contains("d_sparse_multi_hot.npz"), "{message}");
}

fn table(text: &str) -> ImportFormat {
    ImportFormat::Table(TableMapping::parse(text, "m.toml").unwrap())
}

#[test]
fn tables_with_wrong_rows_are_named() {
    const MAPPING: &str = "label = \"y\"\ndense = [\"x\"]\ncategorical = [\"c\", { column = \"h\", type = \"hex\" }]\n";
    for (rows, problem) in [
        ("y,x,c\n", "no column \"h\"; it has: y, x, c"),
        ("y,x,c,h\n2,1,1,a\n", "line 2, column y: \"2\" is no label"),
        (
            "y,x,c,h\n1,1,1,a\n0,nan,1,a\n",
            "line 3, column x: \"nan\" is no finite",
        ),
        ("y,x,c,h\n0,nan,1,a\n", "name it in csv.missing"),
        (
            "y,x,c,h\n1,one,1,a\n",
            "line 2, column x: \"one\" is no number",
        ),
        (
            "y,x,c,h\n1,1,-1,a\n",
            "line 2, column c: \"-1\" is no integer",
        ),
        (
            "y,x,c,h\n1,1,2.5,a\n",
            "line 2, column c: \"2.5\" is no integer",
        ),
        (
            "y,x,c,h\n1,1,1,xyz\n",
            "line 2, column h: \"xyz\" is no hexadecimal",
        ),
        (
            "y,x,c,h\n1,1,1\n",
            "line 2: has 3 fields, and the first line names 4",
        ),
        (
            "y,x,c,h\n1,1,1,a,\n",
            "line 2: has 5 fields, and the first line names 4",
        ),
        ("y,x,c,h\n", "no row"),
        ("y,x,c,h,x\n1,1,1,a,2\n", "two columns named \"x\""),
        (
            "y,x,c,h\n\n1,1,\"3,a\n1,1,4,a\n",
            "line 3: field 3 opens a quote",
        ),
        (
            "y,x,c,h\n1,1,\"3\"4,a\n",
            "line 2: field 3 has text after its closing quote",
        ),
        ("y,x,c,h\n1,\"1\n2\",3,a\n", "csv.multiline = true"),
        ("\u{feff}y,x,c,h\n7,1,1,a\n", "line 2, column y"),
    ] {
        let place = Workplace::new();
        let file = place.file("t.csv", rows);
        let message = refused(&place, options(&place, table(MAPPING), &[file]));
        assert!(message.contains(problem), "{rows:?}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let place = Workplace::new();
    let long = format!("y,x,c,h\n1,1,\"{}", "x".repeat(3 << 20));
    let file = place.file("t.csv", &long);
    let message = refused(
        &place,
        options(&place, table(MAPPING), std::slice::from_ref(&file)),
    );
    assert!(message.contains("line 2: is longer than"), "{message}");
    let lines = format!("y,x,c,h\n1,1,\"{}", "x\n".repeat(1 << 20));
    place.file("t.csv", &lines);
    let multiline = format!("{MAPPING}[csv]\nmultiline = true\n");
    let message = refused(&place, options(&place, table(&multiline), &[file]));
    assert!(
        message.contains("line 2: field 3 opens a quote"),
        "{message}"
    );
    let wide = place.file("wide.csv", b"\xff\xfey\0,\0x\0\n\0");
    let message = refused(&place, options(&place, table(MAPPING), &[wide]));
    assert!(message.contains("UTF-16"), "{message}");
    let kept = ImportOptions {
        ids: ForeignIds::Keep,
        dense: DenseValues::AsIs,
        ..options(
            &place,
            table(MAPPING),
            &[place.file("t.csv", "y,x,c,h\n1,1,,a\n")],
        )
    };
    let message = refused(&place, kept);
    assert!(
        message.contains("line 2, column c: a missing value is no id of 32 bits"),
        "{message}"
    );
}

#[test]
fn mappings_that_are_wrong_say_what_is_allowed() {
    for (text, problem) in [
        ("label = 1\n", "line 1"),
        ("label = \"y\"\nlabels = 3\n", "labels"),
        (
            "label = \"y\"\ndense = [{ column = \"x\", transform = \"sqrt\" }]\n",
            "log1p",
        ),
        (
            "label = \"y\"\ncategorical = [{ column = \"x\", type = \"float\" }]\n",
            "hex",
        ),
        ("label = \"y\"\n[csv]\nseparator = \"\"\n", "one character"),
        ("label = \"y\"\n[csv]\nseparator = \"\\n\"\n", "no line end"),
        (
            "label = { column = \"y\", at_least = 4, positive = [5] }\n",
            "label.at_least",
        ),
        (
            "label = { column = \"y\", negative = [5] }\n",
            "label.positive",
        ),
        (
            "label = { column = \"y\", positive = [\"5\"], negative = [5] }\n",
            "label.negative has too",
        ),
        ("label = { column = \"y\", least = 4 }\n", "at_least"),
        (
            "label = \"y\"\ndense = [{ column = \"x\", transform = { clip = [2, 1] } }]\n",
            "dense.transform",
        ),
        (
            "label = \"y\"\ndense = [{ column = \"x\", transform = { modulo = 0 } }]\n",
            "dense.transform",
        ),
        (
            "label = \"y\"\ndense = [\"x\"]\ncategorical = [\"x\"]\n",
            "two features named",
        ),
        (
            "label = \"y\"\ncategorical = [{ column = \"x\", merge_numbers = true }]\n",
            "merge_numbers",
        ),
        ("label = \"y\"\n[csv]\nquote = \"''\"\n", "ASCII"),
    ] {
        let error = TableMapping::parse(text, "m.toml").unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
}
