//! Gathering a batch's rows, and making its plan, beside the time that merely reading the rows takes.

use std::hint::black_box;
use std::time::Instant;

use benches::interleaved::medians;
use benches::memory::LineArray;
use benches::tables::{BATCH, BATCHES, Tables, ids};
use criterion::{Criterion, Throughput};
use embedding_store::{EmbeddingStore, Optimizer, Plan};

/// Name, tables, rows of each, ids below which all lookups fall.
const SHAPES: [(&str, usize, u64, u64); 5] = [
    ("26 tables of 100,000 rows", 26, 100_000, 100_000),
    ("26 tables of 1,000,000 rows", 26, 1_000_000, 1_000_000),
    ("8 tables of 10,000 rows", 8, 10_000, 10_000),
    (
        "8 tables of 4,000,000 rows, ids below 10,000",
        8,
        4_000_000,
        10_000,
    ),
    ("8 tables of 4,000,000 rows", 8, 4_000_000, 4_000_000),
];
const ROUNDS: usize = 151;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .expect("two threads");
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(std::time::Duration::from_secs(2))
        .configure_from_args();
    let mut summary = Vec::new();
    for (name, tables, rows, range) in SHAPES {
        let tables = Tables::new(tables, rows, range, Optimizer::Sgd);
        let mut into = vec![0f32; tables.floats()];
        let mut group = criterion.benchmark_group("store_lookup");
        group.throughput(Throughput::Elements((BATCH * tables.tables) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                pool.install(|| {
                    let start = Instant::now();
                    for iteration in 0..iterations as usize {
                        lookup(&tables, iteration, &mut into);
                    }
                    start.elapsed()
                })
            });
        });
        group.bench_function(format!("plan, one thread, {name}"), |bencher| {
            let planner = tables.store.planner();
            let mut plan = Plan::default();
            let mut batches = tables.batches.iter().cycle();
            bencher.iter(|| {
                let batch = batches.next().map(ids).expect("a cycle has no end");
                planner.plan(batch, &mut plan).expect("valid ids");
            });
        });
        group.finish();
        summary.push((name, pool.install(|| compare(&tables, &mut into))));
    }
    println!("medians of {ROUNDS} interleaved rounds, two threads, batch {BATCH}, dimension 16");
    for (name, line) in summary {
        println!("{name}: {line}");
    }
}

fn lookup(tables: &Tables, iteration: usize, into: &mut [f32]) {
    let plan = &tables.plans[iteration % BATCHES];
    tables
        .store
        .lookup_slice(plan, into)
        .expect("a plan of this store");
}

fn compare(tables: &Tables, into: &mut [f32]) -> String {
    let lines = LineArray::new(tables.tables * tables.rows as usize);
    let rows: Vec<_> = (0..BATCHES).map(|batch| tables.looked_up(batch)).collect();
    // The same number of rows, anywhere: a multiplicative generator steps through the array.
    let total = (tables.tables as u64 * tables.rows) as usize;
    let anywhere =
        |index: usize| ((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) as usize % total;
    let uniform: Vec<Vec<u32>> = (0..BATCHES)
        .map(|batch| {
            (0..rows[0].len())
                .map(|bag| anywhere(1 + batch * rows[0].len() + bag) as u32)
                .collect()
        })
        .collect();
    let [store, same, random] = medians(
        ROUNDS,
        [
            &mut |round| lookup(tables, round, into),
            &mut |round| {
                black_box(lines.read(&rows[round % BATCHES]));
            },
            &mut |round| {
                black_box(lines.read(&uniform[round % BATCHES]));
            },
        ],
    );
    format!(
        "{:.1} M rows/s; {:.0}% of reading the same rows ({:.1} M rows/s), {:.0}% of reading random rows ({:.1} M rows/s)",
        rows[0].len() as f64 / store.as_secs_f64() / 1e6,
        100.0 * same.as_secs_f64() / store.as_secs_f64(),
        rows[0].len() as f64 / same.as_secs_f64() / 1e6,
        100.0 * random.as_secs_f64() / store.as_secs_f64(),
        rows[0].len() as f64 / random.as_secs_f64() / 1e6,
    )
}
