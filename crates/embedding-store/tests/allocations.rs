//! Once its buffers are as large as the batch, the store allocates nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use candle_core::{DType, Device, Tensor};
use embedding_store::{
    Combine, CpuStore, EmbeddingStore, Encoding, HotCold, Ids, Optimizer, Plan, StoreOptions,
    TableSpec, Tiered,
};
use testing::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn tables() -> (Vec<TableSpec>, StoreOptions) {
    let combine = Combine::Multiply;
    let spec = |encoding| TableSpec {
        rows: 1000,
        encoding,
    };
    let tables = vec![
        TableSpec::full(1000),
        spec(Encoding::QuotientRemainder {
            collisions: 7,
            combine,
        }),
        spec(Encoding::MixedDimension { dim: 4 }),
    ];
    let options = StoreOptions {
        optimizer: Optimizer::adagrad().into(),
        ..Default::default()
    };
    (tables, options)
}

#[test]
fn steps_after_the_first_allocate_nothing() {
    let (tables, options) = tables();
    let mut store = CpuStore::new(tables, options).unwrap();
    let planner = store.planner();
    let ids: Vec<u32> = (0..600).map(|index| index * 7919 % 1000).collect();
    let mut plan = Plan::default();
    let mut rows = vec![0.0; 600 * 16];
    // One thread that runs the tasks itself, so that the count is all of them.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let allocations = pool.install(|| {
        let mut step = |batch| {
            let floats = batch * 3 * 16;
            let ids = Ids {
                batch,
                ids: &ids[..batch * 3],
                offsets: &[],
            };
            let ((), allocated) = Counting::on_thread(|| {
                planner.plan(ids, &mut plan).unwrap();
                store.lookup_slice(&plan, &mut rows[..floats]).unwrap();
                store.update_slice(&plan, &rows[..floats], 0.1).unwrap();
            });
            allocated.count
        };
        [step(200), step(200), step(150), step(200)]
    });
    assert!(allocations[0] > 0);
    assert_eq!(allocations[1..], [0, 0, 0]);
}

/// Tensors are locked and counted on the way, which costs a few bytes; nothing grows with the
/// batch.
#[test]
fn a_split_step_allocates_nothing_that_grows_with_the_batch() {
    const LARGEST: usize = 2000;
    let (tables, options) = tables();
    let mut store = HotCold::on_cpu(tables, options, &[100, 300, 0]).unwrap();
    let planner = store.planner();
    let mut plans = [Plan::default(), Plan::default()];
    let rows = Tensor::zeros((LARGEST, 3, 16), DType::F32, &Device::Cpu).unwrap();
    let grad = rows.copy().unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let bytes = pool.install(|| {
        let mut steps = |batch: usize| {
            let ids: Vec<u32> = (0..batch as u32 * 3 + 1)
                .map(|index| index * 7919 % 1000)
                .collect();
            let (rows, grad) = (
                rows.narrow(0, 0, batch).unwrap(),
                grad.narrow(0, 0, batch).unwrap(),
            );
            let ((), allocated) = Counting::on_thread(|| {
                for (shift, plan) in plans.iter_mut().enumerate() {
                    let ids = Ids {
                        batch,
                        ids: &ids[shift..shift + batch * 3],
                        offsets: &[],
                    };
                    planner.plan(ids, plan).unwrap();
                    store.prefetch(plan).unwrap();
                }
                for plan in &plans {
                    store.lookup(plan, &rows).unwrap();
                    store.update(plan, &grad, 0.1).unwrap();
                }
                // And one that nobody announced.
                store.lookup(&plans[0], &rows).unwrap();
            });
            allocated.bytes
        };
        steps(LARGEST);
        steps(LARGEST);
        [steps(100), steps(LARGEST)]
    });
    assert_eq!(bytes[0], bytes[1]);
    assert!(bytes[0] < 4096, "{bytes:?}");
}
