//! Copying the hot rows that have changed when the schedule changes side, beside copying as many bytes that lie together.

use std::time::{Duration, Instant};

use benches::batches::zipf_batches;
use benches::tables::{BATCH, ids};
use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, Throughput};
use embedding_store::{
    CpuStore, EmbeddingStore, HotReplicas, Optimizer, Plan, Side, StoreOptions, TableSpec, Tiered,
};

const TABLES: usize = 26;
const ROWS: u64 = 400_000;
/// 256 MiB of hot rows with their state.
const HOT_ROWS: u64 = 80_000;
/// Batches between two changes of side.
const SHAPES: [usize; 3] = [1, 16, 128];
const ROUNDS: usize = 15;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .expect("two threads");
    let mut criterion = Criterion::default()
        .sample_size(10)
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let options = StoreOptions {
        optimizer: Optimizer::adagrad().into(),
        ..Default::default()
    };
    let specs = vec![TableSpec::full(ROWS); TABLES];
    let mut store =
        HotReplicas::on_cpu(specs, options, &[HOT_ROWS; TABLES], 1).expect("memory for the tables");
    let batches = zipf_batches(&[HOT_ROWS; TABLES], 0, BATCH, 128);
    let planner = store.planner();
    let plans: Vec<Plan> = batches
        .iter()
        .map(|batch| {
            let mut plan = Plan::default();
            planner.plan(ids(batch), &mut plan).expect("valid ids");
            plan
        })
        .collect();
    let grad = Tensor::zeros((BATCH, TABLES, 16), DType::F32, &Device::Cpu).expect("memory");
    let mut summary = Vec::new();
    for batches in SHAPES {
        let name = format!("{batches} batches of changes");
        let bytes = pool
            .install(|| round_trip(&mut store, &plans[..batches], &grad))
            .2;
        let mut group = criterion.benchmark_group("sync");
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(&name, |bencher| {
            bencher.iter_custom(|iterations| {
                let one = |_| round_trip(&mut store, &plans[..batches], &grad).0;
                pool.install(|| (0..iterations).map(one).sum())
            });
        });
        group.finish();
        summary.push((
            name,
            pool.install(|| compare(&mut store, &plans[..batches], &grad)),
        ));
    }
    println!(
        "medians of {ROUNDS} rounds, two threads, {TABLES} tables, {HOT_ROWS} hot rows of dimension 16 with Adagrad"
    );
    for (name, line) in summary {
        println!("{name}: {line}");
    }
}

/// Changes rows on both sides and syncs each way. Returns both times and the bytes each way.
fn round_trip(
    store: &mut HotReplicas<CpuStore>,
    plans: &[Plan],
    grad: &Tensor,
) -> (Duration, Duration, u64) {
    let mut times = [Duration::ZERO; 2];
    let before = store.traffic();
    for (side, time) in [(Side::Hot, 0), (Side::Cold, 1)] {
        // Rows change on the side that is left.
        for plan in plans {
            store.update(plan, grad, 1e-3).expect("hot plans");
        }
        let start = Instant::now();
        store.enter(side).expect("memory");
        times[time] = start.elapsed();
    }
    let moved = store.traffic().since(&before).sync_to_device;
    (times[0], times[1], moved)
}

fn compare(store: &mut HotReplicas<CpuStore>, plans: &[Plan], grad: &Tensor) -> String {
    let (mut to_device, mut to_host, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    let mut moved = 0;
    let all = store.memory_bytes() as usize / 8;
    let (from, mut into) = (vec![1f32; all], vec![0f32; all]);
    let mut first = 0;
    for _ in 0..ROUNDS {
        let (there, back, bytes) = round_trip(store, plans, grad);
        moved = bytes;
        to_device.push(there);
        to_host.push(back);
        // Bytes that are in no cache, as far as there are enough: go on from where the last copy ended.
        let floats = bytes as usize / 4;
        if first + floats > all {
            first = 0;
        }
        let start = Instant::now();
        copy(
            &from[first..first + floats],
            &mut into[first..first + floats],
        );
        copies.push(start.elapsed());
        first += floats;
    }
    let rate = |mut times: Vec<Duration>| {
        times.sort_unstable();
        moved as f64 / times[times.len() / 2].as_secs_f64() / 1e9
    };
    let (there, back, copied) = (rate(to_device), rate(to_host), rate(copies));
    format!(
        "{:.1} MB; to the device {there:.2} GB/s, {:.0}% of copying as many bytes that lie together ({copied:.2} GB/s); back {back:.2} GB/s",
        moved as f64 / 1e6,
        100.0 * there / copied,
    )
}

/// On both threads, as the sync.
fn copy(from: &[f32], into: &mut [f32]) {
    let half = from.len() / 2;
    let (low, high) = into.split_at_mut(half);
    rayon::join(
        || low.copy_from_slice(&from[..half]),
        || high.copy_from_slice(&from[half..]),
    );
}
