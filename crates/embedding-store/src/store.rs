//! The interface of all stores.

use std::ops::Range;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    Initialization, Optimizer, Part, Plan, Planner, Result, RowFormat, TableSpec, Traffic,
};

/// Embedding tables that are looked up and trained batch by batch.
///
/// A training step makes a [`Plan`] of the batch's ids (ahead of time, on any thread), looks the rows up, computes a loss
/// from them, and hands the loss's gradient back.
pub trait EmbeddingStore: Send {
    /// Floats of a looked-up row.
    fn dim(&self) -> usize;

    /// The tables, one per categorical feature.
    fn tables(&self) -> &[TableSpec];

    /// The rule by which rows move.
    fn optimizer(&self) -> Optimizer;

    /// Makes plans for these tables.
    fn planner(&self) -> Planner;

    /// Writes the batch's rows, sum-pooled per bag, into `into`, a contiguous f32 tensor `[batch, tables, dim]`. Empty bags
    /// give zeros.
    ///
    /// # Errors
    /// A plan for other tables, or a tensor of another shape, element type or memory order.
    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()>;

    /// Moves the rows that the plan touches along `grad`, the gradient of the loss with respect to what
    /// [`lookup`](Self::lookup) gave, `[batch, tables, dim]`.
    ///
    /// # Errors
    /// A plan for other tables, a tensor of another shape, element type or memory order, or a learning rate that is not
    /// finite. The store is unchanged then.
    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()>;

    /// The matrices that the store keeps, under the reference's names, table by table.
    fn parts(&self) -> &[Part];

    /// Copies rows of a part, with their optimizer state.
    ///
    /// # Errors
    /// A part or rows that the store does not have.
    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows>;

    /// Overwrites rows of a part from `first_row` on. Without state, the optimizer starts anew for these rows.
    ///
    /// # Errors
    /// A part or rows that the store does not have, or rows or state of another width. The store is unchanged then.
    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()>;

    /// Bytes of rows and optimizer state.
    fn memory_bytes(&self) -> u64;

    /// Those of [`memory_bytes`](Self::memory_bytes) that lie in memory-mapped files.
    fn mapped_bytes(&self) -> u64 {
        0
    }

    /// Where [`lookup`](Self::lookup) writes and [`update`](Self::update) reads its tensor.
    fn device(&self) -> Device {
        Device::Cpu
    }

    /// Shows the plan of a coming batch, so that its rows can be fetched while another thread runs the model on the current
    /// one. Changes no result, whatever is looked up or updated before the batch's turn.
    ///
    /// # Errors
    /// A plan for other tables.
    fn prefetch(&mut self, plan: &Plan) -> Result<()> {
        let _ = plan;
        Ok(())
    }

    /// Coming batches whose plans [`prefetch`](Self::prefetch) makes use of: 0, the default, for a
    /// store that fetches nothing ahead.
    fn lookahead(&self) -> usize {
        0
    }

    /// Says which batches follow: those that touch hot rows only, or any.
    ///
    /// # Errors
    /// A copy between devices that fails.
    fn enter(&mut self, side: Side) -> Result<()> {
        let _ = side;
        Ok(())
    }

    /// What crossed between the host and the device since the store was made.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// So many updates have been made, where what follows depends on it: on rows that are [rounded at random](RowFormat::Bf16). Else 0.
    ///
    /// With this and all rows, another store goes on from here.
    fn updates(&self) -> u64 {
        0
    }

    /// Goes on as if so many [updates](Self::updates) had been made.
    fn continue_from(&mut self, updates: u64) {
        let _ = updates;
    }
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

    fn optimizer(&self) -> Optimizer {
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

    fn parts(&self) -> &[Part] {
        (**self).parts()
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        (**self).export(part, rows)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        (**self).import(part, first_row, rows)
    }

    fn memory_bytes(&self) -> u64 {
        (**self).memory_bytes()
    }

    fn mapped_bytes(&self) -> u64 {
        (**self).mapped_bytes()
    }

    fn device(&self) -> Device {
        (**self).device()
    }

    fn prefetch(&mut self, plan: &Plan) -> Result<()> {
        (**self).prefetch(plan)
    }

    fn lookahead(&self) -> usize {
        (**self).lookahead()
    }

    fn enter(&mut self, side: Side) -> Result<()> {
        (**self).enter(side)
    }

    fn traffic(&self) -> Traffic {
        (**self).traffic()
    }

    fn updates(&self) -> u64 {
        (**self).updates()
    }

    fn continue_from(&mut self, updates: u64) {
        (**self).continue_from(updates);
    }
}

/// Some rows of a part, with their optimizer state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Floats a row.
    pub dim: usize,
    /// `[rows, dim]`.
    pub weights: Vec<f32>,
    /// `[rows, state width of the part]`; may be empty for an import.
    pub state: Vec<f32>,
}

/// Settings of a store's tables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoreOptions {
    /// Floats of a looked-up row.
    pub dim: usize,
    /// The rule by which rows move.
    pub optimizer: Optimizer,
    /// How rows start.
    pub initialization: Initialization,
    /// The seed of random rows, and of random rounding.
    pub seed: u64,
    /// How rows on a device are kept: those of a [`DeviceStore`](crate::DeviceStore), which are the hot ones of a
    /// [`HotCold`](crate::HotCold) or [`HotReplicas`](crate::HotReplicas) made on devices. In host memory rows are f32.
    pub device_rows: RowFormat,
}

impl Default for StoreOptions {
    /// 16 floats, SGD, the reference's initial rows, seed 0, f32 on devices.
    fn default() -> Self {
        Self {
            dim: 16,
            optimizer: Optimizer::Sgd,
            initialization: Initialization::default(),
            seed: 0,
            device_rows: RowFormat::F32,
        }
    }
}
