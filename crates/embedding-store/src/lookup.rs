//! Gathering a batch's rows.

use std::ops::Range;

use rayon::prelude::*;

use crate::encoding::Combine;
use crate::grouping::Grouping;
use crate::kernel::{Bag, Kernel, Level, RowAt, add_scaled, copy_row, prefetch_far};
use crate::layout::{Composition, Layout};

/// Bags of one task, about 20 µs of cached rows: handing it out costs little beside that, whatever
/// the number of tables.
const BAGS_A_TASK: usize = 2048;
/// Bags between the one that is read and the one whose rows are prefetched.
const PREFETCH_BAGS: usize = 48;
/// Ids of a bag whose rows are prefetched; those of long bags follow while the first are added.
const PREFETCH_IDS: usize = 4;
/// Most tables whose rows are copied by the short loop.
const COPIED_TABLES: usize = 64;
/// Floats of intermediate sums on the stack.
const BLOCK: usize = 64;

/// Where the rows of all parts lie: in one store, or in two.
pub(crate) trait RowSource<'a>: Copy + Send + Sync {
    type Rows: RowAt;

    /// The rows of a part that lookups read.
    fn rows(self, part: usize) -> Self::Rows;

    /// One stored row of a projection.
    fn projection(self, part: usize, row: usize) -> &'a [f32];
}

/// Writes the pooled rows of all bags of some samples into `[samples, tables, dim]`; the plan and
/// the length are checked.
pub(crate) fn gather<'a>(
    level: Level,
    layout: &Layout,
    dim: usize,
    source: impl RowSource<'a>,
    plan: &Grouping,
    samples: Range<usize>,
    into: &mut [f32],
) {
    let tables = layout.tables.len();
    let samples_a_task = (BAGS_A_TASK / tables).max(1);
    into.par_chunks_mut(samples_a_task * tables * dim)
        .enumerate()
        .for_each(|(task, into)| {
            level.run(GatherBags {
                layout,
                dim,
                source,
                plan,
                first_sample: samples.start + task * samples_a_task,
                into,
            });
        });
}

struct GatherBags<'a, S> {
    layout: &'a Layout,
    dim: usize,
    source: S,
    plan: &'a Grouping,
    first_sample: usize,
    into: &'a mut [f32],
}

impl<'a, S: RowSource<'a>> Kernel for GatherBags<'_, S> {
    #[inline(always)]
    fn run(self) {
        let Self {
            layout,
            dim,
            source,
            plan,
            first_sample,
            into,
        } = self;
        let tables = layout.tables.len();
        if plan.offsets.is_empty() && tables <= COPIED_TABLES && layout.all_plain() {
            return copy_rows(layout, source, plan, first_sample * tables, into, dim);
        }
        let bags = plan.batch * tables;
        let (mut table, mut ahead) = (0, PREFETCH_BAGS % tables);
        for (bag, row) in (first_sample * tables..).zip(into.chunks_exact_mut(dim)) {
            if bag + PREFETCH_BAGS < bags {
                let part = layout.tables[ahead].first;
                let (rows, width) = (source.rows(part), layout.parts[part].width);
                let Bag { first, ids } = plan.lookups_of(bag + PREFETCH_BAGS);
                for (lookup, &id) in (first..).zip(ids.iter().take(PREFETCH_IDS)) {
                    prefetch_far(rows.row_at(lookup, id), width);
                }
            }
            pooled_row(layout, source, table, plan.lookups_of(bag), row);
            table = if table + 1 == tables { 0 } else { table + 1 };
            ahead = if ahead + 1 == tables { 0 } else { ahead + 1 };
        }
    }
}

/// One row for each bag, copied from plain tables: the common case.
///
/// A row that misses the cache mostly misses the TLB too, and the processor walks the page tables
/// only for the instructions that it has in flight. So the loop is kept to a few instructions a
/// row, and everything else happens before it.
#[inline(always)]
fn copy_rows<'a>(
    layout: &Layout,
    source: impl RowSource<'a>,
    plan: &Grouping,
    first: usize,
    into: &mut [f32],
    dim: usize,
) {
    let tables = layout.tables.len();
    // Entries beyond the last table repeat it and are not used.
    let rows: [_; COPIED_TABLES] =
        std::array::from_fn(|table| source.rows(layout.tables[table.min(tables - 1)].first));
    let ids = &plan.ids[first..];
    let (now, coming) = (
        &ids[..into.len() / dim],
        &ids[PREFETCH_BAGS.min(ids.len())..],
    );
    let (mut table, mut ahead) = (0, PREFETCH_BAGS % tables);
    let mut coming = (first + PREFETCH_BAGS..).zip(coming);
    for ((lookup, &id), into) in (first..).zip(now).zip(into.chunks_exact_mut(dim)) {
        if let Some((lookup, &id)) = coming.next() {
            prefetch_far(rows[ahead].row_at(lookup, id), dim);
        }
        // SAFETY: as in `pool`; a plain table's rows are as wide as a looked-up one.
        unsafe { copy_row(rows[table].row_at(lookup, id), into) };
        table = if table + 1 == tables { 0 } else { table + 1 };
        ahead = if ahead + 1 == tables { 0 } else { ahead + 1 };
    }
}

/// The pooled row of one bag of a table.
#[inline(always)]
fn pooled_row<'a>(
    layout: &Layout,
    source: impl RowSource<'a>,
    table: usize,
    bag: Bag<'_>,
    into: &mut [f32],
) {
    let placed = layout.tables[table];
    match placed.composition {
        Composition::Plain => pool(layout, source, placed.first, bag, 0, into),
        Composition::QuotientRemainder(combine) => {
            combined(layout, source, combine, placed.first, bag, into);
        }
        Composition::Projected { .. } => projected(layout, source, placed.first, bag, into),
    }
}

#[inline(always)]
fn combined<'a>(
    layout: &Layout,
    source: impl RowSource<'a>,
    combine: Combine,
    first: usize,
    bag: Bag<'_>,
    into: &mut [f32],
) {
    if combine == Combine::Concatenate {
        let (left, right) = into.split_at_mut(layout.parts[first].width);
        pool(layout, source, first, bag, 0, left);
        pool(layout, source, first + 1, bag, 0, right);
        return;
    }
    pool(layout, source, first, bag, 0, into);
    let mut block = [0f32; BLOCK];
    for (index, into) in into.chunks_mut(BLOCK).enumerate() {
        let block = &mut block[..into.len()];
        pool(layout, source, first + 1, bag, index * BLOCK, block);
        for (into, x) in into.iter_mut().zip(block) {
            *into = if combine == Combine::Multiply {
                *into * *x
            } else {
                *into + *x
            };
        }
    }
}

/// `into = P · pooled`, one column of the projection after the other.
#[inline(always)]
fn projected<'a>(
    layout: &Layout,
    source: impl RowSource<'a>,
    first: usize,
    bag: Bag<'_>,
    into: &mut [f32],
) {
    into.fill(0.0);
    if bag.ids.is_empty() {
        return;
    }
    let width = layout.parts[first].width;
    let mut block = [0f32; BLOCK];
    for start in (0..width).step_by(BLOCK) {
        let block = &mut block[..BLOCK.min(width - start)];
        pool(layout, source, first, bag, start, block);
        for (column, &factor) in block.iter().enumerate() {
            add_scaled(factor, source.projection(first + 1, start + column), into);
        }
    }
}

/// The sum of a part's rows over a bag, from a column on.
#[inline(always)]
pub(crate) fn pool<'a>(
    layout: &Layout,
    source: impl RowSource<'a>,
    part: usize,
    bag: Bag<'_>,
    column: usize,
    into: &mut [f32],
) {
    assert!(column + into.len() <= layout.parts[part].width);
    // SAFETY: the plan's ids are below the rows of their tables, so they mean rows of this part,
    // and whoever made the source has checked that the plan is one of these tables and that the
    // rows it touches are there.
    unsafe { bag.sum(source.rows(part), column, into) }
}
