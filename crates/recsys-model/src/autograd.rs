//! A training step by candle's autograd.

use candle_core::{Tensor, Var};
use recsys_device::copy_between;

use crate::Result;
use crate::model::{ApplyGradient, Gradient, LossGradient};

/// Forward and backward by candle's autograd.
pub(crate) fn autograd<'a>(
    forward: impl FnOnce(&Tensor) -> Result<Tensor>,
    parameters: impl IntoIterator<Item = &'a Var>,
    rows: &Tensor,
    rows_grad: &Tensor,
    loss: &mut LossGradient<'_>,
    apply: &mut ApplyGradient<'_>,
) -> Result<()> {
    let leaf = Var::from_tensor(rows)?;
    let logits = forward(leaf.as_tensor())?;
    let slope = loss(0..rows.dim(0)?, &logits.detach())?;
    // The derivative of sum(logits · slope) with `slope` held fixed is the vector-Jacobian product.
    let gradients = (&logits * slope.detach())?.sum_all()?.backward()?;
    match gradients.get(leaf.as_tensor()) {
        Some(gradient) => copy_between(gradient, rows_grad)?,
        None => copy_between(&rows.zeros_like()?, rows_grad)?,
    }
    for (index, parameter) in parameters.into_iter().enumerate() {
        if let Some(gradient) = gradients.get(parameter.as_tensor()) {
            apply(index, parameter, Gradient::Tensor(gradient))?;
        }
    }
    Ok(())
}
