//! Mini-batches read ahead by background threads.

mod epoch;
mod options;
mod permutation;
mod queue;
mod source;

use std::sync::{Arc, Mutex};

use self::source::Source;
use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};

pub use epoch::{Epoch, Loaded};
pub use options::{LoaderOptions, Order};
pub(crate) use permutation::Permutation;

/// More threads than any machine reads with; each takes memory of its own.
const MAX_THREADS: usize = 1024;

/// Reads a data set in mini-batches, ahead of their use.
///
/// Background threads read batches into buffers that come back when a [`Loaded`] batch is dropped, so that a running epoch
/// allocates nothing once the buffers have their size. Batches come in the order of the epoch, whatever the number of threads;
/// with [`Order::Shuffled`] the order is computed sample by sample and needs no memory.
///
/// `E` is what `prepare` makes of each batch on the same threads, into memory that is reused as well: a plan of its ids, for
/// example. `()` for nothing.
pub struct Loader<E = ()> {
    source: Arc<Source<E>>,
}

impl Loader {
    /// A loader that reads and does nothing else.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn plain(dataset: Arc<dyn Dataset>, options: LoaderOptions) -> Result<Self> {
        Self::new(dataset, options, |_, ()| Ok(()))
    }
}

impl<E: Default + Send + 'static> Loader<E> {
    /// A loader that calls `prepare` for every batch on the thread that has read it.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] where batch size, threads or prefetch is 0, or threads are more than 1024.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        options: LoaderOptions,
        prepare: impl Fn(
            &Batch,
            &mut E,
        ) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Result<Self> {
        for (option, value) in [
            ("batch size", options.batch_size),
            ("loader threads", options.threads),
            ("prefetch", options.prefetch),
        ] {
            if value == 0 {
                return Err(Error::InvalidOption {
                    option,
                    value: "0".into(),
                    allowed: "1 or more",
                });
            }
        }
        if options.threads > MAX_THREADS {
            return Err(Error::InvalidOption {
                option: "loader threads",
                value: options.threads.to_string(),
                allowed: "at most 1024",
            });
        }
        Ok(Self {
            source: Arc::new(Source {
                dataset,
                options,
                prepare: Box::new(prepare),
                spare: Mutex::new(Vec::new()),
            }),
        })
    }

    /// Batches of an epoch, the last and shorter one included.
    pub fn batches(&self) -> u64 {
        self.source.batches()
    }

    /// Begins an epoch at one of its batches (0 for the whole of it).
    ///
    /// The threads end when the epoch is dropped or has been read to its end. After an error there are no more batches.
    pub fn epoch(&self, epoch: u64, first_batch: u64) -> Epoch<E> {
        Epoch::start(Arc::clone(&self.source), epoch, first_batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{RandomData, RandomDataOptions};

    fn dataset(samples: u64) -> Arc<dyn Dataset> {
        let options = RandomDataOptions {
            samples,
            table_rows: vec![7, 300],
            ..RandomDataOptions::default()
        };
        Arc::new(RandomData::new(options).unwrap())
    }

    fn read_alone(dataset: &Arc<dyn Dataset>, samples: &[u64]) -> Batch {
        let mut batch = Batch::default();
        dataset.read(samples, &mut batch).unwrap();
        batch
    }

    #[test]
    fn file_order_is_the_data_set_in_pieces_on_any_number_of_threads() {
        let dataset = dataset(103);
        for (threads, prefetch) in [(1, 1), (1, 4), (3, 2), (4, 9)] {
            let options = LoaderOptions {
                batch_size: 10,
                threads,
                prefetch,
                ..LoaderOptions::default()
            };
            let loader = Loader::plain(dataset.clone(), options).unwrap();
            assert_eq!(loader.batches(), 11);
            for first in [0, 4, 11, 50] {
                let mut next = first * 10;
                for loaded in loader.epoch(0, first) {
                    let loaded = loaded.unwrap();
                    let samples: Vec<u64> = (next..(next + 10).min(103)).collect();
                    assert_eq!(loaded.samples(), samples);
                    assert_eq!(loaded.batch, read_alone(&dataset, &samples));
                    next += 10;
                }
                assert_eq!(next, (110).max(first * 10));
            }
        }
    }

    #[test]
    fn a_shuffled_epoch_has_every_sample_once_and_is_the_same_on_any_number_of_threads() {
        let dataset = dataset(250);
        let read = |threads, seed, epoch, first| {
            let options = LoaderOptions {
                batch_size: 16,
                order: Order::Shuffled,
                seed,
                threads,
                ..LoaderOptions::default()
            };
            let loader = Loader::plain(dataset.clone(), options).unwrap();
            let mut samples = Vec::new();
            for loaded in loader.epoch(epoch, first) {
                let loaded = loaded.unwrap();
                assert_eq!(loaded.batch, read_alone(&dataset, loaded.samples()));
                samples.extend_from_slice(loaded.samples());
            }
            samples
        };
        let first = read(1, 1, 0, 0);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..250));
        assert_eq!(first, read(4, 1, 0, 0));
        assert_eq!(first[3 * 16..], read(2, 1, 0, 3));
        assert_ne!(first, read(1, 1, 1, 0));
        assert_ne!(first, read(1, 2, 0, 0));
    }

    #[test]
    fn what_prepare_makes_comes_with_its_batch_and_its_error_ends_the_epoch() {
        let options = LoaderOptions {
            batch_size: 10,
            threads: 2,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(dataset(100), options, |batch, sum: &mut f32| {
            *sum = batch.label.iter().sum();
            Ok(())
        })
        .unwrap();
        for loaded in loader.epoch(0, 0) {
            let loaded = loaded.unwrap();
            assert_eq!(loaded.extra, loaded.batch.label.iter().sum::<f32>());
        }
        let fourth = read_alone(&dataset(100), &(30..40).collect::<Vec<u64>>());
        let loader = Loader::new(dataset(100), options, move |batch, ()| {
            if *batch == fourth {
                return Err("the fourth is bad".into());
            }
            Ok(())
        })
        .unwrap();
        let results: Vec<_> = loader.epoch(0, 0).map(|loaded| loaded.err()).collect();
        assert_eq!(results.len(), 4);
        let message = results[3].as_ref().map(ToString::to_string);
        assert_eq!(message.as_deref(), Some("batch 3: the fourth is bad"));
    }

    #[test]
    fn an_epoch_may_be_left_early_and_buffers_come_back() {
        let options = LoaderOptions {
            batch_size: 1,
            threads: 3,
            prefetch: 5,
            ..LoaderOptions::default()
        };
        let loader = Loader::plain(dataset(1000), options).unwrap();
        for round in 0..20 {
            let mut epoch = loader.epoch(round, 0);
            for _ in 0..round {
                epoch.next().unwrap().unwrap();
            }
        }
        // A batch in use, and those that were ahead of it.
        let spare = loader.source.spare.lock().unwrap().len();
        assert!(spare <= 5 + 1, "{spare}");
    }

    #[test]
    #[should_panic(expected = "prepare gave up")]
    fn a_panic_on_a_loader_thread_reaches_the_reader() {
        let options = LoaderOptions {
            threads: 2,
            batch_size: 3,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(dataset(100), options, |_, ()| panic!("prepare gave up")).unwrap();
        let _ = loader.epoch(0, 0).count();
    }

    #[test]
    fn any_prefetch_and_batch_size_neither_panics_nor_aborts() {
        for huge in [usize::MAX, 1 << 40] {
            for (batch_size, batches) in [(10, 11), (huge, 1)] {
                let options = LoaderOptions {
                    batch_size,
                    prefetch: huge,
                    threads: MAX_THREADS,
                    ..LoaderOptions::default()
                };
                let loader = Loader::plain(dataset(103), options).unwrap();
                assert_eq!(loader.epoch(0, 0).map(Result::unwrap).count(), batches);
                let options = LoaderOptions {
                    threads: huge,
                    ..options
                };
                let error = Loader::plain(dataset(103), options).err().unwrap();
                assert!(error.to_string().contains("1024"), "{error}");
            }
        }
    }

    #[test]
    fn options_of_zero_are_named() {
        let message = |options| {
            Loader::plain(dataset(1), options)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        let defaults = LoaderOptions::default();
        assert!(
            message(LoaderOptions {
                batch_size: 0,
                ..defaults
            })
            .starts_with("batch size is 0")
        );
        assert!(
            message(LoaderOptions {
                threads: 0,
                ..defaults
            })
            .starts_with("loader threads is 0")
        );
        assert!(
            message(LoaderOptions {
                prefetch: 0,
                ..defaults
            })
            .starts_with("prefetch is 0")
        );
    }
}
