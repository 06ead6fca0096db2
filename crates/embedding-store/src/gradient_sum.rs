//! Adding up the gradients of a row.

use crate::grouping::PIECE;
use crate::kernel::{Bag, Columns};
use crate::rule::BUFFER;

/// The gradient of a row: those of its samples, added up where they are needed. A closure would be
/// compiled apart from the loop that calls it, without the loop's vector instructions.
#[derive(Clone, Copy)]
pub(crate) struct RowGradient<'a> {
    gradient: Columns,
    samples: &'a [u32],
}

impl<'a> RowGradient<'a> {
    /// # Safety
    /// The gradients reach over the row's columns for every sample.
    #[inline(always)]
    pub(crate) unsafe fn new(gradient: Columns, samples: &'a [u32]) -> Self {
        Self { gradient, samples }
    }

    /// Writes the sums of the row's columns from one on.
    #[inline(always)]
    pub(crate) fn sum(self, column: usize, into: &mut [f32]) {
        // SAFETY: whoever made this has promised it.
        unsafe { sum_gradients(self.gradient, self.samples, column, into) };
    }
}

/// The sum of a row's gradients over its samples, from `column` on, piece by piece.
///
/// # Safety
/// The gradients reach over that many columns for every sample.
#[inline(always)]
pub(crate) unsafe fn sum_gradients(
    gradient: Columns,
    samples: &[u32],
    column: usize,
    into: &mut [f32],
) {
    let (first, others) = samples.split_at(samples.len().min(PIECE));
    // SAFETY: the caller's.
    unsafe {
        Bag {
            first: 0,
            ids: first,
        }
        .sum(gradient, column, into);
    }
    if others.is_empty() {
        return;
    }
    let mut buffer = [0f32; BUFFER];
    for (start, into) in (column..).step_by(BUFFER).zip(into.chunks_mut(BUFFER)) {
        for piece in others.chunks(PIECE) {
            let sum = &mut buffer[..into.len()];
            // SAFETY: the caller's.
            unsafe {
                Bag {
                    first: 0,
                    ids: piece,
                }
                .sum(gradient, start, sum);
            }
            into.iter_mut()
                .zip(sum)
                .for_each(|(into, sum)| *into += *sum);
        }
    }
}
