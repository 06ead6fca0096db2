//! The hot and the cold samples of a data set, as data sets.

use std::sync::Arc;

use recsys_data::Dataset;
use recsys_data::views::{SampleList, Subset};

use crate::{Error, Partition, Result};

/// One side of a partition.
struct Samples {
    partition: Arc<Partition>,
    hot: bool,
}

impl SampleList for Samples {
    fn len(&self) -> u64 {
        if self.hot {
            self.partition.hot_len()
        } else {
            self.partition.cold_len()
        }
    }

    fn sample(&self, index: u64) -> u64 {
        let sample = if self.hot {
            self.partition.hot(index)
        } else {
            self.partition.cold(index)
        };
        // The contract of `SampleList`: the index is below the length.
        sample.unwrap_or(u64::MAX)
    }
}

impl Partition {
    /// The hot and the cold samples of the data set that was classified, each in its order there. Nothing is copied.
    ///
    /// # Errors
    /// A data set with another number of samples.
    pub fn sides(self: &Arc<Self>, dataset: &Arc<dyn Dataset>) -> Result<(Subset, Subset)> {
        if dataset.len() != self.len() {
            return Err(Error::ForeignPartition {
                classified: self.len(),
                samples: dataset.len(),
            });
        }
        let side = |hot| {
            let partition = Arc::clone(self);
            Subset::new(Arc::clone(dataset), Samples { partition, hot })
        };
        Ok((side(true), side(false)))
    }
}

#[cfg(test)]
mod tests {
    use recsys_data::Batch;
    use recsys_data::generate::{Planted, PlantedOptions};

    use super::*;

    #[test]
    fn both_sides_are_the_whole() {
        let options = PlantedOptions {
            samples: 500,
            ..PlantedOptions::default()
        };
        let whole: Arc<dyn Dataset> = Arc::new(Planted::new(options.with_scale(0.01)).unwrap());
        let half: Vec<u64> = whole.schema().tables.iter().map(|t| t.rows / 2).collect();
        let partition = Arc::new(Partition::classify(&*whole, &half).unwrap());
        let (hot, cold) = partition.sides(&whole).unwrap();
        assert_eq!(hot.len() + cold.len(), 500);
        assert!(hot.len() > 0 && cold.len() > 0);
        let (mut one, mut other) = (Batch::default(), Batch::default());
        for (side, numbers) in [
            (&hot, partition.iter_hot().collect::<Vec<_>>()),
            (&cold, partition.iter_cold().collect()),
        ] {
            side.read(&(0..side.len()).collect::<Vec<_>>(), &mut one)
                .unwrap();
            whole.read(&numbers, &mut other).unwrap();
            assert_eq!(one, other);
        }
        let fewer: Arc<dyn Dataset> = Arc::new(Subset::new(whole, 0..10));
        let error = partition.sides(&fewer).err().unwrap().to_string();
        assert!(error.contains("500") && error.contains("10"), "{error}");
    }
}
