//! The MLPerf binary, one file for each split.

use std::sync::atomic::AtomicU64;

use super::npz::write_counts;
use super::output::Output;
use super::samples::{splits, with_progress};
use crate::criteo::{DENSE_FEATURES, TABLES};
use crate::error::Result;
use crate::exchange::mlperf::SAMPLE_BYTES;
use crate::packed::PackedDataset;
use crate::progress::Progress;
use crate::split::Split;

/// The names that the original looks for, with `--processed-data-file=terabyte_processed.npz`.
fn file_name(split: Split) -> String {
    let split = match split {
        Split::Train => "train",
        Split::Validation => "val",
        Split::Test => "test",
    };
    format!("terabyte_processed_{split}.bin")
}

pub(super) fn write(
    data: &PackedDataset,
    output: &mut Output,
    inexact: &AtomicU64,
    progress: &dyn Progress,
) -> Result<()> {
    with_progress(data, 1, progress, || {
        for part in splits(data, file_name) {
            let mut file = output.create(part.name.clone())?;
            part.for_each(progress, |block, batch| {
                let (labels, dense) = (block.labels(batch)?, block.integers(batch, inexact)?);
                let mut bytes = Vec::with_capacity(labels.len() * SAMPLE_BYTES);
                let dense = dense.chunks_exact(DENSE_FEATURES);
                let ids = batch.sparse.ids.chunks_exact(TABLES);
                for ((label, dense), ids) in labels.iter().zip(dense).zip(ids) {
                    bytes.extend(label.to_le_bytes());
                    bytes.extend(dense.iter().flat_map(|value| value.to_le_bytes()));
                    bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
                }
                file.write(&bytes)
            })?;
            output.close(file)?;
        }
        write_counts(data, "day", output)
    })
}
