//! Little data cut as much data are: the same bytes as in one piece.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::path::{Path, PathBuf};

use super::{Limits, PrepareTerabyte, TerabyteOptions, TerabyteReport};
use crate::criteo::options::Numbering;
use crate::error::Result;
use crate::generate::{Planted, PlantedOptions};

/// Blocks, tables, partitions and groups of a few dozen entries.
const SMALL: Limits = Limits {
    block_rows: 100,
    count_slots: 256,
    partition: 50,
    dictionary_bytes: 4000,
};

fn days(folder: &Path) -> Vec<PathBuf> {
    let planted = Planted::new(PlantedOptions::default().with_scale(0.01)).unwrap();
    let rows = [0..950, 950..1000, 1000..2501];
    let days = rows.into_iter().enumerate().map(|(day, rows)| {
        let path = folder.join(format!("day_{day}"));
        let file = std::fs::File::create(&path).unwrap();
        planted.write_criteo_text(rows, file).unwrap();
        path
    });
    days.collect()
}

fn prepare(options: &TerabyteOptions, limits: Limits, threads: usize) -> Result<TerabyteReport> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let preparation = PrepareTerabyte::new(options.clone()).with_limits(limits);
    pool.build().unwrap().install(|| preparation.run(&()))
}

/// Every file of a folder with its content, by name.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
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
    all.sort();
    all
}

fn moved(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let relative = |(path, content): (PathBuf, Vec<u8>)| {
        (path.strip_prefix(folder).unwrap().to_path_buf(), content)
    };
    contents(folder).into_iter().map(relative).collect()
}

#[test]
fn cuts_do_not_show() {
    let folder = tempfile::tempdir().unwrap();
    for (ids, min_count) in [
        (Numbering::Rank, 0),
        (Numbering::Reference, 0),
        (Numbering::Rank, 4),
    ] {
        let whole = TerabyteOptions {
            raw: days(folder.path()),
            out: folder.path().join("whole"),
            ids,
            min_count,
            shard_rows: 300,
            force: true,
            ..TerabyteOptions::default()
        };
        let report = prepare(&whole, Limits::default(), 1).unwrap();
        assert_eq!((report.count_runs, report.encode_passes), (26, 1));
        let expected = moved(&whole.out);
        for threads in [1, 3] {
            let cut = TerabyteOptions {
                out: folder.path().join("cut"),
                ..whole.clone()
            };
            let report = prepare(&cut, SMALL, threads).unwrap();
            assert!(report.count_runs > 30, "{}", report.count_runs);
            assert!(report.encode_passes > 3, "{}", report.encode_passes);
            assert!(moved(&cut.out) == expected, "{ids:?}, {threads} threads");
        }
    }
}
