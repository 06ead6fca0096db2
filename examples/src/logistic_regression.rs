//! Logistic regression on categories and dense features: an own candle model on the same store, loader and loop.

use candle_core::{DType, Device, Tensor, Var};
use recsys_model::{Model, Result};

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

    fn named_parameters(&self) -> Vec<(String, Var)> {
        vec![
            ("dense.weight".into(), self.dense.clone()),
            ("bias".into(), self.bias.clone()),
        ]
    }
}
