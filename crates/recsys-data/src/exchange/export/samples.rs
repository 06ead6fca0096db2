//! The samples of a packed data set, some at a time, in numbers that other formats hold.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::super::id_rows::SAMPLES;
use super::integers::{integer_of, shares};
use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::packed::{PackedDataset, PackedSplit};
use crate::progress::{Progress, Stage};
use crate::split::Split;

/// Samples that go into one file, or one set of files.
pub(super) struct Part {
    pub(super) name: String,
    /// Splits and the samples of them, in the order of the file.
    pub(super) pieces: Vec<(PackedSplit, Range<u64>)>,
}

impl Part {
    pub(super) fn len(&self) -> u64 {
        let pieces = self.pieces.iter();
        pieces.map(|(_, samples)| samples.end - samples.start).sum()
    }

    /// Shows all samples in their order, some at a time.
    pub(super) fn for_each(
        &self,
        progress: &dyn Progress,
        mut show: impl FnMut(Block<'_>, &Batch) -> Result<()>,
    ) -> Result<()> {
        let mut batch = Batch::default();
        for (split, samples) in &self.pieces {
            let schema = split.schema();
            let sample_bytes = 4 * (1 + schema.dense_values() + schema.bags()) as u64;
            for first in samples.clone().step_by(SAMPLES) {
                let block: Vec<u64> = (first..samples.end.min(first + SAMPLES as u64)).collect();
                split.read(&block, &mut batch)?;
                show(Block { split, first }, &batch)?;
                let samples = block.len() as u64;
                progress.advance(samples * sample_bytes, samples);
            }
        }
        Ok(())
    }
}

/// A part for each split that has samples, under the names that `name` gives them.
pub(super) fn splits(data: &PackedDataset, name: impl Fn(Split) -> String) -> Vec<Part> {
    let splits = Split::ALL.into_iter().map(|split| data.split(split));
    let filled = splits.filter(|split| !split.is_empty());
    let part = |split: PackedSplit| Part {
        name: name(split.split()),
        pieces: vec![whole(split)],
    };
    filled.map(part).collect()
}

fn whole(split: PackedSplit) -> (PackedSplit, Range<u64>) {
    let samples = 0..split.len();
    (split, samples)
}

/// The data as this number of days: training samples in equal parts, and the splits `last` one after the
/// other in the last day.
pub(super) fn days(data: &PackedDataset, days: u64, last: [Split; 2]) -> Vec<Part> {
    let train = data.split(Split::Train);
    let (each, more) = (train.len() / (days - 1), train.len() % (days - 1));
    let start = |day: u64| day * each + day.min(more);
    let mut parts: Vec<Part> = (0..days - 1)
        .map(|day| Part {
            name: format!("day_{day}"),
            pieces: vec![(train.clone(), start(day)..start(day + 1))],
        })
        .collect();
    parts.push(Part {
        name: format!("day_{}", days - 1),
        pieces: last.map(|split| whole(data.split(split))).into(),
    });
    parts
}

/// What becomes of the last day of [`days`] in programs that take the larger half of it for
/// `last[0]` and the rest for `last[1]`; `None` where these are the splits.
pub(super) fn halves(data: &PackedDataset, last: [Split; 2]) -> Option<String> {
    let [first, second] = last.map(|split| data.split(split).len());
    let half = (first + second).div_ceil(2);
    (first != half).then(|| {
        format!(
            "the last day has {first} samples of {} and {second} of {}; programs that halve it \
             take the first {half} for {} and the rest for {}",
            last[0], last[1], last[0], last[1]
        )
    })
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

    /// The integers behind dense values; `inexact` counts those that share their logarithm with
    /// another integer.
    ///
    /// # Errors
    /// A value that is no `ln(x + 1)`.
    pub(super) fn integers(self, batch: &Batch, inexact: &AtomicU64) -> Result<Vec<i32>> {
        /// Values given to a thread at a time.
        const PART: usize = 1 << 12;
        let values = batch.dense.par_iter().with_min_len(PART);
        let integers: Option<Vec<i32>> = values.map(|&value| integer_of(value)).collect();
        let integers = integers.ok_or_else(|| {
            let names = &self.split.schema().dense;
            let mut values = batch.dense.iter().enumerate();
            let bad = values.find(|(_, value)| integer_of(**value).is_none());
            let (at, &value) = bad.unwrap_or((0, &f32::NAN));
            let problem = "is not ln(x + 1) of an integer x of 32 bits: write the numbers as they are with `DenseValues::AsIs` \
                           (npz, torchrec, parquet)";
            self.bad(at / names.len(), &names[at % names.len()], value, problem)
        })?;
        let shared = integers.iter().filter(|&&integer| shares(integer));
        inexact.fetch_add(shared.count() as u64, Ordering::Relaxed);
        Ok(integers)
    }
}
