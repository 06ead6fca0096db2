//! The network as a plain candle graph: the readable reference, on any device.

use candle_core::{Device, Tensor};

use crate::layout::Layer;
use crate::{DlrmConfig, Interaction, Network, Result};

impl Network {
    /// The plain candle graph of the network, on any device: from `parameters` (flat, as
    /// [`DlrmConfig::parameters`] describes them), `dense [batch, dense features]` and `rows
    /// [batch, tables, dim]` to `[batch, outputs]`.
    ///
    /// # Errors
    /// candle's, where shapes do not fit or the device fails.
    pub fn forward_graph(
        &self,
        parameters: &Tensor,
        dense: &Tensor,
        rows: &Tensor,
    ) -> Result<Tensor> {
        let bottom = mlp(&self.layout().bottom, parameters, dense.clone())?;
        let interaction = interact(self.config(), &bottom, rows)?;
        mlp(&self.layout().top, parameters, interaction)
    }
}

fn mlp(layers: &[Layer], parameters: &Tensor, mut x: Tensor) -> Result<Tensor> {
    for layer in layers {
        let weight = parameters.narrow(0, layer.weight.start, layer.weight.len())?;
        let weight = weight.reshape((layer.outputs, layer.inputs))?;
        let bias = parameters.narrow(0, layer.bias.start, layer.bias.len())?;
        x = x.matmul(&weight.t()?)?.broadcast_add(&bias)?;
        if layer.relu {
            x = x.relu()?;
        }
    }
    Ok(x)
}

fn interact(config: &DlrmConfig, bottom: &Tensor, rows: &Tensor) -> Result<Tensor> {
    // T = [x; e_1; …], [batch, features, dim], or [e_1; …] where there is no bottom MLP.
    let features = match config.lead() {
        0 => rows.clone(),
        _ => Tensor::cat(&[&bottom.unsqueeze(1)?, rows], 1)?,
    };
    match config.interaction {
        Interaction::Cat => Ok(features.flatten_from(1)?),
        Interaction::Dot { with_self } => {
            let products = features
                .matmul(&features.t()?.contiguous()?)?
                .flatten_from(1)?;
            let triangle = triangle(config.features(), with_self, products.device())?;
            if triangle.elem_count() == 0 {
                return Ok(bottom.clone());
            }
            let products = products.index_select(&triangle, 1)?;
            Ok(match config.lead() {
                0 => products,
                _ => Tensor::cat(&[bottom, &products], 1)?,
            })
        }
    }
}

/// Positions of the lower triangle in a flattened `[features, features]` matrix, row by row.
fn triangle(features: usize, with_self: bool, device: &Device) -> Result<Tensor> {
    let row = |i: usize| (0..i + usize::from(with_self)).map(move |j| (i * features + j) as u32);
    let positions: Vec<u32> = (0..features).flat_map(row).collect();
    let count = positions.len();
    Ok(Tensor::from_vec(positions, count, device)?)
}
