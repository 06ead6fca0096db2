//! A batch's ids, grouped by row.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::kernel::Bag;
use crate::layout::{Layout, Part, PartKind};

/// Lookups of a row whose gradients are added one after the other. The sums of such pieces are
/// added in their order: many threads can sum the gradients of one row, and the numbers are the
/// same on every device.
pub(crate) const PIECE: usize = 128;

/// What a [`Plan`](crate::Plan) knows of its batch: ids that were checked, and the distinct
/// rows of every part with the samples that look them up.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
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
    /// For every lookup, its row's place among the distinct rows of its part; only where the
    /// planner was told to note it. Those of the tables' first parts come first, then, where a
    /// table has two parts that lookups read, those of the second.
    pub(crate) slots: Vec<u32>,
    /// Differs from plan to plan.
    pub(crate) serial: u64,
    /// Pieces of about equal work, each of one part.
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) sort: SortBuffers,
}

/// Memory of the sort, kept with the plan.
#[derive(Debug, Default)]
pub(crate) struct SortBuffers {
    /// `row << 32 | sample`, or with the lookup's number instead where slots are wanted.
    pub(crate) keys: Vec<u64>,
    pub(crate) other: Vec<u64>,
    pub(crate) counts: Vec<u32>,
    /// The sample of every lookup, where slots are wanted.
    pub(crate) sample_of: Vec<u32>,
}

/// Where a part's rows and samples are in the lists.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartPlan {
    pub(crate) rows: Range<usize>,
    pub(crate) first_sample: usize,
}

/// Some rows of one part, updated by one task.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) part: usize,
    /// In `Grouping::rows`.
    pub(crate) rows: Range<usize>,
}

impl Grouping {
    /// The different rows of one part, in ascending order; none where the store has no such part.
    pub(crate) fn rows_of(&self, part: usize) -> &[u32] {
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
    }

    /// That the plan's ids were checked against these tables: what the unchecked reads of lookup
    /// and update rest on.
    pub(crate) fn check(&self, layout: &Arc<Layout>) -> Result<()> {
        match &self.layout {
            None => Err(Error::EmptyPlan),
            Some(own) if Arc::ptr_eq(own, layout) || own.has_tables_of(layout) => Ok(()),
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
