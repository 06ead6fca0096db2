//! The interface of all stores.

use std::ops::Range;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::encoding::TableSpec;
use crate::error::{Error, Result};
use crate::initialization::Initialization;
use crate::layout::Part;
use crate::plan::Plan;
use crate::planner::Planner;
use crate::row_format::RowFormat;
use crate::rows::Rows;
use crate::rule::RowOptimizer;
use crate::traffic::Traffic;

/// Embedding tables that are looked up and trained batch by batch.
///
/// A training step makes a [`Plan`] of the batch's ids (ahead of time, on any thread), looks the
/// rows up, computes a loss from them, and hands the loss's gradient back.
///
/// Stores can be written outside of this crate: [`Planner::new`] makes planners, [`Planner::check`]
/// says whether a plan is one of these tables, [`Part::of_tables`] describes the matrices, the plan
/// shows its bags, distinct rows and sums of gradients, and
/// [`RowOptimizer::step`](crate::RowOptimizer::step) moves a row. A store that wraps another one
/// forwards all methods, those with a default too.
pub trait EmbeddingStore: Send + Sync {
    /// Floats of a looked-up row.
    fn dim(&self) -> usize;

    /// The tables, one per categorical feature.
    fn tables(&self) -> &[TableSpec];

    /// The rule by which rows move.
    fn optimizer(&self) -> &RowOptimizer;

    /// Makes plans for these tables.
    fn planner(&self) -> Planner;

    /// Writes the batch's rows, sum-pooled per bag, into `into`, a contiguous f32 tensor
    /// `[batch, tables, dim]`. Empty bags give zeros.
    ///
    /// # Errors
    /// A plan for other tables, or a tensor of another shape, element type or memory order.
    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()>;

    /// Moves the rows that the plan touches along `grad`, the gradient of the loss with respect to
    /// what [`lookup`](Self::lookup) gave, `[batch, tables, dim]`.
    ///
    /// # Errors
    /// A plan for other tables, a tensor of another shape, element type or memory order, or a
    /// learning rate that is not finite. The store is unchanged then.
    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()>;

    /// How many updates have been made, where what follows depends on it: rules from outside may,
    /// and rows that are [rounded at random](RowFormat::Bf16) do. Else 0.
    ///
    /// With this and all rows, another store goes on from here.
    fn updates(&self) -> u64;

    /// Goes on as if that many [updates](Self::updates) had been made.
    fn continue_from(&mut self, updates: u64);

    /// The matrices that the store keeps, under the reference's names, table by table.
    fn parts(&self) -> &[Part];

    /// Copies rows of a part, with their optimizer state.
    ///
    /// # Errors
    /// A part or rows that the store does not have.
    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows>;

    /// Overwrites rows of a part from `first_row` on. Without state, the optimizer starts anew for
    /// these rows.
    ///
    /// # Errors
    /// A part or rows that the store does not have, or rows or state of another width. The store is
    /// unchanged then.
    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()>;

    /// Copies single rows of a part, in any order, with their optimizer state.
    ///
    /// # Errors
    /// As [`export`](Self::export).
    fn export_rows(&self, part: usize, rows: &[u32]) -> Result<Rows> {
        let mut all = self.export(part, 0..0)?;
        for run in runs(rows) {
            let some = self.export(part, run_of(run))?;
            all.weights.extend_from_slice(&some.weights);
            all.state.extend_from_slice(&some.state);
        }
        Ok(all)
    }

    /// Overwrites single rows of a part, in any order; of a row that is named twice, the last
    /// values stay. Without state, the optimizer starts anew for these rows.
    ///
    /// # Errors
    /// As [`import`](Self::import), and values of another number of rows. Some rows may have been
    /// written then.
    fn import_rows(&mut self, part: usize, rows: &[u32], values: &Rows) -> Result<()> {
        let count = values.check(self.parts(), part)?;
        if count != rows.len() {
            return Err(Error::RowsMismatch {
                name: self.parts()[part].name.clone(),
                what: "the number of rows",
                got: count as u64,
                expected: rows.len() as u64,
            });
        }
        let mut done = 0;
        for run in runs(rows) {
            let values = values.slice(done..done + run.len());
            self.import(part, u64::from(run[0]), &values)?;
            done += run.len();
        }
        Ok(())
    }

    /// Bytes of rows and optimizer state.
    fn memory_bytes(&self) -> u64;

    /// Where [`lookup`](Self::lookup) writes and [`update`](Self::update) reads its tensor.
    fn device(&self) -> Device {
        Device::Cpu
    }

    /// What a store can besides whose rows lie in several kinds of memory; none by default.
    fn tiers(&self) -> Option<&dyn Tiered> {
        None
    }

    /// The same, to be used.
    fn tiers_mut(&mut self) -> Option<&mut dyn Tiered> {
        None
    }
}

/// Pieces of rows that follow each other.
fn runs(rows: &[u32]) -> impl Iterator<Item = &[u32]> {
    rows.chunk_by(|a, b| a.checked_add(1) == Some(*b))
}

/// The rows of such a piece.
fn run_of(run: &[u32]) -> Range<u64> {
    match (run.first(), run.last()) {
        (Some(&first), Some(&last)) => u64::from(first)..u64::from(last) + 1,
        _ => 0..0,
    }
}

/// What stores can do whose rows lie in several kinds of memory: of a device, of the host, in
/// files.
pub trait Tiered {
    /// Shows the plan of a coming batch, so that its rows can be fetched while another thread runs
    /// the model on the current one. Changes no result, whatever is looked up or updated before the
    /// batch's turn.
    ///
    /// # Errors
    /// A plan for other tables.
    fn prefetch(&mut self, plan: &Plan) -> Result<()>;

    /// Coming batches whose plans [`prefetch`](Self::prefetch) makes use of; 0 for a
    /// store that fetches nothing ahead.
    fn lookahead(&self) -> usize;

    /// Says which batches follow: those that touch hot rows only, or any.
    ///
    /// # Errors
    /// A copy between devices that fails.
    fn enter(&mut self, side: Side) -> Result<()>;

    /// What crossed between the host and the device since the store was made.
    fn traffic(&self) -> Traffic;

    /// Bytes of rows and optimizer state that lie in memory-mapped files.
    fn mapped_bytes(&self) -> u64;
}

/// The kind of batches that a schedule runs for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Batches that touch hot rows only.
    Hot,
    /// Batches that touch any rows.
    Cold,
}

impl<S: EmbeddingStore + ?Sized> EmbeddingStore for Box<S> {
    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn tables(&self) -> &[TableSpec] {
        (**self).tables()
    }

    fn optimizer(&self) -> &RowOptimizer {
        (**self).optimizer()
    }

    fn planner(&self) -> Planner {
        (**self).planner()
    }

    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        (**self).lookup(plan, into)
    }

    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()> {
        (**self).update(plan, grad, learning_rate)
    }

    fn updates(&self) -> u64 {
        (**self).updates()
    }

    fn continue_from(&mut self, updates: u64) {
        (**self).continue_from(updates);
    }

    fn parts(&self) -> &[Part] {
        (**self).parts()
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        (**self).export(part, rows)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        (**self).import(part, first_row, rows)
    }

    fn export_rows(&self, part: usize, rows: &[u32]) -> Result<Rows> {
        (**self).export_rows(part, rows)
    }

    fn import_rows(&mut self, part: usize, rows: &[u32], values: &Rows) -> Result<()> {
        (**self).import_rows(part, rows, values)
    }

    fn memory_bytes(&self) -> u64 {
        (**self).memory_bytes()
    }

    fn device(&self) -> Device {
        (**self).device()
    }

    fn tiers(&self) -> Option<&dyn Tiered> {
        (**self).tiers()
    }

    fn tiers_mut(&mut self) -> Option<&mut dyn Tiered> {
        (**self).tiers_mut()
    }
}

/// Settings of a store's tables.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreOptions {
    /// Floats of a looked-up row.
    pub dim: usize,
    /// How rows move: a built-in [`Optimizer`](crate::Optimizer) or a
    /// [`RowRule`](crate::RowRule), with a factor on the learning rate for every table.
    pub optimizer: RowOptimizer,
    /// How rows start.
    pub initialization: Initialization,
    /// The seed of random rows, and of random rounding.
    pub seed: u64,
    /// How rows on a device are kept: those of a [`DeviceStore`](crate::DeviceStore), which are the
    /// hot ones of a [`HotCold`](crate::HotCold) or [`HotReplicas`](crate::HotReplicas) made on
    /// devices. Rows in host memory are f32, and a [`CpuStore`](crate::CpuStore) with another
    /// format is refused.
    pub device_rows: RowFormat,
}

impl StoreOptions {
    /// The same for rows in host memory beside those on devices: f32.
    pub fn in_host_memory(&self) -> Self {
        Self {
            device_rows: RowFormat::F32,
            ..self.clone()
        }
    }

    /// That rows in host memory can be as the options say.
    pub(crate) fn check_host_memory(&self) -> Result<()> {
        match self.device_rows {
            RowFormat::F32 => Ok(()),
            format => Err(Error::DeviceRowsInHostMemory {
                format: format.name(),
            }),
        }
    }
}

impl Default for StoreOptions {
    /// 16 floats, SGD, the reference's initial rows, seed 0, f32 on devices.
    fn default() -> Self {
        Self {
            dim: 16,
            optimizer: RowOptimizer::default(),
            initialization: Initialization::default(),
            seed: 0,
            device_rows: RowFormat::F32,
        }
    }
}
