//! TBSM as a trainable model: the fused network on the CPU, fused operators on NVIDIA devices, the plain graph on others.

use std::collections::HashMap;

use candle_core::{Tensor, Var};
use tbsm::{Network, Tbsm};

use crate::{Fused, FusedNetwork, InputShape, Result};

/// A trainable [`Tbsm`], on samples that are sequences.
pub type FusedTbsm = Fused<Tbsm>;

impl FusedNetwork for Tbsm {
    type Engine = Network;
    type DevicePass = ();

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
}
