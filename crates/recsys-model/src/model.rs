//! What a model must offer to be trained.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{Device, Tensor, Var};

use crate::autograd::autograd;
use crate::error::{Error, Result};
use crate::named::distinct_names;

/// The gradient of one parameter.
#[derive(Debug, Clone, Copy)]
pub enum Gradient<'a> {
    /// The whole gradient, shaped like the parameter.
    Tensor(&'a Tensor),
    /// Partial gradients, flat, whose sum in this order is the gradient: one for each slice of the
    /// batch.
    Slices(&'a [&'a [f32]]),
}

/// Receives the gradient of parameter number `index` in [`Model::named_parameters`].
pub type ApplyGradient<'a> = dyn FnMut(usize, &Var, Gradient<'_>) -> Result<()> + 'a;

/// Given the logits of some samples of the batch, the derivative of the batch's loss with respect
/// to each of them. Every sample must come once; most models give all logits in one call, replicas
/// each those of their part.
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
/// [`Model::forward`] and [`Model::named_parameters`] are all that an ordinary candle model needs
/// ([`VarMapModel`](crate::VarMapModel) has both for a model of candle-nn); the rest has defaults
/// that work. The model never sees an id: rows come in as a tensor, and their gradient goes back to
/// the store.
///
/// Errors from outside of this crate pass through as [`Error::External`].
pub trait Model: Send + Sync {
    /// Logits `[batch]` from dense features `[batch, dense features]` and pooled rows `[batch,
    /// tables, dim]`, differentiable in both and in the parameters. A model of sequences gets
    /// `[batch, positions, dense features]` and `[batch, positions, tables, dim]`.
    ///
    /// # Errors
    /// Inputs of other shapes than the model's configuration.
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor>;

    /// The values of [`Model::forward`] for evaluation: nothing needs to be kept for a backward
    /// pass.
    ///
    /// # Errors
    /// As [`Model::forward`].
    fn infer(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        self.forward(dense, rows)
    }

    /// The trainable parameters under their names, which are those of weights and optimizer state
    /// in files. Two must not have the same name. The order must stay the same as long as the
    /// model lives; from one process to the next it may change.
    fn named_parameters(&self) -> Vec<(String, Var)>;

    /// How often [`named_parameters`](Self::named_parameters) lists every parameter: replicas list
    /// theirs one after another under the same names, equal bit for bit.
    fn copies(&self) -> usize {
        1
    }

    /// The weights under the names that they have on disk. By default each parameter is one weight;
    /// a model that keeps many weights in one parameter names them here.
    ///
    /// # Errors
    /// [`Error::DuplicateName`], or a failing tensor operation.
    fn named_weights(&self) -> Result<Vec<(String, Tensor)>> {
        let parameters = distinct(self)?;
        let weights = parameters.into_iter();
        Ok(weights
            .map(|(name, parameter)| (name, parameter.as_detached_tensor()))
            .collect())
    }

    /// Replaces the weights by those of the same names. Either all are replaced or, on an error of
    /// the weights, none.
    ///
    /// # Errors
    /// A missing weight, or one of another shape.
    fn load_weights(&self, weights: &HashMap<String, Tensor>) -> Result<()> {
        let parameters = distinct(self)?;
        let missing = parameters.iter().map(|(name, _)| name);
        let missing = missing.filter(|name| !weights.contains_key(*name));
        let missing: Vec<String> = missing.cloned().collect();
        if !missing.is_empty() {
            let unknown = Vec::new();
            return Err(Error::ParameterNames { missing, unknown });
        }
        let all = self.named_parameters();
        for (name, parameter) in &all {
            if let Some(weight) = weights.get(name)
                && weight.dims() != parameter.dims()
            {
                return Err(Error::ParameterShape {
                    name: name.clone(),
                    expected: parameter.dims().to_vec(),
                    found: weight.dims().to_vec(),
                });
            }
        }
        for (name, parameter) in &all {
            if let Some(weight) = weights.get(name) {
                // Through the host: candle's copy from device to device may run when what it reads
                // is gone.
                let weight = weight.to_device(&Device::Cpu)?;
                let weight = weight.to_dtype(parameter.dtype())?.copy()?;
                parameter.set(&weight.to_device(parameter.device())?)?;
            }
        }
        Ok(())
    }

    /// What the model takes; data of another shape are refused before the first step. `None` for a
    /// model that takes samples of any widths, but no sequences.
    fn input_shape(&self) -> Option<InputShape> {
        None
    }

    /// What stands before the names of the store's matrices (`emb_l.0.weight` …) in files that hold
    /// all weights.
    fn table_prefix(&self) -> &str {
        ""
    }

    /// Samples that the model works on as one piece in a batch of `batch`: replicas get shares of
    /// whole pieces.
    fn piece(&self, batch: usize) -> usize {
        let _ = batch;
        1
    }

    /// A number that stays the same as long as [`forward_backward`](Self::forward_backward) gives a
    /// device the same work on the same memory in every step of `batch` samples; the work is then
    /// recorded once and replayed. The model may call `loss` and `apply` once each and do nothing
    /// else on the host. `None`, the default, where it does not work in this way, or not yet.
    fn step_memory(&self, batch: usize) -> Option<u64> {
        let _ = batch;
        None
    }

    /// One pass forward and backward: calls `loss` with the logits, writes the gradient of `rows`
    /// into `rows_grad` (same shape), and calls `apply` once for each parameter, after the backward
    /// pass has read them all.
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
        let parameters = self.named_parameters();
        let parameters = parameters.iter().map(|(_, parameter)| parameter);
        autograd(forward, parameters, rows, rows_grad, loss, apply)
    }
}

/// The parameters of a model, copies apart, whose names differ.
fn distinct<M: Model + ?Sized>(model: &M) -> Result<Vec<(String, Var)>> {
    let mut parameters = model.named_parameters();
    parameters.truncate(parameters.len() / model.copies().max(1));
    distinct_names(parameters.iter().map(|(name, _)| name.as_str()))?;
    Ok(parameters)
}

impl<M: Model + ?Sized> Model for Box<M> {
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        (**self).forward(dense, rows)
    }

    fn infer(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        (**self).infer(dense, rows)
    }

    fn named_parameters(&self) -> Vec<(String, Var)> {
        (**self).named_parameters()
    }

    fn copies(&self) -> usize {
        (**self).copies()
    }

    fn named_weights(&self) -> Result<Vec<(String, Tensor)>> {
        (**self).named_weights()
    }

    fn load_weights(&self, weights: &HashMap<String, Tensor>) -> Result<()> {
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
