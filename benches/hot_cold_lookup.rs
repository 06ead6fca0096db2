//! Gathering and moving hot rows against cold ones, beside reading random rows, and a split step beside an unsplit one.

use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::interleaved::{medians, medians_after};
use benches::memory::{CacheFlush, LineArray};
use benches::split::{Planned, SplitTables};
use benches::tables::{BATCH, BATCHES};
use criterion::{Criterion, Throughput};
use embedding_store::{CpuStore, EmbeddingStore, HotCold, Optimizer, Tiered};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Name, tables, rows of each, hot rows of each, exponent of the ids' Zipf distribution. Every one has 2 GiB of rows, more
/// than any cache, and hot rows that fit a cache.
const SHAPES: [(&str, usize, u64, u64, f64); 3] = [
    (
        "26 tables of 1,300,000 rows, Zipf 1.05",
        26,
        1_300_000,
        10_000,
        1.05,
    ),
    (
        "26 tables of 1,300,000 rows, Zipf 1.2",
        26,
        1_300_000,
        2_000,
        1.2,
    ),
    (
        "8 tables of 4,300,000 rows, Zipf 1.05",
        8,
        4_300_000,
        30_000,
        1.05,
    ),
];
const ROUNDS: usize = 101;
/// Rounds of what starts with empty caches.
const COLD_ROUNDS: usize = 51;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .expect("two threads");
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut summary = Vec::new();
    for (name, tables, rows, hot_rows, skew) in SHAPES {
        let mut tables = SplitTables::new(tables, rows, hot_rows, skew, Optimizer::Sgd);
        let mut group = criterion.benchmark_group("hot_cold_lookup");
        group.throughput(Throughput::Elements((BATCH * tables.tables) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                pool.install(|| {
                    let start = Instant::now();
                    for iteration in 0..iterations as usize {
                        split_step(&mut tables, iteration);
                    }
                    start.elapsed()
                })
            });
        });
        group.finish();
        let lines = pool.install(|| compare(&mut tables, hot_rows));
        summary.push((name, lines));
    }
    println!(
        "medians of interleaved rounds ({COLD_ROUNDS} of gathering, {ROUNDS} of the rest), two threads, batch {BATCH}, dimension 16"
    );
    for (name, lines) in summary {
        println!("{name}:\n{lines}");
    }
}

/// Fetching the next batch, lookup and update: what `Mixed` does in a step.
fn split_step(tables: &mut SplitTables, round: usize) {
    let SplitTables {
        split,
        mixed,
        into,
        grad,
        ..
    } = tables;
    let (now, next) = (round % BATCHES, (round + 1) % BATCHES);
    split.prefetch(&mixed[next].split).expect("its own plan");
    split.lookup(&mixed[now].split, into).expect("its own plan");
    split
        .update(&mixed[now].split, grad, 1e-3)
        .expect("its own plan");
}

fn compare(tables: &mut SplitTables, hot_rows: u64) -> String {
    let share = tables.hot_share(hot_rows);
    let total = tables.tables * tables.rows as usize;
    let lines = LineArray::new(total);
    // Two rooflines: rows anywhere, and the rows that the cold batches name, in their order. Some of the latter are in the
    // cache, because even cold ids are skewed.
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let anywhere: Vec<Vec<u32>> = std::iter::repeat_with(|| {
        let one = || random.random_range(0..total as u32);
        std::iter::repeat_with(one)
            .take(BATCH * tables.tables)
            .collect()
    })
    .take(BATCHES)
    .collect();
    let same: Vec<Vec<u32>> = tables
        .cold
        .iter()
        .map(|batch| tables.looked_up(batch))
        .collect();
    let distinct = |batch: &Planned| tables.distinct(&batch.split).len();
    let cold_rows = tables.cold.iter().map(distinct).sum::<usize>() as f64 / BATCHES as f64;

    let SplitTables {
        plain,
        split,
        hot,
        cold,
        mixed,
        into,
        grad,
        ..
    } = tables;
    let lookups = (BATCH * tables.tables) as f64;
    let million = |rows: f64, time: Duration| rows / time.as_secs_f64() / 1e6;
    let ratio = |of: Duration, to: Duration| to.as_secs_f64() / of.as_secs_f64();

    let fetch = |split: &mut HotCold<CpuStore, CpuStore>, batch: &Planned| {
        split.prefetch(&batch.split).expect("its own plan");
    };
    let split = std::sync::Mutex::new(split);
    let lock = || split.lock().expect("nobody panicked");
    let plain = std::sync::Mutex::new(plain);
    let lock_plain = || plain.lock().expect("nobody panicked");
    // The same kernel on the same number of lookups, and beside it what the split store makes of each kind. Hot rows are in the
    // caches from the step before; before cold ones, and before reading the array, the caches are emptied.
    let flush = CacheFlush::new();
    let mut before = |round: usize, candidate: usize| match candidate {
        0 => {
            let plan = &hot[(round + 1) % BATCHES].plain;
            lock_plain().lookup(plan, into).expect("a plan");
        }
        1 => {
            let plan = &hot[(round + 1) % BATCHES].split;
            lock().lookup(plan, into).expect("a plan");
        }
        _ => flush.run(),
    };
    let [
        gather_hot,
        split_hot,
        gather_cold,
        fetch_cold,
        read_anywhere,
        read_same,
    ] = medians_after(
        COLD_ROUNDS,
        &mut before,
        [
            &mut |round| {
                let plan = &hot[round % BATCHES].plain;
                lock_plain().lookup(plan, into).expect("a plan");
            },
            &mut |round| {
                let plan = &hot[round % BATCHES].split;
                lock().lookup(plan, into).expect("a plan");
            },
            &mut |round| {
                let plan = &cold[round % BATCHES].plain;
                lock_plain().lookup(plan, into).expect("a plan");
            },
            &mut |round| fetch(&mut lock(), &cold[round % BATCHES]),
            &mut |round| {
                black_box(lines.read(&anywhere[round % BATCHES]));
            },
            &mut |round| {
                black_box(lines.read(&same[round % BATCHES]));
            },
        ],
    );
    let [update_hot, update_cold] = medians(
        ROUNDS,
        [
            &mut |round| {
                let plan = &hot[round % BATCHES].split;
                lock().update(plan, grad, 1e-3).expect("a plan");
            },
            &mut |round| {
                let plan = &cold[round % BATCHES].split;
                lock().update(plan, grad, 1e-3).expect("a plan");
            },
        ],
    );
    let [plain_lookup, plain_update, prefetch, lookup, update, direct] = medians(
        ROUNDS,
        [
            &mut |round| {
                let plan = &mixed[round % BATCHES].plain;
                lock_plain().lookup(plan, into).expect("a plan");
            },
            &mut |round| {
                let plan = &mixed[round % BATCHES].plain;
                lock_plain().update(plan, grad, 1e-3).expect("a plan");
            },
            &mut |round| fetch(&mut lock(), &mixed[round % BATCHES]),
            &mut |round| {
                lock()
                    .lookup(&mixed[round % BATCHES].split, into)
                    .expect("a plan")
            },
            &mut |round| {
                let plan = &mixed[round % BATCHES].split;
                lock().update(plan, grad, 1e-3).expect("a plan");
            },
            // Another batch, which nobody announced.
            &mut |round| {
                let plan = &mixed[(round + BATCHES / 2) % BATCHES].split;
                lock().lookup(plan, into).expect("a plan");
            },
        ],
    );
    format!(
        "  gather: hot {:.1} M rows/s, {:.2} × cold, {:.1} M rows/s, which is {:.0}% of reading random rows ({:.1} M rows/s) \
         and {:.0}% of reading the same rows ({:.1} M rows/s)\n  \
         split store: hot {:.1} M rows/s, cold rows fetched ahead {:.1} M rows/s ({:.0}% of reading random rows)\n  \
         update: hot {:.1} M lookups/s, cold {:.1} M lookups/s ({:.1} M distinct rows/s)\n  \
         batches as they come, {:.0}% of lookups hot: unsplit lookup {:.2} ms + update {:.2} ms; split lookup {:.2} ms + update {:.2} ms, \
         fetching ahead {:.2} ms; split lookup without it {:.2} ms",
        million(lookups, gather_hot),
        ratio(gather_hot, gather_cold),
        million(lookups, gather_cold),
        100.0 * ratio(gather_cold, read_anywhere),
        million(lookups, read_anywhere),
        100.0 * ratio(gather_cold, read_same),
        million(lookups, read_same),
        million(lookups, split_hot),
        million(cold_rows, fetch_cold),
        100.0 * million(cold_rows, fetch_cold) / million(lookups, read_anywhere),
        million(lookups, update_hot),
        million(lookups, update_cold),
        million(cold_rows, update_cold),
        100.0 * share,
        1e3 * plain_lookup.as_secs_f64(),
        1e3 * plain_update.as_secs_f64(),
        1e3 * lookup.as_secs_f64(),
        1e3 * update.as_secs_f64(),
        1e3 * prefetch.as_secs_f64(),
        1e3 * direct.as_secs_f64(),
    )
}
