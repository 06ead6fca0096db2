//! Shuffled batches of a data set of three times the memory: the loader with its read-ahead, beside one without; and both
//! where everything is in memory, where asking would only cost.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::interleaved::medians;
use benches::packed::packed;
use criterion::{Criterion, Throughput};
use recsys_data::packed::{PackedDataset, PackedSplit};
use recsys_data::{Batch, Dataset, Loader, LoaderOptions, Order, Result, Schema, Split};
use testing::MemoryLimit;

/// 335 MB of samples.
const LOG2_SAMPLES: u32 = 21;
const LIMIT_BYTES: u64 = 112 << 20;
const BATCH: usize = 2048;
const ROUNDS: usize = 9;

/// A data set that nobody asks ahead of its use.
struct Unasked(PackedSplit);

impl Dataset for Unasked {
    fn schema(&self) -> &Schema {
        self.0.schema()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()> {
        self.0.read(samples, into)
    }
}

/// The time until a number of shuffled batches has come.
fn read(data: Arc<dyn Dataset>, batches: usize) -> Duration {
    let options = LoaderOptions {
        batch_size: BATCH,
        order: Order::Shuffled,
        ..LoaderOptions::default()
    };
    let loader = Loader::plain(data, options).expect("good options");
    let start = Instant::now();
    let mut epoch = loader.epoch(0, 0);
    let mut labels = 0.0;
    for loaded in epoch.by_ref().take(batches) {
        labels += loaded.expect("good data").batch.label[0];
    }
    std::hint::black_box(labels);
    start.elapsed()
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let folder = folder.path().join("data");
    drop(packed(&folder, &[1_000_000; 26], 13, LOG2_SAMPLES));
    // Blocks are checked when they are first touched; here, all have been.
    let open = || {
        let data = PackedDataset::open(&folder).expect("a data set");
        data.verify().expect("what was written");
        data.split(Split::Train)
    };
    let data = open();
    let asked: Arc<dyn Dataset> = Arc::new(data.clone());
    let unasked: Arc<dyn Dataset> = Arc::new(Unasked(data));
    let mut group = criterion.benchmark_group("read_ahead");
    group.throughput(Throughput::Elements(64 * BATCH as u64));
    group.bench_function("64 shuffled batches, in memory", |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| read(asked.clone(), 64)).sum());
    });
    group.finish();
    let [without, with] = medians(
        ROUNDS,
        [
            &mut |_| {
                let _ = read(unasked.clone(), 256);
            },
            &mut |_| {
                let _ = read(asked.clone(), 256);
            },
        ],
    );
    let rate = |batches: usize, time: Duration| (batches * BATCH) as f64 / time.as_secs_f64();
    println!(
        "in memory, one loader thread, medians of {ROUNDS} rounds: {:.0} samples/s, {:.2} × without read-ahead",
        rate(256, with),
        without.as_secs_f64() / with.as_secs_f64(),
    );
    drop((asked, unasked));
    let limit = MemoryLimit::new(LIMIT_BYTES);
    let Some(_limit) = limit.and_then(|mut limit| limit.enter().is_ok().then_some(limit)) else {
        println!(
            "no memory control group can be entered here: data larger than memory are not measured"
        );
        return;
    };
    drop_from_memory(&folder);
    let ahead = read(Arc::new(open()), 128);
    // One batch, which takes as long as many of the others.
    let alone = read(Arc::new(Unasked(open())), 1);
    println!(
        "data of 3 times the memory, one run each: {:.0} samples/s, {:.0} × without read-ahead ({:.0} samples/s)",
        rate(128, ahead),
        rate(128, ahead) / rate(1, alone),
        rate(1, alone),
    );
}

/// Pages that are in memory already count for nobody here, so they must go.
#[cfg(target_os = "linux")]
fn drop_from_memory(folder: &Path) {
    use std::os::fd::AsRawFd;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let file = std::fs::File::open(path).expect("a file");
            file.sync_all().expect("a disk");
            // SAFETY: a call about an open descriptor, which changes no memory of this process.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn drop_from_memory(_: &Path) {}
