//! What a model must offer to be trained.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{Tensor, Var};
use recsys_device::copy_between;

use crate::Result;

/// The gradient of one parameter.
#[derive(Debug, Clone, Copy)]
pub enum Gradient<'a> {
    /// The whole gradient, shaped like the parameter.
    Tensor(&'a Tensor),
    /// Partial gradients, flat, whose sum in this order is the gradient: one for each slice of the batch.
    Slices(&'a [&'a [f32]]),
}

/// Receives the gradient of parameter number `index` in [`Model::parameters`].
pub type ApplyGradient<'a> = dyn FnMut(usize, &Var, Gradient<'_>) -> Result<()> + 'a;

/// Given the logits of some samples of the batch, the derivative of the batch's loss with respect to each of them. Every sample
/// must come once; most models ask for all at once, replicas each for their part.
pub type LossGradient<'a> = dyn FnMut(Range<usize>, &Tensor) -> Result<Tensor> + 'a;

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputShape {
    /// Dense features of a sample, or of each of its positions.
    pub dense_features: usize,
    /// Embedding tables.
    pub tables: usize,
    /// Width of an embedding row.
    pub dim: usize,
    /// Positions of a sample, where the model takes sequences.
    pub sequence_length: Option<usize>,
}

/// A model on gathered embedding rows.
///
/// [`Model::forward`] and [`Model::parameters`] are all that an ordinary candle model needs; the rest has defaults. The
/// model never sees an id: rows come in as a tensor, and their gradient goes back to the store.
pub trait Model: Send {
    /// Logits `[batch]` from dense features `[batch, dense features]` and pooled rows `[batch, tables, dim]`,
    /// differentiable in both and in the parameters. A model of sequences gets `[batch, positions, dense features]` and
    /// `[batch, positions, tables, dim]`.
    ///
    /// # Errors
    /// Inputs of other shapes than the model's configuration.
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor>;

    /// The values of [`Model::forward`] for evaluation: nothing needs to be kept for a backward pass.
    ///
    /// # Errors
    /// As [`Model::forward`].
    fn infer(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        self.forward(dense, rows)
    }

    /// The trainable parameters, always in the same order.
    fn parameters(&self) -> Vec<Var>;

    /// How often [`parameters`](Self::parameters) lists every parameter: replicas list theirs one behind the other, equal bit for
    /// bit.
    fn copies(&self) -> usize {
        1
    }

    /// The weights under the names that they have on disk.
    ///
    /// # Errors
    /// A failing tensor operation.
    fn named_weights(&self) -> Result<Vec<(String, Tensor)>>;

    /// Replaces the weights by those of the same names.
    ///
    /// # Errors
    /// A missing weight, or one of another shape.
    fn load_weights(&mut self, weights: &HashMap<String, Tensor>) -> Result<()>;

    /// What the model takes; data of another shape are refused before the first step. `None` for a model that takes
    /// samples of any widths, but no sequences.
    fn input_shape(&self) -> Option<InputShape> {
        None
    }

    /// What stands before the names of the store's matrices (`emb_l.0.weight` …) in files that hold all weights.
    fn table_prefix(&self) -> &str {
        ""
    }

    /// Samples that the model works on as one piece in a batch of `batch`: replicas get shares of whole pieces.
    fn piece(&self, batch: usize) -> usize {
        let _ = batch;
        1
    }

    /// A number that stays the same as long as [`forward_backward`](Self::forward_backward) asks a device for the same work on the same
    /// memory in every step of so many samples; the device is then asked once, and repeats what it was asked. The model may call `loss` and
    /// `apply` once each and do nothing else on the host. `None`, the default, where it does not work in this way, or not yet.
    fn step_memory(&self, batch: usize) -> Option<u64> {
        let _ = batch;
        None
    }

    /// One pass forward and backward: calls `loss` with the logits, writes the gradient of `rows` into `rows_grad`
    /// (same shape), and calls `apply` once for each parameter, after the backward pass has read them all.
    ///
    /// The default differentiates [`Model::forward`] by candle's autograd.
    ///
    /// # Errors
    /// What `forward`, `loss` or `apply` answer.
    fn forward_backward(
        &mut self,
        dense: &Tensor,
        rows: &Tensor,
        rows_grad: &Tensor,
        loss: &mut LossGradient<'_>,
        apply: &mut ApplyGradient<'_>,
    ) -> Result<()> {
        let forward = |rows: &Tensor| self.forward(dense, rows);
        autograd(forward, &self.parameters(), rows, rows_grad, loss, apply)
    }
}

impl<M: Model + ?Sized> Model for Box<M> {
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        (**self).forward(dense, rows)
    }

    fn infer(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        (**self).infer(dense, rows)
    }

    fn parameters(&self) -> Vec<Var> {
        (**self).parameters()
    }

    fn copies(&self) -> usize {
        (**self).copies()
    }

    fn named_weights(&self) -> Result<Vec<(String, Tensor)>> {
        (**self).named_weights()
    }

    fn load_weights(&mut self, weights: &HashMap<String, Tensor>) -> Result<()> {
        (**self).load_weights(weights)
    }

    fn input_shape(&self) -> Option<InputShape> {
        (**self).input_shape()
    }

    fn table_prefix(&self) -> &str {
        (**self).table_prefix()
    }

    fn piece(&self, batch: usize) -> usize {
        (**self).piece(batch)
    }

    fn step_memory(&self, batch: usize) -> Option<u64> {
        (**self).step_memory(batch)
    }

    fn forward_backward(
        &mut self,
        dense: &Tensor,
        rows: &Tensor,
        rows_grad: &Tensor,
        loss: &mut LossGradient<'_>,
        apply: &mut ApplyGradient<'_>,
    ) -> Result<()> {
        (**self).forward_backward(dense, rows, rows_grad, loss, apply)
    }
}

/// Forward and backward by candle's autograd.
pub(crate) fn autograd(
    forward: impl FnOnce(&Tensor) -> Result<Tensor>,
    parameters: &[Var],
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
    for (index, parameter) in parameters.iter().enumerate() {
        if let Some(gradient) = gradients.get(parameter.as_tensor()) {
            apply(index, parameter, Gradient::Tensor(gradient))?;
        }
    }
    Ok(())
}
