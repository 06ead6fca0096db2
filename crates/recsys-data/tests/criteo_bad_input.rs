//! Bad input: the message names file, line, column and remedy, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;

use std::io::Write;

use criteo_text::{Workplace, prepare, row, rows};
use recsys_data::Error;
use recsys_data::criteo::{PrepareCriteo, PrepareOptions};
use recsys_data::packed::Error as PackedError;
use recsys_data::progress::{Progress, Stage};
use recsys_data::text::BadRows;
use recsys_data::text::Error as TextError;

/// Prepares one file that must be refused; returns the message, after a look that nothing was left.
fn refusal(name: &str, content: impl AsRef<[u8]>) -> String {
    let place = Workplace::new();
    place.file(name, content);
    let error = prepare(&place.options(&[name])).expect_err("bad input was taken");
    assert_eq!(place.names(), [name], "something was left behind");
    let message = error.to_string();
    assert!(message.contains(name), "the file is not named: {message}");
    message
}

/// 30 good rows with `line` as line 21.
fn with_line(line: &[u8]) -> Vec<u8> {
    let mut text = rows(20).into_bytes();
    text.extend_from_slice(line);
    text.push(b'\n');
    text.extend_from_slice(rows(10).as_bytes());
    text
}

fn with_field(field: usize, text: &str) -> Vec<u8> {
    let row = row(1);
    let mut fields: Vec<&str> = row.split('\t').collect();
    fields[field] = text;
    with_line(fields.join("\t").as_bytes())
}

#[test]
fn bad_fields_are_named_with_line_column_text_and_remedy() {
    let cases: [(usize, &str, &str); 6] = [
        (0, "2", "label (field 1) is \"2\""),
        (
            3,
            "1.5",
            "I3 (field 4) is \"1.5\", which is no decimal integer",
        ),
        (
            13,
            "99999999999",
            "I13 (field 14) is \"99999999999\", which does not fit",
        ),
        (
            14,
            "xyz",
            "C1 (field 15) is \"xyz\", which is not hexadecimal",
        ),
        (
            39,
            "123456789",
            "C26 (field 40) is \"123456789\", which has more than 8",
        ),
        (20, "a b", "C7 (field 21) is \"a b\""),
    ];
    for (field, text, expected) in cases {
        let message = refusal("train.txt", with_field(field, text));
        assert!(
            message.contains("line 21: ") && message.contains(expected),
            "{message}"
        );
        assert!(message.contains("BadRows::Skip"), "{message}");
    }
}

#[test]
fn bad_lines_are_named_with_their_number() {
    let good = row(1);
    let cases: [(Vec<u8>, &str); 7] = [
        (
            b"1\t2\t3".to_vec(),
            "3 fields separated by TAB instead of 40",
        ),
        (format!("{good}\t").into_bytes(), "41 fields"),
        (Vec::new(), "the line is empty"),
        (format!("{good}\0").into_bytes(), "NUL byte"),
        ([good.as_bytes(), b"\xff"].concat(), "no UTF-8"),
        (
            good.replacen('\t', "\r\t", 1).into_bytes(),
            "carriage return",
        ),
        (vec![b'1'; 2 << 20], "longer than 1048576 bytes"),
    ];
    for (line, expected) in cases {
        let message = refusal("train.txt", with_line(&line));
        assert!(
            message.contains("line 21: ") && message.contains(expected),
            "{message}"
        );
        assert!(message.len() < 600, "{message}");
    }
}

/// Holds the text of [`a_line_of_100_mb_is_refused`] as it is stored: a few kilobytes.
#[test]
fn a_line_of_100_mb_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(rows(3).as_bytes()).unwrap();
    let piece = vec![b'1'; 1 << 20];
    for _ in 0..100 {
        encoder.write_all(&piece).unwrap();
    }
    let message = refusal("train.txt.zst", encoder.finish().unwrap());
    assert!(message.contains("line 4: the line is longer"), "{message}");
}

#[test]
fn the_first_bad_row_of_the_text_is_the_one_reported() {
    let mut text = rows(40_000);
    text.push_str("first\n");
    text.push_str(&rows(20_000));
    text.push_str("second\n");
    let message = refusal("train.txt", text);
    assert!(message.contains("line 40001: "), "{message}");
}

#[test]
fn files_that_are_none_are_named() {
    let place = Workplace::new();
    assert!(matches!(
        prepare(&place.options(&["absent.txt"])),
        Err(Error::Io { .. })
    ));
    std::fs::create_dir(place.path("folder")).unwrap();
    assert!(matches!(
        prepare(&place.options(&["folder"])),
        Err(Error::Text(TextError::NotAFile { .. }))
    ));
    place.file("empty.txt", "");
    assert!(matches!(
        prepare(&place.options(&["empty.txt"])),
        Err(Error::Text(TextError::EmptyFile { .. }))
    ));
    place.file("empty.zst", zstd::encode_all(&b""[..], 1).unwrap());
    assert!(matches!(
        prepare(&place.options(&["empty.zst"])),
        Err(Error::Text(TextError::EmptyFile { .. }))
    ));
    assert!(matches!(
        prepare(&place.options(&[])),
        Err(Error::InvalidOption { .. })
    ));
    assert!(!place.path("out").exists());
}

#[test]
fn text_under_the_name_of_a_compressed_file_is_suspicious() {
    let message = refusal("train.txt.gz", rows(5));
    assert!(
        message.contains("gzip") && message.contains("uncompressed"),
        "{message}"
    );
}

#[test]
fn damaged_streams_are_told_from_bad_rows() {
    let text = rows(20_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let zstandard = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, stream) in [("train.gz", gzip), ("train.zst", zstandard)] {
        let message = refusal(name, &stream[..stream.len() - 5]);
        assert!(message.contains("cut off"), "{message}");
        let message = refusal(name, &stream[..stream.len() / 2]);
        assert!(
            message.contains("cut off") && message.contains("line "),
            "{message}"
        );
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(rows(100).as_bytes()).unwrap();
    let mut gzip = encoder.finish().unwrap();
    let checksum = gzip.len() - 8;
    gzip[checksum] ^= 1;
    let message = refusal("train.gz", gzip);
    assert!(message.contains("damaged"), "{message}");
}

#[test]
fn a_file_without_one_good_row_is_refused() {
    let place = Workplace::new();
    place.file("train.txt", "a\nb\nc\n");
    let options = PrepareOptions {
        bad_rows: BadRows::Skip,
        ..place.options(&["train.txt"])
    };
    assert!(matches!(
        prepare(&options),
        Err(Error::Text(TextError::NoRows { skipped: 3 }))
    ));
    assert_eq!(place.names(), ["train.txt"]);
}

#[test]
fn an_output_that_holds_something_is_refused_before_any_work() {
    let place = Workplace::new();
    place.file("train.txt", rows(20));
    let options = place.options(&["train.txt"]);
    std::fs::create_dir(&options.out).unwrap();
    std::fs::write(options.out.join("mine"), "precious").unwrap();
    let error = prepare(&options).expect_err("an output was overwritten");
    assert!(
        matches!(error, Error::Packed(PackedError::OutputExists { .. })),
        "{error}"
    );
    // Even by force nothing but a packed data set is replaced, and never the raw file.
    let forced = PrepareOptions {
        force: true,
        ..options.clone()
    };
    assert!(prepare(&forced).is_err());
    let around = PrepareOptions {
        out: place.path(""),
        ..forced
    };
    assert!(matches!(
        prepare(&around),
        Err(Error::Text(TextError::OutputHoldsSource { .. }))
    ));
    assert_eq!(
        std::fs::read_to_string(options.out.join("mine")).unwrap(),
        "precious"
    );
}

/// Changes the raw file between the two passes.
struct Meddler {
    path: std::path::PathBuf,
    content: String,
}

impl Progress for Meddler {
    fn begin(&self, stage: Stage, _bytes: u64) {
        if stage == Stage::Write {
            std::fs::write(&self.path, &self.content).unwrap();
        }
    }
}

#[test]
fn a_file_that_changes_between_the_passes_is_noticed() {
    let other = rows(500).replacen("0\t", "1\t", 1);
    let bad = rows(500) + "bad\n";
    for content in [rows(499), rows(501), rows(600).split_off(1000), other, bad] {
        let place = Workplace::new();
        let path = place.file("train.txt", rows(500));
        let meddler = Meddler { path, content };
        let error = PrepareCriteo::new(place.options(&["train.txt"]))
            .run(&meddler)
            .expect_err("unnoticed");
        assert!(
            matches!(error, Error::Text(TextError::SourceChanged { .. })),
            "{error}"
        );
        assert_eq!(
            place.names(),
            ["train.txt"],
            "an error in pass two left something behind"
        );
    }
}
