//! A model of candle-nn's layers.

use candle_nn::{Module, VarBuilder, VarMap, linear};
use recsys_model::candle_core::{DType, Device, Tensor};
use recsys_model::{Model, Result, VarMapModel};

use crate::ROWS;

/// Width of the rows.
pub const DIM: usize = 8;

/// Logits of a linear layer on all features, plus those of a small MLP. Weights depend on nothing
/// but their place, so that two models are equal.
///
/// # Errors
/// A failing tensor operation.
pub fn wide_and_deep() -> Result<impl Model> {
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let inputs = 2 + ROWS.len() * DIM;
    let wide = linear(inputs, 1, builder.pp("wide"))?;
    let hidden = linear(inputs, 16, builder.pp("hidden"))?;
    let deep = linear(16, 1, builder.pp("deep"))?;
    let model = VarMapModel::new(variables, move |dense: &Tensor, rows: &Tensor| {
        let features = Tensor::cat(&[dense, &rows.flatten_from(1)?], 1)?;
        let activations = hidden.forward(&features)?.relu()?;
        let logits = (wide.forward(&features)? + deep.forward(&activations)?)?;
        Ok(logits.squeeze(1)?)
    });
    for (_, parameter) in model.named_parameters() {
        let value = |place: usize| ((place * 37 + 11) % 64) as f32 / 320.0 - 0.1;
        let values: Vec<f32> = (0..parameter.elem_count()).map(value).collect();
        parameter.set(&Tensor::from_vec(values, parameter.shape(), &Device::Cpu)?)?;
    }
    Ok(model)
}
