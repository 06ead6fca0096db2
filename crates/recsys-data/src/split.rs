//! The three parts of a data set.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Samples to learn from.
    Train,
    /// Samples to choose options and the best step with.
    Validation,
    /// Samples to report on.
    Test,
}

impl Split {
    /// Every split, in the order of time.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// The name in file names and in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// The file name of a shard.
    pub(crate) fn shard_name(self, shard: u64) -> String {
        format!("{}-{shard:05}.safetensors", self.name())
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Number of samples of every split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitRows {
    /// Samples of [`Split::Train`].
    pub train: u64,
    /// Samples of [`Split::Validation`].
    pub validation: u64,
    /// Samples of [`Split::Test`].
    pub test: u64,
}

impl SplitRows {
    /// The first six sevenths of the samples train, the first half of the rest validates, the second
    /// half tests.
    pub fn time_ordered(samples: u64) -> Self {
        let last = samples / 7;
        Self {
            train: samples - last,
            validation: last.div_ceil(2),
            test: last / 2,
        }
    }

    /// Number of samples of one split.
    pub fn of(&self, split: Split) -> u64 {
        match split {
            Split::Train => self.train,
            Split::Validation => self.validation,
            Split::Test => self.test,
        }
    }

    pub(crate) fn of_mut(&mut self, split: Split) -> &mut u64 {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }
}
