//! Gathering a batch's rows.

use rayon::prelude::*;

use crate::cpu_store::PartStorage;
use crate::kernel::{Columns, Kernel, add_scaled, prefetch};
use crate::layout::{Composition, PartKind, RowOf};
use crate::{Combine, CpuStore, Plan};

/// Samples of one task.
const SAMPLES_A_TASK: usize = 32;
/// Bags between the one that is read and the one whose rows are asked for.
const PREFETCH_BAGS: usize = 8;
/// Ids of a bag whose rows are asked for; those of long bags follow while the first are added.
const PREFETCH_IDS: usize = 4;
/// Floats of intermediate sums on the stack.
const BLOCK: usize = 64;

impl CpuStore {
    /// Writes the pooled rows of all bags; the lengths are checked.
    pub(crate) fn gather(&self, plan: &Plan, into: &mut [f32]) {
        let tables = self.layout.tables.len();
        into.par_chunks_mut(SAMPLES_A_TASK * tables * self.dim)
            .enumerate()
            .for_each(|(task, into)| {
                self.level.run(Gather {
                    store: self,
                    plan,
                    first_sample: task * SAMPLES_A_TASK,
                    into,
                });
            });
    }
}

struct Gather<'a> {
    store: &'a CpuStore,
    plan: &'a Plan,
    first_sample: usize,
    into: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    #[inline(always)]
    fn run(self) {
        let Self {
            store,
            plan,
            first_sample,
            into,
        } = self;
        let tables = store.layout.tables.len();
        let bags = plan.batch * tables;
        let (mut table, mut ahead) = (0, PREFETCH_BAGS % tables);
        for (bag, row) in (first_sample * tables..).zip(into.chunks_exact_mut(store.dim)) {
            if bag + PREFETCH_BAGS < bags {
                let part = &store.storage[store.layout.tables[ahead].first];
                for &id in plan.bag(bag + PREFETCH_BAGS).iter().take(PREFETCH_IDS) {
                    prefetch(part.rows().row(part.row_of.row(id)), part.weights.width());
                }
            }
            pooled_row(store, table, plan.bag(bag), row);
            table = if table + 1 == tables { 0 } else { table + 1 };
            ahead = if ahead + 1 == tables { 0 } else { ahead + 1 };
        }
    }
}

/// The pooled row of one bag of a table.
#[inline(always)]
fn pooled_row(store: &CpuStore, table: usize, ids: &[u32], into: &mut [f32]) {
    let placed = store.layout.tables[table];
    let first = &store.storage[placed.first];
    match placed.composition {
        Composition::Plain => {
            debug_assert_eq!(first.row_of, RowOf::Id);
            // SAFETY: the plan's ids are below the rows of their tables, `Plan::check` made sure that these are its
            // tables, and rows of this part are as wide as `into`.
            unsafe { first.rows().sum(RowOf::Id, ids, into) }
        }
        Composition::QuotientRemainder(combine) => {
            combined(combine, first, &store.storage[placed.first + 1], ids, into)
        }
        Composition::Projected { .. } => {
            projected(first, &store.storage[placed.first + 1], ids, into)
        }
    }
}

#[inline(always)]
fn combined(
    combine: Combine,
    quotient: &PartStorage,
    remainder: &PartStorage,
    ids: &[u32],
    into: &mut [f32],
) {
    if combine == Combine::Concatenate {
        let (left, right) = into.split_at_mut(quotient.weights.width());
        pool(quotient, ids, left);
        pool(remainder, ids, right);
        return;
    }
    pool(quotient, ids, into);
    let mut block = [0f32; BLOCK];
    for (index, into) in into.chunks_mut(BLOCK).enumerate() {
        let block = &mut block[..into.len()];
        // SAFETY: as in `pool`, for some of the columns.
        unsafe {
            remainder
                .rows()
                .from(index * BLOCK)
                .sum(remainder.row_of, ids, block)
        };
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
fn projected(rows: &PartStorage, projection: &PartStorage, ids: &[u32], into: &mut [f32]) {
    into.fill(0.0);
    let width = rows.weights.width();
    let mut block = [0f32; BLOCK];
    for start in (0..width).step_by(BLOCK) {
        let block = &mut block[..BLOCK.min(width - start)];
        // SAFETY: as in `pool`, for some of the columns.
        unsafe { rows.rows().from(start).sum(rows.row_of, ids, block) };
        for (column, &factor) in block.iter().enumerate() {
            add_scaled(factor, projection.weights.row(start + column), into);
        }
    }
}

/// The sum of a part's rows over a bag; `into` is at most as wide as the part.
#[inline(always)]
pub(crate) fn pool(part: &PartStorage, ids: &[u32], into: &mut [f32]) {
    assert!(into.len() <= part.weights.width() && part.kind != PartKind::Projection);
    // SAFETY: the plan's ids are below the rows of their tables, `Plan::check` made sure that these are its tables, and
    // `row_of` maps them into the part.
    unsafe { part.rows().sum(part.row_of, ids, into) }
}

impl PartStorage {
    #[inline(always)]
    pub(crate) fn rows(&self) -> Columns {
        Columns {
            base: self.weights.as_ptr(),
            stride: self.weights.stride(),
        }
    }
}
