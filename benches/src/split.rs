//! Split tables and batches of one kind: hot, cold, or as they come.

use candle_core::{DType, Device, Tensor};
use embedding_store::{
    CpuStore, EmbeddingStore, HotCold, Ids, Optimizer, Plan, StoreOptions, TableSpec,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

use crate::tables::{BATCH, BATCHES};

/// Equal tables of dimension 16, whole and split, and batches for both.
pub struct SplitTables {
    /// The tables in one store.
    pub plain: CpuStore,
    /// The same tables in two.
    pub split: HotCold<CpuStore, CpuStore>,
    /// Number of tables.
    pub tables: usize,
    /// Rows of each.
    pub rows: u64,
    /// Batches whose ids are all hot.
    pub hot: Vec<Planned>,
    /// Batches whose ids are all cold.
    pub cold: Vec<Planned>,
    /// Batches of any ids.
    pub mixed: Vec<Planned>,
    /// For lookups.
    pub into: Tensor,
    /// For updates.
    pub grad: Tensor,
}

/// A batch with its plans.
pub struct Planned {
    /// Rank ids, `[batch, tables]`.
    pub ids: Vec<u32>,
    /// For the store in one place.
    pub plain: Plan,
    /// For the store in two.
    pub split: Plan,
}

impl SplitTables {
    /// Tables of that many rows, `hot_rows` of them hot, with Zipf-distributed ids.
    ///
    /// # Panics
    /// Panics if there is no memory for them.
    pub fn new(tables: usize, rows: u64, hot_rows: u64, skew: f64, optimizer: Optimizer) -> Self {
        let options = StoreOptions {
            optimizer: optimizer.into(),
            ..Default::default()
        };
        let specs = vec![TableSpec::full(rows); tables];
        let plain = CpuStore::new(specs.clone(), options.clone()).expect("memory for the tables");
        let split = HotCold::on_cpu(specs, options, &vec![hot_rows; tables])
            .expect("memory for the tables");
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let zipf = Zipf::new(rows as f64, skew).expect("at least one row");
        let mut batches = |wanted: &dyn Fn(u64) -> bool| -> Vec<Planned> {
            (0..BATCHES)
                .map(|_| {
                    let drawn = std::iter::repeat_with(|| zipf.sample(&mut random) as u64 - 1);
                    let ids = drawn.filter(|&id| wanted(id)).take(BATCH * tables);
                    let ids: Vec<u32> = ids.map(|id| id as u32).collect();
                    let plan = |store: &dyn EmbeddingStore| {
                        let mut plan = Plan::default();
                        let given = Ids {
                            batch: BATCH,
                            ids: &ids,
                            offsets: &[],
                        };
                        store.planner().plan(given, &mut plan).expect("valid ids");
                        plan
                    };
                    let (plain, split) = (plan(&plain), plan(&split));
                    Planned { ids, plain, split }
                })
                .collect()
        };
        let hot = batches(&|id| id < hot_rows);
        let cold = batches(&|id| id >= hot_rows);
        let mixed = batches(&|_| true);
        let shape = (BATCH, tables, 16);
        let into = Tensor::zeros(shape, DType::F32, &Device::Cpu).expect("memory for a batch");
        let grad = Tensor::full(1e-3f32, shape, &Device::Cpu)
            .and_then(|grad| grad.contiguous())
            .expect("memory for a batch");
        Self {
            plain,
            split,
            tables,
            rows,
            hot,
            cold,
            mixed,
            into,
            grad,
        }
    }

    /// The share of lookups that hot rows serve.
    pub fn hot_share(&self, hot_rows: u64) -> f64 {
        let ids = self.mixed.iter().flat_map(|batch| &batch.ids);
        let hot = ids.clone().filter(|&&id| u64::from(id) < hot_rows).count();
        hot as f64 / ids.count() as f64
    }

    /// The rows that a batch looks up, in its order, numbered over all tables.
    pub fn looked_up(&self, batch: &Planned) -> Vec<u32> {
        let ids = batch.ids.iter().enumerate();
        ids.map(|(bag, id)| (bag % self.tables) as u32 * self.rows as u32 + id)
            .collect()
    }

    /// The distinct rows of a plan, ascending, numbered over all tables.
    pub fn distinct(&self, plan: &Plan) -> Vec<u32> {
        let rows = |table: usize| {
            let ids = plan.rows_of(table).iter();
            ids.map(move |id| table as u32 * self.rows as u32 + id)
        };
        (0..self.tables).flat_map(rows).collect()
    }
}
