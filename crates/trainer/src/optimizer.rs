//! Optimizers for the dense parameters. Embedding rows have their own, fused into the store's
//! update.

use candle_core::{Tensor, Var};
use embedding_store::{DenseStep, Optimizer};
use recsys_device::{read_slice, write_slice};

use crate::{Error, Gradient, Result};

/// Applies gradients to dense parameters, by the dense form of a built-in [`Optimizer`]
/// ([`DenseStep`] has the formulas).
///
/// The state of a parameter is made at its first update.
#[derive(Debug, Clone)]
pub struct DenseOptimizer {
    optimizer: Optimizer,
    state: Vec<State>,
}

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Fresh,
    Host(Vec<f32>),
    Device(Tensor),
}

impl DenseOptimizer {
    /// The dense form of an optimizer, for that many parameters.
    pub fn new(optimizer: Optimizer, parameters: usize) -> Self {
        Self {
            optimizer,
            state: vec![State::Fresh; parameters],
        }
    }

    /// The optimizer of which this is the dense form.
    pub fn optimizer(&self) -> Optimizer {
        self.optimizer
    }

    /// Updates parameter number `index` by its gradient.
    ///
    /// # Errors
    /// A number that is not below that of the parameters, a gradient of another size than the
    /// parameter, or a failing tensor operation.
    pub fn update(
        &mut self,
        index: usize,
        parameter: &Var,
        gradient: Gradient<'_>,
        learning_rate: f64,
    ) -> Result<()> {
        let optimizer = self.optimizer;
        let state = self.place(index)?;
        let step = optimizer.dense_step(learning_rate);
        match gradient {
            Gradient::Tensor(gradient) if !parameter.device().is_cpu() => {
                update_on_device(optimizer, step, parameter, gradient, state)
            }
            Gradient::Tensor(gradient) => {
                let gradient = gradient.contiguous()?;
                read_slice(&gradient, |gradient| {
                    update_on_host(optimizer, step, parameter, &[gradient], state)
                })?
            }
            Gradient::Slices(slices) => update_on_host(optimizer, step, parameter, slices, state),
        }
    }

    /// Whether parameters have a state, one value for each of their elements.
    pub fn has_state(&self) -> bool {
        self.optimizer.has_dense_state()
    }

    /// The state of parameter number `index`, flat; `None` before its first update, and where the
    /// rule keeps none.
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
    /// A number that is not below that of the parameters, a state of another size than the
    /// parameter, or a copy to a device that fails.
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
        *self.place(index)? = state;
        Ok(())
    }

    fn place(&mut self, index: usize) -> Result<&mut State> {
        let parameters = self.state.len();
        self.state.get_mut(index).ok_or_else(|| Error::Mismatch {
            what: format!("the number of a dense parameter, {index}, and how many there are"),
            model: index as u64,
            data: parameters as u64,
            remedy: "make the optimizer for all parameters of the model",
        })
    }
}

/// Checks a gradient of some elements for a parameter.
fn check_count(count: usize, parameter: &Var) -> Result<()> {
    let expected = parameter.elem_count();
    if count == expected {
        return Ok(());
    }
    Err(candle_core::Error::Msg(format!(
        "a gradient of {count} elements for a parameter of {expected}"
    ))
    .into())
}

fn update_on_host(
    optimizer: Optimizer,
    step: DenseStep,
    parameter: &Var,
    slices: &[&[f32]],
    state: &mut State,
) -> Result<()> {
    for slice in slices {
        check_count(slice.len(), parameter)?;
    }
    let state = match (optimizer.has_dense_state(), &mut *state) {
        (false, _) => &mut [][..],
        (true, State::Host(state)) => state,
        (true, fresh) => {
            let values = vec![optimizer.fresh_state(); parameter.elem_count()];
            *fresh = State::Host(values);
            match fresh {
                State::Host(state) => state,
                State::Fresh | State::Device(_) => &mut [][..],
            }
        }
    };
    Ok(write_slice(parameter.as_tensor(), |weights| {
        step.move_slice(slices, weights, state)
    })??)
}

/// The state of a parameter on a device, made where there is none; none where the rule keeps none.
fn device_state(
    optimizer: Optimizer,
    parameter: &Var,
    state: &mut State,
) -> Result<Option<Tensor>> {
    if !optimizer.has_dense_state() {
        return Ok(None);
    }
    if let State::Device(state) = state {
        return Ok(Some(state.clone()));
    }
    let fresh = (parameter.zeros_like()? + f64::from(optimizer.fresh_state()))?.detach();
    *state = State::Device(fresh.clone());
    Ok(Some(fresh))
}

fn update_on_device(
    optimizer: Optimizer,
    step: DenseStep,
    parameter: &Var,
    gradient: &Tensor,
    state: &mut State,
) -> Result<()> {
    let kept = device_state(optimizer, parameter, state)?;
    #[cfg(feature = "cuda")]
    if parameter.device().is_cuda() {
        // One kernel, in place.
        check_count(gradient.elem_count(), parameter)?;
        return crate::crossing::dense_step(
            step,
            parameter,
            kept.as_ref(),
            &gradient.contiguous()?,
        );
    }
    let (weights, moved) = step.move_tensor(gradient, parameter.as_tensor(), kept.as_ref())?;
    if let Some(moved) = moved {
        *state = State::Device(moved);
    }
    parameter.set(&weights)?;
    Ok(())
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
                let step = optimizer.dense_step(0.1);
                let state = &mut rules[2].state[0];
                update_on_device(optimizer, step, &vars[2], &whole, state).unwrap();
            }
            let [a, b, c] = vars.map(|var| var.to_vec1::<f32>().unwrap());
            assert_eq!(a, b);
            assert!(a.iter().zip(&c).all(|(a, c)| (a - c).abs() < 1e-6));
        }
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

    #[test]
    fn a_parameter_number_beyond_the_last_is_refused() {
        let var = Var::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
        let mut optimizer = DenseOptimizer::new(Optimizer::adagrad(), 2);
        for index in [2, 1 << 40, usize::MAX] {
            let slices = Gradient::Slices(&[&[0.0; 3]]);
            assert!(optimizer.update(index, &var, slices, 0.1).is_err());
            assert!(
                optimizer
                    .set_state(index, &var, Some(vec![0.0; 3]))
                    .is_err()
            );
            assert!(optimizer.state(index).unwrap().is_none());
        }
    }
}
