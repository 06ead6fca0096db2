//! Data sets on disk.

use std::path::Path;

use recsys_data::packed::{PackedDataset, PackedWriter, Provenance, WriterOptions};
use recsys_data::{Schema, Split, SplitRows, TableSchema};

use crate::batches::zipf_batches;

/// Samples that are made at a time.
const BATCH: usize = 1 << 14;

/// A data set of `1 << log2_samples` samples to learn from, with Zipf-distributed ids in tables of `rows` rows.
pub fn packed(folder: &Path, rows: &[u64], dense: usize, log2_samples: u32) -> PackedDataset {
    let samples = 1u64 << log2_samples;
    let table = |(number, &rows): (usize, &u64)| TableSchema {
        name: format!("C{}", number + 1),
        rows,
    };
    let schema = Schema {
        dense: (0..dense)
            .map(|number| format!("I{}", number + 1))
            .collect(),
        tables: rows.iter().enumerate().map(table).collect(),
        ..Schema::default()
    };
    let split_rows = SplitRows {
        train: samples,
        ..SplitRows::default()
    };
    let mut writer = PackedWriter::create(folder, schema, split_rows, WriterOptions::default())
        .expect("a folder");
    let batches = zipf_batches(rows, dense, BATCH, samples as usize / BATCH);
    for batch in &batches {
        writer.append(Split::Train, batch).expect("good ids");
    }
    writer.finish(Provenance::default()).expect("room on disk");
    PackedDataset::open(folder).expect("what was written")
}
