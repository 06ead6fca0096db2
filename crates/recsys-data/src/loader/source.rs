//! What the threads of a loader share: the data set, and memory for batches that comes back.

use std::sync::{Arc, Mutex, PoisonError};

use super::options::LoaderOptions;
use super::permutation::Permutation;
use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// What work on a batch answers.
type Prepared = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// What a loader does on its threads with a batch that it has read.
pub(super) type Prepare<E> = dyn Fn(&Batch, &mut E) -> Prepared + Send + Sync;

/// What the threads of all epochs share.
pub(super) struct Source<E> {
    pub(super) dataset: Arc<dyn Dataset>,
    pub(super) options: LoaderOptions,
    pub(super) prepare: Box<Prepare<E>>,
    /// Buffers that nobody uses at the moment.
    pub(super) spare: Mutex<Vec<Buffers<E>>>,
}

/// Memory of one batch.
#[derive(Default)]
pub(super) struct Buffers<E> {
    pub(super) samples: Vec<u64>,
    pub(super) batch: Batch,
    pub(super) extra: E,
}

impl<E> Source<E> {
    pub(super) fn batches(&self) -> u64 {
        self.dataset.len().div_ceil(self.options.batch_size as u64)
    }
}

impl<E: Default + Send> Source<E> {
    pub(super) fn give_back(&self, buffers: Buffers<E>) {
        self.spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(buffers);
    }

    fn buffers(&self) -> Buffers<E> {
        let spare = self
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        spare.unwrap_or_default()
    }

    /// Fills `samples` with the numbers of a batch's samples.
    fn list(&self, order: Option<Permutation>, batch: u64, samples: &mut Vec<u64>) {
        let size = self.options.batch_size as u64;
        let start = batch * size;
        let places = start..start.saturating_add(size).min(self.dataset.len());
        samples.clear();
        match order {
            None => samples.extend(places),
            Some(permutation) => samples.extend(places.map(|place| permutation.at(place))),
        }
    }

    /// Reads batch number `batch` of an epoch that began at batch `first`, and prepares it.
    pub(super) fn load(
        &self,
        order: Option<Permutation>,
        first: u64,
        batch: u64,
    ) -> Result<Buffers<E>> {
        let mut buffers = self.buffers();
        let prefetch = self.options.prefetch as u64;
        let ahead = batch.saturating_add(prefetch);
        if ahead < self.batches() {
            self.list(order, ahead, &mut buffers.samples);
            self.dataset.read_ahead(&buffers.samples);
        }
        self.list(order, batch, &mut buffers.samples);
        if batch - first < prefetch {
            // No batch before this one needs it.
            self.dataset.read_ahead(&buffers.samples);
        }
        self.dataset.read(&buffers.samples, &mut buffers.batch)?;
        match (self.prepare)(&buffers.batch, &mut buffers.extra) {
            Ok(()) => Ok(buffers),
            Err(source) => Err(Error::Prepare { batch, source }),
        }
    }
}
