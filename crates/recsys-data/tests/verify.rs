//! A check of a packed data set finds everything that is wrong with it, and says where.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;
mod numbered;

use std::path::{Path, PathBuf};

use criteo_text::{Workplace, prepare, rows};
use numbered::{mix, schema, schemas, write};
use recsys_data::packed::{Defect, Verify, VerifyReport, WriterOptions};
use recsys_data::{Split, SplitRows};

const ROWS: SplitRows = SplitRows {
    train: 1300,
    validation: 40,
    test: 0,
};
const FIRST: &str = "train-00000.safetensors";

fn data_set(multi_hot: bool) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("data");
    let options = WriterOptions {
        shard_rows: 1200,
        ..WriterOptions::default()
    };
    write(&out, ROWS, &schema(multi_hot), options, 333).unwrap();
    (folder, out)
}

fn verify(folder: &Path) -> VerifyReport {
    Verify::new(folder).run(&()).unwrap()
}

/// Defects of a file.
fn defects<'a>(report: &'a VerifyReport, file: &str) -> &'a [Defect] {
    let mut files = report.files.iter();
    &files.find(|report| report.file == file).unwrap().defects
}

/// Where the bytes of a tensor lie in a shard.
fn tensor_start(bytes: &[u8], name: &str) -> usize {
    let (header, metadata) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    8 + header + metadata.info(name).unwrap().data_offsets.0
}

fn change(path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn sound_data_sets_of_every_kind_have_no_defect() {
    for schema in schemas() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), ROWS, &schema, WriterOptions::default(), 100).unwrap();
        let report = verify(folder.path());
        assert!(report.is_sound(), "{report:?}");
        assert_eq!((report.rows, report.defects()), (ROWS, 0));
        assert_eq!(report.files.len(), 1 + 2 + schema.tables.len());
        assert!(report.unlisted.is_empty());
    }
}

#[test]
fn every_defect_of_every_file_is_listed_in_one_go() {
    let (_folder, out) = data_set(false);
    change(out.join(FIRST), |bytes| {
        let (label, ids) = (tensor_start(bytes, "label"), tensor_start(bytes, "ids"));
        // Both of the first two blocks, and a value out of range in the third one.
        bytes[label + 4 * 3] ^= 1;
        bytes[label + 4 * 600] ^= 1;
        bytes[ids + 4 * (4 * 1100 + 2)..][..4].copy_from_slice(&1000u32.to_le_bytes());
    });
    std::fs::remove_file(out.join("validation-00000.safetensors")).unwrap();
    change(out.join("vocabulary/C3.safetensors"), |bytes| {
        *bytes.last_mut().unwrap() ^= 0x80;
    });
    std::fs::write(out.join("notes.txt"), "mine").unwrap();
    let report = verify(&out);
    let first = defects(&report, FIRST);
    let of = |column: &str, samples, problem: &str| Defect {
        problem: problem.to_owned(),
        column: Some(column.to_owned()),
        samples: Some(samples),
    };
    assert_eq!(
        first,
        [
            of("label", (0, 1023), "does not match its checksum"),
            of("C3", (1100, 1100), "1000 is not allowed (ids 0 to 999)"),
            of("ids", (1024, 1199), "does not match its checksum"),
        ]
    );
    assert!(defects(&report, "train-00001.safetensors").is_empty());
    let missing = &defects(&report, "validation-00000.safetensors")[0].problem;
    assert!(missing.starts_with("cannot open"), "{missing}");
    assert_eq!(defects(&report, "vocabulary/C3.safetensors").len(), 1);
    assert!(defects(&report, "dataset.json").is_empty());
    assert_eq!(report.unlisted, ["notes.txt"]);
    assert_eq!((report.defects(), report.is_sound()), (5, false));
    assert_eq!(report.sources[0].name, "numbers.txt");
}

#[test]
fn a_long_list_is_cut_and_what_is_beyond_is_counted() {
    let (_folder, out) = data_set(false);
    change(out.join(FIRST), |bytes| {
        let dense = tensor_start(bytes, "dense");
        for sample in [0, 512, 1024] {
            bytes[dense + 12 * sample..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
    });
    let report = Verify::new(&out).with_most_defects(2).run(&()).unwrap();
    let file = report.files.iter().find(|file| file.file == FIRST).unwrap();
    // Three values, and one range of blocks whose checksum fails.
    assert_eq!((file.defects.len(), file.more), (2, 2));
    assert_eq!(report.defects(), 4);
}

#[test]
fn files_behind_a_damaged_manifest_are_checked_all_the_same() {
    let (_folder, out) = data_set(false);
    change(out.join("dataset.json"), |bytes| {
        let at = bytes.len() - 5;
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    });
    change(out.join(FIRST), |bytes| {
        let dense = tensor_start(bytes, "dense");
        bytes[dense] ^= 1;
    });
    let report = verify(&out);
    assert_eq!(defects(&report, "dataset.json").len(), 1);
    assert_eq!(defects(&report, FIRST).len(), 1, "{report:?}");
    assert!(defects(&report, "train-00001.safetensors").is_empty());
    // What is no JSON at all leaves nothing to compare with.
    change(out.join("dataset.json"), |bytes| bytes.truncate(100));
    let report = verify(&out);
    assert_eq!((report.files.len(), report.defects()), (1, 1));
}

#[test]
fn a_folder_without_a_data_set_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = Verify::new(folder.path()).run(&()).unwrap_err();
    assert!(error.to_string().contains("no dataset.json"), "{error}");
}

/// Whether a check finds something; a manifest of another format or version is refused altogether.
fn is_found(folder: &Path) -> bool {
    Verify::new(folder)
        .run(&())
        .map_or(true, |report| !report.is_sound())
}

#[test]
fn no_flipped_bit_of_any_byte_goes_unnoticed() {
    for multi_hot in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("data");
        let rows = SplitRows {
            train: 3,
            validation: 1,
            test: 0,
        };
        let mut schema = schema(multi_hot);
        schema.tables.truncate(2);
        write(&out, rows, &schema, WriterOptions::default(), 2).unwrap();
        assert!(!is_found(&out));
        let report = verify(&out);
        for file in &report.files {
            let path = out.join(&file.file);
            let mut bytes = std::fs::read(&path).unwrap();
            for byte in 0..bytes.len() {
                let bit = 1 << (mix(byte as u64) % 8);
                bytes[byte] ^= bit;
                std::fs::write(&path, &bytes).unwrap();
                assert!(is_found(&out), "{}: byte {byte}, bit {bit}", file.file);
                bytes[byte] ^= bit;
            }
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(!is_found(&out));
    }
}

#[test]
fn counts_of_a_preparation_are_compared_with_what_it_wrote() {
    let work = Workplace::new();
    work.file("train.txt", rows(1_400));
    let options = work.options(&["train.txt"]);
    prepare(&options).unwrap();
    let report = verify(&options.out);
    assert!(report.is_sound(), "{report:?}");
    let positives: u64 = report
        .files
        .iter()
        .map(|file| match file.content {
            recsys_data::packed::FileContent::Shard {
                split: Split::Train,
                positives,
                ..
            } => positives,
            _ => 0,
        })
        .sum();
    assert_eq!(positives, 300);

    // A writer that counts wrong: every checksum is right.
    let manifest = std::fs::read_to_string(options.out.join("dataset.json")).unwrap();
    let wrong = manifest.replace("\"clicks\": 300", "\"clicks\": 301");
    let (text, end) = wrong.split_at(wrong.len() - 20);
    let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    std::fs::write(
        options.out.join("dataset.json"),
        format!("{text}{hash:016x}{}", &end[16..]),
    )
    .unwrap();
    let report = verify(&options.out);
    let problem = &defects(&report, "dataset.json")[0].problem;
    assert_eq!(
        problem,
        "train has 300 positive samples, and the preparation counted 301"
    );
    assert_eq!(report.defects(), 1);
}
