//! The inner loops, compiled twice: for AVX2 and for whatever the target has anyway.
//!
//! No product is fused with a sum, and every sum has one order, so both compilations give the same
//! bits.

/// The instruction set that the inner loops run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

/// A loop to be compiled for every [`Level`]; `run` and all that it calls is `#[inline(always)]`.
pub(crate) trait Kernel {
    fn run(self);
}

impl Level {
    /// The best that this processor has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        Self::Portable
    }

    #[inline(always)]
    pub(crate) fn run(self, kernel: impl Kernel) {
        match self {
            Self::Portable => kernel.run(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` makes this level only where the processor has AVX2.
            Self::Avx2 => unsafe { run_avx2(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2(kernel: impl Kernel) {
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0 as NEAR, _MM_HINT_T1 as FAR};
#[cfg(not(target_arch = "x86_64"))]
const NEAR: i32 = 0;
#[cfg(not(target_arch = "x86_64"))]
const FAR: i32 = 1;

/// Asks for a row that is needed very soon.
#[inline(always)]
pub(crate) fn prefetch(row: *const f32, width: usize) {
    prefetch_lines::<NEAR>(row, width);
}

/// Asks for a row that is needed some dozens of rows later, into the second-level cache: the first
/// level's few buffers for lines on their way are then free for the rows that are read.
#[inline(always)]
pub(crate) fn prefetch_far(row: *const f32, width: usize) {
    prefetch_lines::<FAR>(row, width);
}

/// Asks for the cache lines of a row, two at most: the hardware fetches what follows.
#[inline(always)]
fn prefetch_lines<const HINT: i32>(row: *const f32, width: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::_mm_prefetch;
        // SAFETY: prefetching reads nothing and never faults, whatever the address.
        unsafe {
            _mm_prefetch::<HINT>(row.cast());
            if width > 16 {
                _mm_prefetch::<HINT>(row.wrapping_add(16).cast());
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (row, width);
}

/// A matrix of rows `stride` floats apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) base: *const f32,
    pub(crate) stride: usize,
}

// SAFETY: a bare address; dereferencing is justified where it is done.
unsafe impl Send for Columns {}
// SAFETY: as above.
unsafe impl Sync for Columns {}

impl Columns {
    #[inline(always)]
    pub(crate) fn row(self, row: u32) -> *const f32 {
        self.base.wrapping_add(row as usize * self.stride)
    }
}

/// Says where the row of a lookup starts; `lookup` is its number in the batch.
pub(crate) trait RowAt: Copy {
    fn row_at(self, lookup: usize, id: u32) -> *const f32;
}

/// Rows that are numbered as they lie: samples of a gradient.
impl RowAt for Columns {
    #[inline(always)]
    fn row_at(self, _: usize, id: u32) -> *const f32 {
        self.row(id)
    }
}

/// Copies a row, block by block; a call of `memcpy` would cost more than a short row.
///
/// # Safety
/// `into.len()` floats may be read from `row` on.
#[inline(always)]
pub(crate) unsafe fn copy_row(row: *const f32, into: &mut [f32]) {
    let (blocks, rest) = into.as_chunks_mut::<16>();
    let mut done = 0;
    for block in blocks {
        // SAFETY: the caller's promise, for 16 of the floats; floats of a row are aligned as
        // floats.
        *block = unsafe { row.add(done).cast::<[f32; 16]>().read() };
        done += 16;
    }
    for (column, x) in (done..).zip(rest) {
        // SAFETY: the caller's promise.
        *x = unsafe { row.add(column).read() };
    }
}

/// The lookups of one bag: their ids, and the number of the first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bag<'a> {
    pub(crate) first: usize,
    pub(crate) ids: &'a [u32],
}

impl Bag<'_> {
    /// `into = sum of some columns of the rows that the lookups mean`, added in the order of the
    /// ids; zeros without ids.
    ///
    /// # Safety
    /// For every lookup, the `into.len()` floats from `column` of its row on may be read.
    #[inline(always)]
    pub(crate) unsafe fn sum(self, rows: impl RowAt, column: usize, into: &mut [f32]) {
        let width = into.len();
        let mut done = 0;
        // SAFETY: the caller's promise, for some of the columns at a time.
        unsafe {
            while width - done >= 16 {
                self.sum_block::<16>(rows, column + done, &mut into[done..done + 16]);
                done += 16;
            }
            if width - done >= 8 {
                self.sum_block::<8>(rows, column + done, &mut into[done..done + 8]);
                done += 8;
            }
            if width - done >= 4 {
                self.sum_block::<4>(rows, column + done, &mut into[done..done + 4]);
                done += 4;
            }
            while width > done {
                self.sum_block::<1>(rows, column + done, &mut into[done..=done]);
                done += 1;
            }
        }
    }

    /// `N` columns, whose sums stay in registers.
    #[inline(always)]
    unsafe fn sum_block<const N: usize>(self, rows: impl RowAt, column: usize, into: &mut [f32]) {
        let Some((&first, rest)) = self.ids.split_first() else {
            into.fill(0.0);
            return;
        };
        let at = |lookup, id| rows.row_at(lookup, id).wrapping_add(column);
        // SAFETY: the caller's promise; floats of a row are aligned as floats.
        let mut sum = unsafe { at(self.first, first).cast::<[f32; N]>().read() };
        for (lookup, &id) in (self.first + 1..).zip(rest) {
            // SAFETY: as above.
            let row = unsafe { &*at(lookup, id).cast::<[f32; N]>() };
            for (sum, x) in sum.iter_mut().zip(row) {
                *sum += x;
            }
        }
        into.copy_from_slice(&sum);
    }
}

/// Independent partial sums of a reduction; fixed, so that every level adds in one order.
pub(crate) const LANES: usize = 8;

/// Adds the partial sums pairwise.
#[inline(always)]
pub(crate) fn reduce(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// `lanes[i % 8] += x[i] · y[i]`.
#[inline(always)]
pub(crate) fn accumulate_products(x: &[f32], y: &[f32], lanes: &mut [f32; LANES]) {
    let (x, x_tail) = x.as_chunks::<LANES>();
    let (y, y_tail) = y.as_chunks::<LANES>();
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    for ((x, y), lane) in x_tail.iter().zip(y_tail).zip(lanes) {
        *lane += x * y;
    }
}

/// `x · y`.
#[inline(always)]
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    accumulate_products(x, y, &mut lanes);
    reduce(lanes)
}

/// `into += factor · x`.
#[inline(always)]
pub(crate) fn add_scaled(factor: f32, x: &[f32], into: &mut [f32]) {
    for (into, x) in into.iter_mut().zip(x) {
        *into += factor * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Combine, CpuStore, EmbeddingStore, Encoding, Ids, Optimizer, Plan, Rows, StoreOptions,
        TableSpec,
    };

    /// Rows before and after two updates, and all parts.
    fn train(level: Level, dim: usize, optimizer: Optimizer) -> (Vec<f32>, Vec<Rows>) {
        let spec = |encoding| TableSpec { rows: 40, encoding };
        let combine = Combine::Multiply;
        let tables = vec![
            TableSpec::full(40),
            spec(Encoding::QuotientRemainder {
                collisions: 6,
                combine,
            }),
            spec(Encoding::MixedDimension {
                dim: dim.div_ceil(3),
            }),
        ];
        let mut store = CpuStore::new(
            tables,
            StoreOptions {
                dim,
                optimizer: optimizer.into(),
                ..Default::default()
            },
        )
        .unwrap();
        store.level = level;
        let batch = 50;
        let ids: Vec<u32> = (0..batch * 9)
            .map(|index| (index * index * 31 % 41 % 40) as u32)
            .collect();
        let offsets: Vec<u32> = (0..=batch * 3).map(|bag| bag as u32 * 3).collect();
        let mut plan = Plan::default();
        store
            .planner()
            .plan(
                Ids {
                    batch,
                    ids: &ids,
                    offsets: &offsets,
                },
                &mut plan,
            )
            .unwrap();
        let mut rows = vec![0.0; batch * 3 * dim];
        for _ in 0..2 {
            store.lookup_slice(&plan, &mut rows).unwrap();
            let grad: Vec<f32> = rows
                .iter()
                .enumerate()
                .map(|(i, x)| x * 0.3 + (i % 11) as f32 * 0.07)
                .collect();
            store.update_slice(&plan, &grad, 0.1).unwrap();
        }
        let parts = store.parts.iter().enumerate();
        (
            rows,
            parts
                .map(|(index, part)| store.export(index, 0..part.rows).unwrap())
                .collect(),
        )
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        for dim in [1, 3, 8, 16, 27, 64, 70] {
            for optimizer in [
                Optimizer::Sgd,
                Optimizer::adagrad(),
                Optimizer::rowwise_adagrad(),
            ] {
                let best = train(Level::detect(), dim, optimizer);
                assert_eq!(
                    train(Level::Portable, dim, optimizer),
                    best,
                    "{dim} {optimizer:?}"
                );
            }
        }
    }
}
