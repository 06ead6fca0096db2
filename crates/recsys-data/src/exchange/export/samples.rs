//! The samples of a packed data set, some at a time, in numbers that other formats hold.

use rayon::prelude::*;

use super::super::id_rows::SAMPLES;
use super::integers::integer_of;
use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::packed::{PackedDataset, PackedSplit};
use crate::progress::{Progress, Stage};
use crate::split::Split;

/// The splits that have samples.
pub(super) fn filled(data: &PackedDataset) -> impl Iterator<Item = PackedSplit> + '_ {
    Split::ALL
        .into_iter()
        .map(|split| data.split(split))
        .filter(|split| !split.is_empty())
}

/// Bytes of all shards.
fn packed_bytes(data: &PackedDataset) -> u64 {
    let splits = Split::ALL
        .iter()
        .map(|&split| data.manifest().splits.of(split));
    splits
        .flat_map(|files| &files.shards)
        .map(|shard| shard.bytes)
        .sum()
}

/// Announces an export that reads every sample `times` times, and its end.
pub(super) fn with_progress(
    data: &PackedDataset,
    times: u64,
    progress: &dyn Progress,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    progress.begin(Stage::Write, packed_bytes(data) * times);
    let result = work();
    progress.end();
    result
}

/// Shows all samples of a split in their order; `first` is the number of the first one shown.
pub(super) fn for_each(
    split: &PackedSplit,
    progress: &dyn Progress,
    mut show: impl FnMut(u64, &Batch) -> Result<()>,
) -> Result<()> {
    let schema = split.schema();
    let sample_bytes = 4 * (1 + schema.dense_values() + schema.bags()) as u64;
    let mut batch = Batch::default();
    for first in (0..split.len()).step_by(SAMPLES) {
        let samples: Vec<u64> = (first..split.len().min(first + SAMPLES as u64)).collect();
        split.read(&samples, &mut batch)?;
        show(first, &batch)?;
        let samples = samples.len() as u64;
        progress.advance(samples * sample_bytes, samples);
    }
    Ok(())
}

/// Where a block of samples is, for messages.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) split: &'a PackedSplit,
    /// Number of its first sample.
    pub(super) first: u64,
}

impl Block<'_> {
    fn bad(self, sample: usize, column: &str, value: f32, problem: &str) -> Error {
        Error::Exchange(ExchangeError::ValueNotExportable {
            split: self.split.split(),
            sample: self.first + sample as u64,
            column: column.to_owned(),
            value: value.to_string(),
            problem: problem.to_owned(),
        })
    }

    /// Labels as integers.
    ///
    /// # Errors
    /// A label between 0 and 1.
    pub(super) fn labels(self, batch: &Batch) -> Result<Vec<i32>> {
        let labels = batch.label.iter().enumerate();
        labels
            .map(|(sample, &label)| match label {
                0.0 => Ok(0),
                1.0 => Ok(1),
                _ => {
                    let problem =
                        "is neither 0 nor 1, and the format has integers: export as parquet";
                    Err(self.bad(sample, "label", label, problem))
                }
            })
            .collect()
    }

    /// The integers behind dense values.
    ///
    /// # Errors
    /// A value that is no `ln(x + 1)`.
    pub(super) fn integers(self, batch: &Batch) -> Result<Vec<i32>> {
        /// Values given to a thread at a time.
        const PART: usize = 1 << 12;
        let values = batch.dense.par_iter().with_min_len(PART);
        let integers: Option<Vec<i32>> = values.map(|&value| integer_of(value)).collect();
        integers.ok_or_else(|| {
            let names = &self.split.schema().dense;
            let mut values = batch.dense.iter().enumerate();
            let bad = values.find(|(_, value)| integer_of(**value).is_none());
            let (at, &value) = bad.unwrap_or((0, &f32::NAN));
            let problem = "is not ln(x + 1) of an integer x of 32 bits: write the numbers as they are with `DenseValues::AsIs` \
                           (npz, torchrec, parquet)";
            self.bad(at / names.len(), &names[at % names.len()], value, problem)
        })
    }
}
