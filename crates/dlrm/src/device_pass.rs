//! Training steps of the network on an NVIDIA device, in memory that is kept from step to step.

use candle_core::Tensor;

use crate::Network;
#[cfg(feature = "cuda")]
use memory::Memory;

/// Memory of a training step on an NVIDIA device. Nothing is allocated once the largest batch has been seen, and where the layers of
/// [`Network::forward_layers`] launch kernels for each tensor operation, here are those that the arithmetic needs.
#[derive(Debug, Default)]
pub struct DevicePass {
    #[cfg(feature = "cuda")]
    memory: Option<Memory>,
}

impl DevicePass {
    /// A number of the memory, where steps of so many samples run in what there is.
    pub fn memory_for(&self, batch: usize) -> Option<u64> {
        #[cfg(feature = "cuda")]
        return self.memory.as_ref()?.number_for(batch);
        #[cfg(not(feature = "cuda"))]
        {
            let _ = batch;
            None
        }
    }
}

impl Network {
    /// A training step on an NVIDIA device: calls `loss` with the output, `[batch, outputs]`, which stays until the next step and gives the
    /// gradient of the output; writes the gradient of the rows into `rows_grad`, which is like `rows`; returns that of all parameters, flat,
    /// which stays until the next step too. `None`, and nothing is done, where this network has no such step: its device is another, it
    /// concatenates, or its features do not fit a block's shared memory.
    ///
    /// # Shapes
    /// `parameters` flat, `dense [batch, dense features]`, `rows [batch, tables, dim]`, contiguous f32 on one device.
    ///
    /// # Errors
    /// Those of `loss`, and candle's, where shapes do not fit or the device fails.
    pub fn step_on_device<E: From<candle_core::Error>>(
        &self,
        parameters: &Tensor,
        dense: &Tensor,
        rows: &Tensor,
        rows_grad: &Tensor,
        pass: &mut DevicePass,
        loss: impl FnOnce(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Option<Tensor>, E> {
        #[cfg(feature = "cuda")]
        if parameters.device().is_cuda() && self.has_device_step() {
            let memory = Memory::of(&mut pass.memory, self, parameters, dense, rows)?;
            let output = memory.forward(self)?;
            let grad = loss(&output)?;
            return Ok(Some(memory.backward(
                self,
                &grad.contiguous()?,
                rows_grad,
            )?));
        }
        let _ = (parameters, dense, rows, rows_grad, pass, loss);
        Ok(None)
    }
}

#[cfg(feature = "cuda")]
mod memory {
    use candle_core::cuda::cudarc::cublas::{result::gemm_ex, sys};
    use candle_core::{CudaDevice, DType, Device, Result, Tensor, bail};
    use kernel_launch::address;

    use crate::bias_activation::cuda as bias;
    use crate::dot_operator::{Extents, cuda as interaction};
    use crate::layout::Layer;
    use crate::{DlrmConfig, Interaction, Network, tiling};

    /// Buffers for batches up to `most`, and where the inputs of the running step are.
    #[derive(Debug)]
    pub(super) struct Memory {
        device: Device,
        config: DlrmConfig,
        most: usize,
        batch: usize,
        inputs: Inputs,
        bottom: Vec<Tensor>,
        interaction: Tensor,
        top: Vec<Tensor>,
        /// The gradients of what a layer gives, above and below it.
        grads: [Tensor; 2],
        /// Of the biases of all layers, side by side.
        sums: Tensor,
        /// Where every bias is among the parameters.
        places: Tensor,
        gradients: Tensor,
    }

    /// Kept, so that their memory is.
    #[derive(Debug)]
    struct Inputs {
        parameters: Tensor,
        dense: Tensor,
        rows: Tensor,
    }

    impl Network {
        pub(super) fn has_device_step(&self) -> bool {
            let config = self.config();
            matches!(config.interaction, Interaction::Dot { .. })
                && tiling::fits(config.features(), config.dim)
        }

        fn extents(&self, batch: usize) -> Extents {
            let config = self.config();
            Extents {
                batch,
                tables: config.tables,
                dim: config.dim,
                with_self: config.interaction == Interaction::Dot { with_self: true },
            }
        }
    }

    /// Columns of the sums of all biases.
    fn biases(network: &Network) -> usize {
        let layers = network.layout().bottom.iter().chain(&network.layout().top);
        layers.map(|layer| layer.outputs).sum()
    }

    impl Memory {
        /// The memory for a batch, made where there is none for it.
        pub(super) fn of<'a>(
            kept: &'a mut Option<Self>,
            network: &Network,
            parameters: &Tensor,
            dense: &Tensor,
            rows: &Tensor,
        ) -> Result<&'a mut Self> {
            let config = network.config();
            let batch = match *dense.dims() {
                [batch, features] if features == config.dense_features() && batch > 0 => batch,
                ref found => bail!(
                    "dense features of shape {found:?}, but the network takes [batch, {}]",
                    config.dense_features()
                ),
            };
            if rows.dims() != [batch, config.tables, config.dim] {
                bail!(
                    "rows of shape {:?}, but the network takes [{batch}, {}, {}]",
                    rows.dims(),
                    config.tables,
                    config.dim
                );
            }
            if parameters.dims() != [network.layout().parameters] {
                bail!("parameters of shape {:?}", parameters.dims());
            }
            let device = parameters.device();
            if !(dense.device().same_device(device) && rows.device().same_device(device)) {
                bail!("parameters, dense features and rows are on different devices");
            }
            let inputs = Inputs {
                parameters: parameters.detach(),
                dense: dense.detach(),
                rows: rows.detach(),
            };
            let fits = |memory: &&mut Self| {
                memory.most >= batch
                    && memory.config == *config
                    && memory.device.same_device(device)
            };
            if kept.as_mut().filter(fits).is_none() {
                *kept = Some(Self::new(network, batch, inputs)?);
            } else if let Some(memory) = kept {
                (memory.batch, memory.inputs) = (batch, inputs);
            }
            match kept {
                Some(memory) => Ok(memory),
                None => bail!("no memory"),
            }
        }

        fn new(network: &Network, batch: usize, inputs: Inputs) -> Result<Self> {
            let device = inputs.parameters.device().clone();
            let (config, layout) = (network.config(), network.layout());
            let floats = |count: usize| Tensor::zeros(count, DType::F32, &device);
            let outputs = |layers: &[Layer]| -> Result<Vec<Tensor>> {
                let outputs = layers.iter().map(|layer| floats(batch * layer.outputs));
                outputs.collect()
            };
            let layers = || layout.bottom.iter().chain(&layout.top);
            let widest = layers().map(|layer| layer.inputs.max(layer.outputs)).max();
            let widest = batch * widest.unwrap_or(1);
            let places: Vec<u32> = layers()
                .flat_map(|layer| layer.bias.clone())
                .map(|place| place as u32)
                .collect();
            Ok(Self {
                most: batch,
                batch,
                bottom: outputs(&layout.bottom)?,
                interaction: floats(batch * config.interaction_width())?,
                top: outputs(&layout.top)?,
                grads: [floats(widest)?, floats(widest)?],
                sums: floats(bias::partial_sums(batch) * places.len())?,
                places: Tensor::new(places, &device)?,
                gradients: floats(layout.parameters)?,
                config: config.clone(),
                inputs,
                device,
            })
        }

        /// Where the gradients are: made anew, all memory is.
        pub(super) fn number_for(&self, batch: usize) -> Option<u64> {
            (self.most >= batch).then(|| address(&self.gradients).ok())?
        }

        pub(super) fn forward(&self, network: &Network) -> Result<Tensor> {
            let device = self.device.as_cuda_device()?;
            let (layout, extents) = (network.layout(), network.extents(self.batch));
            let weights = address(&self.inputs.parameters)?;
            let mut x = address(&self.inputs.dense)?;
            let run = |layers: &[Layer], outputs: &[Tensor], mut x: u64| -> Result<u64> {
                for (layer, y) in layers.iter().zip(outputs) {
                    let y = address(y)?;
                    // SAFETY: `Memory::of` has checked the inputs; every other buffer has room for the batch.
                    unsafe { forward(device, layer, self.batch, weights, x, y)? };
                    x = y;
                }
                Ok(x)
            };
            x = run(&layout.bottom, &self.bottom, x)?;
            let (rows, products) = (address(&self.inputs.rows)?, address(&self.interaction)?);
            // SAFETY: as above.
            unsafe { interaction::launch_forward(device, extents, [x, rows, products])? };
            run(&layout.top, &self.top, products)?;
            let outputs = self.config.output_width();
            match self.top.last() {
                Some(output) => output
                    .narrow(0, 0, self.batch * outputs)?
                    .reshape((self.batch, outputs)),
                None => bail!("a top of no layers"),
            }
        }

        /// The gradients of all parameters.
        pub(super) fn backward(
            &self,
            network: &Network,
            output_grad: &Tensor,
            rows_grad: &Tensor,
        ) -> Result<Tensor> {
            let device = self.device.as_cuda_device()?;
            let (layout, extents) = (network.layout(), network.extents(self.batch));
            let outputs = self.batch * self.config.output_width();
            let here = |tensor: &Tensor| tensor.device().same_device(&self.device);
            if output_grad.elem_count() != outputs
                || rows_grad.dims() != self.inputs.rows.dims()
                || !(here(output_grad) && here(rows_grad))
            {
                bail!(
                    "gradients of shapes {:?} on {:?} and {:?} on {:?}",
                    output_grad.dims(),
                    output_grad.device().location(),
                    rows_grad.dims(),
                    rows_grad.device().location()
                );
            }
            let [above, below] = [address(&self.grads[0])?, address(&self.grads[1])?];
            let mut chain = Chain {
                device,
                batch: self.batch,
                weights: address(&self.inputs.parameters)?,
                gradients: address(&self.gradients)?,
                sums: address(&self.sums)?,
                stride: biases(network),
                column: biases(network),
                grad: address(output_grad)?,
                // What is not ours stays as it is.
                masked: above,
                free: below,
            };
            let products = address(&self.interaction)?;
            // SAFETY: `Memory::of` and the lines above have checked what is not of this memory; all of it has room for the batch.
            unsafe {
                chain.run(&layout.top, products, &self.top, true)?;
                let bottom = match self.bottom.last() {
                    Some(bottom) => address(bottom)?,
                    None => bail!("a bottom of no layers"),
                };
                let rows = [&self.inputs.rows, rows_grad];
                let [rows, rows_grad] = [address(rows[0])?, address(rows[1])?];
                let addresses = [bottom, rows, chain.grad, chain.free, rows_grad];
                interaction::launch_backward(device, extents, addresses)?;
                chain.turn();
                let dense = address(&self.inputs.dense)?;
                chain.run(&layout.bottom, dense, &self.bottom, false)?;
                let count = bias::partial_sums(self.batch);
                let sums = [chain.sums, chain.gradients, address(&self.places)?];
                bias::launch_sums(device, (count, chain.stride), sums)?;
            }
            Ok(self.gradients.clone())
        }
    }

    const FLOAT: u64 = size_of::<f32>() as u64;

    /// Layers backward, from the last.
    struct Chain<'a> {
        device: &'a CudaDevice,
        batch: usize,
        weights: u64,
        gradients: u64,
        sums: u64,
        /// Columns of the sums, and the first of the layer that was last.
        stride: usize,
        column: usize,
        /// The gradient of what the next layer has given.
        grad: u64,
        /// Where it goes when the activation is taken out of it: mostly, where it is.
        masked: u64,
        free: u64,
    }

    impl Chain<'_> {
        /// Goes on with the gradient that was written to the free buffer.
        fn turn(&mut self) {
            let free = self.masked;
            (self.grad, self.masked, self.free) = (self.free, self.free, free);
        }

        /// # Safety
        /// All addresses are of as many values on the device as the layers and the batch say.
        unsafe fn run(
            &mut self,
            layers: &[Layer],
            input: u64,
            outputs: &[Tensor],
            want_input: bool,
        ) -> Result<()> {
            for (k, (layer, y)) in layers.iter().zip(outputs).enumerate().rev() {
                let x = if k == 0 {
                    input
                } else {
                    address(&outputs[k - 1])?
                };
                self.column -= layer.outputs;
                let sums = self.sums + self.column as u64 * FLOAT;
                let size = (self.batch, layer.outputs);
                let values = [address(y)?, self.grad, self.masked];
                // SAFETY: the caller vouches for the memory.
                unsafe {
                    bias::launch_backward(
                        self.device,
                        layer.activation(),
                        size,
                        values,
                        (sums, self.stride),
                    )?;
                }
                let grad = if layer.relu { self.masked } else { self.grad };
                let (batch, inputs, outputs) = (self.batch, layer.inputs, layer.outputs);
                let weight = layer.weight.start as u64 * FLOAT;
                // SAFETY: as above.
                unsafe {
                    // The gradient of the weight, `[outputs, inputs]`: grad' x.
                    product(
                        self.device,
                        (inputs, outputs, batch),
                        (x, false),
                        (grad, true),
                        self.gradients + weight,
                    )?;
                    if k > 0 || want_input {
                        // That of x: grad · weight.
                        product(
                            self.device,
                            (inputs, batch, outputs),
                            (self.weights + weight, false),
                            (grad, false),
                            self.free,
                        )?;
                        self.turn();
                    }
                }
            }
            Ok(())
        }
    }

    /// `y = activation(x weight' + bias)`.
    ///
    /// # Safety
    /// All addresses are of as many values on the device as the layer and the batch say.
    unsafe fn forward(
        device: &CudaDevice,
        layer: &Layer,
        batch: usize,
        weights: u64,
        x: u64,
        y: u64,
    ) -> Result<()> {
        let (inputs, outputs) = (layer.inputs, layer.outputs);
        let weight = weights + layer.weight.start as u64 * FLOAT;
        let shift = weights + layer.bias.start as u64 * FLOAT;
        // SAFETY: the caller vouches for the memory.
        unsafe {
            product(
                device,
                (outputs, batch, inputs),
                (weight, true),
                (x, false),
                y,
            )?;
            bias::launch_forward(device, layer.activation(), (batch, outputs), [y, shift, y])
        }
    }

    /// `c = a b` for matrices whose columns lie behind each other, `[m, k]` and `[k, n]`; one that is transposed lies as its transpose.
    ///
    /// # Safety
    /// The addresses are of so many values on the device.
    unsafe fn product(
        device: &CudaDevice,
        (m, n, k): (usize, usize, usize),
        (a, a_transposed): (u64, bool),
        (b, b_transposed): (u64, bool),
        c: u64,
    ) -> Result<()> {
        use candle_core::cuda::WrapErr;

        let operation = |transposed| match transposed {
            true => sys::cublasOperation_t::CUBLAS_OP_T,
            false => sys::cublasOperation_t::CUBLAS_OP_N,
        };
        let (one, zero) = (1f32, 0f32);
        let float = sys::cudaDataType::CUDA_R_32F;
        let length = |extent: usize| i32::try_from(extent).map_err(candle_core::Error::wrap);
        let [rows, columns, depth] = [length(m)?, length(n)?, length(k)?];
        let compute = match candle_core::cuda::gemm_reduced_precision_f32() {
            true => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            false => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        let blas = device.cublas_handle();
        // SAFETY: the caller vouches for the memory; distances of columns are the matrices' own.
        unsafe {
            gemm_ex(
                *blas.handle(),
                operation(a_transposed),
                operation(b_transposed),
                rows,
                columns,
                depth,
                (&raw const one).cast(),
                a as *const _,
                float,
                if a_transposed { depth } else { rows },
                b as *const _,
                float,
                if b_transposed { columns } else { depth },
                (&raw const zero).cast(),
                c as *mut _,
                float,
                rows,
                compute,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .w()
    }
}
