//! Rows in bf16: gathered exactly, and rounded at random as the store of `Device::Cpu` does, bit for bit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use embedding_store::kernel_input::Rounding;
use embedding_store::{EmbeddingStore, Optimizer, Rows};
use half::bf16;
use row_cases::{Aligned, Case, Cold, OPTIMIZERS, RATE, Step, UpdateKernel, bits, launch};

#[macro_use]
mod row_cases;

update_kernels!(u16: rows_update_sgd_bf16 rows_update_adagrad_bf16 rows_update_rowwise_bf16);

unsafe extern "C" {
    fn rows_gather_bf16(
        weights: *const u16,
        hot_rows: u32,
        cold: *const f32,
        addresses: *const u32,
        offsets: *const u32,
        single_hot: u32,
        into: *mut f32,
        bags: u32,
        width: u32,
        vector: u32,
    );
    fn rows_write_bf16(
        into: *mut u16,
        addresses: *const u32,
        values: *const u16,
        rows: u32,
        width: u32,
    );
}

/// A step whose rows are all representable, and its hot rows' weights as they are stored.
fn representable(case: Case) -> (Step, Vec<u16>) {
    let mut step = case.begin();
    for (part, &rows) in step.case.rows.clone().iter().enumerate() {
        let mut all = step.store.export(part, 0..rows).unwrap();
        for x in &mut all.weights {
            *x = f32::from_bits(x.to_bits() & 0xffff_0000);
        }
        step.store.import(part, 0, &all).unwrap();
    }
    let hot = step.hot().weights;
    let stored = hot.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
    (step, stored)
}

/// The numbers of 8 bytes' alignment, in memory of floats.
fn aligned(stored: &[u16]) -> (Aligned, usize) {
    let mut floats = vec![0.0; stored.len().div_ceil(2)];
    for (index, &x) in stored.iter().enumerate() {
        let bits = f32::to_bits(floats[index / 2]);
        floats[index / 2] = f32::from_bits(bits | u32::from(x) << (index % 2 * 16));
    }
    (floats.as_slice().into(), stored.len())
}

fn numbers((floats, len): &(Aligned, usize)) -> Vec<u16> {
    let halves = bits(floats)
        .into_iter()
        .flat_map(|bits| [bits as u16, (bits >> 16) as u16]);
    halves.take(*len).collect()
}

/// The weights and state of the hot rows after a step, and the sums of the others' gradients.
fn update(
    step: &Step,
    stored: &[u16],
    key: u64,
    threads: u32,
    vector: bool,
) -> (Vec<u16>, Aligned, Aligned) {
    let vector = vector && step.case.dim.is_multiple_of(4);
    let kernel: UpdateKernel<u16> = match step.case.optimizer.name() {
        "sgd" => rows_update_sgd_bf16,
        "adagrad" => rows_update_adagrad_bf16,
        "rowwise-adagrad" => rows_update_rowwise_bf16,
        other => panic!("no kernel of {other} here"),
    };
    let lists = step.lists();
    let gradients = step.gradients();
    let mut weights = aligned(stored);
    let mut state = Aligned::from(step.hot().state.as_slice());
    let mut sums = Aligned::from(vec![f32::NAN; lists.cold_rows * lists.width].as_slice());
    let matrix = (weights.0.as_mut_ptr().cast(), &mut state);
    let cold = Cold::Gradients(&mut sums);
    step.update(kernel, matrix, &gradients, cold, key, (threads, vector));
    (numbers(&weights), state, sums)
}

#[test]
fn gathered_rows_are_exact() {
    for dim in [1, 3, 4, 16, 30, 64, 127, 512] {
        for longest in [None, Some(4)] {
            let case = Case::drawn(dim, Optimizer::Sgd, &[60, 9], 50, longest);
            let (step, stored) = representable(case.split(|rows| rows as u32 / 2));
            let (stored, cold) = (aligned(&stored), step.cold());
            let cold = Aligned::from(cold.weights.as_slice());
            let lists = step.lists();
            for vector in [false, dim % 4 == 0] {
                let mut into = Aligned::from(vec![f32::NAN; step.floats()].as_slice());
                launch(lists.gather_blocks(128, vector), 128).run(|| {
                    // SAFETY: the arguments are those of the kernel, as long as it reads and writes them.
                    unsafe {
                        rows_gather_bf16(
                            stored.0.as_ptr().cast(),
                            lists.hot_rows as u32,
                            cold.as_ptr(),
                            step.numbers(&lists.addresses),
                            step.numbers(&lists.offsets),
                            u32::from(longest.is_none()),
                            into.as_mut_ptr(),
                            lists.bags as u32,
                            lists.width as u32,
                            u32::from(vector),
                        );
                    }
                });
                assert!(bits(&into) == bits(&step.lookup()), "{dim} {longest:?}");
            }
        }
    }
}

#[test]
fn steps_are_those_of_f32_rounded_as_on_the_host() {
    for dim in [1, 3, 4, 16, 30, 64, 127, 512, 516] {
        for optimizer in OPTIMIZERS {
            let case = Case::drawn(dim, optimizer, &[60, 9, 1], 50, Some(3));
            let (mut step, stored) = representable(case.split(|rows| rows as u32 / 2));
            let key = Rounding::new(dim as u64).update_key(3, 1);
            let (weights, state, sums) = update(&step, &stored, key, 256, true);
            for (threads, vector) in [(32, true), (256, false), (96, false)] {
                let again = update(&step, &stored, key, threads, vector);
                assert!(weights == again.0 && bits(&sums) == bits(&again.2));
            }
            let gradients = step.gradients();
            step.store
                .update_slice(&step.plan, &gradients, f64::from(RATE))
                .unwrap();
            let Rows {
                weights: exact,
                state: expected,
                ..
            } = step.hot();
            assert!(bits(&state) == bits(&expected), "{dim} {optimizer:?}");
            for (row, (got, exact)) in weights.chunks(dim).zip(exact.chunks(dim)).enumerate() {
                // All rows of the matrix: those that were not touched are representable, and rounding leaves them.
                let mut expected = vec![bf16::ZERO; dim];
                Rounding::round(key, row as u32, exact, &mut expected);
                assert!(expected.iter().map(|x| x.to_bits()).eq(got.iter().copied()));
                for (got, exact) in expected.iter().zip(exact) {
                    let below = exact.to_bits() >> 16;
                    let above = below + u32::from(exact.to_bits() & 0xffff != 0);
                    assert!([below, above].contains(&u32::from(got.to_bits())));
                }
            }
        }
    }
}

#[test]
fn what_is_no_number_is_rounded_as_on_the_host() {
    let ends = [
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::from_bits(0x7f80_0001),
        f32::from_bits(0xffff_ffff),
        1e30,
        -1e-30,
        -0.0,
        f32::from_bits(0x0000_8001),
    ];
    let case = Case::drawn(ends.len(), Optimizer::Sgd, &[1], 1, None);
    let (step, _) = representable(case);
    let gradients: Vec<f32> = ends.iter().map(|end| -end / RATE).collect();
    let gradients = Aligned::from(gradients.as_slice());
    for key in 0..50 {
        let mut weights = aligned(&vec![0; ends.len()]);
        let [mut state, mut sums] = [(); 2].map(|()| Aligned::from([].as_slice()));
        step.update(
            rows_update_sgd_bf16,
            (weights.0.as_mut_ptr().cast(), &mut state),
            &gradients,
            Cold::Gradients(&mut sums),
            key,
            (64, true),
        );
        let exact: Vec<f32> = gradients.iter().map(|g| 0.0 - RATE * g).collect();
        let mut expected = vec![bf16::ZERO; ends.len()];
        Rounding::round(key, 0, &exact, &mut expected);
        let found = numbers(&weights).into_iter().map(bf16::from_bits);
        for (found, expected) in found.zip(expected) {
            let same = found.to_bits() == expected.to_bits();
            assert!(
                same || found.is_nan() && expected.is_nan(),
                "{found} {expected}"
            );
        }
    }
}

#[test]
fn written_rows_are_overwritten() {
    for dim in [1, 3, 16, 300] {
        let values: Vec<u16> = (0..3 * dim as u16).map(|x| x + 1).collect();
        let (rows, addresses) = (9u32, [4u32, 0, 7]);
        let mut into = vec![0u16; rows as usize * dim];
        let side_by_side = if dim < 32 { 32 / dim } else { 1 };
        launch(3usize.div_ceil(side_by_side) as u32, 32).run(|| {
            // SAFETY: three addresses of nine rows.
            unsafe {
                rows_write_bf16(
                    into.as_mut_ptr(),
                    addresses.as_ptr(),
                    values.as_ptr(),
                    3,
                    dim as u32,
                );
            }
        });
        for (row, into) in into.chunks(dim).enumerate() {
            match addresses.iter().position(|&address| address == row as u32) {
                Some(at) => assert_eq!(into, &values[at * dim..][..dim]),
                None => assert!(into.iter().all(|&x| x == 0)),
            }
        }
    }
}

#[test]
fn rounding_is_right_on_average_and_a_function_of_the_key() {
    // One row, moved by a step that is a small part of the distance between two numbers.
    let dim = 64;
    let case = Case::drawn(dim, Optimizer::Sgd, &[2], 1, None);
    let (mut step, stored) = representable(case);
    let keys = 400u64;
    let mut sums = vec![0.0; stored.len()];
    let (mut previous, mut changes) = (stored.clone(), 0);
    for key in 0..keys {
        // As a host makes keys: of numbers that differ in all bits.
        let key = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (weights, ..) = update(&step, &stored, key, 64, true);
        changes += usize::from(weights != previous);
        for (sum, &x) in sums.iter_mut().zip(&weights) {
            *sum += f64::from(f32::from_bits(u32::from(x) << 16));
        }
        previous = weights;
    }
    assert!(changes as u64 >= keys - 1);
    let gradients = step.gradients();
    step.store
        .update_slice(&step.plan, &gradients, f64::from(RATE))
        .unwrap();
    let mut deviations = 0.0;
    for (sum, exact) in sums.iter().zip(step.hot().weights) {
        let gap = f64::from(f32::from_bits((exact.to_bits() >> 16) << 16)).abs() / 128.0;
        let deviation = (sum / keys as f64 - f64::from(exact)) / gap.max(1e-30);
        // A mean of 400 roundings deviates by at most 0.025 of a gap at one σ.
        assert!(deviation.abs() < 0.15, "{deviation}");
        deviations += deviation;
    }
    // The columns are independent: their mean is eleven times as narrow.
    assert!(
        (deviations / (2 * dim) as f64).abs() < 0.015,
        "{deviations}"
    );
}
