//! A candle-nn model as a trainable one.

use candle_core::{Tensor, Var};
use candle_nn::VarMap;

use crate::{Model, Result};

/// A model of candle-nn: the [`VarMap`] that its layers were made from, and its forward pass.
///
/// Parameters have the names of the map and are listed sorted by them.
///
/// ```
/// use candle_nn::{Module, VarBuilder, VarMap, linear};
/// use recsys_model::candle_core::{DType, Device, Tensor};
/// use recsys_model::{Model, VarMapModel};
///
/// let variables = VarMap::new();
/// let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
/// // 4 dense features and 2 rows of width 3.
/// let layer = linear(4 + 2 * 3, 1, builder.pp("layer"))?;
/// let model = VarMapModel::new(variables, move |dense: &Tensor, rows: &Tensor| {
///     let x = Tensor::cat(&[dense, &rows.flatten_from(1)?], 1)?;
///     Ok(layer.forward(&x)?.squeeze(1)?)
/// });
/// let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["layer.bias", "layer.weight"]);
/// # let dense = Tensor::zeros((5, 4), DType::F32, &Device::Cpu)?;
/// # let rows = Tensor::zeros((5, 2, 3), DType::F32, &Device::Cpu)?;
/// # assert_eq!(model.forward(&dense, &rows)?.dims(), [5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct VarMapModel<F> {
    variables: VarMap,
    forward: F,
}

impl<F: Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync> VarMapModel<F> {
    /// Puts the variables and the forward pass together: `forward(dense, rows)` answers the logits,
    /// as [`Model::forward`] describes.
    pub fn new(variables: VarMap, forward: F) -> Self {
        Self { variables, forward }
    }

    /// The variables.
    pub fn variables(&self) -> &VarMap {
        &self.variables
    }
}

impl<F: Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync> Model for VarMapModel<F> {
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        (self.forward)(dense, rows)
    }

    fn named_parameters(&self) -> Vec<(String, Var)> {
        let variables = self.variables.data().lock();
        // A poisoned lock says that another thread failed while it added a variable.
        let variables = variables.unwrap_or_else(std::sync::PoisonError::into_inner);
        let named = variables.iter();
        let mut named: Vec<(String, Var)> = named
            .map(|(name, var)| (name.clone(), var.clone()))
            .collect();
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        named
    }
}
