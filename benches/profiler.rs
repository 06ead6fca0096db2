//! Counting, selecting and classifying, beside the time that merely reading the ids takes.

use std::hint::black_box;

use benches::interleaved::medians;
use benches::packed::packed;
use criterion::{Criterion, Throughput};
use fae_profiler::{AccessCounts, CountOptions, Partition, SelectOptions, Selector, Strategy};
use rayon::prelude::*;
use recsys_data::{Dataset, Split};

const TABLES: usize = 26;
const ROWS: u64 = 1_000_000;
const LOG2_SAMPLES: u32 = 20;
const SAMPLES: u64 = 1 << LOG2_SAMPLES;
const ROUNDS: usize = 21;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .expect("two threads");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data =
        packed(&folder.path().join("data"), &[ROWS; 26], 0, LOG2_SAMPLES).split(Split::Train);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .measurement_time(std::time::Duration::from_secs(3))
        .configure_from_args();

    let mut group = criterion.benchmark_group("profiler");
    let counts = pool.install(|| AccessCounts::count(&data, &CountOptions::default()));
    let counts = counts.expect("good data");
    let options = SelectOptions {
        bytes_per_row: vec![64; TABLES],
        ..SelectOptions::default()
    };
    let budget = 64 * ROWS * TABLES as u64 / 8;
    let selector = Selector::with_counts(&data, &options, counts.clone()).expect("good options");
    let hot_rows = selector.frequency_rows(budget);
    for (name, sample) in [("count all", 1.0), ("count a twentieth", 0.05)] {
        let options = CountOptions { sample, seed: 1 };
        let counted = (SAMPLES as f64 * sample).round() as u64;
        group.throughput(Throughput::Elements(counted));
        group.bench_function(format!("{name}, 26 tables of 1,000,000 rows"), |bencher| {
            pool.install(|| bencher.iter(|| AccessCounts::count(&data, &options)));
        });
    }
    group.throughput(Throughput::Elements(SAMPLES));
    group.bench_function("classify, 26 tables", |bencher| {
        pool.install(|| bencher.iter(|| Partition::classify(&data, &hot_rows)));
    });
    group.throughput(Throughput::Elements(ROWS * TABLES as u64));
    group.bench_function("select by frequency, 26,000,000 rows", |bencher| {
        pool.install(|| {
            bencher.iter_batched(
                || counts.clone(),
                |counts| {
                    let selector = Selector::with_counts(&data, &options, counts);
                    selector.expect("good options").frequency_rows(budget)
                },
                criterion::BatchSize::PerIteration,
            );
        });
    });
    group.throughput(Throughput::Elements(1 << 13));
    group.bench_function("select by inputs, on 8,192 of them", |bencher| {
        let options = SelectOptions {
            inputs: 1 << 13,
            ..options.clone()
        };
        pool.install(|| {
            bencher.iter_batched(
                || Selector::with_counts(&data, &options, counts.clone()).expect("good options"),
                |mut selector| selector.select(Strategy::Inputs, budget),
                criterion::BatchSize::PerIteration,
            );
        });
    });
    group.finish();
    println!("{}", pool.install(|| compare(&data, &hot_rows)));
}

/// Classifying against adding up the same ids.
fn compare(data: &dyn Dataset, hot_rows: &[u64]) -> String {
    let ids = TABLES as u64 * SAMPLES;
    let [classify, read] = medians(
        ROUNDS,
        [
            &mut |_| {
                black_box(Partition::classify(data, hot_rows).expect("good data"));
            },
            &mut |_| {
                black_box(sum_ids(data));
            },
        ],
    );
    let rate = |time: std::time::Duration| SAMPLES as f64 / time.as_secs_f64() / 1e6;
    let bandwidth = |time: std::time::Duration| 4.0 * ids as f64 / time.as_secs_f64() / 1e9;
    format!(
        "medians of {ROUNDS} interleaved rounds, two threads: classify {:.1} M samples/s ({:.1} GB/s of ids), {:.0}% of adding up the same ids ({:.1} M samples/s, {:.1} GB/s)",
        rate(classify),
        bandwidth(classify),
        100.0 * read.as_secs_f64() / classify.as_secs_f64(),
        rate(read),
        bandwidth(read),
    )
}

fn sum_ids(data: &dyn Dataset) -> u32 {
    const CHUNK: u64 = 1 << 15;
    (0..SAMPLES / CHUNK)
        .into_par_iter()
        .map(|chunk| {
            let numbers: Vec<u64> = (chunk * CHUNK..(chunk + 1) * CHUNK).collect();
            let mut sum = 0u32;
            data.visit_ids(&numbers, &mut recsys_data::Batch::default(), &mut |block| {
                sum = block.ids.iter().fold(sum, |sum, id| sum.wrapping_add(*id));
            })
            .expect("good data");
            sum
        })
        .reduce(|| 0, u32::wrapping_add)
}
