//! Raw files as other programs pack them: what is read, and what is named with a remedy.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;

use std::io::Write;

use criteo_text::{Workplace, prepare, rows};

const ROWS: u64 = 700;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

/// An archive of files without compression, with the checksums that readers compare.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let size = (content.len() as u32).to_le_bytes();
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fields.extend(crc.sum().to_le_bytes());
        fields.extend([size, size].concat());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend((archive.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        archive.extend(b"PK\x03\x04");
        archive.extend(&fields);
        archive.extend(name.as_bytes());
        archive.extend(*content);
    }
    let count = (files.len() as u16).to_le_bytes();
    let (start, size) = (archive.len() as u32, directory.len() as u32);
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([count, count].concat());
    archive.extend([size.to_le_bytes(), start.to_le_bytes()].concat());
    archive.extend([0, 0]);
    archive
}

/// The header of a file in an old tar archive, which has no magic, and the content.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = vec![0; 512];
    archive[..name.len()].copy_from_slice(name.as_bytes());
    archive[100..108].copy_from_slice(b"0000644\0");
    archive[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    archive[148..156].fill(b' ');
    let sum: u32 = archive.iter().map(|&byte| u32::from(byte)).sum();
    archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

fn read(name: &str, content: &[u8]) -> u64 {
    let place = Workplace::new();
    place.file(name, content);
    prepare(&place.options(&[name])).unwrap().rows
}

fn refusal(name: &str, content: &[u8]) -> String {
    let place = Workplace::new();
    place.file(name, content);
    let message = prepare(&place.options(&[name])).unwrap_err().to_string();
    assert!(message.contains(name), "{message}");
    message
}

#[test]
fn streams_may_follow_each_other_with_zeros_between_and_behind() {
    let text = rows(ROWS);
    let (front, back) = text.as_bytes().split_at(text.len() / 3);
    for (name, pack) in [
        ("a.gz", gzip as fn(&[u8]) -> Vec<u8>),
        ("a.zst", zstandard),
        ("a.bz2", bzip2),
    ] {
        for zeros in [0, 1, 511, 300_000] {
            let zeros = vec![0; zeros];
            let packed = [pack(front), zeros.clone(), pack(back), zeros].concat();
            assert_eq!(read(name, &packed), ROWS, "{name}");
        }
        let packed = pack(text.as_bytes());
        let message = refusal(name, &[&packed, &b"no member of a stream"[..]].concat());
        assert!(message.contains("damaged at line"), "{message}");
        let message = refusal(name, &packed[..packed.len() - 20]);
        assert!(message.contains("cut off"), "{message}");
    }
}

#[test]
fn content_tells_how_a_file_is_compressed_and_not_its_name() {
    let text = rows(ROWS);
    let text = text.as_bytes();
    for packed in [
        gzip(text),
        zstandard(text),
        bzip2(text),
        zip(&[("t", text)]),
    ] {
        assert_eq!(read("train.txt", &packed), ROWS);
        assert_eq!(read("train.dat.1", &packed), ROWS);
    }
    let marked = [b"\xef\xbb\xbf", text].concat();
    assert_eq!(read("marked.txt", &marked), ROWS);
    let skippable = [b"\x50\x2a\x4d\x18\x02\0\0\0ab".to_vec(), zstandard(text)].concat();
    assert_eq!(read("pzstd.zst", &skippable), ROWS);
}

#[test]
fn what_systems_add_to_archives_is_none_of_the_files() {
    let text = rows(ROWS);
    let text = text.as_bytes();
    for litter in [
        "__MACOSX/._train.txt",
        "__MACOSX/dac/._train.txt",
        ".DS_Store",
        "dac/.DS_Store",
        "dac/._train.txt",
        "dac/",
        "Thumbs.db",
        "dac\\desktop.ini",
    ] {
        let content: &[u8] = if litter.ends_with('/') {
            b""
        } else {
            b"litter"
        };
        let archive = zip(&[(litter, content), ("dac/train.txt", text)]);
        assert_eq!(read("a.zip", &archive), ROWS, "{litter}");
    }
    let message = refusal("a.zip", &zip(&[("train.txt", text), ("test.txt", text)]));
    assert!(
        message.contains("2 files (train.txt, test.txt)"),
        "{message}"
    );
    let message = refusal("a.zip", &zip(&[(".DS_Store", b"x")]));
    assert!(message.contains("no file"), "{message}");
}

#[test]
fn what_is_no_text_is_named_with_a_remedy() {
    let text = rows(20);
    let text = text.as_bytes();
    let archive = tar("train.txt", text);
    let utf_16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(text.iter().flat_map(|&b| [b, 0]))
        .collect();
    let cases: [(&str, Vec<u8>, &[&str]); 14] = [
        ("a.tar", archive.clone(), &["is a tar archive", "unpack it"]),
        (
            "a.tar.gz",
            gzip(&archive),
            &["is gzip, and holds a tar archive"],
        ),
        ("a.tgz", gzip(&archive), &["a tar archive"]),
        (
            "a.tar.zst",
            zstandard(&archive),
            &["is Zstandard, and holds a tar archive"],
        ),
        (
            "a.tbz2",
            bzip2(&archive),
            &["is bzip2, and holds a tar archive"],
        ),
        (
            "a.gz",
            gzip(&gzip(text)),
            &["holds another compressed file", "decompress"],
        ),
        (
            "a.zip",
            zip(&[("t.gz", &gzip(text))]),
            &["is zip, and holds another compressed file"],
        ),
        (
            "a.txt",
            b"\xfd7zXZ\0\0\x04rest".to_vec(),
            &["is an xz file"],
        ),
        (
            "a.7z",
            b"7z\xbc\xaf\x27\x1c\0\x04".to_vec(),
            &["is a 7z archive"],
        ),
        (
            "a.csv",
            b"PAR1\x15\x04".to_vec(),
            &["a Parquet file", "`ImportFormat::Table`"],
        ),
        ("a.lz4", b"\x04\x22\x4d\x18\x64".to_vec(), &["an LZ4 file"]),
        (
            "a.gz",
            b"\n <!DOCTYPE HTML><html>".to_vec(),
            &["is a web page", "login"],
        ),
        ("a.txt", utf_16, &["text in UTF-16", "UTF-8"]),
        (
            "a.txt",
            b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
            &["git lfs pull"],
        ),
    ];
    for (name, content, parts) in cases {
        let message = refusal(name, &content);
        for part in parts {
            assert!(message.contains(part), "{part:?}: {message}");
        }
    }
}
