//! Moving a batch's rows, beside the time that merely reading and writing the distinct ones takes.

use std::time::Instant;

use benches::interleaved::medians;
use benches::memory::LineArray;
use benches::tables::{BATCH, BATCHES, Tables};
use criterion::{Criterion, Throughput};
use embedding_store::Optimizer;

/// Name, tables, rows of each, ids below which all lookups fall, optimizer.
type NamedShape = (&'static str, usize, u64, u64, fn() -> Optimizer);

const SHAPES: [NamedShape; 7] = [
    (
        "26 tables of 100,000 rows, SGD",
        26,
        100_000,
        100_000,
        || Optimizer::Sgd,
    ),
    (
        "26 tables of 1,000,000 rows, SGD",
        26,
        1_000_000,
        1_000_000,
        || Optimizer::Sgd,
    ),
    (
        "26 tables of 1,000,000 rows, Adagrad",
        26,
        1_000_000,
        1_000_000,
        Optimizer::adagrad,
    ),
    (
        "26 tables of 1,000,000 rows, row-wise Adagrad",
        26,
        1_000_000,
        1_000_000,
        Optimizer::rowwise_adagrad,
    ),
    ("8 tables of 10,000 rows, SGD", 8, 10_000, 10_000, || {
        Optimizer::Sgd
    }),
    (
        "8 tables of 4,000,000 rows, ids below 10,000, SGD",
        8,
        4_000_000,
        10_000,
        || Optimizer::Sgd,
    ),
    (
        "8 tables of 4,000,000 rows, SGD",
        8,
        4_000_000,
        4_000_000,
        || Optimizer::Sgd,
    ),
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
    for (name, tables, rows, range, optimizer) in SHAPES {
        let mut tables = Tables::new(tables, rows, range, optimizer());
        let grad: Vec<f32> = (0..tables.floats())
            .map(|index| (index % 7) as f32 * 1e-3 - 3e-3)
            .collect();
        let mut group = criterion.benchmark_group("store_update");
        group.throughput(Throughput::Elements((BATCH * tables.tables) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                pool.install(|| {
                    let start = Instant::now();
                    for iteration in 0..iterations as usize {
                        update(&mut tables, iteration, &grad);
                    }
                    start.elapsed()
                })
            });
        });
        group.finish();
        summary.push((name, pool.install(|| compare(&mut tables, &grad))));
    }
    println!("medians of {ROUNDS} interleaved rounds, two threads, batch {BATCH}, dimension 16");
    for (name, line) in summary {
        println!("{name}: {line}");
    }
}

fn update(tables: &mut Tables, iteration: usize, grad: &[f32]) {
    let plan = &tables.plans[iteration % BATCHES];
    tables
        .store
        .update_slice(plan, grad, 0.01)
        .expect("a plan of this store");
}

fn compare(tables: &mut Tables, grad: &[f32]) -> String {
    let mut lines = LineArray::new(tables.tables * tables.rows as usize);
    let rows: Vec<_> = (0..BATCHES).map(|batch| tables.distinct(batch)).collect();
    let lookups = (BATCH * tables.tables) as f64;
    let [store, roofline] = medians(
        ROUNDS,
        [&mut |round| update(tables, round, grad), &mut |round| {
            lines.read_and_write(&rows[round % BATCHES])
        }],
    );
    format!(
        "{:.1} M lookups/s, {:.0}% of reading and writing the {:.0}% distinct rows ({:.1} M lookups/s)",
        lookups / store.as_secs_f64() / 1e6,
        100.0 * roofline.as_secs_f64() / store.as_secs_f64(),
        100.0 * rows[0].len() as f64 / lookups,
        lookups / roofline.as_secs_f64() / 1e6,
    )
}
