//! TBSM as a trainable model: the fused network on the CPU, a step in memory that is kept on NVIDIA
//! devices, the plain graph on others.

use std::collections::HashMap;

use candle_core::{Tensor, Var};
use recsys_model::{Fused, FusedNetwork, InputShape, Result};

use crate::device_pass::DevicePass;
use crate::model::Tbsm;
use crate::network::Network;

/// A trainable [`Tbsm`], on samples that are sequences.
pub type FusedTbsm = Fused<Tbsm>;

impl FusedNetwork for Tbsm {
    type Engine = Network;
    type DevicePass = DevicePass;

    fn engine(&self) -> &Network {
        self.network()
    }

    fn parameters(&self) -> &Var {
        Tbsm::parameters(self)
    }

    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        Ok(Tbsm::forward(self, dense, rows)?)
    }

    fn infer(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        Ok(Tbsm::infer(self, dense, rows)?)
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

    fn step_on_device(
        &self,
        dense: &Tensor,
        rows: &Tensor,
        rows_grad: &Tensor,
        pass: &mut DevicePass,
        loss: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Option<Tensor>> {
        let parameters = Tbsm::parameters(self).as_tensor();
        let network = self.network();
        network.step_on_device(parameters, dense, rows, rows_grad, pass, loss)
    }

    fn step_memory(pass: &DevicePass, batch: usize) -> Option<u64> {
        pass.memory_for(batch)
    }
}
