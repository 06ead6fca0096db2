//! Random tables, batches and hot sets for the stores' properties.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test binaries that each use some of it; a test that cannot go on fails"
)]

use candle_core::{Device, Tensor};
use embedding_store::{
    Combine, CpuStore, EmbeddingStore, Encoding, Ids, Initialization, Optimizer, Plan, Rows,
    StoreOptions, TableSpec,
};
use proptest::prelude::*;

pub fn encoding(dim: usize) -> impl Strategy<Value = Encoding> {
    let combine = prop_oneof![
        Just(Combine::Multiply),
        Just(Combine::Add),
        Just(Combine::Concatenate)
    ];
    prop_oneof![
        Just(Encoding::Full),
        (1u64..9, combine).prop_map(move |(collisions, combine)| Encoding::QuotientRemainder {
            collisions,
            combine: if dim % 2 == 1 && combine == Combine::Concatenate {
                Combine::Add
            } else {
                combine
            },
        }),
        (1..=dim).prop_map(|dim| Encoding::MixedDimension { dim }),
    ]
}

pub fn optimizer() -> impl Strategy<Value = Optimizer> {
    prop_oneof![
        Just(Optimizer::Sgd),
        Just(Optimizer::adagrad()),
        Just(Optimizer::Adagrad {
            epsilon: 1e-3,
            initial_accumulator: 0.1
        }),
        Just(Optimizer::rowwise_adagrad()),
        Just(Optimizer::RowwiseAdagrad {
            epsilon: 1e-3,
            initial_accumulator: 0.1
        }),
    ]
}

/// Ids of one batch.
#[derive(Debug, Clone)]
pub struct Batch {
    pub size: usize,
    pub ids: Vec<u32>,
    pub offsets: Vec<u32>,
}

impl Batch {
    pub fn ids(&self) -> Ids<'_> {
        Ids {
            batch: self.size,
            ids: &self.ids,
            offsets: &self.offsets,
        }
    }

    /// The same batch, each id within the first `rows` of its table.
    pub fn within(&self, rows: &[u64]) -> Self {
        let tables = rows.len();
        let mut offsets = vec![0];
        let mut ids = Vec::new();
        for bag in 0..self.size * tables {
            let range = match self.offsets.is_empty() {
                true => bag..bag + 1,
                false => self.offsets[bag] as usize..self.offsets[bag + 1] as usize,
            };
            let rows = rows[bag % tables];
            // Without rows there is nothing to look up.
            if rows > 0 {
                ids.extend(self.ids[range].iter().map(|&id| id % rows as u32));
            }
            offsets.push(ids.len() as u32);
        }
        Self {
            size: self.size,
            ids,
            offsets,
        }
    }
}

/// Tables, some hot rows of each, and batches.
#[derive(Debug, Clone)]
pub struct Case {
    pub tables: Vec<TableSpec>,
    pub options: StoreOptions,
    pub hot_rows: Vec<u64>,
    pub batches: Vec<Batch>,
}

fn batch(tables: Vec<TableSpec>, multi_hot: bool) -> impl Strategy<Value = Batch> {
    (0usize..30).prop_flat_map(move |size| {
        let tables = tables.clone();
        let longest = if multi_hot { 5 } else { 1 };
        // Small ids are frequent, so that batches overlap.
        let id = (any::<u32>(), 0u32..5).prop_map(|(id, shift)| id >> (shift * 7));
        let bag = prop::collection::vec(id, usize::from(!multi_hot)..=longest);
        prop::collection::vec(bag, size * tables.len()).prop_map(move |bags| {
            let mut offsets = vec![0];
            let mut ids = Vec::new();
            for (index, bag) in bags.iter().enumerate() {
                let rows = tables[index % tables.len()].rows as u32;
                ids.extend(bag.iter().map(|id| id % rows));
                offsets.push(ids.len() as u32);
            }
            if !multi_hot {
                offsets.clear();
            }
            Batch { size, ids, offsets }
        })
    })
}

/// Hot shares from nothing to everything.
pub fn case() -> impl Strategy<Value = Case> {
    let dim = prop_oneof![Just(1), Just(3), Just(16), Just(27), Just(64), 1usize..40];
    (dim, optimizer(), any::<u64>(), any::<bool>()).prop_flat_map(
        |(dim, optimizer, seed, multi_hot)| {
            let share = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0];
            let table = (1u64..60, encoding(dim), share).prop_map(|(rows, encoding, share)| {
                let hot = (rows as f64 * share).round() as u64;
                (TableSpec { rows, encoding }, hot)
            });
            prop::collection::vec(table, 1..5).prop_flat_map(move |tables| {
                let (tables, hot_rows): (Vec<_>, Vec<_>) = tables.into_iter().unzip();
                let batches = prop::collection::vec(batch(tables.clone(), multi_hot), 1..7);
                batches.prop_map(move |batches| Case {
                    tables: tables.clone(),
                    options: StoreOptions {
                        dim,
                        optimizer: optimizer.into(),
                        initialization: Initialization::ReferenceUniform,
                        seed,
                        ..StoreOptions::default()
                    },
                    hot_rows: hot_rows.clone(),
                    batches,
                })
            })
        },
    )
}

impl Case {
    pub fn plain(&self) -> CpuStore {
        CpuStore::new(self.tables.clone(), self.options.in_host_memory()).unwrap()
    }

    /// A tensor as lookups and updates of that batch take it.
    pub fn tensor(&self, batch: &Batch, floats: Vec<f32>) -> Tensor {
        let shape = (batch.size, self.tables.len(), self.options.dim);
        Tensor::from_vec(floats, shape, &Device::Cpu).unwrap()
    }

    pub fn plan(&self, store: &(impl EmbeddingStore + ?Sized), batch: &Batch) -> Plan {
        let mut plan = Plan::default();
        store.planner().plan(batch.ids(), &mut plan).unwrap();
        plan
    }

    pub fn lookup(
        &self,
        store: &(impl EmbeddingStore + ?Sized),
        batch: &Batch,
        plan: &Plan,
    ) -> Vec<u32> {
        let floats = batch.size * self.tables.len() * self.options.dim;
        let into = self.tensor(batch, vec![f32::NAN; floats]);
        store.lookup(plan, &into).unwrap();
        bits(&into.flatten_all().unwrap().to_vec1().unwrap())
    }

    /// Some gradient that depends on what was looked up.
    pub fn grad(&self, batch: &Batch, rows: &[u32], step: usize) -> Tensor {
        let grad = rows.iter().enumerate().map(|(index, &bits)| {
            let wave = ((index * 37 + step * 11) % 23) as f32 / 11.0 - 1.0;
            0.3 * f32::from_bits(bits) + wave
        });
        self.tensor(batch, grad.collect())
    }

    /// One step: what was looked up.
    pub fn step(
        &self,
        store: &mut (impl EmbeddingStore + ?Sized),
        batch: &Batch,
        plan: &Plan,
        step: usize,
    ) -> Vec<u32> {
        let rows = self.lookup(store, batch, plan);
        let grad = self.grad(batch, &rows, step);
        store.update(plan, &grad, 0.1 / (step + 1) as f64).unwrap();
        rows
    }
}

pub fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}

/// Weights and state of every part, bit for bit.
pub fn contents(store: &(impl EmbeddingStore + ?Sized)) -> Vec<(Vec<u32>, Vec<u32>)> {
    let all = |(index, rows): (usize, u64)| {
        let Rows { weights, state, .. } = store.export(index, 0..rows).unwrap();
        (bits(&weights), bits(&state))
    };
    let parts = store.parts().iter().map(|part| part.rows).enumerate();
    parts.map(all).collect()
}

/// Whether training has not diverged. Which NaN comes of a sum of two depends on their order, which
/// nobody promises.
pub fn is_finite(contents: &[(Vec<u32>, Vec<u32>)]) -> bool {
    let all = contents
        .iter()
        .flat_map(|(weights, state)| weights.iter().chain(state));
    all.copied().map(f32::from_bits).all(f32::is_finite)
}

/// Weights and state of some rows, bit for bit.
pub fn rows(
    store: &dyn EmbeddingStore,
    part: usize,
    rows: std::ops::Range<u64>,
) -> (Vec<u32>, Vec<u32>) {
    let Rows { weights, state, .. } = store.export(part, rows).unwrap();
    (bits(&weights), bits(&state))
}
