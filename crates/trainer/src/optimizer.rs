//! Optimizers for the dense parameters. Embedding rows have their own, fused into the store's update.

use candle_core::{Tensor, Var};
use embedding_store::Optimizer;
use rayon::prelude::*;
use recsys_device::{read_slice, write_slice};

use crate::{Error, Gradient, Result};

/// Elements that one task updates.
const CHUNK: usize = 4096;
/// Elements whose sums stay in vector registers.
const BLOCK: usize = 32;

/// Applies gradients to dense parameters.
///
/// [`Optimizer::Sgd`]: `w -= lr · g`. [`Optimizer::Adagrad`]: `s += g²; w -= lr · g / (sqrt(s) + ε)`, as PyTorch's `Adagrad`.
/// [`Optimizer::RowwiseAdagrad`] means the same as Adagrad here: the reference's row-wise rule is for sparse gradients
/// alone.
///
/// The state of a parameter is made at its first update.
#[derive(Debug, Clone)]
pub struct DenseOptimizer {
    rule: Rule,
    state: Vec<State>,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    Sgd,
    Adagrad {
        epsilon: f32,
        initial_accumulator: f32,
    },
}

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Fresh,
    Host(Vec<f32>),
    Device(Tensor),
}

impl DenseOptimizer {
    /// The dense counterpart of a store's optimizer, for that many parameters.
    pub fn new(optimizer: Optimizer, parameters: usize) -> Self {
        let rule = match optimizer {
            Optimizer::Adagrad {
                epsilon,
                initial_accumulator,
            }
            | Optimizer::RowwiseAdagrad {
                epsilon,
                initial_accumulator,
            } => Rule::Adagrad {
                epsilon: epsilon as f32,
                initial_accumulator: initial_accumulator as f32,
            },
            _ => Rule::Sgd,
        };
        Self {
            rule,
            state: vec![State::Fresh; parameters],
        }
    }

    /// Updates parameter number `index` by its gradient.
    ///
    /// # Errors
    /// A gradient of another size than the parameter, or a failing tensor operation.
    pub fn update(
        &mut self,
        index: usize,
        parameter: &Var,
        gradient: Gradient<'_>,
        learning_rate: f64,
    ) -> Result<()> {
        if self.state.len() <= index {
            self.state.resize_with(index + 1, State::default);
        }
        let state = &mut self.state[index];
        match gradient {
            Gradient::Tensor(gradient) if !parameter.device().is_cpu() => {
                update_on_device(self.rule, parameter, gradient, state, learning_rate)
            }
            Gradient::Tensor(gradient) => {
                let gradient = gradient.contiguous()?;
                read_slice(&gradient, |gradient| {
                    update_on_host(self.rule, parameter, &[gradient], state, learning_rate)
                })?
            }
            Gradient::Slices(slices) => {
                update_on_host(self.rule, parameter, slices, state, learning_rate)
            }
        }
    }

    /// Whether parameters have a state, one value for each of their elements.
    pub fn has_state(&self) -> bool {
        matches!(self.rule, Rule::Adagrad { .. })
    }

    /// The state of parameter number `index`, flat; `None` before its first update, and where the rule keeps none.
    ///
    /// # Errors
    /// A copy from a device that fails.
    pub fn state(&self, index: usize) -> Result<Option<Vec<f32>>> {
        Ok(match self.state.get(index) {
            Some(State::Host(state)) => Some(state.clone()),
            Some(State::Device(state)) => Some(state.flatten_all()?.to_vec1()?),
            Some(State::Fresh) | None => None,
        })
    }

    /// Puts the state of parameter number `index` back; `None` lets it start afresh.
    ///
    /// # Errors
    /// A state of another size than the parameter, or a copy to a device that fails.
    pub fn set_state(
        &mut self,
        index: usize,
        parameter: &Var,
        state: Option<Vec<f32>>,
    ) -> Result<()> {
        let state = match state {
            None => State::Fresh,
            Some(state) if state.len() != parameter.elem_count() => {
                return Err(Error::Mismatch {
                    what: format!("optimizer state of parameter {index}"),
                    model: parameter.elem_count() as u64,
                    data: state.len() as u64,
                    remedy: "give one value for each element of the parameter",
                });
            }
            Some(state) if parameter.device().is_cpu() => State::Host(state),
            Some(state) => State::Device(Tensor::from_vec(
                state,
                parameter.shape(),
                parameter.device(),
            )?),
        };
        if self.state.len() <= index {
            self.state.resize_with(index + 1, State::default);
        }
        self.state[index] = state;
        Ok(())
    }
}

fn update_on_host(
    rule: Rule,
    parameter: &Var,
    slices: &[&[f32]],
    state: &mut State,
    learning_rate: f64,
) -> Result<()> {
    let expected = parameter.elem_count();
    if let Some(slice) = slices.iter().find(|slice| slice.len() != expected) {
        return Err(candle_core::Error::Msg(format!(
            "a gradient of {} elements for a parameter of {expected}",
            slice.len()
        ))
        .into());
    }
    let rate = learning_rate as f32;
    match rule {
        Rule::Sgd => write_slice(parameter.as_tensor(), |weights| {
            let chunks = weights.par_chunks_mut(CHUNK).enumerate();
            chunks.for_each(|(chunk, weights)| sgd(rate, slices, chunk * CHUNK, weights));
        })?,
        Rule::Adagrad {
            epsilon,
            initial_accumulator,
        } => {
            if !matches!(state, State::Host(_)) {
                *state = State::Host(vec![initial_accumulator; expected]);
            }
            let State::Host(state) = state else {
                return Ok(());
            };
            write_slice(parameter.as_tensor(), |weights| {
                let chunks = weights
                    .par_chunks_mut(CHUNK)
                    .zip(state.par_chunks_mut(CHUNK));
                chunks.enumerate().for_each(|(chunk, (weights, state))| {
                    adagrad(rate, epsilon, slices, chunk * CHUNK, weights, state);
                });
            })?;
        }
    }
    Ok(())
}

/// The sum of the slices' values from `start` on, in the order of the slices. It stays in registers: the total of a gradient is never
/// written.
#[inline(always)]
fn total<const N: usize>(slices: &[&[f32]], start: usize) -> [f32; N] {
    let mut sum = [0.0; N];
    if let Some((first, rest)) = slices.split_first() {
        sum.copy_from_slice(&first[start..start + N]);
        for slice in rest {
            for (sum, gradient) in sum.iter_mut().zip(&slice[start..start + N]) {
                *sum += gradient;
            }
        }
    }
    sum
}

recsys_model::dispatch! {
    /// `weights -= rate · g` for the total of the slices' gradients from `start` on.
    fn sgd => sgd_body(rate: f32, slices: &[&[f32]], start: usize, weights: &mut [f32])
}
#[inline(always)]
fn sgd_body<const WIDE: bool>(rate: f32, slices: &[&[f32]], start: usize, weights: &mut [f32]) {
    let (blocks, rest) = weights.as_chunks_mut::<BLOCK>();
    let mut at = start;
    for block in blocks {
        for (weight, gradient) in block.iter_mut().zip(total::<BLOCK>(slices, at)) {
            *weight -= rate * gradient;
        }
        at += BLOCK;
    }
    for (at, weight) in (at..).zip(rest) {
        *weight -= rate * total::<1>(slices, at)[0];
    }
}

recsys_model::dispatch! {
    /// `state += g²; weights -= rate · g / (sqrt(state) + epsilon)` for the total of the slices' gradients from `start` on.
    fn adagrad => adagrad_body(
        rate: f32, epsilon: f32, slices: &[&[f32]], start: usize, weights: &mut [f32], state: &mut [f32],
    )
}
#[inline(always)]
fn adagrad_body<const WIDE: bool>(
    rate: f32,
    epsilon: f32,
    slices: &[&[f32]],
    start: usize,
    weights: &mut [f32],
    state: &mut [f32],
) {
    let (blocks, rest) = weights.as_chunks_mut::<BLOCK>();
    let (states, rest_states) = state.as_chunks_mut::<BLOCK>();
    let mut at = start;
    for (block, states) in blocks.iter_mut().zip(states) {
        adagrad_values(rate, epsilon, total::<BLOCK>(slices, at), block, states);
        at += BLOCK;
    }
    for ((at, weight), state) in (at..).zip(rest).zip(rest_states) {
        let (weight, state) = (std::array::from_mut(weight), std::array::from_mut(state));
        adagrad_values(rate, epsilon, total::<1>(slices, at), weight, state);
    }
}

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

fn update_on_device(
    rule: Rule,
    parameter: &Var,
    gradient: &Tensor,
    state: &mut State,
    learning_rate: f64,
) -> Result<()> {
    #[cfg(feature = "cuda")]
    if parameter.device().is_cuda() {
        return update_on_cuda(rule, parameter, gradient, state, learning_rate);
    }
    let step = match rule {
        Rule::Sgd => (gradient * learning_rate)?,
        Rule::Adagrad {
            epsilon,
            initial_accumulator,
        } => {
            let accumulated = match state {
                State::Device(accumulated) => accumulated.clone(),
                _ => (gradient.zeros_like()? + f64::from(initial_accumulator))?,
            };
            let accumulated = (accumulated + gradient.sqr()?)?.detach();
            let step = ((gradient * learning_rate)? / (accumulated.sqrt()? + f64::from(epsilon))?)?;
            *state = State::Device(accumulated);
            step
        }
    };
    parameter.set(&(parameter.as_tensor() - step)?.detach())?;
    Ok(())
}

/// One kernel, in place.
#[cfg(feature = "cuda")]
fn update_on_cuda(
    rule: Rule,
    parameter: &Var,
    gradient: &Tensor,
    state: &mut State,
    learning_rate: f64,
) -> Result<()> {
    if gradient.elem_count() != parameter.elem_count() {
        return Err(candle_core::Error::Msg(format!(
            "a gradient of shape {:?} for a parameter of {:?}",
            gradient.dims(),
            parameter.dims()
        ))
        .into());
    }
    let (gradient, rate) = (gradient.contiguous()?, learning_rate as f32);
    let Rule::Adagrad {
        epsilon,
        initial_accumulator,
    } = rule
    else {
        return crate::crossing::sgd(parameter, &gradient, rate);
    };
    if !matches!(state, State::Device(_)) {
        let fresh = (parameter.zeros_like()? + f64::from(initial_accumulator))?;
        *state = State::Device(fresh.detach());
    }
    match state {
        State::Device(state) => {
            crate::crossing::adagrad(parameter, state, &gradient, rate, epsilon)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn slices_are_summed_and_both_paths_agree() {
        for optimizer in [Optimizer::Sgd, Optimizer::adagrad()] {
            let start = Tensor::new(&[1.0f32, -2.0, 0.5], &Device::Cpu).unwrap();
            let (a, b, c) = (start.copy().unwrap(), start.copy().unwrap(), start);
            let vars = [a, b, c].map(|tensor| Var::from_tensor(&tensor).unwrap());
            let whole = Tensor::new(&[0.5f32, 0.25, -1.0], &Device::Cpu).unwrap();
            let mut rules = [(); 3].map(|()| DenseOptimizer::new(optimizer, 1));
            for _ in 0..3 {
                rules[0]
                    .update(
                        0,
                        &vars[0],
                        Gradient::Slices(&[&[0.25, 0.0, -2.0], &[0.25, 0.25, 1.0]]),
                        0.1,
                    )
                    .unwrap();
                rules[1]
                    .update(0, &vars[1], Gradient::Tensor(&whole), 0.1)
                    .unwrap();
                let DenseOptimizer { rule, state } = &mut rules[2];
                update_on_device(*rule, &vars[2], &whole, &mut state[0], 0.1).unwrap();
            }
            let [a, b, c] = vars.map(|var| var.to_vec1::<f32>().unwrap());
            assert_eq!(a, b);
            assert!(a.iter().zip(&c).all(|(a, c)| (a - c).abs() < 1e-6));
        }
    }

    #[test]
    fn blocks_and_what_is_left_of_them_get_the_plain_sums() {
        let values = |seed: usize| -> Vec<f32> {
            let value = |k: usize| ((k * 37 + seed * 11) % 29) as f32 / 8.0 - 1.5;
            (0..BLOCK + 3).map(value).collect()
        };
        let slices = [values(1), values(2), values(3)];
        let slices: Vec<&[f32]> = slices.iter().map(Vec::as_slice).collect();
        let start = 2;
        let expected = |state: Option<&mut f32>, k: usize, weight: f32| {
            let gradient = (slices[0][start + k] + slices[1][start + k]) + slices[2][start + k];
            let Some(state) = state else {
                return weight - 0.1 * gradient;
            };
            *state += gradient * gradient;
            weight - 0.1 * gradient / (state.sqrt() + 1e-3)
        };
        let before = values(4)[start..].to_vec();
        let (mut weights, mut portable) = (before.clone(), before.clone());
        sgd(0.1, &slices, start, &mut weights);
        sgd_body::<false>(0.1, &slices, start, &mut portable);
        assert_eq!(weights, portable);
        let plain = before.iter().enumerate();
        let plain: Vec<f32> = plain
            .map(|(k, &weight)| expected(None, k, weight))
            .collect();
        assert_eq!(weights, plain);

        let (mut weights, mut state) = (before.clone(), vec![0.25; before.len()]);
        adagrad(0.1, 1e-3, &slices, start, &mut weights, &mut state);
        let mut states = vec![0.25; before.len()];
        let plain = before.iter().zip(&mut states).enumerate();
        let plain: Vec<f32> = plain
            .map(|(k, (&weight, state))| expected(Some(state), k, weight))
            .collect();
        assert_eq!((weights, state), (plain, states));
    }

    #[test]
    fn a_gradient_of_another_size_is_refused() {
        let var = Var::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
        let error = DenseOptimizer::new(Optimizer::Sgd, 1).update(
            0,
            &var,
            Gradient::Slices(&[&[0.0]]),
            0.1,
        );
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("1 elements for a parameter of 3")
        );
    }
}
