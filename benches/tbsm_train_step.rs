//! The whole TBSM training step at the original's Taobao shape, as the trainer runs it: plan, gather, forward, loss, backward,
//! dense and row-sparse Adagrad. Beside it, in the same run, the tower's matrix products alone, as the general library for
//! matrix products computes them.

use std::time::Duration;

use benches::batches::sequence_batches;
use benches::gemm::GemmRoofline;
use benches::interleaved::medians;
use benches::step::{TrainStep, timed};
use candle_core::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use embedding_store::Optimizer;
use tbsm::{FusedTbsm, Tbsm, TbsmConfig};

/// Users, items and categories of Taobao UserBehavior: 330 MB of rows, and as much Adagrad state.
const ROWS: [u64; 3] = [987_994, 4_162_024, 9_439];
const BATCHES: usize = 64;
const SIZES: [usize; 3] = [64, 256, 1024];
const ROUNDS: usize = 25;

fn step(batch: usize) -> TrainStep<FusedTbsm> {
    let config = TbsmConfig::default();
    let batches = sequence_batches(&ROWS, config.positions(), batch, BATCHES);
    let tbsm = Tbsm::new(config, 0, &Device::Cpu).expect("a valid configuration");
    TrainStep::new(FusedTbsm::new(tbsm), &ROWS, Optimizer::adagrad(), batches)
}

/// The products of the tower over every position of a batch.
fn tower(batch: usize) -> GemmRoofline {
    let config = TbsmConfig::default();
    GemmRoofline::new(&config.tower, batch * config.positions())
}

fn tbsm_train_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tbsm_train_step");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    for batch in SIZES {
        group.throughput(Throughput::Elements(batch as u64));
        let mut step = step(batch);
        group.bench_function(BenchmarkId::new("step", batch), |bencher| {
            bencher.iter_custom(|iterations| timed(iterations, || step.run()))
        });
    }
    group.finish();
}

/// The numbers that performance claims quote: both sides take turns, so that the machine's drift meets them alike.
fn ratios() {
    println!(
        "\nmedians of {ROUNDS} interleaved rounds, {} threads",
        rayon::current_num_threads()
    );
    println!(
        "{:>6} {:>18} {:>34} {:>8}",
        "batch", "step, sequences/s", "tower's products alone, sequences/s", "ratio"
    );
    for batch in SIZES {
        let (mut step, mut roofline) = (step(batch), tower(batch));
        let repeat = (8192 / batch).max(4);
        let mut run_step = |_| (0..repeat).for_each(|_| step.run());
        let mut run_roofline = |_| (0..repeat).for_each(|_| roofline.run());
        medians(2, [&mut run_step, &mut run_roofline]);
        let [step, roofline] = medians(ROUNDS, [&mut run_step, &mut run_roofline])
            .map(|time| time.as_secs_f64() / (repeat * batch) as f64);
        println!(
            "{batch:>6} {:>18.0} {:>34.0} {:>8.2}",
            1.0 / step,
            1.0 / roofline,
            roofline / step
        );
    }
}

criterion_group!(benches, tbsm_train_step);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    rayon::scope(|_| ratios());
}
