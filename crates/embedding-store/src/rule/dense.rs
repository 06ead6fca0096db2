//! The rules of dense parameters: the counterparts of those of rows.

use candle_core::Tensor;
use rayon::prelude::*;

use super::Optimizer;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Level};

/// Elements that one task updates.
const CHUNK: usize = 4096;
/// Elements whose sums stay in vector registers.
const BLOCK: usize = 32;

/// A rule of dense parameters with the settings of one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum DenseRule {
    Sgd { rate: f32 },
    Adagrad { rate: f32, epsilon: f32 },
}

/// One update of dense parameters: the dense form of an [`Optimizer`] at a learning rate.
///
/// SGD: `w -= lr · g`. Adagrad: `s += g²; w -= lr · g / (sqrt(s) + ε)`, as PyTorch's `Adagrad`.
/// Row-wise Adagrad means the same as Adagrad here: the reference's row-wise rule is for sparse
/// gradients alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DenseStep {
    rule: DenseRule,
}

impl Optimizer {
    /// One update of dense parameters at a learning rate.
    pub fn dense_step(self, learning_rate: f64) -> DenseStep {
        DenseStep {
            rule: self.dense_rule(learning_rate as f32),
        }
    }
}

impl DenseStep {
    /// Moves a parameter in host memory along the sum of gradients, which are added element by
    /// element in the order that they are given in. `state` is as long as `weights` where the
    /// optimizer [has a dense state](Optimizer::has_dense_state), and else empty. Works on the
    /// current rayon pool; the result does not depend on the number of its threads.
    ///
    /// # Errors
    /// Slices of other lengths; nothing is changed then.
    pub fn move_slice(
        self,
        gradients: &[&[f32]],
        weights: &mut [f32],
        state: &mut [f32],
    ) -> Result<()> {
        let expected = weights.len();
        let check = |what, got, expected| match got == expected {
            true => Ok(()),
            false => Err(Error::RowLength {
                what,
                got,
                expected,
            }),
        };
        for gradient in gradients {
            check("the gradient", gradient.len(), expected)?;
        }
        let level = Level::detect();
        match self.rule {
            DenseRule::Sgd { rate } => {
                check("the state", state.len(), 0)?;
                let chunks = weights.par_chunks_mut(CHUNK).enumerate();
                chunks.for_each(|(chunk, weights)| {
                    level.run(MoveSgd {
                        rate,
                        gradients,
                        start: chunk * CHUNK,
                        weights,
                    });
                });
            }
            DenseRule::Adagrad { rate, epsilon } => {
                check("the state", state.len(), expected)?;
                let chunks = weights.par_chunks_mut(CHUNK);
                let chunks = chunks.zip(state.par_chunks_mut(CHUNK)).enumerate();
                chunks.for_each(|(chunk, (weights, state))| {
                    level.run(MoveAdagrad {
                        rate,
                        epsilon,
                        gradients,
                        start: chunk * CHUNK,
                        weights,
                        state,
                    });
                });
            }
        }
        Ok(())
    }

    /// The new weights and the new state of a parameter on any device, all of one shape. `state` is
    /// there where the optimizer [has a dense state](Optimizer::has_dense_state).
    ///
    /// # Errors
    /// Tensors of different shapes, or a device that fails.
    pub fn move_tensor(
        self,
        gradient: &Tensor,
        weights: &Tensor,
        state: Option<&Tensor>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (step, state) = match (self.rule, state) {
            (DenseRule::Sgd { rate }, _) => ((gradient * f64::from(rate))?, None),
            (DenseRule::Adagrad { rate, epsilon }, state) => {
                let squares = gradient.sqr()?;
                let sum = match state {
                    Some(state) => (state + squares)?.detach(),
                    None => squares.detach(),
                };
                let root = (sum.sqrt()? + f64::from(epsilon))?;
                (((gradient * f64::from(rate))? / root)?, Some(sum))
            }
        };
        Ok(((weights - step)?.detach(), state))
    }

    /// The kernel that does it on an NVIDIA device (`trainer/kernels/step.cu`), and the numbers
    /// that it takes behind the addresses of weights, state if there is one, and gradients.
    #[doc(alias = "cuda")]
    pub fn kernel(self) -> (&'static str, Vec<f32>) {
        match self.rule {
            DenseRule::Sgd { rate } => ("dense_sgd", vec![rate]),
            DenseRule::Adagrad { rate, epsilon } => ("dense_adagrad", vec![rate, epsilon]),
        }
    }
}

/// The sum of the gradients' values from `start` on, in the order of the gradients. It stays in
/// registers: the total of a gradient is never written.
#[inline(always)]
fn total<const N: usize>(gradients: &[&[f32]], start: usize) -> [f32; N] {
    let mut sum = [0.0; N];
    if let Some((first, rest)) = gradients.split_first() {
        sum.copy_from_slice(&first[start..start + N]);
        for gradient in rest {
            for (sum, value) in sum.iter_mut().zip(&gradient[start..start + N]) {
                *sum += value;
            }
        }
    }
    sum
}

/// `weights -= rate · g` for the total of the gradients from `start` on.
struct MoveSgd<'a> {
    rate: f32,
    gradients: &'a [&'a [f32]],
    start: usize,
    weights: &'a mut [f32],
}

impl Kernel for MoveSgd<'_> {
    #[inline(always)]
    fn run(self) {
        let Self {
            rate,
            gradients,
            start,
            weights,
        } = self;
        let (blocks, rest) = weights.as_chunks_mut::<BLOCK>();
        let mut at = start;
        for block in blocks {
            for (weight, gradient) in block.iter_mut().zip(total::<BLOCK>(gradients, at)) {
                *weight -= rate * gradient;
            }
            at += BLOCK;
        }
        for (at, weight) in (at..).zip(rest) {
            *weight -= rate * total::<1>(gradients, at)[0];
        }
    }
}

/// `state += g²; weights -= rate · g / (sqrt(state) + epsilon)` for the total of the gradients from
/// `start` on.
struct MoveAdagrad<'a> {
    rate: f32,
    epsilon: f32,
    gradients: &'a [&'a [f32]],
    start: usize,
    weights: &'a mut [f32],
    state: &'a mut [f32],
}

impl Kernel for MoveAdagrad<'_> {
    #[inline(always)]
    fn run(self) {
        let Self {
            rate,
            epsilon,
            gradients,
            start,
            weights,
            state,
        } = self;
        let (blocks, rest) = weights.as_chunks_mut::<BLOCK>();
        let (states, rest_states) = state.as_chunks_mut::<BLOCK>();
        let mut at = start;
        for (block, states) in blocks.iter_mut().zip(states) {
            adagrad_values(rate, epsilon, total::<BLOCK>(gradients, at), block, states);
            at += BLOCK;
        }
        for ((at, weight), state) in (at..).zip(rest).zip(rest_states) {
            let (weight, state) = (std::array::from_mut(weight), std::array::from_mut(state));
            adagrad_values(rate, epsilon, total::<1>(gradients, at), weight, state);
        }
    }
}

/// The product of rate and gradient is rounded before it is divided: PyTorch's `addcdiv`, by which
/// its Adagrad moves dense parameters. Rows round the quotient first (`row.rs`), as PyTorch does
/// for sparse gradients: two formulas on purpose.
#[inline(always)]
fn adagrad_values<const N: usize>(
    rate: f32,
    epsilon: f32,
    gradients: [f32; N],
    weights: &mut [f32; N],
    states: &mut [f32; N],
) {
    for ((weight, state), gradient) in weights.iter_mut().zip(states).zip(gradients) {
        *state += gradient * gradient;
        *weight -= rate * gradient / (state.sqrt() + epsilon);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn values(seed: usize, count: usize) -> Vec<f32> {
        let value = |k: usize| ((k * 37 + seed * 11) % 29) as f32 / 8.0 - 1.5;
        (0..count).map(value).collect()
    }

    #[test]
    fn blocks_and_what_is_left_of_them_get_the_plain_sums() {
        let count = CHUNK + BLOCK + 3;
        let gradients = [1, 2, 3].map(|seed| values(seed, count));
        let gradients: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
        let before = values(4, count);
        for optimizer in [
            Optimizer::Sgd,
            Optimizer::Adagrad {
                epsilon: 1e-3,
                initial_accumulator: 0.25,
            },
        ] {
            let state_width = if optimizer.has_dense_state() {
                count
            } else {
                0
            };
            let (mut weights, mut state) = (before.clone(), vec![0.25; state_width]);
            let step = optimizer.dense_step(0.1);
            step.move_slice(&gradients, &mut weights, &mut state)
                .unwrap();
            for (k, &weight) in before.iter().enumerate() {
                let g = (gradients[0][k] + gradients[1][k]) + gradients[2][k];
                let expected = match state.get(k) {
                    None => weight - 0.1 * g,
                    Some(&state) => {
                        assert_eq!(state, 0.25 + g * g);
                        weight - 0.1 * g / (state.sqrt() + 1e-3)
                    }
                };
                assert_eq!(weights[k], expected);
            }
        }
    }

    #[test]
    fn slices_of_other_lengths_are_refused() {
        let (mut weights, mut state) = ([0.0; 3], [0.0; 2]);
        let adagrad = Optimizer::adagrad().dense_step(0.1);
        assert!(
            adagrad
                .move_slice(&[&[0.0; 3]], &mut weights, &mut state)
                .is_err()
        );
        assert!(
            adagrad
                .move_slice(&[&[0.0; 2]], &mut weights, &mut [0.0; 3])
                .is_err()
        );
        let sgd = Optimizer::Sgd.dense_step(0.1);
        assert!(
            sgd.move_slice(&[&[0.0; 3]], &mut weights, &mut state)
                .is_err()
        );
    }
}
