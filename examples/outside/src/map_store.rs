//! A store of one's own.

use std::collections::HashMap;
use std::ops::Range;

use embedding_store::candle_core::Tensor;
use embedding_store::{
    EmbeddingStore, Encoding, Error, Part, Plan, Planner, Result, RowOptimizer, Rows, TableSpec,
};
use recsys_device::{read_slice, write_slice};

/// Weights of a row, and behind them the optimizer's state.
type Row = (Vec<f32>, Vec<f32>);

/// Rows in a map, made when they are first written: for tables of which few rows are ever seen.
/// Rows start as zeros.
#[derive(Debug)]
pub struct MapStore {
    dim: usize,
    tables: Vec<TableSpec>,
    optimizer: RowOptimizer,
    planner: Planner,
    parts: Vec<Part>,
    rows: HashMap<(usize, u32), Row>,
    updates: u64,
}

impl MapStore {
    /// A store for tables whose ids have a row each.
    ///
    /// # Errors
    /// Impossible tables, or an encoding that shares rows.
    pub fn try_new(
        tables: Vec<TableSpec>,
        dim: usize,
        optimizer: impl Into<RowOptimizer>,
    ) -> Result<Self> {
        let optimizer = optimizer.into();
        if tables.iter().any(|table| table.encoding != Encoding::Full) {
            return Err(Error::external("this store has full tables alone"));
        }
        Ok(Self {
            dim,
            planner: Planner::new(tables.clone(), dim)?,
            parts: Part::of_tables(&tables, dim, &optimizer)?,
            tables,
            optimizer,
            rows: HashMap::new(),
            updates: 0,
        })
    }

    fn fresh(&self, part: usize) -> Row {
        let mut state = vec![0.0; self.parts[part].state_width];
        self.optimizer.fresh_state(&mut state);
        (vec![0.0; self.dim], state)
    }

    fn check(&self, part: usize, rows: &Range<u64>) -> Result<()> {
        match self.parts.get(part) {
            Some(part) if rows.start <= rows.end && rows.end <= part.rows => Ok(()),
            _ => Err(Error::external(format!(
                "there are no rows {rows:?} of part {part}"
            ))),
        }
    }
}

impl EmbeddingStore for MapStore {
    fn dim(&self) -> usize {
        self.dim
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn optimizer(&self) -> &RowOptimizer {
        &self.optimizer
    }

    fn planner(&self) -> Planner {
        self.planner.clone()
    }

    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        self.planner.check(plan)?;
        let tables = self.tables.len();
        write_slice(into, |into| {
            for (bag, into) in into.chunks_exact_mut(self.dim).enumerate() {
                into.fill(0.0);
                let ids = plan.bag(bag / tables, bag % tables).iter();
                for (weights, _) in ids.filter_map(|&id| self.rows.get(&(bag % tables, id))) {
                    into.iter_mut()
                        .zip(weights)
                        .for_each(|(into, weight)| *into += weight);
                }
            }
        })?;
        Ok(())
    }

    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()> {
        self.planner.check(plan)?;
        let mut sum = vec![0.0; self.dim];
        read_slice(grad, |grad| {
            for part in 0..self.parts.len() {
                for (place, &row) in plan.rows_of(part).iter().enumerate() {
                    plan.sum_gradient(part, place, grad, &mut sum)?;
                    let fresh = self.fresh(part);
                    let (weights, state) = self.rows.entry((part, row)).or_insert(fresh);
                    let table = self.parts[part].table;
                    let step = self.updates;
                    self.optimizer
                        .step(table, &sum, weights, state, learning_rate, step)?;
                }
            }
            Ok::<_, Error>(())
        })??;
        self.updates += 1;
        Ok(())
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn continue_from(&mut self, updates: u64) {
        self.updates = updates;
    }

    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        self.check(part, &rows)?;
        let mut exported = Rows {
            dim: self.dim,
            ..Rows::default()
        };
        for row in rows {
            let row = self.rows.get(&(part, row as u32)).cloned();
            let (weights, state) = row.unwrap_or_else(|| self.fresh(part));
            exported.weights.extend(weights);
            exported.state.extend(state);
        }
        Ok(exported)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        let count = (rows.weights.len() / self.dim) as u64;
        self.check(part, &(first_row..first_row.saturating_add(count)))?;
        let (_, fresh) = self.fresh(part);
        let width = fresh.len();
        let fits = rows.weights.len().is_multiple_of(self.dim)
            && (rows.state.is_empty() || rows.state.len() as u64 == count * width as u64);
        if !fits {
            return Err(Error::external(
                "weights and state are of other widths than the part's",
            ));
        }
        for (index, weights) in rows.weights.chunks_exact(self.dim).enumerate() {
            let state = rows
                .state
                .get(index * width..(index + 1) * width)
                .unwrap_or(&fresh);
            let row = (part, first_row as u32 + index as u32);
            self.rows.insert(row, (weights.to_vec(), state.to_vec()));
        }
        Ok(())
    }

    fn memory_bytes(&self) -> u64 {
        let floats = self
            .rows
            .values()
            .map(|(weights, state)| weights.len() + state.len());
        (floats.sum::<usize>() * size_of::<f32>()) as u64
    }
}
