//! Moving the rows that a batch touched.

use std::ops::Range;

use rayon::prelude::*;

use crate::arena::{RowPointers, SendPointer};
use crate::cold_rows::ColdRows;
use crate::cpu_store::CpuStore;
use crate::gradient_sum::{RowGradient, sum_gradients};
use crate::grouping::{Chunk, Grouping};
use crate::kernel::{Columns, Kernel, prefetch};
use crate::layout::GradientOf;
use crate::part_storage::PartStorage;
use crate::projection::fill_workspace;
use crate::rule::{RowLoop, Rule, Step, SummedStep};
use crate::split::SplitRows;

/// Rows between the one that is updated and the one that is prefetched.
const PREFETCH_ROWS: usize = 16;
impl CpuStore {
    /// Updates all touched rows; the lengths are checked.
    ///
    /// Where the plan's cold rows are elsewhere, their weights are in `cold`, and their gradients
    /// are written there.
    pub(crate) fn scatter(
        &mut self,
        plan: &Grouping,
        grad: &[f32],
        step: Step,
        mut cold: Option<&mut ColdRows>,
    ) {
        // Whatever reads rows or projections comes before the first write.
        let mut workspace = std::mem::take(&mut self.workspace);
        let (level, layout, dim) = (self.level, &self.layout, self.dim);
        match &cold {
            None => fill_workspace(level, layout, dim, &*self, plan, grad, &mut workspace),
            Some(cold) => {
                let parts = SplitRows::parts(self, cold, plan);
                let source = SplitRows::new(self, cold, &parts);
                fill_workspace(level, layout, dim, source, plan, grad, &mut workspace);
            }
        }
        self.workspace = workspace;
        self.updates = step.next(plan.batch);
        self.update_projections(plan, grad, step, cold.as_deref_mut());
        let this = &*self;
        let cold = cold.map(|cold| {
            let into = SendPointer(cold.grads.as_mut_slice().as_mut_ptr());
            (&*cold, into)
        });
        plan.chunks.par_iter().for_each(|chunk| {
            let part = &this.storage[chunk.part];
            let table = this.layout.parts[chunk.part].table;
            // Nobody needs the gradients of a frozen table.
            let Some(rule) = this.optimizer.rule(table, step) else {
                return;
            };
            let (base, stride) = match this.layout.parts[chunk.part].gradient {
                GradientOf::Rows(column) => {
                    (grad[column..].as_ptr(), this.layout.tables.len() * this.dim)
                }
                GradientOf::Workspace(column) => (
                    this.workspace[column..].as_ptr(),
                    this.layout.workspace_width,
                ),
            };
            let gradient = Columns { base, stride };
            let mut hot = chunk.rows.clone();
            if let Some((cold, into)) = cold {
                let cold_part = &cold.parts[chunk.part];
                let first_cold = plan.parts[chunk.part].rows.start + cold_part.first_slot;
                let boundary = first_cold.clamp(hot.start, hot.end);
                // SAFETY: the part's floats are in the gradients, row by row from its first cold
                // one on.
                let into = unsafe { into.get().add(cold_part.start) };
                this.level.run(CombineRows {
                    plan,
                    part: chunk.part,
                    rows: boundary..hot.end,
                    gradient,
                    width: cold_part.width,
                    first_cold,
                    into,
                });
                hot.end = boundary;
            }
            this.level.run(UpdateRows {
                part,
                plan,
                chunk: Chunk {
                    part: chunk.part,
                    rows: hot,
                },
                gradient,
                rule,
            });
        });
    }
}

/// Adds up the gradients of some cold rows.
struct CombineRows<'a> {
    plan: &'a Grouping,
    part: usize,
    /// In `Plan::rows`.
    rows: Range<usize>,
    gradient: Columns,
    width: usize,
    /// The part's first cold row in `Plan::rows`; its gradient is the first of `into`.
    first_cold: usize,
    into: *mut f32,
}

impl Kernel for CombineRows<'_> {
    #[inline(always)]
    fn run(self) {
        let part = &self.plan.parts[self.part];
        for index in self.rows.clone() {
            let samples = self.plan.samples_of(part, index);
            let start = (index - self.first_cold) * self.width;
            // SAFETY: every cold row has its own floats in the gradients, and is in one chunk.
            let into = unsafe { std::slice::from_raw_parts_mut(self.into.add(start), self.width) };
            // SAFETY: as in `UpdateRows::gradient`.
            unsafe { sum_gradients(self.gradient, samples, 0, into) };
        }
    }
}

struct UpdateRows<'a> {
    part: &'a PartStorage,
    plan: &'a Grouping,
    chunk: Chunk,
    gradient: Columns,
    rule: Rule<'a>,
}

impl Kernel for UpdateRows<'_> {
    #[inline(always)]
    fn run(self) {
        // Known widths let the compiler keep a row in registers.
        match self.part.weights.width() {
            16 => self.rule.run(RowsOfWidth::<16>(self)),
            32 => self.rule.run(RowsOfWidth::<32>(self)),
            64 => self.rule.run(RowsOfWidth::<64>(self)),
            _ => self.rule.run(RowsOfWidth::<0>(self)),
        }
    }
}

/// The rows of a chunk, `WIDTH` floats wide, or as wide as they are where that is 0.
struct RowsOfWidth<'a, const WIDTH: usize>(UpdateRows<'a>);

impl<const WIDTH: usize> RowLoop for RowsOfWidth<'_, WIDTH> {
    #[inline(always)]
    fn run(self, mut step: impl SummedStep) {
        let UpdateRows {
            part,
            plan,
            ref chunk,
            gradient,
            ..
        } = self.0;
        let width = if WIDTH == 0 {
            part.weights.width()
        } else {
            WIDTH
        };
        let part_plan = &plan.parts[chunk.part];
        let weights = RowPointers::new(&part.weights, part.first);
        let state = part
            .state
            .as_ref()
            .map(|state| (RowPointers::new(state, part.first), state.width()));
        for index in chunk.rows.clone() {
            let ahead = plan.rows[(index + PREFETCH_ROWS).min(chunk.rows.end - 1)] as usize;
            prefetch(weights.at(ahead), width);
            if let Some((state, state_width)) = state {
                prefetch(state.at(ahead), state_width);
            }
            let row = plan.rows[index] as usize;
            let samples = plan.samples_of(part_plan, index);
            // SAFETY: rows of a plan lie in their part, those of a part are distinct and every one
            // is in one chunk, and `update_slice` holds the store exclusively, so nobody else reads
            // or writes this row or its state.
            let weights = unsafe { std::slice::from_raw_parts_mut(weights.at(row), width) };
            // SAFETY: as above; state rows are as wide as the part's state.
            let state = state.map_or(&mut [][..], |(state, width)| unsafe {
                std::slice::from_raw_parts_mut(state.at(row), width)
            });
            // SAFETY: samples are below the plan's batch, and the gradient's rows reach from the
            // part's column over its width for every sample of the batch, which `update_slice` and
            // `fill_workspace` have made sure of.
            let gradient = unsafe { RowGradient::new(gradient, samples) };
            step.step(weights, state, gradient);
        }
    }
}
