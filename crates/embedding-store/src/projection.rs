//! Gradients that pass through a product or a projection, and the projections' own update.

use rayon::prelude::*;

use crate::cpu_store::PartStorage;
use crate::kernel::{Kernel, add_scaled, dot};
use crate::layout::{Composition, GradientOf, Layout, PartKind, PartLayout};
use crate::lookup::pool;
use crate::update::{BUFFER, Rule, step_adagrad, step_sgd};
use crate::{Combine, CpuStore, Plan};

/// Samples of one task.
const SAMPLES_A_TASK: usize = 32;

impl CpuStore {
    /// Computes, per sample, what the tables with products and projections need: with `c = q ∘ r`, `∂q = g ∘ r` and
    /// `∂r = g ∘ q`; with `y = P x`, the pooled `x` and `∂x = Pᵀ g`.
    pub(crate) fn fill_workspace(&mut self, plan: &Plan, grad: &[f32]) {
        let width = self.layout.workspace_width;
        if width == 0 {
            return;
        }
        let mut workspace = std::mem::take(&mut self.workspace);
        workspace.resize(plan.batch * width, 0.0);
        let this = &*self;
        workspace
            .par_chunks_mut(SAMPLES_A_TASK * width)
            .enumerate()
            .for_each(|(task, into)| {
                this.level.run(FillWorkspace {
                    store: this,
                    plan,
                    grad,
                    first_sample: task * SAMPLES_A_TASK,
                    into,
                });
            });
        self.workspace = workspace;
    }

    /// `∂P = Σ g xᵀ` over the samples in ascending order, then the optimizer, element by element.
    pub(crate) fn update_projections(&mut self, plan: &Plan, grad: &[f32], rule: Rule) {
        let Self {
            layout,
            storage,
            workspace,
            level,
            dim,
            ..
        } = self;
        let (layout, workspace, level, dim) = (&**layout, workspace.as_slice(), *level, *dim);
        if layout.workspace_width == 0 || plan.batch == 0 {
            return;
        }
        storage
            .par_iter_mut()
            .zip(&layout.parts)
            .for_each(|(projection, placed)| {
                if placed.kind == PartKind::Projection {
                    level.run(UpdateProjection {
                        layout,
                        workspace,
                        grad,
                        dim,
                        placed,
                        projection,
                        rule,
                    });
                }
            });
    }
}

struct FillWorkspace<'a> {
    store: &'a CpuStore,
    plan: &'a Plan,
    grad: &'a [f32],
    first_sample: usize,
    into: &'a mut [f32],
}

impl Kernel for FillWorkspace<'_> {
    #[inline(always)]
    fn run(self) {
        let Self {
            store,
            plan,
            grad,
            first_sample,
            into,
        } = self;
        let (layout, dim) = (&*store.layout, store.dim);
        let tables = layout.tables.len();
        for (index, into) in into.chunks_exact_mut(layout.workspace_width).enumerate() {
            for (table, placed) in layout.tables.iter().enumerate() {
                let bag = (first_sample + index) * tables + table;
                let ids = plan.bag(bag);
                let grad = &grad[bag * dim..(bag + 1) * dim];
                let first = &store.storage[placed.first];
                match (placed.composition, layout.parts[placed.first].gradient) {
                    (
                        Composition::QuotientRemainder(Combine::Multiply),
                        GradientOf::Workspace(at),
                    ) => {
                        let (quotient, remainder) = into[at..at + 2 * dim].split_at_mut(dim);
                        // Each gradient is the other part's pooled row times g.
                        pool(first, ids, remainder);
                        pool(&store.storage[placed.first + 1], ids, quotient);
                        for factors in [quotient, remainder] {
                            for (factor, g) in factors.iter_mut().zip(grad) {
                                *factor *= g;
                            }
                        }
                    }
                    (Composition::Projected { pooled }, _) => {
                        let width = first.weights.width();
                        let (pooled, narrow) = into[pooled..pooled + 2 * width].split_at_mut(width);
                        pool(first, ids, pooled);
                        let projection = &store.storage[placed.first + 1].weights;
                        for (column, narrow) in narrow.iter_mut().enumerate() {
                            *narrow = dot(grad, projection.row(column));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

struct UpdateProjection<'a> {
    layout: &'a Layout,
    workspace: &'a [f32],
    grad: &'a [f32],
    dim: usize,
    placed: &'a PartLayout,
    projection: &'a mut PartStorage,
    rule: Rule,
}

impl Kernel for UpdateProjection<'_> {
    #[inline(always)]
    fn run(self) {
        let Self {
            layout,
            workspace,
            grad,
            dim,
            placed,
            projection,
            rule,
        } = self;
        let Composition::Projected { pooled } = layout.tables[placed.table].composition else {
            return;
        };
        let tables = layout.tables.len();
        let mut buffer = [0f32; BUFFER];
        let PartStorage { weights, state, .. } = projection;
        for column in 0..weights.rows() {
            for start in (0..dim).step_by(BUFFER) {
                let range = start..dim.min(start + BUFFER);
                let sum = &mut buffer[..range.len()];
                sum.fill(0.0);
                let samples = workspace
                    .chunks_exact(layout.workspace_width)
                    .zip(grad.chunks_exact(tables * dim));
                for (workspace, grad) in samples {
                    let grad = &grad[placed.table * dim..][range.clone()];
                    add_scaled(workspace[pooled + column], grad, sum);
                }
                let weights = &mut weights.row_mut(column)[range.clone()];
                match (rule, state.as_mut()) {
                    (
                        Rule::Adagrad { rate, epsilon } | Rule::Rowwise { rate, epsilon },
                        Some(state),
                    ) => {
                        step_adagrad(
                            rate,
                            epsilon,
                            sum,
                            weights,
                            &mut state.row_mut(column)[range],
                        );
                    }
                    (
                        Rule::Sgd { rate }
                        | Rule::Adagrad { rate, .. }
                        | Rule::Rowwise { rate, .. },
                        _,
                    ) => {
                        step_sgd(rate, sum, weights);
                    }
                }
            }
        }
    }
}
