//! Some blocks of a split.

use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::packed::{BLOCK_SAMPLES, PackedSplit};

/// Samples of a split, in their order.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) batch: Batch,
}

impl Sample {
    /// Reads about `most` samples in whole blocks that are evenly spread over the split, or all where there are not more.
    ///
    /// # Errors
    /// A damaged block, or more ids than a batch can hold.
    pub(super) fn read(split: &PackedSplit, most: u64) -> Result<Self> {
        let all = split.len().div_ceil(BLOCK_SAMPLES);
        let blocks = most.div_ceil(BLOCK_SAMPLES).min(all);
        let samples: Vec<u64> = (0..blocks)
            .flat_map(|number| {
                // In 128 bits, because the product is beyond 64 for absurd sizes only, and those must not panic.
                let block = (u128::from(number) * u128::from(all) / u128::from(blocks)) as u64;
                let first = block * BLOCK_SAMPLES;
                first..split.len().min(first + BLOCK_SAMPLES)
            })
            .collect();
        let mut batch = Batch::default();
        split.read(&samples, &mut batch)?;
        Ok(Self { batch })
    }

    pub(super) fn samples(&self) -> u64 {
        self.batch.len() as u64
    }

    pub(super) fn label_mean(&self) -> Option<f64> {
        let labels = &self.batch.label;
        let sum: f64 = labels.iter().map(|&label| f64::from(label)).sum();
        (!labels.is_empty()).then(|| sum / labels.len() as f64)
    }
}
