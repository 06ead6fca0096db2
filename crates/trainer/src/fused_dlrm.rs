//! DLRM as a trainable model: the fused network on the CPU, fused operators on NVIDIA devices, the plain graph on others.

use std::collections::HashMap;

use candle_core::{Tensor, Var};
use dlrm::{Dlrm, Network};

use crate::{Fused, FusedNetwork, InputShape, Result};

/// A trainable [`Dlrm`].
pub type FusedDlrm = Fused<Dlrm>;

impl FusedNetwork for Dlrm {
    type Engine = Network;

    fn engine(&self) -> &Network {
        self.network()
    }

    fn parameters(&self) -> &Var {
        Dlrm::parameters(self)
    }

    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        Ok(Dlrm::forward(self, dense, rows)?)
    }

    fn infer(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        Ok(Dlrm::infer(self, dense, rows)?)
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
            dense_features: config.dense_features(),
            tables: config.tables,
            dim: config.dim,
            sequence_length: None,
        }
    }

    fn piece(&self, batch: usize) -> usize {
        self.config().slice.samples(batch)
    }
}
