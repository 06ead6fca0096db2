//! The store in host memory.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;

use crate::arena::{Arena, ArenaError};
use crate::initialization::RowGenerator;
use crate::kernel::Level;
use crate::layout::{Layout, PartKind, RowOf};
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
    pub(crate) storage: Vec<PartStorage>,
    /// Intermediate gradients of an update, `[batch, workspace width]`.
    pub(crate) workspace: Vec<f32>,
}

/// Memory of a part. That of a projection is transposed, `[dim_i, dim]`: all that is done with it runs along `dim`.
#[derive(Debug)]
pub(crate) struct PartStorage {
    pub(crate) kind: PartKind,
    pub(crate) row_of: RowOf,
    pub(crate) weights: Arena,
    pub(crate) state: Option<Arena>,
}

impl CpuStore {
    /// Makes the tables with their initial rows.
    ///
    /// # Errors
    /// No tables, a dimension of 0, a table or optimizer with impossible settings, or more memory than there is.
    pub fn new(tables: Vec<TableSpec>, options: StoreOptions) -> Result<Self> {
        let StoreOptions {
            dim,
            optimizer,
            initialization,
            seed,
        } = options;
        let (layout, parts) = Layout::new(tables, dim, optimizer)?;
        let storage = (0..parts.len())
            .map(|part| {
                let generator = RowGenerator::new(initialization, seed, &layout, &parts, part, dim);
                PartStorage::new(&parts[part], layout.parts[part].kind, generator, optimizer)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
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
        self.gather(plan, into);
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
        self.scatter(plan, grad, learning_rate);
        Ok(())
    }

    fn check(&self, plan: &Plan, what: &'static str, got: usize) -> Result<()> {
        plan.check(&self.layout)?;
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
                weights: Arena::new(part.rows, part.dim, |row, into| generator.write(row, into))
                    .map_err(failed)?,
                state: state(part.rows, part.state_width)?,
            }),
            PartKind::Projection => {
                let (rows, columns) = (part.rows as usize, part.dim);
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
