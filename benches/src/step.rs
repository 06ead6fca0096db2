//! A whole training step, as the trainer runs it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::Device;
use embedding_store::{CpuStore, Optimizer, Plan, StoreOptions, TableSpec};
use recsys_data::Batch;
use trainer::{BinaryLoss, Model, StepTimes, Trainer};

/// A trainer and the batches that it goes through in turn.
pub struct TrainStep<M> {
    trainer: Trainer<M, CpuStore>,
    /// The batches.
    pub batches: Vec<Batch>,
    plan: Plan,
    next: usize,
}

impl<M: Model> TrainStep<M> {
    /// A model on tables of its embedding dimension.
    ///
    /// # Panics
    /// Panics if there is no memory for them.
    pub fn new(model: M, rows: &[u64], optimizer: Optimizer, batches: Vec<Batch>) -> Self {
        let tables = rows.iter().map(|&rows| TableSpec::full(rows)).collect();
        let mut options = StoreOptions {
            optimizer: optimizer.into(),
            ..StoreOptions::default()
        };
        if let Some(shape) = model.input_shape() {
            options.dim = shape.dim;
        }
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
        let batch = planned(&self.trainer, &self.batches, &mut self.next, &mut self.plan);
        // A small rate keeps the weights away from infinity however long the benchmark runs.
        let loss = self
            .trainer
            .step(batch, &self.plan, &BinaryLoss::bce(), 1e-3);
        black_box(loss.expect("a training step"));
    }

    /// The logits of one batch, its plan included.
    ///
    /// # Panics
    /// Panics if the batch does not fit the model.
    pub fn infer(&mut self) {
        let batch = planned(&self.trainer, &self.batches, &mut self.next, &mut self.plan);
        black_box(self.trainer.predict(batch, &self.plan).expect("logits"));
    }

    /// Where the time of all steps so far went.
    pub fn times(&self) -> StepTimes {
        self.trainer.times()
    }
}

/// The next batch, and its plan in `plan`.
fn planned<'a, M: Model>(
    trainer: &Trainer<M, CpuStore>,
    batches: &'a [Batch],
    next: &mut usize,
    plan: &mut Plan,
) -> &'a Batch {
    let batch = &batches[*next % batches.len()];
    *next += 1;
    trainer
        .plan(batch, plan)
        .expect("ids are below their table's rows");
    batch
}

/// Times iterations inside the thread pool, where the trainer's loop runs too.
pub fn timed(iterations: u64, mut once: impl FnMut() + Send) -> Duration {
    rayon::scope(|_| {
        let start = Instant::now();
        (0..iterations).for_each(|_| once());
        start.elapsed()
    })
}
