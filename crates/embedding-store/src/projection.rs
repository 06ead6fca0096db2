//! Gradients that pass through a product or a projection, and the projections' own update.

use std::ops::Range;

use rayon::prelude::*;

use crate::arena::SendPointer;
use crate::cold_rows::ColdRows;
use crate::cpu_store::CpuStore;
use crate::encoding::Combine;
use crate::grouping::Grouping;
use crate::kernel::{Kernel, Level, add_scaled, dot};
use crate::layout::{Composition, GradientOf, Layout, PartKind};
use crate::lookup::{RowSource, pool};
use crate::part_storage::PartStorage;
use crate::rule::{BUFFER, DenseRule, Step, step_elements};

/// Samples of one task.
const SAMPLES_A_TASK: usize = 32;

/// Computes, per sample, what the tables with products and projections need: with `c = q ∘ r`, `∂q
/// = g ∘ r` and `∂r = g ∘ q`; with `y = P x`, the pooled `x` and `∂x = Pᵀ g`.
pub(crate) fn fill_workspace<'a>(
    level: Level,
    layout: &Layout,
    dim: usize,
    source: impl RowSource<'a>,
    plan: &Grouping,
    grad: &[f32],
    workspace: &mut Vec<f32>,
) {
    let width = layout.workspace_width;
    if width == 0 {
        return;
    }
    workspace.resize(plan.batch * width, 0.0);
    workspace
        .par_chunks_mut(SAMPLES_A_TASK * width)
        .enumerate()
        .for_each(|(task, into)| {
            level.run(FillWorkspace {
                layout,
                dim,
                source,
                plan,
                grad,
                first_sample: task * SAMPLES_A_TASK,
                into,
            });
        });
}

impl CpuStore {
    /// `∂P = Σ g xᵀ` over the samples in ascending order, then the optimizer, element by element;
    /// the gradients of cold projections are left to their owner.
    pub(crate) fn update_projections(
        &mut self,
        plan: &Grouping,
        grad: &[f32],
        step: Step,
        cold: Option<&mut ColdRows>,
    ) {
        let Self {
            layout,
            optimizer,
            storage,
            workspace,
            level,
            dim,
            ..
        } = self;
        let (layout, level) = (&**layout, *level);
        if layout.workspace_width == 0 || plan.batch == 0 {
            return;
        }
        let gradients = |part: usize| {
            let Composition::Projected { pooled } =
                layout.tables[layout.parts[part].table].composition
            else {
                return None;
            };
            // A table that is frozen, or that the batch does not look up, stays as it is.
            let touched = layout.parts[part].kind == PartKind::Projection
                && !layout.frozen[layout.parts[part].table]
                && plan.needs_projection(part);
            touched.then_some(ProjectionGradient {
                workspace,
                workspace_width: layout.workspace_width,
                pooled,
                grad,
                grad_width: layout.tables.len() * *dim,
                column: layout.parts[part].table * *dim,
            })
        };
        if let Some(cold) = cold {
            let into = SendPointer(cold.grads.as_mut_slice().as_mut_ptr());
            let cold = &*cold;
            (0..layout.parts.len()).into_par_iter().for_each(|part| {
                let floats = cold.floats_of(part);
                if let (false, Some(gradient)) = (floats.is_empty(), gradients(part)) {
                    // SAFETY: these are the part's own floats of the gradients, and only this task
                    // writes them.
                    let into = unsafe {
                        std::slice::from_raw_parts_mut(into.get().add(floats.start), floats.len())
                    };
                    level.run(ColdProjection {
                        gradient,
                        into,
                        width: *dim,
                    });
                }
            });
        }
        storage
            .par_iter_mut()
            .enumerate()
            .for_each(|(part, projection)| {
                if projection.weights.rows() > 0
                    && let Some(rule) = optimizer.projection_rule(layout.parts[part].table, step)
                    && let Some(gradient) = gradients(part)
                {
                    level.run(UpdateProjection {
                        gradient,
                        projection,
                        rule,
                    });
                }
            });
    }
}

struct FillWorkspace<'a, S> {
    layout: &'a Layout,
    dim: usize,
    source: S,
    plan: &'a Grouping,
    grad: &'a [f32],
    first_sample: usize,
    into: &'a mut [f32],
}

impl<'a, S: RowSource<'a>> Kernel for FillWorkspace<'_, S> {
    #[inline(always)]
    fn run(self) {
        let Self {
            layout,
            dim,
            source,
            plan,
            grad,
            first_sample,
            into,
        } = self;
        let tables = layout.tables.len();
        for (index, into) in into.chunks_exact_mut(layout.workspace_width).enumerate() {
            for (table, placed) in layout.tables.iter().enumerate() {
                if layout.frozen[table] {
                    continue;
                }
                let number = (first_sample + index) * tables + table;
                let bag = plan.lookups_of(number);
                let grad = &grad[number * dim..(number + 1) * dim];
                let first = placed.first;
                match (placed.composition, layout.parts[first].gradient) {
                    (
                        Composition::QuotientRemainder(Combine::Multiply),
                        GradientOf::Workspace(at),
                    ) => {
                        let (quotient, remainder) = into[at..at + 2 * dim].split_at_mut(dim);
                        // Each gradient is the other part's pooled row times g.
                        pool(layout, source, first, bag, 0, remainder);
                        pool(layout, source, first + 1, bag, 0, quotient);
                        for factors in [quotient, remainder] {
                            for (factor, g) in factors.iter_mut().zip(grad) {
                                *factor *= g;
                            }
                        }
                    }
                    (Composition::Projected { pooled }, _) => {
                        let width = layout.parts[first].width;
                        let (pooled, narrow) = into[pooled..pooled + 2 * width].split_at_mut(width);
                        pool(layout, source, first, bag, 0, pooled);
                        if bag.ids.is_empty() {
                            continue;
                        }
                        for (column, narrow) in narrow.iter_mut().enumerate() {
                            *narrow = dot(grad, source.projection(first + 1, column));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What the gradient of a projection is made of.
struct ProjectionGradient<'a> {
    workspace: &'a [f32],
    workspace_width: usize,
    /// Column of the pooled narrow rows in the workspace.
    pooled: usize,
    grad: &'a [f32],
    grad_width: usize,
    /// Column of the table in the gradient.
    column: usize,
}

impl ProjectionGradient<'_> {
    /// Some floats of the gradient of one stored row of the projection.
    #[inline(always)]
    fn sum(&self, row: usize, floats: Range<usize>, into: &mut [f32]) {
        into.fill(0.0);
        let samples = self
            .workspace
            .chunks_exact(self.workspace_width)
            .zip(self.grad.chunks_exact(self.grad_width));
        for (workspace, grad) in samples {
            let grad = &grad[self.column..][floats.clone()];
            add_scaled(workspace[self.pooled + row], grad, into);
        }
    }
}

struct ColdProjection<'a> {
    gradient: ProjectionGradient<'a>,
    into: &'a mut [f32],
    width: usize,
}

impl Kernel for ColdProjection<'_> {
    #[inline(always)]
    fn run(self) {
        for (row, into) in self.into.chunks_exact_mut(self.width).enumerate() {
            self.gradient.sum(row, 0..self.width, into);
        }
    }
}

struct UpdateProjection<'a> {
    gradient: ProjectionGradient<'a>,
    projection: &'a mut PartStorage,
    rule: DenseRule,
}

impl Kernel for UpdateProjection<'_> {
    #[inline(always)]
    fn run(self) {
        let Self {
            gradient,
            projection,
            rule,
        } = self;
        let mut buffer = [0f32; BUFFER];
        let PartStorage { weights, state, .. } = projection;
        let width = weights.width();
        for row in 0..weights.rows() {
            for start in (0..width).step_by(BUFFER) {
                let range = start..width.min(start + BUFFER);
                let sum = &mut buffer[..range.len()];
                gradient.sum(row, range.clone(), sum);
                let weights = &mut weights.row_mut(row)[range.clone()];
                let state = state.as_mut().map(|state| &mut state.row_mut(row)[range]);
                step_elements(rule, sum, weights, state.unwrap_or_default());
            }
        }
    }
}
