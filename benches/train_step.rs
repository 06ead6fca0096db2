//! The whole training step at Criteo Kaggle's shape, as the trainer runs it: plan, gather, forward, loss, backward, dense
//! and row-sparse update. Beside it, in the same run, all matrix products of the step alone: the GEMM roofline.

use std::time::Duration;

use benches::batches::zipf_batches;
use benches::gemm::GemmRoofline;
use benches::interleaved::medians;
use benches::step::{TrainStep, timed};
use candle_core::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use dlrm::{Dlrm, DlrmConfig, FusedDlrm, Interaction};
use embedding_store::Optimizer;

const DIM: usize = 16;
const BATCHES: usize = 16;
const ROUNDS: usize = 15;

fn config() -> DlrmConfig {
    DlrmConfig {
        tables: 26,
        dim: DIM,
        bottom: vec![13, 512, 256, 64, DIM],
        top: vec![512, 256, 1],
        interaction: Interaction::Dot { with_self: false },
        ..DlrmConfig::default()
    }
}

/// Tables of 10^5 to 10^6 rows, 14.3 million in all: 915 MB of rows, far beyond any cache.
fn kaggle_tables() -> Vec<u64> {
    (0..26).map(|table| 100_000 + table * 36_000).collect()
}

fn step(rows: &[u64], batch: usize) -> TrainStep<FusedDlrm> {
    let dlrm = Dlrm::new(config(), 0, &Device::Cpu).expect("a valid configuration");
    let batches = zipf_batches(rows, 13, batch, BATCHES);
    TrainStep::new(FusedDlrm::new(dlrm), rows, Optimizer::Sgd, batches)
}

fn train_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("train_step");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    for batch in [128, 1024, 2048] {
        group.throughput(Throughput::Elements(batch as u64));
        let mut step = step(&kaggle_tables(), batch);
        group.bench_function(BenchmarkId::new("step", batch), |bencher| {
            bencher.iter_custom(|iterations| timed(iterations, || step.run()))
        });
        let mut roofline = GemmRoofline::new(&config(), batch);
        group.bench_function(BenchmarkId::new("gemm roofline", batch), |bencher| {
            bencher.iter_custom(|iterations| timed(iterations, || roofline.run()))
        });
    }
    group.finish();
}

/// The ratios that performance claims quote: both sides take turns, so that the machine's drift meets them alike.
fn ratios() {
    println!(
        "\nmedians of {ROUNDS} interleaved rounds, {} threads",
        rayon::current_num_threads()
    );
    println!(
        "{:>6} {:>16} {:>20} {:>24}",
        "batch", "step, samples/s", "roofline, samples/s", "share of the roofline"
    );
    for batch in [128, 1024, 2048] {
        let mut step = step(&kaggle_tables(), batch);
        let mut roofline = GemmRoofline::new(&config(), batch);
        let repeat = (8192 / batch).max(4);
        let mut run_step = |_| (0..repeat).for_each(|_| step.run());
        let mut run_roofline = |_| (0..repeat).for_each(|_| roofline.run());
        medians(1, [&mut run_step, &mut run_roofline]);
        let [step, roofline] = medians(ROUNDS, [&mut run_step, &mut run_roofline])
            .map(|time| time.as_secs_f64() / (repeat * batch) as f64);
        println!(
            "{batch:>6} {:>16.0} {:>20.0} {:>23.1}%",
            1.0 / step,
            1.0 / roofline,
            100.0 * roofline / step
        );
    }
    let (mut large, mut small) = (step(&[4_000_000; 26], 2048), step(&[10_000; 26], 2048));
    // The same ids on both sides: what is compared is the size of the tables and nothing else.
    large.batches = small.batches.clone();
    let mut run_large = |_| (0..4).for_each(|_| large.run());
    let mut run_small = |_| (0..4).for_each(|_| small.run());
    medians(2, [&mut run_large, &mut run_small]);
    let [large, small] = medians(ROUNDS, [&mut run_large, &mut run_small]);
    println!(
        "batch 2048, ids below 10,000: a step on 26 tables of 4,000,000 rows takes {:.3} of one on tables of 10,000 rows",
        large.as_secs_f64() / small.as_secs_f64()
    );
}

criterion_group!(benches, train_step);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    rayon::scope(|_| ratios());
}
