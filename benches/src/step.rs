//! A whole training step, as the trainer runs it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::Device;
use embedding_store::{CpuStore, Optimizer, Plan, StoreOptions, TableSpec};
use recsys_data::Batch;
use trainer::{Loss, Model, Trainer};

/// A trainer and the batches that it goes through in turn.
pub struct TrainStep<M> {
    trainer: Trainer<M, CpuStore>,
    /// The batches.
    pub batches: Vec<Batch>,
    plan: Plan,
    next: usize,
}

impl<M: Model> TrainStep<M> {
    /// A model on tables of dimension 16.
    ///
    /// # Panics
    /// Panics if there is no memory for them.
    pub fn new(model: M, rows: &[u64], optimizer: Optimizer, batches: Vec<Batch>) -> Self {
        let tables = rows.iter().map(|&rows| TableSpec::full(rows)).collect();
        let options = StoreOptions {
            optimizer,
            ..StoreOptions::default()
        };
        let store = CpuStore::new(tables, options).expect("memory for the tables");
        Self {
            trainer: Trainer::new(model, store, Device::Cpu),
            batches,
            plan: Plan::default(),
            next: 0,
        }
    }

    /// One step: plan, gather, forward, loss, backward, dense and row-sparse update.
    ///
    /// # Panics
    /// Panics if the batch does not fit the model.
    pub fn run(&mut self) {
        let batch = &self.batches[self.next % self.batches.len()];
        self.next += 1;
        self.trainer
            .plan(batch, &mut self.plan)
            .expect("ids are below their table's rows");
        // A small rate keeps the weights away from infinity however long the benchmark runs.
        let loss = self.trainer.step(batch, &self.plan, &Loss::bce(), 1e-3);
        black_box(loss.expect("a training step"));
    }
}

/// Times iterations inside the thread pool, where the trainer's loop runs too.
pub fn timed(iterations: u64, mut once: impl FnMut() + Send) -> Duration {
    rayon::scope(|_| {
        let start = Instant::now();
        (0..iterations).for_each(|_| once());
        start.elapsed()
    })
}
