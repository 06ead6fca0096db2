//! What a batch's ids mean for the tables.

use std::sync::Arc;

use crate::cold_rows::ColdRows;
use crate::device_store::batch_lists::BatchLists;
use crate::error::{Error, Result};
use crate::gradient_sum::sum_gradients;
use crate::grouping::Grouping;
use crate::kernel::Columns;
use crate::layout::GradientOf;

/// A batch's ids, checked and grouped by row: made by [`Planner::plan`](crate::Planner::plan) ahead
/// of time, followed by lookup and update. Its buffers are reused when it is filled again.
///
/// For every part of the store it holds the distinct rows in ascending order and, for each, the
/// samples that look it up, in ascending order too (a sample as often as its bag names the row).
/// Sums over samples in this order are the same on any number of threads; stores written outside of
/// this crate take them by [`sum_gradient`](Self::sum_gradient).
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) grouping: Grouping,
    pub(crate) device: DevicePlan,
}

/// What kernels read of a plan, where the planner was told to make it.
#[derive(Debug, Default)]
pub(crate) struct DevicePlan {
    /// Rows of every part that are on the device; empty where there are no lists.
    pub(crate) hot_rows: Arc<[u32]>,
    pub(crate) lists: BatchLists,
    pub(crate) cold: ColdRows,
}

impl Plan {
    /// Samples in the batch.
    pub fn batch(&self) -> usize {
        self.grouping.batch
    }

    /// Tables that the plan is for; 0 where it was not filled.
    pub fn tables(&self) -> usize {
        let layout = self.grouping.layout.as_ref();
        layout.map_or(0, |layout| layout.tables.len())
    }

    /// Ids in the batch.
    pub fn lookups(&self) -> usize {
        self.grouping.ids.len()
    }

    /// The ids as they were given: bag by bag, bag `sample * tables + table`; of single-hot batches
    /// `[batch, tables]`.
    pub fn ids(&self) -> &[u32] {
        &self.grouping.ids
    }

    /// Where each bag starts in the ids, `[batch * tables + 1]`; empty where every bag has one id.
    pub fn offsets(&self) -> &[u32] {
        &self.grouping.offsets
    }

    /// The ids of one bag; none where there is no such sample or table.
    pub fn bag(&self, sample: usize, table: usize) -> &[u32] {
        if sample >= self.batch() || table >= self.tables() {
            return &[];
        }
        self.grouping.bag(sample * self.tables() + table)
    }

    /// Different rows that the batch touches, over all parts.
    pub fn distinct_rows(&self) -> usize {
        self.grouping.rows.len()
    }

    /// The different rows of one part, in ascending order; none where the store has no such part,
    /// or where it is a projection, all of whose rows every lookup of its table reads.
    pub fn rows_of(&self, part: usize) -> &[u32] {
        self.grouping.rows_of(part)
    }

    /// The samples that look up one of [`rows_of`](Self::rows_of), given by its place there: in
    /// ascending order, a sample as often as its bag names the row. None where there is no such
    /// row.
    pub fn samples_of(&self, part: usize, place: usize) -> &[u32] {
        let Some(listed) = self.grouping.parts.get(part) else {
            return &[];
        };
        if place >= listed.rows.len() {
            return &[];
        }
        self.grouping.samples_of(listed, listed.rows.start + place)
    }

    /// Adds up the gradients of one of [`rows_of`](Self::rows_of), given by its place there, in the
    /// order in which all stores of this crate do: sample by sample, 128 at a time, and then these
    /// sums. `grad` is the gradient of the looked-up rows, `[batch, tables, dim]` row-major; `into`
    /// is as long as a row of the part.
    ///
    /// # Errors
    /// A place that no row has, slices of other lengths, or a part whose gradient is not a part of
    /// `grad`: of a quotient–remainder table that multiplies, or a projected one.
    pub fn sum_gradient(
        &self,
        part: usize,
        place: usize,
        grad: &[f32],
        into: &mut [f32],
    ) -> Result<()> {
        let Some(layout) = &self.grouping.layout else {
            return Err(Error::EmptyPlan);
        };
        let samples = self.samples_of(part, place);
        let (Some(placed), false) = (layout.parts.get(part), samples.is_empty()) else {
            return Err(Error::RowNotPlanned { part, place });
        };
        let GradientOf::Rows(column) = placed.gradient else {
            return Err(Error::IndirectGradient { part });
        };
        let stride = layout.tables.len() * layout.dim;
        for (what, got, expected) in [
            ("the gradient", grad.len(), self.batch() * stride),
            ("the sum", into.len(), placed.width),
        ] {
            if got != expected {
                return Err(Error::RowLength {
                    what,
                    got,
                    expected,
                });
            }
        }
        let gradient = Columns {
            base: grad[column..].as_ptr(),
            stride,
        };
        // SAFETY: samples are below the batch, of which every one has `stride` floats in the
        // gradient, and the part's columns end within them.
        unsafe { sum_gradients(gradient, samples, 0, into) };
        Ok(())
    }

    /// Forgets the batch and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.grouping.clear();
        self.device.hot_rows = Arc::default();
    }

    /// The lists for a device that has that many rows of every part.
    #[cfg(feature = "cuda")]
    pub(crate) fn lists(
        &self,
        layout: &Arc<crate::layout::Layout>,
        hot_rows: &[u32],
    ) -> Option<&BatchLists> {
        // They go by the classes of the planner's layout, which other factors divide in another
        // way.
        let own = self.grouping.layout.as_ref()?;
        let made = !self.device.hot_rows.is_empty() && *self.device.hot_rows == *hot_rows;
        (made && (Arc::ptr_eq(own, layout) || own == layout)).then_some(&self.device.lists)
    }
}
