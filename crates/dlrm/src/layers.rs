//! The network layer by layer, for devices: products by candle, all between them by one kernel
//! each, and the whole as one operator.
//!
//! The plain graph would also run, but its backward pass launches about thirty kernels a layer: the
//! gradient of every weight is padded to the length of the flat parameters and added to it. Here
//! backward joins the gradients once.

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Storage, Tensor};
use recsys_device::contiguous;
use recsys_model::{Activation, bias_activation, bias_activation_gradient};

use crate::dot_operator::{dot_interaction, dot_interaction_gradient};
use crate::layout::Layer;
use crate::{Interaction, Network, Result, tiling};

impl Network {
    /// What [`Network::forward_graph`] computes, in few kernels: what an NVIDIA device runs. It
    /// works on every device for which candle has matrix products and the fused operators have
    /// kernels: NVIDIA's, and the CPU, where it is slow. Gradients reach the parameters,
    /// `dense` and `rows`, whichever of them are tracked.
    ///
    /// A model without a bottom MLP, and one whose features do not fit a block's shared memory
    /// (more than a hundred tables), run as the plain graph.
    ///
    /// # Shapes
    /// `parameters` flat, `dense [batch, dense features]`, `rows [batch, tables, dim]`; the result
    /// `[batch, outputs]`.
    ///
    /// # Errors
    /// candle's, where shapes do not fit or the device fails.
    pub fn forward_layers(
        &self,
        parameters: &Tensor,
        dense: &Tensor,
        rows: &Tensor,
    ) -> Result<Tensor> {
        let config = self.config();
        let dot = matches!(config.interaction, Interaction::Dot { .. });
        let fits = !dot || tiling::fits(config.features(), config.dim);
        if config.bottom.is_empty() || !fits {
            return self.forward_graph(parameters, dense, rows);
        }
        let tracked = [parameters, dense, rows].iter().any(|t| t.track_op());
        let mut made = LayerOutputs::default();
        let keep = tracked.then_some(&mut made);
        let output = self.run_layers(
            &parameters.detach(),
            &dense.detach().contiguous()?,
            &rows.detach().contiguous()?,
            keep,
        )?;
        if !tracked {
            return Ok(output);
        }
        let operator = LayersOp {
            network: self.clone(),
            made,
            output,
        };
        Ok(parameters.apply_op3(dense, rows, operator)?)
    }

    fn run_layers(
        &self,
        parameters: &Tensor,
        dense: &Tensor,
        rows: &Tensor,
        mut keep: Option<&mut LayerOutputs>,
    ) -> candle_core::Result<Tensor> {
        let mut x = dense.clone();
        for layer in &self.layout().bottom {
            let y = layer.forward_on_device(parameters, &x)?;
            x = y.clone();
            if let Some(keep) = keep.as_deref_mut() {
                keep.bottom.push(y);
            }
        }
        x = match self.config().interaction {
            Interaction::Dot { with_self } => dot_interaction(&x, rows, with_self)?,
            Interaction::Cat => Tensor::cat(&[&x, &rows.flatten_from(1)?], 1)?,
        };
        if let Some(keep) = keep.as_deref_mut() {
            keep.interaction = Some(x.clone());
        }
        for layer in &self.layout().top {
            let y = layer.forward_on_device(parameters, &x)?;
            x = y.clone();
            if let Some(keep) = keep.as_deref_mut() {
                keep.top.push(y);
            }
        }
        Ok(x)
    }
}

impl Layer {
    pub(crate) fn activation(&self) -> Activation {
        if self.relu {
            Activation::Relu
        } else {
            Activation::None
        }
    }

    /// `[outputs, inputs]`.
    fn weight_of(&self, parameters: &Tensor) -> candle_core::Result<Tensor> {
        parameters
            .narrow(0, self.weight.start, self.weight.len())?
            .reshape((self.outputs, self.inputs))
    }

    fn forward_on_device(&self, parameters: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
        let bias = parameters.narrow(0, self.bias.start, self.bias.len())?;
        let products = x.matmul(&self.weight_of(parameters)?.t()?)?;
        bias_activation(&products, &bias, self.activation())
    }

    /// From the gradient of `y` those of weight and bias, flat, and where wanted that of `x`.
    fn backward_on_device(
        &self,
        parameters: &Tensor,
        x: &Tensor,
        y: &Tensor,
        y_grad: &Tensor,
        want_x: bool,
    ) -> candle_core::Result<([Tensor; 2], Option<Tensor>)> {
        let (grad, bias_grad) = bias_activation_gradient(y, y_grad, self.activation())?;
        let weight_grad = grad.t()?.matmul(x)?.flatten_all()?;
        let x_grad = match want_x {
            true => Some(grad.matmul(&self.weight_of(parameters)?)?),
            false => None,
        };
        Ok(([weight_grad, bias_grad], x_grad))
    }
}

/// What backward needs again: what every layer has given.
#[derive(Debug, Default)]
struct LayerOutputs {
    bottom: Vec<Tensor>,
    interaction: Option<Tensor>,
    top: Vec<Tensor>,
}

/// `(parameters, dense, rows) -> output`. The forward pass has already run, since an operator's own
/// forward gets storages and candle multiplies tensors; what is left of it is to hand the output
/// over.
struct LayersOp {
    network: Network,
    made: LayerOutputs,
    output: Tensor,
}

/// The gradient of layer `k` of a chain goes down to layer 0; gradients of parameters are collected
/// from the end.
fn backward_chain(
    layers: &[Layer],
    parameters: &Tensor,
    input: &Tensor,
    outputs: &[Tensor],
    mut grad: Tensor,
    want_input: bool,
    collected: &mut Vec<Tensor>,
) -> candle_core::Result<Option<Tensor>> {
    for (k, (layer, y)) in layers.iter().zip(outputs).enumerate().rev() {
        let x = if k == 0 { input } else { &outputs[k - 1] };
        let want = k > 0 || want_input;
        let ([weight, bias], below) = layer.backward_on_device(parameters, x, y, &grad, want)?;
        collected.extend([bias, weight]);
        match below {
            Some(below) => grad = below,
            None => return Ok(None),
        }
    }
    Ok(Some(grad))
}

impl LayersOp {
    fn backward(
        &self,
        parameters: &Tensor,
        dense: &Tensor,
        rows: &Tensor,
        output_grad: &Tensor,
        want_dense: bool,
    ) -> candle_core::Result<(Tensor, Option<Tensor>, Tensor)> {
        let layout = self.network.layout();
        let (Some(interaction), Some(bottom)) = (&self.made.interaction, self.made.bottom.last())
        else {
            candle_core::bail!("a layered operator without a forward pass");
        };
        let mut collected = Vec::with_capacity(2 * (layout.bottom.len() + layout.top.len()));
        let grad = backward_chain(
            &layout.top,
            parameters,
            interaction,
            &self.made.top,
            output_grad.clone(),
            true,
            &mut collected,
        )?;
        let Some(grad) = grad else {
            candle_core::bail!("a top of no layers");
        };
        let (bottom_grad, rows_grad) = match self.network.config().interaction {
            Interaction::Dot { with_self } => {
                dot_interaction_gradient(bottom, rows, &grad, with_self)?
            }
            Interaction::Cat => {
                let (width, all) = (bottom.dim(1)?, grad.dim(1)?);
                let rows_grad = grad.narrow(1, width, all - width)?.contiguous()?;
                (grad.narrow(1, 0, width)?, rows_grad.reshape(rows.shape())?)
            }
        };
        let dense_grad = backward_chain(
            &layout.bottom,
            parameters,
            dense,
            &self.made.bottom,
            bottom_grad,
            want_dense,
            &mut collected,
        )?;
        collected.reverse();
        Ok((Tensor::cat(&collected, 0)?, dense_grad, rows_grad))
    }
}

impl CustomOp3 for LayersOp {
    fn name(&self) -> &'static str {
        "dlrm-layers"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (storage, layout) = self.output.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            candle_core::bail!("a layered operator of another device");
        };
        let output = contiguous(storage, layout, "the output")?.to_vec();
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        _: &candle_core::CudaStorage,
        _: &Layout,
        _: &candle_core::CudaStorage,
        _: &Layout,
        _: &candle_core::CudaStorage,
        _: &Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let (storage, layout) = self.output.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            candle_core::bail!("a layered operator of another device");
        };
        // One value a sample: the copy costs a launch.
        Ok((storage.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(
        &self,
        parameters: &Tensor,
        dense: &Tensor,
        rows: &Tensor,
        _output: &Tensor,
        output_grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let want_dense = dense.track_op();
        let (parameters_grad, dense_grad, rows_grad) = self.backward(
            &parameters.detach(),
            &dense.detach().contiguous()?,
            &rows.detach().contiguous()?,
            output_grad,
            want_dense,
        )?;
        Ok((
            parameters.track_op().then_some(parameters_grad),
            dense_grad,
            rows.track_op().then_some(rows_grad),
        ))
    }
}
