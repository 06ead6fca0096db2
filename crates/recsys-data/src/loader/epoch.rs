//! One pass over a data set.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::options::Order;
use super::permutation::Permutation;
use super::queue::Queue;
use super::source::{Buffers, Source};
use crate::batch::Batch;
use crate::error::Result;

/// The batches of an epoch, in order: an iterator made by [`Loader::epoch`](crate::Loader::epoch).
pub struct Epoch<E: Default + Send + 'static> {
    source: Arc<Source<E>>,
    queue: Arc<Queue<Result<Buffers<E>>>>,
    workers: Vec<JoinHandle<()>>,
}

/// A batch, and what was prepared for it. Dropping it gives its memory back to the loader.
pub struct Loaded<E: Default + Send + 'static = ()> {
    /// The samples.
    pub batch: Batch,
    /// What the loader's `prepare` made of them.
    pub extra: E,
    samples: Vec<u64>,
    source: Arc<Source<E>>,
}

impl<E: Default + Send + 'static> Loaded<E> {
    /// Numbers of the samples in their data set, in the order of the batch.
    pub fn samples(&self) -> &[u64] {
        &self.samples
    }
}

impl<E: Default + Send + 'static> Drop for Loaded<E> {
    fn drop(&mut self) {
        let buffers = Buffers {
            samples: std::mem::take(&mut self.samples),
            batch: std::mem::take(&mut self.batch),
            extra: std::mem::take(&mut self.extra),
        };
        self.source.give_back(buffers);
    }
}

/// Tells the reader that a worker is gone for good.
struct PanicGuard<'a, T>(&'a Queue<T>);

impl<T> Drop for PanicGuard<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

impl<E: Default + Send + 'static> Epoch<E> {
    pub(super) fn start(source: Arc<Source<E>>, epoch: u64, first_batch: u64) -> Self {
        let options = source.options;
        let batches = source.batches();
        let first = first_batch.min(batches);
        let queue = Arc::new(Queue::new(first, batches, options.prefetch));
        let order = (options.order == Order::Shuffled)
            .then(|| Permutation::new(source.dataset.len(), options.seed, epoch));
        // More threads than batches or places ahead would only wait.
        let threads = options.threads.min(options.prefetch) as u64;
        let workers = (0..threads.min(batches - first))
            .map(|_| {
                let (source, queue) = (Arc::clone(&source), Arc::clone(&queue));
                std::thread::spawn(move || {
                    let guard = PanicGuard(&*queue);
                    while let Some(batch) = guard.0.claim() {
                        queue.put(batch, source.load(order, first, batch));
                    }
                })
            })
            .collect();
        Self {
            source,
            queue,
            workers,
        }
    }

    /// Ends the threads; a panic on one of them goes on here.
    fn stop(&mut self) {
        self.queue.close();
        for worker in self.workers.drain(..) {
            if let Err(panic) = worker.join()
                && !std::thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl<E: Default + Send + 'static> Iterator for Epoch<E> {
    type Item = Result<Loaded<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.workers.is_empty() {
            return None;
        }
        match self.queue.take() {
            Some(Ok(buffers)) => Some(Ok(Loaded {
                batch: buffers.batch,
                extra: buffers.extra,
                samples: buffers.samples,
                source: Arc::clone(&self.source),
            })),
            Some(Err(error)) => {
                self.stop();
                Some(Err(error))
            }
            None => {
                self.stop();
                None
            }
        }
    }
}

impl<E: Default + Send + 'static> Drop for Epoch<E> {
    fn drop(&mut self) {
        self.stop();
        while let Some(made) = self.queue.take_made() {
            if let Ok(buffers) = made {
                self.source.give_back(buffers);
            }
        }
    }
}
