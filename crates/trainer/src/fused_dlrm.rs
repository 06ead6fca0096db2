//! DLRM as a trainable model: the fused network on the CPU, the plain graph on other devices.

use std::collections::HashMap;

use candle_core::{Tensor, Var};
use dlrm::{Dlrm, DlrmConfig, Pass};
use embedding_store::{read_slice, write_slice};

use crate::model::autograd;
use crate::{ApplyGradient, Error, Gradient, LossGradient, Model, Result};

/// A [`Dlrm`] with the workspace of its training steps.
///
/// On the CPU a step runs the whole network forward and backward on slices of the batch, without candle's autograd: the
/// gradient of the rows goes straight into the caller's tensor, and parameter gradients stay in one buffer per slice,
/// which the optimizer adds up. After the first step of a batch size it allocates only the logits.
pub struct FusedDlrm {
    dlrm: Dlrm,
    pass: Pass,
    logits: Vec<f32>,
}

impl FusedDlrm {
    /// Makes a model trainable.
    pub fn new(dlrm: Dlrm) -> Self {
        Self {
            dlrm,
            pass: Pass::default(),
            logits: Vec::new(),
        }
    }

    /// The model.
    pub fn dlrm(&self) -> &Dlrm {
        &self.dlrm
    }

    /// The model's configuration.
    pub fn config(&self) -> &DlrmConfig {
        self.dlrm.config()
    }
}

impl Model for FusedDlrm {
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        Ok(self.dlrm.forward(dense, rows)?)
    }

    fn parameters(&self) -> Vec<Var> {
        vec![self.dlrm.parameters().clone()]
    }

    fn named_weights(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(self.dlrm.named_parameters()?)
    }

    fn load_weights(&mut self, weights: &HashMap<String, Tensor>) -> Result<()> {
        Ok(self.dlrm.load_named(weights)?)
    }

    fn check(&self, dense_features: usize, tables: usize, dim: usize) -> Result<()> {
        let config = self.config();
        let pairs = [
            (
                "dense features",
                config.bottom.first().copied().unwrap_or(0),
                dense_features,
                "set the bottom MLP's first width",
            ),
            (
                "categorical tables",
                config.tables,
                tables,
                "set the model's number of tables",
            ),
            (
                "embedding width",
                config.dim,
                dim,
                "give model and store the same embedding width",
            ),
        ];
        for (what, model, data, remedy) in pairs {
            if model != data {
                return Err(Error::Mismatch {
                    what: what.into(),
                    model: model as u64,
                    data: data as u64,
                    remedy,
                });
            }
        }
        Ok(())
    }

    fn piece(&self, batch: usize) -> usize {
        self.config().slice.samples(batch)
    }

    fn forward_backward(
        &mut self,
        dense: &Tensor,
        rows: &Tensor,
        rows_grad: &Tensor,
        loss: &mut LossGradient<'_>,
        apply: &mut ApplyGradient<'_>,
    ) -> Result<()> {
        let parameters = self.dlrm.parameters().clone();
        if !rows.device().is_cpu() {
            let forward = |rows: &Tensor| self.forward(dense, rows);
            return autograd(forward, &[parameters], rows, rows_grad, loss, apply);
        }
        let Self { dlrm, pass, logits } = self;
        let network = dlrm.network();
        logits.resize(dense.dim(0)?, 0.0);
        read_slice(parameters.as_tensor(), |weights| {
            read_slice(dense, |dense| {
                read_slice(rows, |rows| {
                    network.forward(weights, dense, rows, pass, logits)
                })
            })
        })????;
        let logits = Tensor::from_slice(logits, logits.len(), rows.device())?;
        let slope = loss(0..logits.dim(0)?, &logits)?.contiguous()?;
        read_slice(parameters.as_tensor(), |weights| {
            read_slice(dense, |dense| {
                read_slice(rows, |rows| {
                    read_slice(&slope, |slope| {
                        write_slice(rows_grad, |rows_grad| {
                            network.backward(weights, dense, rows, slope, pass, rows_grad, None)
                        })
                    })
                })
            })
        })??????;
        let slices: Vec<&[f32]> = pass.gradients().collect();
        apply(0, &parameters, Gradient::Slices(&slices))
    }
}
