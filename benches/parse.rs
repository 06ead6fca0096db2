//! Reading raw Criteo text: bytes and rows per second of one thread, beside a bare search for line ends.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recsys_data::criteo::{DENSE_FEATURES, TABLES, parse_rows};

/// 24 MB of text: no cache holds it.
const ROWS: usize = 100_000;

/// Rows with the shape of the real ones: small counts, one value in eight missing.
fn text() -> String {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut text = String::new();
    for _ in 0..ROWS {
        text.push(if random.random_bool(0.25) { '1' } else { '0' });
        for _ in 0..DENSE_FEATURES {
            text.push('\t');
            if !random.random_bool(0.125) {
                let digits = random.random_range(1..5);
                let value = random.random_range(-1..10i32.pow(digits));
                write!(text, "{value}").expect("a string takes any text");
            }
        }
        for _ in 0..TABLES {
            text.push('\t');
            if !random.random_bool(0.125) {
                write!(text, "{:08x}", random.random::<u32>()).expect("a string takes any text");
            }
        }
        text.push('\n');
    }
    text
}

/// Reads every row; the sum keeps every field alive.
fn parse(text: &[u8]) -> u64 {
    let mut sum = 0u64;
    let good = |row: &recsys_data::criteo::RawRow| {
        let categories: u64 = row.categories.iter().map(|&value| u64::from(value)).sum();
        let dense: i64 = row.dense.iter().map(|&value| i64::from(value)).sum();
        sum = sum.wrapping_add(categories).wrapping_add_signed(dense);
    };
    parse_rows(text, good, |_, defect| Err(defect)).expect("the text holds rows only");
    sum
}

fn benches(criterion: &mut Criterion) {
    let text = text();
    let bytes = text.as_bytes();
    let throughputs = [
        ("bytes", Throughput::Bytes(bytes.len() as u64)),
        ("rows", Throughput::Elements(ROWS as u64)),
    ];
    for (unit, throughput) in throughputs {
        let mut group = criterion.benchmark_group(format!("parse/{unit}"));
        group.sample_size(20).throughput(throughput);
        group.bench_function("criteo rows", |bencher| {
            bencher.iter(|| parse(black_box(bytes)))
        });
        group.bench_function("roofline: line ends", |bencher| {
            bencher.iter(|| memchr::memchr_iter(b'\n', black_box(bytes)).count());
        });
        group.finish();
    }
}

criterion_group!(group, benches);
criterion_main!(group);
