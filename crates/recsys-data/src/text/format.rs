//! What a raw file is, by its first bytes.

use std::path::Path;

/// Bytes at the front of a file that tell what it is: the header of a tar archive is the longest.
pub(super) const HEAD: usize = 512;

/// How a raw file is stored that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Plain,
    Gzip,
    Zstandard,
    Bzip2,
    Zip,
}

impl Compression {
    pub(super) fn of_name(path: &Path) -> Self {
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        match ending.to_str() {
            Some("gz" | "tgz") => Self::Gzip,
            Some("zst") => Self::Zstandard,
            Some("bz2") => Self::Bzip2,
            Some("zip") => Self::Zip,
            _ => Self::Plain,
        }
    }

    /// By the magic number: RFC 1952 section 2.3.1, RFC 8878 sections 3.1.1 and 3.1.2, bzip2's
    /// first block or end, APPNOTE.TXT sections 4.3.7 and 4.3.16.
    pub(super) fn of_content(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstandard,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, ..] => Self::Bzip2,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            _ => Self::Plain,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstandard => "Zstandard",
            Self::Bzip2 => "bzip2",
            Self::Zip => "zip",
        }
    }
}

const UNPACK: &str = "unpack it, and name the file that is meant";
const DECOMPRESS: &str = "decompress it first";
const TABLE: &str = "read it with `ImportFormat::Table`, under a name with its usual ending";
const UTF_8: &str = "save it as UTF-8";

/// Formats that are no text and not read, by what stands at their front; what messages call them,
/// and what to do.
const FOREIGN: [(&[u8], &str, &str); 25] = [
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"\xfd7zXZ\0", "an xz file", DECOMPRESS),
    (b"LZIP", "an lzip file", DECOMPRESS),
    (b"\x04\x22\x4d\x18", "an LZ4 file", DECOMPRESS),
    (b"\x02\x21\x4c\x18", "an LZ4 file", DECOMPRESS),
    (b"\x5d\x00\x00", "an LZMA file", DECOMPRESS),
    (b"\x89LZO\x00\r\n\x1a\n", "an LZO file", DECOMPRESS),
    (b"\xff\x06\x00\x00sNaPpY", "a Snappy file", DECOMPRESS),
    (b"\x1f\x9d", "a file of `compress`", DECOMPRESS),
    (b"\x1f\xa0", "a file of `compress`", DECOMPRESS),
    (b"PAR1", "a Parquet file", TABLE),
    (b"ARROW1", "an Arrow file", TABLE),
    (b"FEA1", "a Feather file", TABLE),
    (b"ORC", "an ORC file", "convert it to CSV or Parquet"),
    (b"Obj\x01", "an Avro file", "convert it to CSV or Parquet"),
    (
        b"\x93NUMPY",
        "an array of NumPy",
        "read it with `fae import`",
    ),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "export it as text"),
    (
        b"SQLite format 3\0",
        "a database of SQLite",
        "export it as text",
    ),
    (b"%PDF", "a PDF document", "name the data's file instead"),
    (b"\xff\xfe", "text in UTF-16", UTF_8),
    (b"\xfe\xff", "text in UTF-16", UTF_8),
    (
        b"version https://git-lfs.github.com/",
        "a pointer of Git LFS instead of the file itself",
        "fetch the file with `git lfs pull`",
    ),
    (b"<!doctype html", "a web page", WEB_PAGE),
    (b"<html", "a web page", WEB_PAGE),
];

const WEB_PAGE: &str =
    "download the file itself, for which the site may want a login or a confirmation";

/// What a file is that is no text, and what to do about it; `None` where its front may be text.
pub(super) fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let front = head.trim_ascii_start();
    let starts = |bytes: &[u8], magic: &[u8]| {
        (bytes.get(..magic.len())).is_some_and(|front| front.eq_ignore_ascii_case(magic))
    };
    let known = |&&(magic, ..): &&(&[u8], &str, &str)| match magic[0] {
        b'<' => starts(front, magic),
        _ => head.starts_with(magic),
    };
    if let Some((_, name, remedy)) = FOREIGN.iter().find(known) {
        return Some((name, remedy));
    }
    match Compression::of_content(head) {
        Compression::Plain if is_tar(head) => Some(("a tar archive", UNPACK)),
        Compression::Plain => None,
        // Behind a decoder: what was inside is compressed once more.
        Compression::Zip => Some(("a zip archive", UNPACK)),
        _ => Some(("another compressed file", DECOMPRESS)),
    }
}

/// Whether this is the header of a file in a tar archive: the sum of its bytes stands in it, in
/// octal digits and counted as spaces (POSIX.1-1988 section 10.1.1; older archives have no magic).
fn is_tar(head: &[u8]) -> bool {
    const SUM: std::ops::Range<usize> = 148..156;
    let Some(header) = head.get(..HEAD) else {
        return false;
    };
    let digits = header[SUM]
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, 0 | b' '));
    let found = digits.clone().try_fold(0u32, |sum, digit| match digit {
        b'0'..=b'7' => Some(sum * 8 + u32::from(digit - b'0')),
        _ => None,
    });
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let expected = sum(&header[..SUM.start]) + 8 * u32::from(b' ') + sum(&header[SUM.end..]);
    digits.count() > 0 && found == Some(expected)
}

/// Whether a file in an archive is none of the user's: what macOS and Windows add to every folder.
pub(super) fn is_litter(name: &str) -> bool {
    let mut parts = name.split(['/', '\\']);
    let file = parts.clone().next_back().unwrap_or_default();
    parts.any(|part| part == "__MACOSX")
        || file.starts_with("._")
        || matches!(file, ".DS_Store" | "Thumbs.db" | "desktop.ini")
}
