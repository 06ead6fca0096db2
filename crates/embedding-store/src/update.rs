//! Moving the rows that a batch touched.

use rayon::prelude::*;

use crate::cpu_store::PartStorage;
use crate::kernel::{Columns, Kernel, LANES, accumulate_products, prefetch, reduce};
use crate::layout::{GradientOf, RowOf};
use crate::plan::Chunk;
use crate::{CpuStore, Optimizer, Plan};

/// Rows between the one that is updated and the one that is asked for.
const PREFETCH_ROWS: usize = 4;
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

/// `weights -= rate · gradient`.
#[inline(always)]
pub(crate) fn step_sgd(rate: f32, gradient: &[f32], weights: &mut [f32]) {
    for (weight, g) in weights.iter_mut().zip(gradient) {
        *weight -= rate * g;
    }
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
    for ((weight, state), g) in weights.iter_mut().zip(state).zip(gradient) {
        *state += g * g;
        *weight -= rate * (g / (state.sqrt() + epsilon));
    }
}

impl CpuStore {
    /// Updates all touched rows; the lengths are checked.
    pub(crate) fn scatter(&mut self, plan: &Plan, grad: &[f32], learning_rate: f64) {
        let rule = Rule::new(self.optimizer, learning_rate);
        // Whatever reads rows or projections comes before the first write.
        self.fill_workspace(plan, grad);
        self.update_projections(plan, grad, rule);
        let this = &*self;
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
            this.level.run(UpdateRows {
                part,
                plan,
                chunk,
                gradient: Columns { base, stride },
                rule,
            });
        });
    }
}

struct UpdateRows<'a> {
    part: &'a PartStorage,
    plan: &'a Plan,
    chunk: &'a Chunk,
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
            part, plan, chunk, ..
        } = self;
        let width = if WIDTH == 0 {
            part.weights.width()
        } else {
            WIDTH
        };
        let part_plan = &plan.parts[chunk.part];
        let weights = Floats::new(part.weights.as_mut_ptr(), part.weights.stride());
        let state = part
            .state
            .as_ref()
            .map(|state| Floats::new(state.as_mut_ptr(), state.stride()));
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
            for (weight, g) in weights.iter_mut().zip(g) {
                *weight -= rate * (g / denominator);
            }
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
        unsafe { self.gradient.from(column).sum(RowOf::Id, samples, into) };
        into
    }
}

/// Rows that are written.
#[derive(Debug, Clone, Copy)]
struct Floats {
    base: *mut f32,
    stride: usize,
}

impl Floats {
    #[inline(always)]
    fn new(base: *mut f32, stride: usize) -> Self {
        Self { base, stride }
    }

    #[inline(always)]
    fn at(self, row: usize) -> *mut f32 {
        self.base.wrapping_add(row * self.stride)
    }
}
