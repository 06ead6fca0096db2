//! Stores and plans that the store's benchmarks share.

use embedding_store::{CpuStore, EmbeddingStore, Ids, Optimizer, Plan, StoreOptions, TableSpec};
use recsys_data::Batch;

use crate::batches::zipf_batches;

/// Samples of a batch.
pub const BATCH: usize = 2048;
/// Batches that take turns, so that one batch's rows are not all in the cache from the last time.
pub const BATCHES: usize = 48;

/// A store of equal tables of dimension 16, and the plans of some batches.
pub struct Tables {
    /// The store.
    pub store: CpuStore,
    /// Number of tables.
    pub tables: usize,
    /// Rows of each.
    pub rows: u64,
    /// The batches.
    pub batches: Vec<Batch>,
    /// A plan for each batch.
    pub plans: Vec<Plan>,
}

impl Tables {
    /// Tables of that many rows, with ids that are Zipf-distributed over the first `range` of them.
    ///
    /// # Panics
    /// Panics if there is no memory for them.
    pub fn new(tables: usize, rows: u64, range: u64, optimizer: Optimizer) -> Self {
        let options = StoreOptions {
            optimizer: optimizer.into(),
            ..Default::default()
        };
        let store = CpuStore::new(vec![TableSpec::full(rows); tables], options)
            .expect("memory for the tables");
        let batches = zipf_batches(&vec![range; tables], 0, BATCH, BATCHES);
        let planner = store.planner();
        let plan = |batch: &Batch| {
            let mut plan = Plan::default();
            planner
                .plan(ids(batch), &mut plan)
                .expect("ids below the tables' rows");
            plan
        };
        let plans = batches.iter().map(plan).collect();
        Self {
            store,
            tables,
            rows,
            batches,
            plans,
        }
    }

    /// Floats of a batch's looked-up rows.
    pub fn floats(&self) -> usize {
        BATCH * self.tables * 16
    }

    /// The rows that a batch looks up, in its order, numbered over all tables.
    pub fn looked_up(&self, batch: usize) -> Vec<u32> {
        let ids = self.batches[batch].sparse.ids.iter();
        ids.enumerate()
            .map(|(bag, id)| (bag % self.tables) as u32 * self.rows as u32 + id)
            .collect()
    }

    /// The distinct rows of a batch, ascending, numbered over all tables.
    pub fn distinct(&self, batch: usize) -> Vec<u32> {
        let rows = |table: usize| {
            let ids = self.plans[batch].rows_of(table).iter();
            ids.map(move |id| table as u32 * self.rows as u32 + id)
        };
        (0..self.tables).flat_map(rows).collect()
    }
}

/// A batch's ids as the planner takes them.
pub fn ids(batch: &Batch) -> Ids<'_> {
    Ids {
        batch: batch.len(),
        ids: &batch.sparse.ids,
        offsets: &batch.sparse.offsets,
    }
}
