//! A store of one's own: it counts what passes, and leaves the rows to another store.
//!
//! 1. Implement `EmbeddingStore` with the public API alone; a plan knows the rows of its batch.
//! 2. Train with it like with any other store.
//! 3. Print how many lookups there were, and how many distinct rows served them.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use candle_core::{Device, Tensor};
use dlrm::{Dlrm, DlrmConfig, FusedDlrm};
use embedding_store::{
    CpuStore, EmbeddingStore, Part, Plan, Planner, RowOptimizer, Rows, StoreOptions, TableSpec,
};
use fae_cli::process::exit_on_error;
use fae_cli::say;
use recsys_data::Dataset;
use recsys_data::generate::{Planted, PlantedOptions};
use trainer::{Evaluations, TrainOptions, Trainer, fit};

#[derive(Debug)]
struct Counting {
    rows: CpuStore,
    lookups: AtomicU64,
    distinct: AtomicU64,
}

impl EmbeddingStore for Counting {
    fn lookup(&self, plan: &Plan, into: &Tensor) -> embedding_store::Result<()> {
        let distinct = plan.distinct_rows() as u64;
        self.lookups
            .fetch_add(plan.lookups() as u64, Ordering::Relaxed);
        self.distinct.fetch_add(distinct, Ordering::Relaxed);
        self.rows.lookup(plan, into)
    }
    fn update(&mut self, plan: &Plan, grad: &Tensor, rate: f64) -> embedding_store::Result<()> {
        self.rows.update(plan, grad, rate)
    }
    // The rest is the other store's.
    fn dim(&self) -> usize {
        self.rows.dim()
    }
    fn tables(&self) -> &[TableSpec] {
        self.rows.tables()
    }
    fn optimizer(&self) -> &RowOptimizer {
        self.rows.optimizer()
    }
    fn planner(&self) -> Planner {
        self.rows.planner()
    }
    fn updates(&self) -> u64 {
        self.rows.updates()
    }
    fn continue_from(&mut self, updates: u64) {
        self.rows.continue_from(updates);
    }
    fn parts(&self) -> &[Part] {
        self.rows.parts()
    }
    fn export(&self, part: usize, rows: Range<u64>) -> embedding_store::Result<Rows> {
        self.rows.export(part, rows)
    }
    fn import(&mut self, part: usize, first: u64, rows: &Rows) -> embedding_store::Result<()> {
        self.rows.import(part, first, rows)
    }
    fn memory_bytes(&self) -> u64 {
        self.rows.memory_bytes()
    }
}

fn main() -> ExitCode {
    exit_on_error(run())
}

fn run() -> Result<()> {
    let data = Arc::new(Planted::new(PlantedOptions {
        samples: 100_000,
        ..PlantedOptions::default()
    })?);
    let tables = data.schema().table_rows().into_iter().map(TableSpec::full);
    let store = Counting {
        rows: CpuStore::new(tables.collect(), StoreOptions::default())?,
        lookups: AtomicU64::new(0),
        distinct: AtomicU64::new(0),
    };
    let shape = DlrmConfig {
        bottom: vec![13, 64, 16],
        top: vec![64, 1],
        ..DlrmConfig::default()
    };
    let model = FusedDlrm::new(Dlrm::new(shape, 1, &Device::Cpu)?);
    let mut trainer = Trainer::new(model, store, Device::Cpu);
    let options = TrainOptions::default();
    fit(
        &mut trainer,
        data,
        &Evaluations::default(),
        &options,
        &mut (),
    )?;
    let store = trainer.store();
    let [lookups, distinct] = [&store.lookups, &store.distinct].map(|n| n.load(Ordering::Relaxed));
    say!("{lookups} lookups of {distinct} rows that were distinct within their batch");
    Ok(())
}
