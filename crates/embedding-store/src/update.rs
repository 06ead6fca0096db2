//! Moving the rows that a batch touched.

use std::ops::Range;

use rayon::prelude::*;

use crate::arena::{Arena, SendPointer};
use crate::cold_rows::ColdRows;
use crate::cpu_store::PartStorage;
use crate::kernel::{Bag, Columns, Kernel, LANES, accumulate_products, prefetch, reduce};
use crate::layout::GradientOf;
use crate::plan::{Chunk, PIECE};
use crate::projection::fill_workspace;
use crate::split::SplitRows;
use crate::{CpuStore, Optimizer, Plan};

/// Rows between the one that is updated and the one that is asked for.
const PREFETCH_ROWS: usize = 16;
/// Floats of a row's gradient held on the stack; wider rows are done in several goes. A multiple of the lanes.
pub(crate) const BUFFER: usize = 512;

/// An optimizer with its settings as the kernels want them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    Sgd { rate: f32 },
    Adagrad { rate: f32, epsilon: f32 },
    Rowwise { rate: f32, epsilon: f32 },
}

impl Rule {
    pub(crate) fn new(optimizer: Optimizer, learning_rate: f64) -> Self {
        let rate = learning_rate as f32;
        match optimizer {
            Optimizer::Sgd => Self::Sgd { rate },
            Optimizer::Adagrad { epsilon, .. } => Self::Adagrad {
                rate,
                epsilon: epsilon as f32,
            },
            Optimizer::RowwiseAdagrad { epsilon, .. } => Self::Rowwise {
                rate,
                epsilon: epsilon as f32,
            },
        }
    }
}

/// Replaces every weight by what `step` makes of it and its gradient, on copies of some at a time: the compiler cannot know that
/// rows and gradients do not overlap, and would otherwise take quotients one by one.
#[inline(always)]
fn each_weight(gradient: &[f32], weights: &mut [f32], step: impl Fn(f32, f32) -> f32) {
    let (gradients, gradient_rest) = gradient.as_chunks::<LANES>();
    let (blocks, rest) = weights.as_chunks_mut::<LANES>();
    for (weights, gradient) in blocks.iter_mut().zip(gradients) {
        let mut new = *weights;
        for lane in 0..LANES {
            new[lane] = step(new[lane], gradient[lane]);
        }
        *weights = new;
    }
    for (weight, g) in rest.iter_mut().zip(gradient_rest) {
        *weight = step(*weight, *g);
    }
}

/// `weights -= rate · gradient`.
#[inline(always)]
pub(crate) fn step_sgd(rate: f32, gradient: &[f32], weights: &mut [f32]) {
    each_weight(gradient, weights, |weight, g| weight - rate * g);
}

/// `state += gradient²; weights -= rate · gradient / (sqrt(state) + epsilon)`.
#[inline(always)]
pub(crate) fn step_adagrad(
    rate: f32,
    epsilon: f32,
    gradient: &[f32],
    weights: &mut [f32],
    state: &mut [f32],
) {
    let (gradients, gradient_rest) = gradient.as_chunks::<LANES>();
    let (blocks, weight_rest) = weights.as_chunks_mut::<LANES>();
    let (states, state_rest) = state.as_chunks_mut::<LANES>();
    for ((weights, state), gradient) in blocks.iter_mut().zip(states).zip(gradients) {
        adagrad_values(rate, epsilon, gradient, weights, state);
    }
    for ((weight, state), g) in weight_rest.iter_mut().zip(state_rest).zip(gradient_rest) {
        let (weight, state) = (std::array::from_mut(weight), std::array::from_mut(state));
        adagrad_values(rate, epsilon, &[*g], weight, state);
    }
}

/// On copies, as [`each_weight`].
#[inline(always)]
fn adagrad_values<const N: usize>(
    rate: f32,
    epsilon: f32,
    gradient: &[f32; N],
    weights: &mut [f32; N],
    state: &mut [f32; N],
) {
    let (mut new, mut sums) = (*weights, *state);
    for lane in 0..N {
        let g = gradient[lane];
        sums[lane] += g * g;
        new[lane] -= rate * (g / (sums[lane].sqrt() + epsilon));
    }
    (*weights, *state) = (new, sums);
}

/// One state per element, whatever the optimizer: the rule of dense parameters.
#[inline(always)]
pub(crate) fn step_dense(
    rule: Rule,
    gradient: &[f32],
    weights: &mut [f32],
    state: Option<&mut [f32]>,
) {
    match (rule, state) {
        (Rule::Adagrad { rate, epsilon } | Rule::Rowwise { rate, epsilon }, Some(state)) => {
            step_adagrad(rate, epsilon, gradient, weights, state);
        }
        (Rule::Sgd { rate } | Rule::Adagrad { rate, .. } | Rule::Rowwise { rate, .. }, _) => {
            step_sgd(rate, gradient, weights);
        }
    }
}

/// `weights -= rate · gradient / denominator`.
#[inline(always)]
fn step_rowwise(rate: f32, denominator: f32, gradient: &[f32], weights: &mut [f32]) {
    each_weight(gradient, weights, |weight, g| {
        weight - rate * (g / denominator)
    });
}

/// One row of a part that lookups read, whose gradient is at hand.
#[inline(always)]
pub(crate) fn step_row(
    rule: Rule,
    gradient: &[f32],
    weights: &mut [f32],
    state: Option<&mut [f32]>,
) {
    match (rule, state) {
        (Rule::Rowwise { rate, epsilon }, Some([state, ..])) => {
            let mut lanes = [0f32; LANES];
            accumulate_products(gradient, gradient, &mut lanes);
            *state += reduce(lanes) / weights.len() as f32;
            step_rowwise(rate, state.sqrt() + epsilon, gradient, weights);
        }
        (rule, state) => step_dense(rule, gradient, weights, state),
    }
}

impl CpuStore {
    /// Updates all touched rows; the lengths are checked.
    ///
    /// Where the plan's cold rows are elsewhere, their weights are in `cold`, and their gradients are written there.
    pub(crate) fn scatter(
        &mut self,
        plan: &Plan,
        grad: &[f32],
        learning_rate: f64,
        mut cold: Option<&mut ColdRows>,
    ) {
        let rule = Rule::new(self.optimizer, learning_rate);
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
        self.update_projections(plan, grad, rule, cold.as_deref_mut());
        let this = &*self;
        let cold = cold.map(|cold| {
            let into = SendPointer(cold.grads.as_mut_slice().as_mut_ptr());
            (&*cold, into)
        });
        plan.chunks.par_iter().for_each(|chunk| {
            let part = &this.storage[chunk.part];
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
                // SAFETY: the part's floats are in the gradients, row by row from its first cold one on.
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

/// The sum of a row's gradients over its samples, from `column` on, piece by piece.
///
/// # Safety
/// The gradients reach over so many columns for every sample.
#[inline(always)]
unsafe fn sum_gradients(gradient: Columns, samples: &[u32], column: usize, into: &mut [f32]) {
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

/// Adds up the gradients of some cold rows.
struct CombineRows<'a> {
    plan: &'a Plan,
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
    plan: &'a Plan,
    chunk: Chunk,
    gradient: Columns,
    rule: Rule,
}

impl Kernel for UpdateRows<'_> {
    #[inline(always)]
    fn run(self) {
        // Known widths let the compiler keep a row in registers.
        match self.part.weights.width() {
            16 => self.rows::<16>(),
            32 => self.rows::<32>(),
            64 => self.rows::<64>(),
            _ => self.rows::<0>(),
        }
    }
}

impl UpdateRows<'_> {
    /// Updates the rows of the chunk, `WIDTH` floats wide, or as wide as they are where that is 0.
    #[inline(always)]
    fn rows<const WIDTH: usize>(self) {
        let Self {
            part,
            plan,
            ref chunk,
            ..
        } = self;
        let width = if WIDTH == 0 {
            part.weights.width()
        } else {
            WIDTH
        };
        let part_plan = &plan.parts[chunk.part];
        let weights = Floats::new(&part.weights, part.first);
        let state = part
            .state
            .as_ref()
            .map(|state| Floats::new(state, part.first));
        let mut buffer = [0f32; BUFFER];
        for index in chunk.rows.clone() {
            let ahead = plan.rows[(index + PREFETCH_ROWS).min(chunk.rows.end - 1)] as usize;
            prefetch(weights.at(ahead), width);
            if let Some(state) = state {
                prefetch(state.at(ahead), width);
            }
            let row = plan.rows[index] as usize;
            let samples = plan.samples_of(part_plan, index);
            // SAFETY: rows of a plan lie in their part, those of a part are distinct and every one is in one chunk, and
            // `update_slice` holds the store exclusively, so nobody else reads or writes this row or its state.
            let weights = unsafe { std::slice::from_raw_parts_mut(weights.at(row), width) };
            match (self.rule, state) {
                (Rule::Rowwise { rate, epsilon }, Some(state)) => {
                    // SAFETY: as above.
                    let state = unsafe { &mut *state.at(row) };
                    self.rowwise(rate, epsilon, samples, weights, state, &mut buffer);
                }
                (Rule::Adagrad { rate, epsilon }, Some(state)) => {
                    // SAFETY: as above; state rows are as wide as the weights'.
                    let state = unsafe { std::slice::from_raw_parts_mut(state.at(row), width) };
                    let columns = weights.chunks_mut(BUFFER).zip(state.chunks_mut(BUFFER));
                    for (column, (weights, state)) in columns.enumerate() {
                        let g = self.gradient(samples, column * BUFFER, weights.len(), &mut buffer);
                        step_adagrad(rate, epsilon, g, weights, state);
                    }
                }
                (
                    Rule::Sgd { rate } | Rule::Adagrad { rate, .. } | Rule::Rowwise { rate, .. },
                    _,
                ) => {
                    for (column, weights) in weights.chunks_mut(BUFFER).enumerate() {
                        let g = self.gradient(samples, column * BUFFER, weights.len(), &mut buffer);
                        step_sgd(rate, g, weights);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn rowwise(
        &self,
        rate: f32,
        epsilon: f32,
        samples: &[u32],
        weights: &mut [f32],
        state: &mut f32,
        buffer: &mut [f32],
    ) {
        let width = weights.len();
        let mut lanes = [0f32; LANES];
        for start in (0..width).step_by(BUFFER) {
            let g = self.gradient(samples, start, BUFFER.min(width - start), buffer);
            accumulate_products(g, g, &mut lanes);
        }
        *state += reduce(lanes) / width as f32;
        let denominator = state.sqrt() + epsilon;
        for (column, weights) in weights.chunks_mut(BUFFER).enumerate() {
            // A row that fits the buffer still has its gradient there.
            let g = if width <= BUFFER {
                &buffer[..width]
            } else {
                self.gradient(samples, column * BUFFER, weights.len(), buffer)
            };
            step_rowwise(rate, denominator, g, weights);
        }
    }

    /// The sum of a row's gradients over its samples, from `column` on.
    #[inline(always)]
    fn gradient<'b>(
        &self,
        samples: &[u32],
        column: usize,
        width: usize,
        buffer: &'b mut [f32],
    ) -> &'b [f32] {
        let into = &mut buffer[..width];
        // SAFETY: samples are below the plan's batch, and the gradient's rows reach from the part's column over its width
        // for every sample of the batch, which `update_slice` and `fill_workspace` have made sure of.
        unsafe { sum_gradients(self.gradient, samples, column, into) };
        into
    }
}

/// Rows that are written, addressed by their number in the whole part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floats {
    base: *mut f32,
    stride: usize,
}

impl Floats {
    #[inline(always)]
    pub(crate) fn new(arena: &Arena, first: usize) -> Self {
        let stride = arena.stride();
        Self {
            base: arena.as_mut_ptr().wrapping_sub(first * stride),
            stride,
        }
    }

    #[inline(always)]
    pub(crate) fn at(self, row: usize) -> *mut f32 {
        self.base.wrapping_add(row * self.stride)
    }
}
