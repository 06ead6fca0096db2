//! Training steps of the network on an NVIDIA device, in memory that is kept from step to step.

use candle_core::Tensor;

use crate::Network;
#[cfg(feature = "cuda")]
use memory::Work;

/// Memory of a training step on an NVIDIA device. Nothing is allocated once the largest batch has
/// been seen, and where the layers of [`Network::forward_layers`] launch kernels for each tensor
/// operation, here are those that the arithmetic needs.
#[derive(Debug, Default)]
pub struct DevicePass {
    #[cfg(feature = "cuda")]
    memory: Option<recsys_model::device::StepMemory<crate::DlrmConfig, Work>>,
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
    /// A training step on an NVIDIA device: calls `loss` with the output, `[batch, outputs]`, which
    /// stays until the next step and gives the gradient of the output; writes the gradient of
    /// the rows into `rows_grad`, which is like `rows`; returns that of all parameters, flat,
    /// which stays until the next step too. `None`, and nothing is done, where this network has no
    /// such step: its device is another, it concatenates, or its features do not fit a block's
    /// shared memory.
    ///
    /// # Shapes
    /// `parameters` flat, `dense [batch, dense features]`, `rows [batch, tables, dim]`, contiguous
    /// f32 on one device.
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
        if parameters.device().is_cuda() && crate::device_tower::DeviceTower::takes(self.config()) {
            let memory = Work::fit(&mut pass.memory, self, [parameters, dense, rows])?;
            let (work, inputs) = (&memory.work, &memory.inputs);
            let outputs = self.config().output_width();
            let output = work.forward(inputs, outputs)?;
            let grad = loss(&output)?.contiguous()?;
            inputs.check_gradients(&grad, outputs, rows_grad)?;
            return Ok(Some(work.backward(inputs, &grad, rows_grad)?));
        }
        let _ = (parameters, dense, rows, rows_grad, pass, loss);
        Ok(None)
    }
}

#[cfg(feature = "cuda")]
mod memory {
    use candle_core::{DType, Result, Tensor};
    use recsys_device::launch::address;
    use recsys_model::device::{BiasSums, DeviceLayer, Inputs, Places, Step, StepMemory};

    use crate::device_tower::DeviceTower;
    use crate::layout::Layer;
    use crate::{DlrmConfig, Network};

    /// Where a step works.
    #[derive(Debug)]
    pub(super) struct Work {
        tower: DeviceTower,
        biases: BiasSums,
        /// Gradients of what a layer gives, in turns.
        buffers: [Tensor; 2],
        gradients: Tensor,
    }

    impl Layer {
        fn on_device(&self) -> DeviceLayer {
            DeviceLayer {
                inputs: self.inputs,
                outputs: self.outputs,
                weight: self.weight.start,
                transposed: false,
                end: Some((self.bias.start, self.activation())),
            }
        }
    }

    impl Work {
        pub(super) fn fit<'a>(
            kept: &'a mut Option<StepMemory<DlrmConfig, Self>>,
            network: &Network,
            inputs: [&Tensor; 3],
        ) -> Result<&'a StepMemory<DlrmConfig, Self>> {
            let (config, layout) = (network.config(), network.layout());
            let samples = [&[config.dense_features()][..], &[config.tables, config.dim]];
            let inputs = Inputs::new(inputs, layout.parameters, samples)?;
            StepMemory::fit(kept, config, inputs, |most, device| {
                let floats = |count: usize| Tensor::zeros(count, DType::F32, device);
                let mut places = Places::default();
                let [bottom, top] =
                    [&layout.bottom, &layout.top].map(|layers| layers.iter().map(Layer::on_device));
                let tower = DeviceTower::new(config, bottom, top, most, &mut places, device)?;
                let widest = most * tower.widest();
                Ok(Self {
                    tower,
                    biases: BiasSums::new(places, most, device)?,
                    buffers: [floats(widest)?, floats(widest)?],
                    gradients: floats(layout.parameters)?,
                })
            })
        }

        fn step<'a>(&'a self, inputs: &'a Inputs) -> Result<Step<'a>> {
            Ok(Step {
                device: inputs.parameters.device().as_cuda_device()?,
                samples: inputs.batch,
                parameters: address(&inputs.parameters)?,
                gradients: address(&self.gradients)?,
                biases: &self.biases,
            })
        }

        pub(super) fn forward(&self, inputs: &Inputs, outputs: usize) -> Result<Tensor> {
            let [dense, rows] = [address(&inputs.dense)?, address(&inputs.rows)?];
            // SAFETY: `Inputs::new` has checked the shapes, and the memory was made for as many
            // samples.
            unsafe { self.tower.forward(&self.step(inputs)?, dense, rows)? };
            let output = self.tower.output()?;
            output
                .narrow(0, 0, inputs.batch * outputs)?
                .reshape((inputs.batch, outputs))
        }

        /// The gradients of all parameters.
        pub(super) fn backward(
            &self,
            inputs: &Inputs,
            output_grad: &Tensor,
            rows_grad: &Tensor,
        ) -> Result<Tensor> {
            let step = self.step(inputs)?;
            let (dense, grad) = (address(&inputs.dense)?, address(output_grad)?);
            let rows = [address(&inputs.rows)?, address(rows_grad)?];
            let buffers = [address(&self.buffers[0])?, address(&self.buffers[1])?];
            // SAFETY: as in `forward`; the caller has checked the gradients.
            unsafe {
                self.tower.backward(&step, dense, rows, grad, buffers)?;
                self.biases.add_up(&step)?;
            }
            Ok(self.gradients.clone())
        }
    }
}
