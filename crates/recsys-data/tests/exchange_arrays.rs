//! Arrays of every type, in either order of elements and of bytes, and multi-hot ids.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;
mod taobao_text;

use criteo_text::{Workplace, samples};
use recsys_data::exchange::{ForeignIds, ForeignParts, ImportForeign, ImportFormat, ImportOptions};
use recsys_data::packed::PackedDataset;
use recsys_data::{Batch, Split};
use taobao_text::zip;

const SAMPLES: usize = 9_000;

/// An array of small numbers from 0 on, `[rows, columns]` in C order.
#[derive(Clone)]
struct Numbers {
    rows: usize,
    columns: usize,
    values: Vec<u8>,
}

impl Numbers {
    fn new(rows: usize, columns: usize, most: usize) -> Self {
        let value = |at: usize| ((at * at + at / 7) % most) as u8;
        Self {
            rows,
            columns,
            values: (0..rows * columns).map(value).collect(),
        }
    }

    /// As a NumPy array of that type.
    fn npy(&self, descr: &str, fortran: bool) -> Vec<u8> {
        let (rows, columns) = (self.rows, self.columns);
        let shape = match columns {
            1 => format!("{rows},"),
            _ => format!("{rows}, {columns}"),
        };
        let order = if fortran { "True" } else { "False" };
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({shape}), }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        for at in 0..rows * columns {
            let at = match fortran {
                true => at % rows * columns + at / rows,
                false => at,
            };
            bytes.extend(element(descr, self.values[at]));
        }
        bytes
    }

    fn transposed(&self) -> Self {
        let at = |at: usize| self.values[at % self.rows * self.columns + at / self.rows];
        Self {
            rows: self.columns,
            columns: self.rows,
            values: (0..self.values.len()).map(at).collect(),
        }
    }
}

fn element(descr: &str, value: u8) -> Vec<u8> {
    let size = usize::from(descr.as_bytes()[2] - b'0');
    let mut bytes = match &descr[1..] {
        "f8" => f64::from(value).to_le_bytes().to_vec(),
        "f4" => f32::from(value).to_le_bytes().to_vec(),
        // Whole numbers below 2 and below 2048 are simple enough to be put together here.
        "f2" if value == 0 => vec![0, 0],
        "f2" => {
            let exponent = value.ilog2() as u16;
            let fraction = (u16::from(value) << (10 - exponent)) & 0x3ff;
            ((exponent + 15) << 10 | fraction).to_le_bytes().to_vec()
        }
        _ => u64::from(value).to_le_bytes()[..size].to_vec(),
    };
    if descr.starts_with('>') {
        bytes.reverse();
    }
    bytes
}

fn import(place: &Workplace, format: ImportFormat, name: &str) -> Batch {
    let parts = ForeignParts::Named {
        train: vec![place.path(name)],
        validation: Vec::new(),
        test: Vec::new(),
    };
    let options = ImportOptions {
        ids: ForeignIds::Keep,
        force: true,
        ..ImportOptions::new(format, parts, place.path("out"))
    };
    ImportForeign::new(options.clone()).run(&()).unwrap();
    PackedDataset::open(&options.out).unwrap().verify().unwrap();
    samples(&options.out, Split::Train)
}

#[test]
fn arrays_of_every_type_and_order_hold_the_same_samples() {
    let labels = Numbers::new(SAMPLES, 1, 2);
    let dense = Numbers::new(SAMPLES, 3, 100);
    let ids = Numbers::new(SAMPLES, 4, 120);
    let place = Workplace::new();
    let mut expected = None;
    for (descr, of_labels) in [
        ("<i4", "|b1"),
        ("|i1", "|i1"),
        ("|u1", "|u1"),
        ("<i2", ">i2"),
        ("<u2", "<u2"),
        (">u4", "<u4"),
        ("<i8", "<i8"),
        (">u8", ">u8"),
        ("<f2", "<f2"),
        (">f2", "<f4"),
        ("<f4", "<f8"),
        (">f8", "<i4"),
    ] {
        for (fortran, deflate) in [(false, false), (true, false), (true, true)] {
            let arrays = [
                ("y.npy", &labels.npy(of_labels, false)[..]),
                ("X_int.npy", &dense.npy(descr, fortran)),
                ("X_cat.npy", &ids.npy(descr, fortran)),
            ];
            place.file("a.npz", zip(&arrays, deflate));
            let found = import(&place, ImportFormat::Npz, "a.npz");
            let expected = expected.get_or_insert_with(|| found.clone());
            assert!(found == *expected, "{descr} {fortran} {deflate}");
        }
    }
    let found = expected.unwrap();
    let values = |batch: &[u32]| batch.iter().map(|&id| id as u8).collect::<Vec<_>>();
    assert_eq!(values(&found.sparse.ids), ids.values);
    // A day before it was processed has its ids table by table.
    let arrays = [
        ("y.npy", &labels.npy("<i4", false)[..]),
        ("X_int.npy", &dense.npy("<i4", false)),
        ("X_cat_t.npy", &ids.transposed().npy("<i4", false)),
    ];
    place.file("a.npz", zip(&arrays, true));
    assert!(import(&place, ImportFormat::Npz, "a.npz") == found);
    let names = place.names();
    assert!(
        names.iter().all(|name| name == "a.npz" || name == "out"),
        "{names:?}"
    );
}

#[test]
fn triples_in_fortran_order_and_with_several_ids_are_read() {
    let place = Workplace::new();
    place.file(
        "d_labels.npy",
        Numbers::new(SAMPLES, 1, 2).npy("|b1", false),
    );
    let ids = [Numbers::new(SAMPLES, 2, 9), Numbers::new(SAMPLES, 3, 5)];
    for fortran in [false, true] {
        place.file(
            "d_dense.npy",
            Numbers::new(SAMPLES, 2, 9).npy("<f4", fortran),
        );
        let arrays = ids.each_ref().map(|ids| ids.npy("<i4", fortran));
        let arrays = [("0.npy", &arrays[0][..]), ("1.npy", &arrays[1])];
        place.file("d_sparse_multi_hot.npz", zip(&arrays, fortran));
        for name in ["d", "d_sparse_multi_hot.npz", "d_dense.npy"] {
            let found = import(&place, ImportFormat::TorchRec, name);
            assert_eq!(found.len(), SAMPLES);
            for sample in [0, 1, SAMPLES - 1] {
                for (table, ids) in ids.iter().enumerate() {
                    let bag = found.sparse.bag(sample * 2 + table);
                    let row = &ids.values[sample * ids.columns..][..ids.columns];
                    assert!(bag.iter().map(|&id| id as u8).eq(row.iter().copied()));
                }
            }
        }
    }
}

#[test]
fn errors_name_the_file_of_the_value() {
    let place = Workplace::new();
    place.file("d_sparse.npy", Numbers::new(4, 3, 3).npy("<i4", false));
    let dense = Numbers::new(4, 3, 3).npy("<f4", false);
    let labels = Numbers::new(4, 1, 2).npy("<i4", false);
    let mut infinite = dense.clone();
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
    let mut wrong = labels.clone();
    let end = wrong.len();
    wrong[end - 4..].copy_from_slice(&5i32.to_le_bytes());
    for (labels, dense, problem) in [
        (&labels, &infinite, "d_dense.npy, sample 3, column I3: -inf"),
        (&wrong, &dense, "d_labels.npy, sample 3, column label: 5"),
    ] {
        place.file("d_labels.npy", labels);
        place.file("d_dense.npy", dense);
        let parts = ForeignParts::Named {
            train: vec![place.path("d")],
            validation: Vec::new(),
            test: Vec::new(),
        };
        let options = ImportOptions::new(ImportFormat::TorchRec, parts, place.path("out"));
        let message = ImportForeign::new(options)
            .run(&())
            .unwrap_err()
            .to_string();
        assert!(message.contains(problem), "{message}");
    }
}
