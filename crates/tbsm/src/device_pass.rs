//! Training steps of the network on an NVIDIA device, in memory that is kept from step to step.

use candle_core::Tensor;

use crate::Network;
#[cfg(feature = "cuda")]
use memory::Work;

/// Memory of a training step on an NVIDIA device. Nothing is allocated once the largest batch has
/// been seen, and where [`Tbsm::forward`](crate::Tbsm::forward) is a graph of operators, here are
/// the kernels that the arithmetic needs.
#[derive(Debug, Default)]
pub struct DevicePass {
    #[cfg(feature = "cuda")]
    memory: Option<recsys_model::device::StepMemory<crate::TbsmConfig, Work>>,
}

impl DevicePass {
    /// A number of the memory, where steps of so many sequences run in what there is.
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
    /// A training step on an NVIDIA device: calls `loss` with the logits, `[batch]`, which stay
    /// until the next step and give their gradient; writes the gradient of the rows into
    /// `rows_grad`, which is like `rows`; returns that of all parameters, flat, which
    /// stays until the next step too. `None`, and nothing is done, where this network has no such
    /// step: its device is another, its sequence layer is not the time-series layer, its tower
    /// concatenates, or the tower's features do not fit a block's shared memory.
    ///
    /// # Shapes
    /// `parameters` flat, `dense [batch, positions, dense features]`, `rows [batch, positions,
    /// tables, dim]`, contiguous f32 on one device.
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
        if let (true, crate::layout::Sequence::Tsl(attention), true) = (
            parameters.device().is_cuda(),
            &self.layout().sequence,
            dlrm::parts::DeviceTower::takes(&self.config().tower),
        ) {
            let inputs = [parameters, dense, rows];
            let memory = Work::fit(&mut pass.memory, self, attention, inputs)?;
            let (work, inputs) = (&memory.work, &memory.inputs);
            let logits = work.forward(inputs)?;
            let grad = loss(&logits)?.contiguous()?;
            inputs.check_gradients(&grad, 1, rows_grad)?;
            return Ok(Some(work.backward(inputs, &grad, rows_grad)?));
        }
        let _ = (parameters, dense, rows, rows_grad, pass, loss);
        Ok(None)
    }
}

#[cfg(feature = "cuda")]
mod memory {
    use candle_core::{DType, Device, Result, Tensor};
    use dlrm::parts::DeviceTower;
    use recsys_device::launch::address;
    use recsys_model::device::{
        BiasSums, DeviceLayer, DeviceMatrix, Inputs, Layers, Places, Step, StepMemory, behind,
    };

    use crate::attention::Attention;
    use crate::extents::{Extents, Seen};
    use crate::linear::{Activation, Linear};
    use crate::sequence_kernels::{normalise, normalise_backward};
    use crate::{Network, TbsmConfig};

    /// Where a step works.
    #[derive(Debug)]
    pub(super) struct Work {
        positions: usize,
        width: usize,
        /// Runs on all positions of all sequences as one batch.
        tower: DeviceTower,
        tower_biases: BiasSums,
        /// Gradients of what a layer of the tower gives, in turns.
        tower_buffers: [Tensor; 2],
        /// The vectors divided by their lengths, where they are.
        units: Option<Tensor>,
        heads: Vec<Head>,
        /// The heads' outputs, `[heads, most]`, and their gradients.
        outputs: Ends,
        /// The final MLP over several heads.
        final_mlp: Layers,
        /// Of everything behind the tower.
        biases: BiasSums,
        /// Gradients of what a layer behind the tower gives, in turns.
        buffers: [Tensor; 2],
        joined_grad: Tensor,
        a_grad: Tensor,
        candidate_grad: Tensor,
        gradients: Tensor,
    }

    /// One head of the time-series layer and its MLP.
    #[derive(Debug)]
    struct Head {
        seen: Seen,
        inner: Layers,
        a: Tensor,
        mlp: Layers,
        /// Context and candidate.
        joined: Tensor,
        head: Layers,
    }

    /// The outputs of the heads: those of a head one behind the other, so that to the final MLP
    /// they are columns.
    #[derive(Debug)]
    struct Ends {
        most: usize,
        values: Tensor,
        grads: Tensor,
    }

    impl Ends {
        fn of(&self, values: &Tensor, head: usize) -> Result<Tensor> {
            values.narrow(0, head * self.most, self.most)
        }

        /// `[samples, heads]`.
        fn columns(&self, values: &Tensor) -> Result<DeviceMatrix> {
            Ok(DeviceMatrix::rows(address(values)?, self.most).t())
        }
    }

    impl Linear {
        fn on_device(&self) -> DeviceLayer {
            let activation = match self.activation {
                Activation::None => recsys_model::Activation::None,
                Activation::Relu => recsys_model::Activation::Relu,
                Activation::Sigmoid => recsys_model::Activation::Sigmoid,
            };
            DeviceLayer {
                inputs: self.inputs,
                outputs: self.outputs,
                weight: self.weight,
                transposed: self.transposed,
                end: self.bias.map(|bias| (bias, activation)),
            }
        }
    }

    impl Work {
        pub(super) fn fit<'a>(
            kept: &'a mut Option<StepMemory<TbsmConfig, Self>>,
            network: &Network,
            attention: &[Attention],
            inputs: [&Tensor; 3],
        ) -> Result<&'a StepMemory<TbsmConfig, Self>> {
            let config = network.config();
            let (tower, positions) = (&config.tower, config.positions());
            let dense = [positions, tower.dense_features()];
            let rows = [positions, tower.tables, tower.dim];
            let inputs = Inputs::new(inputs, network.parameter_count(), [&dense, &rows])?;
            StepMemory::fit(kept, config, inputs, |most, device| {
                Self::new(network, attention, most, device)
            })
        }

        fn new(
            network: &Network,
            attention: &[Attention],
            most: usize,
            device: &Device,
        ) -> Result<Self> {
            let (config, layout) = (network.config(), network.layout());
            let (positions, width) = (config.positions(), config.vector_width());
            let floats = |count: usize| Tensor::zeros(count, DType::F32, device);
            let vectors = most * positions;
            let mut places = Places::default();
            let [bottom, top] =
                [&layout.bottom, &layout.top].map(|layers| layers.iter().map(Linear::on_device));
            let tower = DeviceTower::new(&config.tower, bottom, top, vectors, &mut places, device)?;
            let tower_biases = BiasSums::new(places, vectors, device)?;
            let mut places = Places::default();
            let mut layers = |maps: &[Linear]| {
                Layers::new(
                    maps.iter().map(Linear::on_device),
                    most,
                    &mut places,
                    device,
                )
            };
            let outputs = Ends {
                most,
                values: floats(layout.heads.len() * most)?,
                grads: floats(layout.heads.len() * most)?,
            };
            let mut heads = Vec::with_capacity(layout.heads.len());
            for (h, (attention, head)) in attention.iter().zip(&layout.heads).enumerate() {
                let span = attention.span;
                let mut made = Head {
                    seen: Seen {
                        positions,
                        first: config.history - span,
                        span,
                    },
                    inner: layers(&attention.inner)?,
                    a: floats(most * span)?,
                    mlp: layers(&attention.mlp)?,
                    joined: floats(most * 2 * width)?,
                    head: layers(head)?,
                };
                made.head.end_in(outputs.of(&outputs.values, h)?);
                heads.push(made);
            }
            let final_mlp = layers(&layout.last)?;
            let widest = heads
                .iter()
                .flat_map(|head| [&head.inner, &head.mlp, &head.head])
                .chain([&final_mlp])
                .map(Layers::widest);
            let widest = most * widest.fold(config.history.max(width), usize::max);
            let tower_widest = vectors * tower.widest();
            Ok(Self {
                positions,
                width,
                tower,
                tower_biases,
                tower_buffers: [floats(tower_widest)?, floats(tower_widest)?],
                units: match config.normalise {
                    true => Some(floats(vectors * width)?),
                    false => None,
                },
                heads,
                outputs,
                final_mlp,
                biases: BiasSums::new(places, most, device)?,
                buffers: [floats(widest)?, floats(widest)?],
                joined_grad: floats(most * 2 * width)?,
                a_grad: floats(most * config.history)?,
                candidate_grad: floats(most * width)?,
                gradients: floats(network.parameter_count())?,
            })
        }

        /// What the layers of the tower share, and what those behind it do.
        fn steps<'a>(&'a self, inputs: &'a Inputs) -> Result<[Step<'a>; 2]> {
            let behind = Step {
                device: inputs.parameters.device().as_cuda_device()?,
                samples: inputs.batch,
                parameters: address(&inputs.parameters)?,
                gradients: address(&self.gradients)?,
                biases: &self.biases,
            };
            let tower = Step {
                samples: inputs.batch * self.positions,
                biases: &self.tower_biases,
                ..behind
            };
            Ok([tower, behind])
        }

        /// What the heads compare: `[batch, positions, width]`.
        fn vectors(&self) -> Result<u64> {
            match &self.units {
                Some(units) => address(units),
                None => address(self.tower.output()?),
            }
        }

        /// The last vector of every sequence.
        fn candidates(&self, vectors: u64) -> DeviceMatrix {
            let first = behind(vectors, (self.positions - 1) * self.width);
            DeviceMatrix::rows(first, self.positions * self.width)
        }

        fn extents(&self, head: &Head, count: usize) -> Extents {
            Extents {
                count,
                width: self.width,
                seen: head.seen,
            }
        }

        /// The logits.
        pub(super) fn forward(&self, inputs: &Inputs) -> Result<Tensor> {
            let [tower, step] = self.steps(inputs)?;
            let (dense, rows) = (address(&inputs.dense)?, address(&inputs.rows)?);
            let (device, vectors) = (step.device, self.vectors()?);
            // SAFETY: `Inputs::new` has checked the shapes; all memory was made for as many
            // sequences.
            unsafe {
                self.tower.forward(&tower, dense, rows)?;
                if self.units.is_some() {
                    let addresses = [address(self.tower.output()?)?, vectors];
                    normalise(device, (tower.samples, self.width), addresses)?;
                }
                for head in &self.heads {
                    let extents = self.extents(head, step.samples);
                    let candidates = self.candidates(vectors);
                    head.inner.forward(&step, candidates)?;
                    let x = head.inner.output(candidates)?;
                    let a = DeviceMatrix::rows(address(&head.a)?, head.seen.span);
                    extents.compare(device, [vectors, x.address, a.address], x.distance)?;
                    head.mlp.forward(&step, a)?;
                    let y = head.mlp.output(a)?;
                    let joined = DeviceMatrix::rows(address(&head.joined)?, 2 * self.width);
                    extents.join(device, [vectors, y.address, joined.address])?;
                    head.head.forward(&step, joined)?;
                }
                let ends = self.outputs.columns(&self.outputs.values)?;
                self.final_mlp.forward(&step, ends)?;
            }
            let logits = self.final_mlp.last().unwrap_or(&self.outputs.values);
            logits.narrow(0, 0, inputs.batch)
        }

        /// The gradients of all parameters.
        pub(super) fn backward(
            &self,
            inputs: &Inputs,
            logits_grad: &Tensor,
            rows_grad: &Tensor,
        ) -> Result<Tensor> {
            let [tower, step] = self.steps(inputs)?;
            let (device, vectors) = (step.device, self.vectors()?);
            let buffers = [address(&self.buffers[0])?, address(&self.buffers[1])?];
            let tower_buffers = [
                address(&self.tower_buffers[0])?,
                address(&self.tower_buffers[1])?,
            ];
            // Where the tower takes it from: the first buffer, also where it is made from another.
            let vectors_grad = match self.units {
                Some(_) => tower_buffers[1],
                None => tower_buffers[0],
            };
            let dense = address(&inputs.dense)?;
            let rows = [address(&inputs.rows)?, address(rows_grad)?];
            let logits_grad = address(logits_grad)?;
            // SAFETY: as in `forward`; the caller has checked the gradients.
            unsafe {
                if self.final_mlp.last().is_some() {
                    let ends = self.outputs.columns(&self.outputs.values)?;
                    let into = self.outputs.columns(&self.outputs.grads)?;
                    self.final_mlp
                        .backward(&step, ends, logits_grad, buffers, Some(into))?;
                }
                for (h, head) in self.heads.iter().enumerate() {
                    let grad = match self.final_mlp.last() {
                        Some(_) => address(&self.outputs.of(&self.outputs.grads, h)?)?,
                        None => logits_grad,
                    };
                    self.backward_head(&step, head, grad, vectors, vectors_grad, h > 0)?;
                }
                if self.units.is_some() {
                    let made = address(self.tower.output()?)?;
                    let addresses = [made, vectors_grad, tower_buffers[0]];
                    normalise_backward(device, (tower.samples, self.width), addresses)?;
                }
                self.tower
                    .backward(&tower, dense, rows, tower_buffers[0], tower_buffers)?;
                self.tower_biases.add_up(&tower)?;
                self.biases.add_up(&step)?;
            }
            Ok(self.gradients.clone())
        }

        /// From `grad [samples]`, that of a head's output, those of its parameters and of the
        /// vectors.
        ///
        /// # Safety
        /// The step's inputs have been checked, its memory is this one's, and `vectors_grad` has
        /// room for all vectors.
        unsafe fn backward_head(
            &self,
            step: &Step<'_>,
            head: &Head,
            grad: u64,
            vectors: u64,
            vectors_grad: u64,
            add: bool,
        ) -> Result<()> {
            let extents = self.extents(head, step.samples);
            let buffers = [address(&self.buffers[0])?, address(&self.buffers[1])?];
            let joined = DeviceMatrix::rows(address(&head.joined)?, 2 * self.width);
            let joined_grad = DeviceMatrix::rows(address(&self.joined_grad)?, 2 * self.width);
            let a = DeviceMatrix::rows(address(&head.a)?, head.seen.span);
            let a_grad = DeviceMatrix::rows(address(&self.a_grad)?, head.seen.span);
            let y = head.mlp.output(a)?;
            let candidates = self.candidates(vectors);
            let x = head.inner.output(candidates)?;
            let candidate_grad = DeviceMatrix::rows(address(&self.candidate_grad)?, self.width);
            // Without layers between, the gradient behind them is the one in front.
            let of_y = match head.mlp.last() {
                Some(_) => buffers[0],
                None => a_grad.address,
            };
            let of_x = match head.inner.last() {
                Some(_) => buffers[0],
                None => candidate_grad.address,
            };
            // SAFETY: the caller's word; the buffers are as wide as the widest layer, the history
            // and the vectors.
            unsafe {
                head.head
                    .backward(step, joined, grad, buffers, Some(joined_grad))?;
                let context_grad = [vectors, joined_grad.address, of_y];
                extents.compare(step.device, context_grad, joined_grad.distance)?;
                head.mlp.backward(step, a, of_y, buffers, Some(a_grad))?;
                extents.weigh(step.device, [vectors, a_grad.address, of_x])?;
                head.inner
                    .backward(step, candidates, of_x, buffers, Some(candidate_grad))?;
                let addresses = [
                    y.address,
                    joined_grad.address,
                    a_grad.address,
                    x.address,
                    candidate_grad.address,
                    vectors_grad,
                ];
                extents.gradient(step.device, addresses, x.distance, add)
            }
        }
    }
}
