//! TBSM as a trainable model: the fused network on the CPU, the plain graph on other devices.

use std::collections::HashMap;

use candle_core::{Tensor, Var};
use tbsm::{Pass, Tbsm};

use crate::{Fused, FusedNetwork, InputShape, Result};

/// A trainable [`Tbsm`], on samples that are sequences.
pub type FusedTbsm = Fused<Tbsm>;

impl FusedNetwork for Tbsm {
    type Pass = Pass;

    fn parameters(&self) -> &Var {
        Tbsm::parameters(self)
    }

    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        Ok(Tbsm::forward(self, dense, rows)?)
    }

    fn forward_slices(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        pass: &mut Pass,
        logits: &mut [f32],
    ) -> Result<()> {
        let network = self.network();
        Ok(network.forward(parameters, dense, rows, pass, logits)?)
    }

    fn backward_slices(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        slope: &[f32],
        pass: &mut Pass,
        rows_grad: &mut [f32],
    ) -> Result<()> {
        let network = self.network();
        Ok(network.backward(parameters, dense, rows, slope, pass, rows_grad, None)?)
    }

    fn gradients(pass: &Pass) -> Vec<&[f32]> {
        pass.gradients().collect()
    }

    fn named_weights(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(self.named_parameters()?)
    }

    fn load_weights(&self, weights: &HashMap<String, Tensor>) -> Result<()> {
        Ok(self.load_named(weights)?)
    }

    fn input_shape(&self) -> InputShape {
        let config = self.config();
        InputShape {
            dense_features: config.tower.dense_features(),
            tables: config.tower.tables,
            dim: config.tower.dim,
            sequence_length: Some(config.positions()),
        }
    }

    fn table_prefix(&self) -> &'static str {
        "dlrm."
    }

    fn piece(&self, batch: usize) -> usize {
        self.config().tower.slice.samples(batch)
    }
}
