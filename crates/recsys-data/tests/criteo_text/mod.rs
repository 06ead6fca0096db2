//! Raw text for the tests of the reader, and the whole content of a packed data set.
#![allow(dead_code)] // Every test program uses its own part.
#![allow(clippy::unwrap_used)] // A helper that fails is a test that fails.

use std::path::{Path, PathBuf};

use recsys_data::criteo::{PrepareCriteo, PrepareOptions, PrepareReport};
use recsys_data::packed::PackedDataset;
use recsys_data::{Batch, Dataset, Result, Split};

/// Row `index` of a made-up file: every table repeats, some categories and integers are missing.
pub(crate) fn row(index: u64) -> String {
    let mut fields = vec![u64::from(index.is_multiple_of(4)).to_string()];
    fields.extend((0..13).map(|dense| match (index * 7 + dense * 3) % 11 {
        0 => String::new(),
        value => (value as i64 * 5 - 7).to_string(),
    }));
    fields.extend((0..26).map(|table| {
        match (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % (5 + table * 37) {
            1 => String::new(),
            value => format!("{:08x}", (value as u32).wrapping_mul(0x85eb_ca6b)),
        }
    }));
    fields.join("\t")
}

/// The first `rows` rows, each with a line feed.
pub(crate) fn rows(rows: u64) -> String {
    (0..rows).map(|index| row(index) + "\n").collect()
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
        let raw = raw.iter().map(|name| self.path(name)).collect();
        PrepareOptions {
            raw,
            out: self.path("out"),
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
    PrepareCriteo::new(options.clone()).run(&())
}

/// All samples of a split.
pub(crate) fn samples(out: &Path, split: Split) -> Batch {
    let split = PackedDataset::open(out).unwrap().split(split);
    let mut batch = Batch::default();
    let all: Vec<u64> = (0..split.len()).collect();
    split.read(&all, &mut batch).unwrap();
    batch
}

/// The ids of all splits in the order given, `[rows, 26]`.
pub(crate) fn ids(out: &Path, splits: [Split; 3]) -> Vec<u32> {
    splits
        .into_iter()
        .flat_map(|split| samples(out, split).sparse.ids)
        .collect()
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
