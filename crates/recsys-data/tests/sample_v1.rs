//! The checked-in data set of format version 1: it can be read, and the same bytes are still written.

mod criteo_text;

use std::path::Path;

use criteo_text::{contents, ids, prepare, samples};
use recsys_data::criteo::PrepareOptions;
use recsys_data::generate::{Planted, PlantedOptions, PlantedTable};
use recsys_data::packed::PackedDataset;
use recsys_data::{RankOn, Split};

fn sample() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample/v1")
}

/// Prepares the rows of the sample. Tables are tiny, and some categories are missing.
fn make(out: &Path) {
    let tables = (0..26).map(|table| PlantedTable {
        rows: 3 + table % 5,
        exponent: 1.0,
        missing: if table % 3 == 0 { 0.2 } else { 0.0 },
    });
    let planted = Planted::new(PlantedOptions {
        tables: tables.collect(),
        ..PlantedOptions::default()
    })
    .expect("valid options");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let raw = folder.path().join("train.txt");
    let file = std::fs::File::create(&raw).expect("a new file");
    planted.write_criteo_text(0..70, file).expect("written");
    prepare(&PrepareOptions {
        raw: vec![raw],
        out: out.to_path_buf(),
        force: true,
        rank_on: RankOn::All,
        ..PrepareOptions::default()
    })
    .expect("prepared");
}

/// The manifest without what another release may change.
fn manifest(bytes: &[u8]) -> serde_json::Value {
    let mut value: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
    value["tool_version"].take();
    value["xxh3"].take();
    // Younger than the sample.
    value["provenance"]["options"]["rank_on"].take();
    value
}

#[test]
fn the_sample_of_version_1_is_read() {
    let data = PackedDataset::open(sample()).expect("a data set");
    data.verify().expect("undamaged");
    assert_eq!(data.manifest().format_version, 1);
    assert_eq!(data.schema().tables.len(), 26);
    let train = samples(&sample(), Split::Train);
    assert_eq!((train.len(), train.dense.len()), (60, 60 * 13));
    let all = ids(&sample(), Split::ALL);
    let vocabulary = data.vocabulary(0).expect("undamaged").expect("written");
    let zeros = all.iter().step_by(26).filter(|id| **id == 0).count();
    assert_eq!(vocabulary.counts[0], zeros as u64);
}

/// Where this fails, the format has changed: that needs a new version, and a sample of its own beside this one.
/// `RECSYS_WRITE_SAMPLE=1` writes the sample instead of comparing it.
#[test]
fn the_same_bytes_are_still_written() {
    if std::env::var_os("RECSYS_WRITE_SAMPLE").is_some() {
        make(&sample());
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("v1");
    make(&out);
    let (expected, found) = (contents(&sample()), contents(&out));
    for ((name, expected), (other, found)) in expected.iter().zip(&found) {
        assert_eq!(name, other);
        if name == Path::new("dataset.json") {
            assert_eq!(manifest(expected), manifest(found));
        } else {
            assert!(expected == found, "{} has other bytes", name.display());
        }
    }
    assert_eq!(expected.len(), found.len());
}
