//! Planted samples as a packed data set.

use std::path::Path;

use anyhow::Result;
use indicatif::ProgressBar;
use rayon::prelude::*;
use recsys_data::packed::{PackedDataset, PackedWriter, Provenance, WriterOptions};
use recsys_data::{Batch, Dataset, Split, SplitRows};
use serde::Serialize;

/// Writes the first samples of a planted data set, split after split, and opens the result; the manifest keeps the `options` that it
/// was made with. Samples are drawn in parallel; the same bytes come out on any number of threads.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_planted(
    planted: &impl Dataset,
    options: &impl Serialize,
    rows: SplitRows,
    out: &Path,
    force: bool,
) -> Result<PackedDataset> {
    const BATCH: u64 = 8192;
    const BATCHES_AT_ONCE: usize = 32;
    let writing = WriterOptions {
        force,
        ..WriterOptions::default()
    };
    let mut writer = PackedWriter::create(out, planted.schema().clone(), rows, writing)?;
    let bar = ProgressBar::new(Split::ALL.iter().map(|&split| rows.of(split)).sum());
    let mut first = 0;
    for split in Split::ALL {
        let end = first + rows.of(split);
        let starts: Vec<u64> = (first..end).step_by(BATCH as usize).collect();
        for starts in starts.chunks(BATCHES_AT_ONCE) {
            let batches: Vec<Batch> = starts
                .par_iter()
                .map(|&start| {
                    let mut batch = Batch::default();
                    let numbers: Vec<u64> = (start..end.min(start + BATCH)).collect();
                    planted.read(&numbers, &mut batch).map(|()| batch)
                })
                .collect::<recsys_data::Result<_>>()?;
            for batch in &batches {
                writer.append(split, batch)?;
                bar.inc(batch.len() as u64);
            }
        }
        first = end;
    }
    bar.finish_and_clear();
    writer.finish(Provenance {
        dataset: "planted".into(),
        options: serde_json::to_value(options)?,
        ..Provenance::default()
    })?;
    Ok(PackedDataset::open(out)?)
}
