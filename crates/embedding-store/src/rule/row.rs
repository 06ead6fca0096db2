//! The built-in rules on rows in host memory. A step is compiled with the loop that calls it.

use super::{BUFFER, DenseRule, RowRule, Rule};
use crate::gradient_sum::RowGradient;
use crate::kernel::{LANES, accumulate_products, reduce};

/// Replaces every weight by what `step` makes of it and its gradient, on copies of some at a time:
/// the compiler cannot know that rows and gradients do not overlap, and would otherwise take
/// quotients one by one.
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
fn step_sgd(rate: f32, gradient: &[f32], weights: &mut [f32]) {
    each_weight(gradient, weights, |weight, g| weight - rate * g);
}

/// `state += gradient²; weights -= rate · gradient / (sqrt(state) + epsilon)`.
#[inline(always)]
fn step_adagrad(rate: f32, epsilon: f32, gradient: &[f32], weights: &mut [f32], state: &mut [f32]) {
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
///
/// The quotient is rounded before it is multiplied by the rate, as PyTorch does for sparse
/// gradients. Dense parameters round the product first (`dense.rs`), as PyTorch does for dense
/// ones: two formulas on purpose.
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

/// Floats of a projection, with one state per element. A projection is a dense parameter, but it is
/// rounded as the rows that it belongs to.
#[inline(always)]
pub(crate) fn step_elements(
    rule: DenseRule,
    gradient: &[f32],
    weights: &mut [f32],
    state: &mut [f32],
) {
    match rule {
        DenseRule::Sgd { rate } => step_sgd(rate, gradient, weights),
        DenseRule::Adagrad { rate, epsilon } => {
            step_adagrad(rate, epsilon, gradient, weights, state);
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

/// One row of a part that lookups read, whose gradient is at hand; `state` is as wide as the rule
/// wants.
#[inline(always)]
pub(crate) fn step_row(rule: Rule<'_>, gradient: &[f32], weights: &mut [f32], state: &mut [f32]) {
    match rule {
        Rule::Sgd { rate } => step_sgd(rate, gradient, weights),
        Rule::Adagrad { rate, epsilon } => step_adagrad(rate, epsilon, gradient, weights, state),
        Rule::Rowwise { rate, epsilon } => {
            let mut lanes = [0f32; LANES];
            accumulate_products(gradient, gradient, &mut lanes);
            state[0] += reduce(lanes) / weights.len() as f32;
            step_rowwise(rate, state[0].sqrt() + epsilon, gradient, weights);
        }
        Rule::External { rule, rate, step } => rule.step(gradient, weights, state, rate, step),
    }
}

/// What moves a row whose gradient is summed on the way, a few columns at a time.
pub(crate) trait SummedStep {
    fn step(&mut self, weights: &mut [f32], state: &mut [f32], gradient: RowGradient<'_>);
}

/// A loop over rows, compiled for every rule: a rule from outside sees the gradient's memory, and in
/// a loop that could call one the compiler would keep no gradient in registers.
pub(crate) trait RowLoop {
    fn run(self, step: impl SummedStep);
}

struct Sgd {
    rate: f32,
    columns: [f32; BUFFER],
}

struct Adagrad {
    rate: f32,
    epsilon: f32,
    columns: [f32; BUFFER],
}

struct Rowwise {
    rate: f32,
    epsilon: f32,
    columns: [f32; BUFFER],
}

struct External<'a> {
    rule: &'a dyn RowRule,
    rate: f32,
    step: u64,
    row: Vec<f32>,
}

impl Rule<'_> {
    /// Runs a loop with the steps of this rule.
    #[inline(always)]
    pub(crate) fn run(self, rows: impl RowLoop) {
        let columns = [0.0; BUFFER];
        match self {
            Rule::Sgd { rate } => rows.run(Sgd { rate, columns }),
            Rule::Adagrad { rate, epsilon } => rows.run(Adagrad {
                rate,
                epsilon,
                columns,
            }),
            Rule::Rowwise { rate, epsilon } => rows.run(Rowwise {
                rate,
                epsilon,
                columns,
            }),
            Rule::External { rule, rate, step } => rows.run(External {
                rule,
                rate,
                step,
                row: Vec::new(),
            }),
        }
    }
}

impl SummedStep for Sgd {
    #[inline(always)]
    fn step(&mut self, weights: &mut [f32], _: &mut [f32], gradient: RowGradient<'_>) {
        for (piece, weights) in weights.chunks_mut(BUFFER).enumerate() {
            let g = &mut self.columns[..weights.len()];
            gradient.sum(piece * BUFFER, g);
            step_sgd(self.rate, g, weights);
        }
    }
}

impl SummedStep for Adagrad {
    #[inline(always)]
    fn step(&mut self, weights: &mut [f32], state: &mut [f32], gradient: RowGradient<'_>) {
        // As wide as the weights, which the compiler may know.
        let state = &mut state[..weights.len()];
        let pieces = weights.chunks_mut(BUFFER).zip(state.chunks_mut(BUFFER));
        for (piece, (weights, state)) in pieces.enumerate() {
            let g = &mut self.columns[..weights.len()];
            gradient.sum(piece * BUFFER, g);
            step_adagrad(self.rate, self.epsilon, g, weights, state);
        }
    }
}

impl SummedStep for Rowwise {
    #[inline(always)]
    fn step(&mut self, weights: &mut [f32], state: &mut [f32], gradient: RowGradient<'_>) {
        let width = weights.len();
        let mut lanes = [0f32; LANES];
        for start in (0..width).step_by(BUFFER) {
            let g = &mut self.columns[..BUFFER.min(width - start)];
            gradient.sum(start, g);
            accumulate_products(g, g, &mut lanes);
        }
        state[0] += reduce(lanes) / width as f32;
        let denominator = state[0].sqrt() + self.epsilon;
        for (piece, weights) in weights.chunks_mut(BUFFER).enumerate() {
            let g = &mut self.columns[..weights.len()];
            // A row that fits the buffer still has its gradient there.
            if width > BUFFER {
                gradient.sum(piece * BUFFER, g);
            }
            step_rowwise(self.rate, denominator, g, weights);
        }
    }
}

impl SummedStep for External<'_> {
    fn step(&mut self, weights: &mut [f32], state: &mut [f32], gradient: RowGradient<'_>) {
        // A rule from outside sees whole rows.
        self.row.resize(weights.len(), 0.0);
        gradient.sum(0, &mut self.row);
        self.rule
            .step(&self.row, weights, state, self.rate, self.step);
    }
}
