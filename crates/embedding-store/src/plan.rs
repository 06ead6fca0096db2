//! What a batch's ids mean for the tables.

use std::ops::Range;
use std::sync::Arc;

use crate::cold_rows::ColdRows;
use crate::device_store::BatchLists;
use crate::kernel::Bag;
use crate::layout::{Layout, PartKind};
use crate::{Error, Part, Result};

/// Lookups of a row whose gradients are added one after the other. The sums of such pieces are added in their order: many threads can sum
/// the gradients of one row, and the numbers are the same on every device.
pub(crate) const PIECE: usize = 128;

/// A batch's ids, checked and grouped by row: made by [`Planner::plan`](crate::Planner::plan) ahead of time, followed by
/// lookup and update. Its buffers are reused when it is filled again.
///
/// For every part of the store it holds the distinct rows in ascending order and, for each, the samples that look it up,
/// in ascending order too (a sample as often as its bag names the row). Sums over samples in this order are the same on
/// any number of threads.
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) layout: Option<Arc<Layout>>,
    pub(crate) batch: usize,
    /// As given: `[batch, tables]`, or bag by bag.
    pub(crate) ids: Vec<u32>,
    /// As given; empty for single-hot ids.
    pub(crate) offsets: Vec<u32>,
    /// One entry per part.
    pub(crate) parts: Vec<PartPlan>,
    /// Distinct rows of all parts, part by part.
    pub(crate) rows: Vec<u32>,
    /// Where the samples of each row end in `samples`, counted from the part's first.
    pub(crate) ends: Vec<u32>,
    /// Samples that look a row up, row by row.
    pub(crate) samples: Vec<u32>,
    /// For every lookup, its row's place among the distinct rows of its part; only where the planner was asked for it. Those
    /// of the tables' first parts come first, then, where a table has two parts that lookups read, those of the second.
    pub(crate) slots: Vec<u32>,
    /// Differs from plan to plan.
    pub(crate) serial: u64,
    /// Pieces of about equal work, each of one part.
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) sort: crate::planner::SortBuffers,
    /// For a store on a device.
    pub(crate) device: DevicePlan,
}

/// What kernels read of a plan, where the planner was asked for it.
#[derive(Debug, Default)]
pub(crate) struct DevicePlan {
    /// Rows of every part that are on the device; empty where there are no lists.
    pub(crate) hot_rows: Arc<[u32]>,
    pub(crate) lists: BatchLists,
    pub(crate) cold: ColdRows,
}

/// Where a part's rows and samples are in the plan's lists.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartPlan {
    pub(crate) rows: Range<usize>,
    pub(crate) first_sample: usize,
}

/// Some rows of one part, updated by one task.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) part: usize,
    /// In `Plan::rows`.
    pub(crate) rows: Range<usize>,
}

impl Plan {
    /// Samples in the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Ids in the batch.
    pub fn lookups(&self) -> usize {
        self.ids.len()
    }

    /// Different rows that the batch touches, over all parts.
    pub fn distinct_rows(&self) -> usize {
        self.rows.len()
    }

    /// The different rows of one part, in ascending order; none where the store has no such part.
    pub fn rows_of(&self, part: usize) -> &[u32] {
        self.parts
            .get(part)
            .map_or(&[], |part| &self.rows[part.rows.clone()])
    }

    /// The ids of one bag.
    #[inline(always)]
    pub(crate) fn bag(&self, bag: usize) -> &[u32] {
        if self.offsets.is_empty() {
            std::slice::from_ref(&self.ids[bag])
        } else {
            &self.ids[self.offsets[bag] as usize..self.offsets[bag + 1] as usize]
        }
    }

    /// The lookups of one bag.
    #[inline(always)]
    pub(crate) fn lookups_of(&self, bag: usize) -> Bag<'_> {
        let first = if self.offsets.is_empty() {
            bag
        } else {
            self.offsets[bag] as usize
        };
        Bag {
            first,
            ids: self.bag(bag),
        }
    }

    /// The slots of all lookups in a table's first or second part.
    #[inline(always)]
    pub(crate) fn slots_of(&self, part_of_table: usize) -> &[u32] {
        let first = part_of_table * self.ids.len();
        &self.slots[first..first + self.ids.len()]
    }

    /// The samples of one row, given as an index into `rows`.
    #[inline(always)]
    pub(crate) fn samples_of(&self, part: &PartPlan, row: usize) -> &[u32] {
        let start = if row == part.rows.start {
            0
        } else {
            self.ends[row - 1] as usize
        };
        &self.samples[part.first_sample + start..part.first_sample + self.ends[row] as usize]
    }

    /// Forgets the batch and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.layout = None;
        self.batch = 0;
        self.ids.clear();
        self.offsets.clear();
        self.parts.clear();
        self.rows.clear();
        self.ends.clear();
        self.samples.clear();
        self.slots.clear();
        self.chunks.clear();
        self.device.hot_rows = Arc::default();
    }

    /// The lists for a device that has so many rows of every part.
    #[cfg(feature = "cuda")]
    pub(crate) fn lists(&self, hot_rows: &[u32]) -> Option<&BatchLists> {
        let made = !self.device.hot_rows.is_empty() && *self.device.hot_rows == *hot_rows;
        made.then_some(&self.device.lists)
    }

    /// That the plan's ids were checked against these tables: what the unchecked reads of lookup and update rest on.
    pub(crate) fn check(&self, layout: &Arc<Layout>) -> Result<()> {
        match &self.layout {
            None => Err(Error::EmptyPlan),
            Some(own) if Arc::ptr_eq(own, layout) || own == layout => Ok(()),
            Some(_) => Err(Error::ForeignPlan),
        }
    }

    /// That the plan touches only rows in these ranges, one for each part.
    pub(crate) fn check_rows(&self, parts: &[Part], held: &[Range<u64>]) -> Result<()> {
        let refused = |part: usize, row: u64| {
            let Range { start, end } = held[part];
            Err(Error::RowNotHeld {
                name: parts[part].name.clone(),
                row,
                start,
                end,
            })
        };
        for (part, held) in held.iter().enumerate() {
            let rows = self.rows_of(part);
            // Rows ascend.
            for &row in [rows.first(), rows.last()].into_iter().flatten() {
                if !held.contains(&u64::from(row)) {
                    return refused(part, u64::from(row));
                }
            }
            if self.needs_projection(part) && held.is_empty() {
                return refused(part, 0);
            }
        }
        Ok(())
    }

    /// Whether the part is a projection of a table that the batch looks up.
    pub(crate) fn needs_projection(&self, part: usize) -> bool {
        self.layout.as_ref().is_some_and(|layout| {
            layout.parts[part].kind == PartKind::Projection && !self.rows_of(part - 1).is_empty()
        })
    }

    /// That the plan says which distinct row every lookup means.
    pub(crate) fn check_slots(&self) -> Result<()> {
        if self.slots.is_empty() && !self.ids.is_empty() {
            return Err(Error::PlanWithoutSlots);
        }
        Ok(())
    }
}
