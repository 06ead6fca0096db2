//! Events for tests, and the folders to prepare them in.

#![allow(dead_code)] // Every test program uses its own part.
#![allow(clippy::unwrap_used)] // A helper that fails is a test that fails.

use std::path::{Path, PathBuf};

use recsys_data::packed::PackedDataset;
use recsys_data::taobao::{PrepareOptions, PrepareReport, PrepareTaobao};
use recsys_data::{Batch, Dataset, Result, Split};

/// Event `index` of a made-up log: users come back at irregular times, popular items often, some events share a second.
pub(crate) fn event(index: u64) -> String {
    let bits = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ bits >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let (user, item) = ((bits >> 20) % 17, (bits >> 40) % 211);
    let item = item * item % 223;
    let behaviour = ["pv", "pv", "pv", "cart", "fav", "buy"][(bits >> 10) as usize % 6];
    let time = 1_511_600_000 + (bits >> 3) % 500;
    format!(
        "{},{},{},{behaviour},{time}",
        1000 - user * 7,
        item * 31,
        item % 13
    )
}

/// The first `events` events, each with a line feed.
pub(crate) fn events(events: u64) -> String {
    (0..events).map(|index| event(index) + "\n").collect()
}

/// A folder to work in, with files in it.
pub(crate) struct Workplace {
    folder: tempfile::TempDir,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Options for the files named, with the output in `out`.
    pub(crate) fn options(&self, raw: &[&str]) -> PrepareOptions {
        PrepareOptions {
            raw: raw.iter().map(|name| self.path(name)).collect(),
            out: self.path("out"),
            force: true,
            ..PrepareOptions::default()
        }
    }

    /// Names of everything in the folder.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = self.folder.path().read_dir().unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn prepare(options: &PrepareOptions) -> Result<PrepareReport> {
    PrepareTaobao::new(options.clone()).run(&())
}

/// All samples of a split.
pub(crate) fn samples(out: &Path, split: Split) -> Batch {
    let split = PackedDataset::open(out).unwrap().split(split);
    let mut batch = Batch::default();
    let all: Vec<u64> = (0..split.len()).collect();
    split.read(&all, &mut batch).unwrap();
    batch
}

/// Every file of a folder with its content, by name.
pub(crate) fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            let content = std::fs::read(&path).unwrap();
            all.push((path, content));
        }
    }
    for (path, _) in &mut all {
        *path = path.strip_prefix(folder).unwrap_or(path).to_path_buf();
    }
    all.sort();
    all
}

/// A zip archive of some files.
pub(crate) fn zip(files: &[(&str, &[u8])], deflate: bool) -> Vec<u8> {
    use std::io::Write;
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in files {
        let mut data = content.to_vec();
        if deflate {
            let mut encoder =
                flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            data = encoder.finish().unwrap();
        }
        let mut crc = flate2::Crc::new();
        crc.update(content);
        // Fields that a local header and an entry of the directory share (APPNOTE.TXT, sections 4.3.7 and 4.3.12).
        let mut shared = Vec::new();
        for word in [20u16, 0, if deflate { 8 } else { 0 }, 0, 33] {
            shared.extend(word.to_le_bytes());
        }
        for word in [crc.sum(), data.len() as u32, content.len() as u32] {
            shared.extend(word.to_le_bytes());
        }
        shared.extend((name.len() as u16).to_le_bytes());
        shared.extend([0, 0]);
        let start = archive.len() as u32;
        archive.extend(b"PK\x03\x04");
        archive.extend(&shared);
        archive.extend(name.as_bytes());
        archive.extend(data);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&shared);
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, size) = (archive.len() as u32, directory.len() as u32);
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([(files.len() as u16).to_le_bytes(); 2].concat());
    archive.extend(size.to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0, 0]);
    archive
}
