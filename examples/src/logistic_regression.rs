//! Logistic regression on categories and dense features: an own candle model on the same store, loader and loop.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use trainer::{Error, Model, Result};

/// One weight for every category (an embedding table of width 1 in the store), one for every dense feature, and a bias.
pub struct LogisticRegression {
    dense: Var,
    bias: Var,
}

impl LogisticRegression {
    /// All weights zero.
    ///
    /// # Errors
    /// A failing tensor operation.
    pub fn new(dense_features: usize, device: &Device) -> Result<Self> {
        let dense = Var::zeros((dense_features, 1), DType::F32, device)?;
        Ok(Self {
            dense,
            bias: Var::zeros(1, DType::F32, device)?,
        })
    }
}

impl Model for LogisticRegression {
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let from_dense = dense.matmul(self.dense.as_tensor())?.flatten_all()?;
        let from_rows = rows.sum((1, 2))?;
        Ok((from_dense + from_rows)?.broadcast_add(self.bias.as_tensor())?)
    }

    fn parameters(&self) -> Vec<Var> {
        vec![self.dense.clone(), self.bias.clone()]
    }

    fn named_weights(&self) -> Result<Vec<(String, Tensor)>> {
        let named = [("dense.weight", &self.dense), ("bias", &self.bias)];
        Ok(named
            .into_iter()
            .map(|(name, var)| (name.to_string(), var.as_tensor().clone()))
            .collect())
    }

    fn load_weights(&mut self, weights: &HashMap<String, Tensor>) -> Result<()> {
        for (name, var) in [("dense.weight", &self.dense), ("bias", &self.bias)] {
            let weight = weights.get(name).ok_or_else(|| Error::WeightMissing {
                path: "".into(),
                name: name.into(),
            })?;
            var.set(weight)?;
        }
        Ok(())
    }
}
