//! What crosses is counted, also where nothing is copied.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use candle_core::{DType, Device, Tensor};
use embedding_store::{
    CpuStore, EmbeddingStore, HotCold, HotReplicas, Ids, OnDevice, Optimizer, Plan, Side,
    StoreOptions, TableSpec, Tiered, Traffic,
};

const BATCH: usize = 4;
/// Hot: 1, 2 (twice), 0 | 3, 1, 1, 1. Cold, from 5 and 4 on: 7 | none.
const IDS: Ids<'_> = Ids {
    batch: BATCH,
    ids: &[1, 3, 2, 1, 2, 1, 7, 1],
    offsets: &[],
};
/// Floats of the leaf: 4 samples of 2 tables of 3.
const LEAF: u64 = 4 * 2 * 3 * 4;

fn tables() -> (Vec<TableSpec>, StoreOptions) {
    let options = StoreOptions {
        dim: 3,
        optimizer: Optimizer::rowwise_adagrad().into(),
        ..Default::default()
    };
    (vec![TableSpec::full(10), TableSpec::full(6)], options)
}

fn planned(store: &impl EmbeddingStore, ids: Ids<'_>) -> Plan {
    let mut plan = Plan::default();
    store.planner().plan(ids, &mut plan).unwrap();
    plan
}

fn leaf() -> Tensor {
    Tensor::ones((BATCH, 2, 3), DType::F32, &Device::Cpu).unwrap()
}

fn bytes(host_to_device: u64, device_to_host: u64) -> Traffic {
    Traffic {
        host_to_device,
        device_to_host,
        ..Default::default()
    }
}

#[test]
fn a_leaf_crosses_both_ways() {
    let (tables, options) = tables();
    let mut store = OnDevice::new(CpuStore::new(tables, options).unwrap(), Device::Cpu);
    let plan = planned(&store, IDS);
    store.lookup(&plan, &leaf()).unwrap();
    store.update(&plan, &leaf(), 0.1).unwrap();
    assert_eq!(store.traffic(), bytes(LEAF, LEAF));
}

#[test]
fn distinct_cold_rows_their_gradients_and_ids_cross() {
    let (tables, options) = tables();
    let mut store = HotCold::on_cpu(tables, options, &[5, 4]).unwrap();
    let plan = planned(&store, IDS);
    store.prefetch(&plan).unwrap();
    // One cold row of three floats.
    assert_eq!(store.traffic(), bytes(12, 0));
    store.lookup(&plan, &leaf()).unwrap();
    // Eight lookups, and the four distinct hot rows 1, 2 | 1, 3.
    assert_eq!(store.traffic(), bytes(12 + 4 * 12, 0));
    let before = store.traffic();
    let next = planned(&store, IDS);
    store.prefetch(&next).unwrap();
    store.update(&plan, &leaf(), 0.1).unwrap();
    // The next batch's cold row crosses twice: it was updated after it had been fetched.
    assert_eq!(store.traffic().since(&before), bytes(24, 12));
}

#[test]
fn rows_that_changed_cross_in_a_sync() {
    let (tables, options) = tables();
    let mut store = HotReplicas::on_cpu(tables, options, &[5, 4], 2).unwrap();
    assert_eq!(store.traffic(), Traffic::default());
    let plan = planned(&store, IDS);
    store.lookup(&plan, &leaf()).unwrap();
    store.update(&plan, &leaf(), 0.1).unwrap();
    assert_eq!(store.traffic(), bytes(LEAF, LEAF));
    store.enter(Side::Cold).unwrap();
    assert_eq!(store.traffic().syncs, 0);
    store.enter(Side::Hot).unwrap();
    let traffic = store.traffic();
    // Rows 1, 2 | 1, 3, three floats and one of state each, to two replicas.
    assert_eq!(traffic.sync_to_device, 2 * 4 * 16);
    assert_eq!((traffic.sync_to_host, traffic.syncs), (0, 1));
    assert!(traffic.sync_seconds > 0.0);

    let hot = Ids {
        batch: 1,
        ids: &[4, 0],
        offsets: &[],
    };
    let plan = planned(&store, hot);
    let grad = leaf().narrow(0, 0, 1).unwrap();
    store.update(&plan, &grad, 0.1).unwrap();
    store.enter(Side::Cold).unwrap();
    let traffic = store.traffic().since(&traffic);
    assert_eq!((traffic.sync_to_device, traffic.sync_to_host), (0, 2 * 16));
    assert_eq!(traffic.syncs, 1);
}
