//! The store in host memory.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;

use crate::arena::{Arena, ArenaError};
use crate::hot_rows::{check_ranges, cold_ranges, hot_ranges};
use crate::initialization::RowGenerator;
use crate::kernel::Level;
use crate::layout::{Layout, PartKind, RowOf};
use crate::lookup::gather;
use crate::{
    EmbeddingStore, Error, Optimizer, Part, Plan, Planner, Result, Rows, StoreOptions, TableSpec,
    read_slice, write_slice,
};

/// Embedding tables in host memory.
///
/// Lookup and update run on the current rayon pool; results do not depend on the number of its threads.
#[derive(Debug)]
pub struct CpuStore {
    pub(crate) dim: usize,
    pub(crate) optimizer: Optimizer,
    pub(crate) level: Level,
    pub(crate) layout: Arc<Layout>,
    pub(crate) parts: Vec<Part>,
    /// The rows of every part that are here.
    pub(crate) held: Vec<Range<u64>>,
    /// Whether those are all.
    whole: bool,
    pub(crate) storage: Vec<PartStorage>,
    /// Intermediate gradients of an update, `[batch, workspace width]`.
    pub(crate) workspace: Vec<f32>,
}

/// Memory of a part. That of a projection is transposed, `[dim_i, dim]`: all that is done with it runs along `dim`.
#[derive(Debug)]
pub(crate) struct PartStorage {
    pub(crate) kind: PartKind,
    pub(crate) row_of: RowOf,
    /// The first row held.
    pub(crate) first: usize,
    pub(crate) weights: Arena,
    pub(crate) state: Option<Arena>,
}

impl CpuStore {
    /// Makes the tables with their initial rows.
    ///
    /// # Errors
    /// No tables, a dimension of 0, a table or optimizer with impossible settings, or more memory than there is.
    pub fn new(tables: Vec<TableSpec>, options: StoreOptions) -> Result<Self> {
        Self::make(tables, options, None)
    }

    /// Makes some rows of every part, with the values that they have in the whole tables; of a projection, all rows or
    /// none. Plans are those of the whole tables, and one that touches another row is refused.
    ///
    /// # Errors
    /// As [`new`](Self::new), and ranges of another number than parts, beyond their part, or with a part of a projection.
    pub fn with_rows(
        tables: Vec<TableSpec>,
        options: StoreOptions,
        ranges: &[Range<u64>],
    ) -> Result<Self> {
        Self::make(tables, options, Some(ranges))
    }

    /// Makes the rows that lookups of ids below `hot_rows` touch, one number for each table.
    ///
    /// # Errors
    /// As [`new`](Self::new), and hot rows that do not fit the tables.
    pub fn hot(tables: Vec<TableSpec>, options: StoreOptions, hot_rows: &[u64]) -> Result<Self> {
        let hot = hot_ranges(&tables, options, hot_rows)?;
        Self::make(tables, options, Some(&hot))
    }

    /// Makes the rows that [`hot`](Self::hot) leaves out.
    ///
    /// # Errors
    /// As [`hot`](Self::hot).
    pub fn cold(tables: Vec<TableSpec>, options: StoreOptions, hot_rows: &[u64]) -> Result<Self> {
        let cold = cold_ranges(&tables, options, hot_rows)?;
        Self::make(tables, options, Some(&cold))
    }

    fn make(
        tables: Vec<TableSpec>,
        options: StoreOptions,
        ranges: Option<&[Range<u64>]>,
    ) -> Result<Self> {
        let StoreOptions {
            dim,
            optimizer,
            initialization,
            seed,
        } = options;
        let (layout, parts) = Layout::new(tables, dim, optimizer)?;
        let held = match ranges {
            Some(ranges) => check_ranges(&layout, &parts, ranges)?,
            None => parts.iter().map(|part| 0..part.rows).collect(),
        };
        let storage = held
            .iter()
            .enumerate()
            .map(|(part, held)| {
                let generator = RowGenerator::new(initialization, seed, &layout, &parts, part, dim);
                let placed = &layout.parts[part];
                PartStorage::new(
                    &parts[part],
                    placed.kind,
                    held.clone(),
                    generator,
                    optimizer,
                )
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            whole: held
                .iter()
                .zip(&parts)
                .all(|(held, part)| *held == (0..part.rows)),
            held,
            dim,
            optimizer,
            level: Level::detect(),
            layout: Arc::new(layout),
            parts,
            storage,
            workspace: Vec::new(),
        })
    }

    /// Writes the batch's rows, sum-pooled per bag, into `into`, `[batch, tables, dim]` row-major.
    ///
    /// # Errors
    /// A plan for other tables, or a slice of another length.
    pub fn lookup_slice(&self, plan: &Plan, into: &mut [f32]) -> Result<()> {
        self.check(plan, "the output", into.len())?;
        gather(
            self.level,
            &self.layout,
            self.dim,
            self,
            plan,
            0..plan.batch,
            into,
        );
        Ok(())
    }

    /// Moves the rows that the plan touches along `grad`, `[batch, tables, dim]` row-major.
    ///
    /// # Errors
    /// A plan for other tables, a slice of another length, or a learning rate that is not finite. The store is unchanged
    /// then.
    pub fn update_slice(&mut self, plan: &Plan, grad: &[f32], learning_rate: f64) -> Result<()> {
        self.check(plan, "the gradient", grad.len())?;
        if !(learning_rate as f32).is_finite() {
            return Err(Error::LearningRate {
                value: learning_rate,
            });
        }
        self.scatter(plan, grad, learning_rate, None);
        Ok(())
    }

    /// That the plan is one of these tables, and touches no rows that are elsewhere.
    pub(crate) fn check_plan(&self, plan: &Plan) -> Result<()> {
        plan.check(&self.layout)?;
        if self.whole {
            return Ok(());
        }
        plan.check_rows(&self.parts, &self.held)
    }

    fn check(&self, plan: &Plan, what: &'static str, got: usize) -> Result<()> {
        self.check_plan(plan)?;
        let (batch, tables, dim) = (plan.batch(), self.layout.specs.len(), self.dim);
        let expected = batch.saturating_mul(tables).saturating_mul(dim);
        if got != expected {
            return Err(Error::SliceLength {
                what,
                got,
                expected,
                batch,
                tables,
                dim,
            });
        }
        Ok(())
    }

    fn check_shape(&self, plan: &Plan, what: &'static str, tensor: &Tensor) -> Result<()> {
        plan.check(&self.layout)?;
        let expected = [plan.batch(), self.layout.specs.len(), self.dim];
        if tensor.dims() != expected {
            return Err(Error::Shape {
                what,
                got: tensor.dims().to_vec(),
                expected,
            });
        }
        Ok(())
    }
}

impl PartStorage {
    fn new(
        part: &Part,
        kind: PartKind,
        held: Range<u64>,
        generator: RowGenerator,
        optimizer: Optimizer,
    ) -> Result<Self> {
        let failed = |error| match error {
            ArenaError::Overflow => Error::SizeOverflow {
                name: part.name.clone(),
                rows: part.rows,
                dim: part.dim,
            },
            ArenaError::OutOfMemory { bytes } => Error::Allocation {
                name: part.name.clone(),
                bytes,
            },
        };
        let fresh = optimizer.fresh_state();
        let state = |rows, width| {
            if part.state_width == 0 {
                return Ok(None);
            }
            Arena::new(rows, width, |_, state| state.fill(fresh))
                .map(Some)
                .map_err(failed)
        };
        match kind {
            PartKind::Rows(row_of) => Ok(Self {
                kind,
                row_of,
                // A range of rows that cannot be counted in usize cannot be allocated either.
                first: held.start as usize,
                weights: Arena::new(held.end - held.start, part.dim, |row, into| {
                    generator.write(held.start + row, into);
                })
                .map_err(failed)?,
                state: state(held.end - held.start, part.state_width)?,
            }),
            PartKind::Projection => {
                let rows = part.rows as usize;
                // All of it, or nothing.
                let columns = if held.is_empty() { 0 } else { part.dim };
                let mut weights = Arena::new(columns as u64, rows, |_, _| ()).map_err(failed)?;
                let mut row = vec![0.0; columns];
                for index in 0..rows {
                    generator.write(index as u64, &mut row);
                    for (column, &weight) in row.iter().enumerate() {
                        weights.row_mut(column)[index] = weight;
                    }
                }
                Ok(Self {
                    kind,
                    row_of: RowOf::Id,
                    first: 0,
                    weights,
                    state: state(columns as u64, rows)?,
                })
            }
        }
    }
}

impl EmbeddingStore for CpuStore {
    fn dim(&self) -> usize {
        self.dim
    }

    fn tables(&self) -> &[TableSpec] {
        &self.layout.specs
    }

    fn optimizer(&self) -> Optimizer {
        self.optimizer
    }

    fn planner(&self) -> Planner {
        Planner::new(Arc::clone(&self.layout))
    }

    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        self.check_shape(plan, "the output", into)?;
        write_slice(into, |into| self.lookup_slice(plan, into))?
    }

    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()> {
        self.check_shape(plan, "the gradient", grad)?;
        read_slice(grad, |grad| self.update_slice(plan, grad, learning_rate))?
    }

    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        self.export_rows(part, rows)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        self.import_rows(part, first_row, rows)
    }

    fn memory_bytes(&self) -> u64 {
        let bytes =
            |part: &PartStorage| part.weights.bytes() + part.state.as_ref().map_or(0, Arena::bytes);
        self.storage.iter().map(bytes).sum()
    }
}
