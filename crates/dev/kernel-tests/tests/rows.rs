//! Embedding rows: the kernels of `rows.cu`, run as host code, give the numbers of `CpuStore`, bit for bit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ptr::{null, null_mut};

use embedding_store::{Optimizer, Rows};
use proptest::prelude::*;
use row_cases::{Aligned, Case, Cold, OPTIMIZERS, RATE, Step, UpdateKernel, bits, epsilon, launch};

#[macro_use]
mod row_cases;

update_kernels!(f32: rows_update_sgd rows_update_adagrad rows_update_rowwise);

unsafe extern "C" {
    fn rows_gather(
        weights: *const f32,
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
    fn rows_write(into: *mut f32, addresses: *const u32, values: *const f32, rows: u32, width: u32);
    fn rows_copy(
        from: *const f32,
        from_rows: *const u32,
        into: *mut f32,
        into_rows: *const u32,
        rows: u32,
        width: u32,
    );
}

fn update_kernel(optimizer: Optimizer) -> UpdateKernel<f32> {
    match optimizer.name() {
        "sgd" => rows_update_sgd,
        "adagrad" => rows_update_adagrad,
        "rowwise-adagrad" => rows_update_rowwise,
        other => panic!("no kernel of {other} here"),
    }
}

/// Weights and state where kernels can reach them.
struct Matrix {
    weights: Aligned,
    state: Aligned,
}

impl From<Rows> for Matrix {
    fn from(rows: Rows) -> Self {
        Self {
            weights: rows.weights.as_slice().into(),
            state: rows.state.as_slice().into(),
        }
    }
}

impl Matrix {
    fn assert_is(&self, expected: &Rows, what: &dyn std::fmt::Debug) {
        assert!(
            bits(&self.weights) == bits(&expected.weights),
            "weights of {what:?}"
        );
        assert!(
            bits(&self.state) == bits(&expected.state),
            "state of {what:?}"
        );
    }
}

fn gather(step: &Step, threads: u32, vector: bool) -> Aligned {
    let (hot, cold) = (Matrix::from(step.hot()), Matrix::from(step.cold()));
    let lists = step.lists();
    let mut into = Aligned::from(vec![f32::NAN; step.floats()].as_slice());
    launch(lists.gather_blocks(threads, vector), threads).run(|| {
        // SAFETY: the arguments are those of the kernel, as long as it reads and writes them.
        unsafe {
            rows_gather(
                hot.weights.as_ptr(),
                lists.hot_rows as u32,
                cold.weights.as_ptr(),
                step.numbers(&lists.addresses),
                step.numbers(&lists.offsets),
                u32::from(lists.offsets.is_empty()),
                into.as_mut_ptr(),
                lists.bags as u32,
                lists.width as u32,
                u32::from(vector),
            );
        }
    });
    into
}

/// Moves the hot rows, and the cold ones or the sums of their gradients.
fn update(step: &Step, hot: &mut Matrix, gradients: &Aligned, cold: Cold<'_>, launch: (u32, bool)) {
    let kernel = update_kernel(step.case.optimizer);
    let matrix = (hot.weights.as_mut_ptr(), &mut hot.state);
    step.update(kernel, matrix, gradients, cold, 0, launch);
}

/// Moves every row of a matrix along its own gradient: a bag for each.
fn update_all(
    matrix: &mut Matrix,
    gradients: &Aligned,
    dim: usize,
    optimizer: Optimizer,
    threads: u32,
) {
    let rows = matrix.weights.len() / dim;
    let numbers: Vec<u32> = (0..=rows as u32).collect();
    let kernel = update_kernel(optimizer);
    let blocks = rows.div_ceil((threads as usize / dim).max(1)) as u32;
    launch(blocks, threads).run(|| {
        // SAFETY: the arguments are those of the kernel, as long as it reads and writes them.
        unsafe {
            kernel(
                matrix.weights.as_mut_ptr(),
                matrix.state.as_mut_ptr(),
                rows as u32,
                gradients.as_ptr(),
                numbers.as_ptr(),
                numbers.as_ptr(),
                numbers.as_ptr(),
                rows as u32,
                0,
                0,
                null(),
                null(),
                null_mut(),
                null_mut(),
                null_mut(),
                dim as u32,
                0,
                RATE,
                epsilon(optimizer),
                0,
            );
        }
    });
}

/// Lookup, update, and, for rows that are elsewhere, the update there.
fn check(case: &Case, threads: u32, vector: bool) {
    let vector = vector && case.dim.is_multiple_of(4);
    let mut step = case.clone().begin();
    let got = gather(&step, threads, vector);
    assert!(bits(&got) == bits(&step.lookup()), "{threads} {case:?}");

    let gradients = step.gradients();
    let before = || (Matrix::from(step.hot()), Matrix::from(step.cold()));
    let ((mut hot, mut cold), (mut hot_again, mut copies)) = (before(), before());
    let mut sums = Aligned::from(vec![f32::NAN; cold.weights.len()].as_slice());
    let launch = (threads, vector);
    let to = Cold::Gradients(&mut sums);
    update(&step, &mut hot, &gradients, to, launch);
    let to = Cold::Copies(&mut copies.weights, &mut copies.state);
    update(&step, &mut hot_again, &gradients, to, launch);
    step.store
        .update_slice(&step.plan, &gradients, f64::from(RATE))
        .unwrap();
    hot.assert_is(&step.hot(), case);
    update_all(&mut cold, &sums, case.dim, case.optimizer, threads);
    cold.assert_is(&step.cold(), case);
    hot_again.assert_is(&step.hot(), case);
    copies.assert_is(&step.cold(), case);
}

#[test]
fn every_width() {
    for dim in 1..=512 {
        for optimizer in OPTIMIZERS {
            // The third table has rows of many bags.
            let longest = (dim % 2 == 0).then_some(3);
            let case = Case::drawn(dim, optimizer, &[40, 7, 1], 36, longest);
            check(&case.split(|rows| rows as u32 / 2), 256, true);
        }
    }
}

#[test]
fn rows_wider_than_a_tile() {
    for dim in [513, 516, 700, 1024, 1100, 2049] {
        for optimizer in OPTIMIZERS {
            let case = Case::drawn(dim, optimizer, &[20, 2], 70, Some(2)).split(|_| 1);
            check(&case, 256, true);
            check(&case, 96, false);
        }
    }
}

#[test]
fn any_block() {
    for dim in [1, 2, 4, 12, 16, 33, 64, 128, 300] {
        for optimizer in OPTIMIZERS {
            let case = Case::drawn(dim, optimizer, &[100, 30, 3], 60, Some(4));
            let case = case.split(|rows| rows as u32 * 2 / 3);
            for threads in [1, 8, 32, 96, 128, 256] {
                check(&case, threads, true);
                check(&case, threads, false);
            }
        }
    }
}

#[test]
fn a_row_in_every_bag() {
    for dim in [1, 16, 17, 64, 512] {
        for optimizer in OPTIMIZERS {
            for hot in [0, 1] {
                let case = Case::drawn(dim, optimizer, &[1], 2048, None).split(|_| hot);
                check(&case, 256, true);
            }
        }
    }
}

#[test]
fn rows_whose_pieces_are_summed_ahead() {
    for (dim, threads) in [(1, 8), (16, 256), (17, 96), (64, 256)] {
        for optimizer in OPTIMIZERS {
            for hot in [0, 1] {
                let case = Case::drawn(dim, optimizer, &[60, 2, 1], 5000, None).split(|_| hot);
                assert!(case.clone().begin().lists().summed_rows > 1);
                check(&case, threads, true);
            }
        }
    }
}

#[test]
fn empty_bags_give_zeros_and_move_nothing() {
    for optimizer in OPTIMIZERS {
        let case = Case::drawn(16, optimizer, &[50, 50], 9, Some(0));
        check(&case, 256, true);
        let step = case.begin();
        assert!(gather(&step, 64, true).iter().all(|x| x.to_bits() == 0));
    }
}

#[test]
fn a_sum_of_negative_zeros_is_one() {
    for batch in [3, 40, 600, 2100] {
        for dim in [1, 4, 16] {
            let case = Case::drawn(dim, Optimizer::Sgd, &[1], batch, None).split(|_| 0);
            let step = case.begin();
            let mut gradients = step.gradients();
            gradients.fill(-0.0);
            let mut hot = Matrix::from(step.hot());
            let mut sums = Aligned::from(vec![f32::NAN; dim].as_slice());
            let cold = Cold::Gradients(&mut sums);
            update(&step, &mut hot, &gradients, cold, (64, dim > 1));
            assert_eq!(bits(&sums), vec![(-0f32).to_bits(); dim]);
        }
    }
}

#[test]
fn rows_are_read_and_written_by_address() {
    for (dim, threads) in [(1, 32), (5, 8), (16, 256), (300, 64)] {
        let rows: Vec<f32> = (0..9 * dim).map(|x| x as f32 + 0.5).collect();
        let addresses = [7u32, 0, 4];
        let mut read = Aligned::from(vec![f32::NAN; 3 * dim].as_slice());
        let blocks = 3usize.div_ceil((threads as usize / dim).max(1)) as u32;
        launch(blocks, threads).run(|| {
            // SAFETY: three addresses of nine rows.
            unsafe {
                rows_gather(
                    rows.as_ptr(),
                    9,
                    null(),
                    addresses.as_ptr(),
                    null(),
                    1,
                    read.as_mut_ptr(),
                    3,
                    dim as u32,
                    0,
                );
            }
        });
        let mut written = vec![0.0; 9 * dim];
        launch(blocks, threads).run(|| {
            // SAFETY: three addresses of nine rows.
            unsafe {
                rows_write(
                    written.as_mut_ptr(),
                    addresses.as_ptr(),
                    read.as_ptr(),
                    3,
                    dim as u32,
                );
            }
        });
        for (row, written) in written.chunks(dim).enumerate() {
            let expected = match addresses.contains(&(row as u32)) {
                true => &rows[row * dim..][..dim],
                false => &vec![0.0; dim],
            };
            assert_eq!(written, expected);
        }
        let mut copied = vec![0.0; 9 * dim];
        launch(blocks, threads).run(|| {
            // SAFETY: three numbers of three rows, and three of nine.
            unsafe {
                rows_copy(
                    read.as_ptr(),
                    [0u32, 1, 2].as_ptr(),
                    copied.as_mut_ptr(),
                    addresses.as_ptr(),
                    3,
                    dim as u32,
                );
            }
        });
        assert_eq!(copied, written);
    }
}

fn case() -> impl Strategy<Value = Case> {
    let table = (1u64..200, 0u32..=100);
    let tables = prop::collection::vec(table, 1..6);
    let longest = prop_oneof![Just(None), (0u32..6).prop_map(Some)];
    let dim = prop_oneof![1usize..=512, Just(16), Just(64)];
    (dim, 0usize..3, tables, 1usize..300, longest).prop_map(
        |(dim, optimizer, tables, batch, longest)| {
            let rows: Vec<u64> = tables.iter().map(|table| table.0).collect();
            let mut case = Case::drawn(dim, OPTIMIZERS[optimizer], &rows, batch, longest);
            for (hot, (rows, share)) in case.hot_rows.iter_mut().zip(tables) {
                *hot = rows as u32 * share / 100;
            }
            case
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_batch(case in case(), threads in 1u32..=256, vector in any::<bool>()) {
        check(&case, threads, vector);
    }
}
