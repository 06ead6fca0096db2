//! The store against a naive one, bit for bit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use cases::{encoding, optimizer};
use embedding_store::{
    Combine, CpuStore, EmbeddingStore, Encoding, Ids, Initialization, Optimizer, Plan,
    StoreOptions, TableSpec,
};
use oracle::Oracle;
use proptest::prelude::*;

mod cases;
mod oracle;

#[derive(Debug, Clone)]
struct Case {
    tables: Vec<TableSpec>,
    options: StoreOptions,
    batch: usize,
    ids: Vec<u32>,
    offsets: Vec<u32>,
    grad: Vec<f32>,
}

fn case() -> impl Strategy<Value = Case> {
    let dim = prop_oneof![1usize..40, Just(16), Just(32), Just(64), Just(600)];
    (dim, optimizer(), any::<u64>(), 0usize..70, any::<bool>()).prop_flat_map(
        |(dim, optimizer, seed, batch, multi_hot)| {
            let table =
                (1u64..60, encoding(dim)).prop_map(|(rows, encoding)| TableSpec { rows, encoding });
            prop::collection::vec(table, 1..4).prop_flat_map(move |tables| {
                let bags = batch * tables.len();
                let longest = if multi_hot { 5 } else { 1 };
                let bag = prop::collection::vec(any::<u32>(), usize::from(!multi_hot)..=longest);
                let grad = prop::collection::vec(-1f32..1.0, bags * dim);
                (prop::collection::vec(bag, bags), grad, Just(tables)).prop_map(
                    move |(bags, grad, tables)| {
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
                        let initialization = Initialization::ReferenceUniform;
                        let options = StoreOptions {
                            dim,
                            optimizer: optimizer.into(),
                            initialization,
                            seed,
                            ..StoreOptions::default()
                        };
                        Case {
                            tables,
                            options,
                            batch,
                            ids,
                            offsets,
                            grad,
                        }
                    },
                )
            })
        },
    )
}

impl Case {
    fn ids(&self) -> Ids<'_> {
        Ids {
            batch: self.batch,
            ids: &self.ids,
            offsets: &self.offsets,
        }
    }

    /// Two updates, so that the second meets state and moved rows; every step is compared.
    fn check(&self) {
        let mut store = CpuStore::new(self.tables.clone(), self.options.clone()).unwrap();
        let mut plan = Plan::default();
        store.planner().plan(self.ids(), &mut plan).unwrap();
        let mut oracle = Oracle::of(&store);
        let mut rows = vec![f32::NAN; self.grad.len()];
        for learning_rate in [0.1, 0.03] {
            store.lookup_slice(&plan, &mut rows).unwrap();
            assert_eq!(rows, oracle.lookup(self.ids()));
            store
                .update_slice(&plan, &self.grad, learning_rate)
                .unwrap();
            oracle.update(self.ids(), &self.grad, learning_rate);
            assert_eq!(Oracle::of(&store), oracle);
        }
    }
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn lookup_and_update_are_those_of_the_naive_store_on_any_number_of_threads(case in case()) {
        for threads in 1..=3 {
            pool(threads).install(|| case.check());
        }
    }
}

/// Many chunks of rows and of samples, hot rows among them.
#[test]
fn a_large_batch_gives_the_bits_of_the_naive_store() {
    let combine = Combine::Multiply;
    let tables = vec![
        TableSpec::full(5000),
        TableSpec {
            rows: 3000,
            encoding: Encoding::QuotientRemainder {
                collisions: 7,
                combine,
            },
        },
        TableSpec {
            rows: 2000,
            encoding: Encoding::MixedDimension { dim: 5 },
        },
    ];
    let batch = 4000;
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as u32
    };
    let ids: Vec<u32> = (0..batch * 3)
        .map(|bag| next() % (tables[bag % 3].rows as u32) % (1 + next() % 2000))
        .collect();
    let grad: Vec<f32> = (0..batch * 3 * 16)
        .map(|_| next() as f32 / (1u32 << 31) as f32 - 0.5)
        .collect();
    for optimizer in [
        Optimizer::Sgd,
        Optimizer::adagrad(),
        Optimizer::rowwise_adagrad(),
    ] {
        let options = StoreOptions {
            optimizer: optimizer.into(),
            ..Default::default()
        };
        let (tables, ids, grad) = (tables.clone(), ids.clone(), grad.clone());
        let case = Case {
            tables,
            options,
            batch,
            ids,
            offsets: Vec::new(),
            grad,
        };
        for threads in [1, 3] {
            pool(threads).install(|| case.check());
        }
    }
}
