//! Some samples of a data set, as a data set.

use std::ops::Range;
use std::sync::Arc;

use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::schema::Schema;

/// A list of sample numbers that may be computed instead of stored.
pub trait SampleList: Send + Sync {
    /// How many there are.
    fn len(&self) -> u64;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sample number at `index`, which is below [`SampleList::len`].
    fn sample(&self, index: u64) -> u64;
}

/// Consecutive samples.
impl SampleList for Range<u64> {
    fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    fn sample(&self, index: u64) -> u64 {
        self.start + index
    }
}

/// The samples of a data set that a list names, in its order.
#[derive(Clone)]
pub struct Subset {
    dataset: Arc<dyn Dataset>,
    list: Arc<dyn SampleList>,
}

impl Subset {
    /// The listed samples.
    pub fn new(dataset: Arc<dyn Dataset>, list: impl SampleList + 'static) -> Self {
        Self {
            dataset,
            list: Arc::new(list),
        }
    }
}

impl Subset {
    /// Calls `work` with the numbers that samples of the list have in the data set.
    fn with_numbers<R>(&self, samples: &[u64], work: impl FnOnce(&[u64]) -> R) -> R {
        /// Numbers that are translated on the stack.
        const PIECE: usize = 256;
        if samples.len() <= PIECE {
            let mut numbers = [0; PIECE];
            for (number, &sample) in numbers.iter_mut().zip(samples) {
                *number = self.list.sample(sample);
            }
            return work(&numbers[..samples.len()]);
        }
        let numbers: Vec<u64> = samples
            .iter()
            .map(|&sample| self.list.sample(sample))
            .collect();
        work(&numbers)
    }
}

impl Dataset for Subset {
    fn schema(&self) -> &Schema {
        self.dataset.schema()
    }

    fn len(&self) -> u64 {
        self.list.len()
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()> {
        let len = self.len();
        if let Some(&sample) = samples.iter().find(|&&sample| sample >= len) {
            return Err(Error::SampleOutOfRange { sample, len });
        }
        self.with_numbers(samples, |numbers| self.dataset.read(numbers, into))
    }

    fn read_ahead(&self, samples: &[u64]) {
        let len = self.len();
        if samples.iter().all(|&sample| sample < len) {
            self.with_numbers(samples, |numbers| self.dataset.read_ahead(numbers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{RandomData, RandomDataOptions};

    struct Every(u64);

    impl SampleList for Every {
        fn len(&self) -> u64 {
            1000 / self.0
        }

        fn sample(&self, index: u64) -> u64 {
            index * self.0
        }
    }

    #[test]
    fn samples_are_those_of_the_list_in_its_order() {
        let options = RandomDataOptions {
            samples: 1000,
            ..RandomDataOptions::default()
        };
        let whole: Arc<dyn Dataset> = Arc::new(RandomData::new(options).unwrap());
        let third = Subset::new(whole.clone(), Every(3));
        let (mut found, mut expected) = (Batch::default(), Batch::default());
        for places in [vec![], vec![2, 0, 332], (0..333).collect::<Vec<u64>>()] {
            third.read(&places, &mut found).unwrap();
            let numbers: Vec<u64> = places.iter().map(|place| place * 3).collect();
            whole.read(&numbers, &mut expected).unwrap();
            assert_eq!(found, expected);
        }
        assert!(matches!(
            third.read(&[1, 333], &mut found),
            Err(Error::SampleOutOfRange {
                sample: 333,
                len: 333
            })
        ));
        let range = Subset::new(whole, 10..15);
        assert_eq!((range.len(), range.is_empty()), (5, false));
    }
}
