//! How a loader reads.

use serde::{Deserialize, Serialize};

/// In which order samples come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Order {
    /// As they lie in the data set.
    #[default]
    File,
    /// In a new order in every epoch, a function of seed, epoch and number of samples.
    Shuffled,
}

/// How a [`Loader`](crate::Loader) reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Samples in a batch; the last batch of an epoch takes what is left.
    pub batch_size: usize,
    /// In which order samples come.
    pub order: Order,
    /// Seed of the shuffles.
    pub seed: u64,
    /// Background threads, 1 to 1024.
    pub threads: usize,
    /// Batches that may be ready or in work ahead of their use. Each takes its memory, so that an
    /// epoch takes no more than the smaller of this number and that of its batches.
    pub prefetch: usize,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch_size: 128,
            order: Order::File,
            seed: 0,
            threads: 1,
            prefetch: 4,
        }
    }
}
