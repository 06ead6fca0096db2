//! Made samples as a packed data set.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::packed::{PackedDataset, PackedWriter, Provenance, WriterOptions};
use crate::progress::{Progress, Stage};
use crate::split::{Split, SplitRows};

/// Writes the first samples of a generator, split after split, and opens the result; the manifest keeps
/// the `options` that they were made with. Samples are drawn in parallel; the same bytes come out on
/// any number of threads.
///
/// # Errors
/// A folder that cannot be written, or holds something and `force` is not set.
pub fn write_packed(
    generator: &impl Dataset,
    options: &impl Serialize,
    rows: SplitRows,
    out: &Path,
    force: bool,
    progress: &dyn Progress,
) -> Result<PackedDataset> {
    const BATCH: u64 = 8192;
    const BATCHES_IN_MEMORY: usize = 32;
    let writing = WriterOptions {
        force,
        ..WriterOptions::default()
    };
    let schema = generator.schema();
    let mut writer = PackedWriter::create(out, schema.clone(), rows, writing)?;
    // Floats and ids of a sample; bags of several ids have more.
    let values = 1 + schema.positions() * schema.dense.len() + schema.bags();
    let bytes = |samples: u64| samples * (values * size_of::<f32>()) as u64;
    let all = Split::ALL.iter().map(|&split| rows.of(split)).sum();
    progress.begin(Stage::Write, bytes(all));
    let mut first = 0;
    for split in Split::ALL {
        let end = first + rows.of(split);
        let starts: Vec<u64> = (first..end).step_by(BATCH as usize).collect();
        for starts in starts.chunks(BATCHES_IN_MEMORY) {
            let batches: Vec<Batch> = starts
                .par_iter()
                .map(|&start| {
                    let mut batch = Batch::default();
                    let numbers: Vec<u64> = (start..end.min(start + BATCH)).collect();
                    generator.read(&numbers, &mut batch).map(|()| batch)
                })
                .collect::<Result<_>>()?;
            for batch in &batches {
                writer.append(split, batch)?;
                progress.advance(bytes(batch.len() as u64), batch.len() as u64);
            }
        }
        first = end;
    }
    progress.end();
    let options = serde_json::to_value(options).map_err(Error::external)?;
    writer.finish(Provenance {
        dataset: "planted".into(),
        options,
        ..Provenance::default()
    })?;
    PackedDataset::open(out)
}
