//! What a training step on an NVIDIA device reads, and the memory that it keeps for the next one.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{DType, Device, Result, Tensor, bail};

/// What a step reads. Held, so that its memory is.
#[derive(Debug)]
pub struct Inputs {
    /// Flat.
    pub parameters: Tensor,
    /// `[batch, …]`.
    pub dense: Tensor,
    /// `[batch, …]`.
    pub rows: Tensor,
    /// Samples.
    pub batch: usize,
}

impl Inputs {
    /// Checks `parameters` against their number, and dense features and rows against the shapes
    /// that a sample has in them.
    ///
    /// # Errors
    /// Other shapes or elements than these, an empty batch, or tensors on different devices.
    pub fn new(
        [parameters, dense, rows]: [&Tensor; 3],
        count: usize,
        [dense_sample, rows_sample]: [&[usize]; 2],
    ) -> Result<Self> {
        let batch = dense.dims().first().copied().unwrap_or(0);
        for (what, tensor, sample) in [
            ("dense features", dense, dense_sample),
            ("rows", rows, rows_sample),
        ] {
            if batch == 0 || tensor.dims().split_first() != Some((&batch, sample)) {
                bail!(
                    "{what} of shape {:?}, but the network takes a batch of {sample:?}",
                    tensor.dims()
                );
            }
        }
        if parameters.dims() != [count] {
            bail!(
                "parameters of shape {:?}, but the network has {count}, flat",
                parameters.dims()
            );
        }
        for tensor in [parameters, dense, rows] {
            if tensor.dtype() != DType::F32 {
                bail!("a step takes f32, not {:?}", tensor.dtype());
            }
            if !tensor.device().same_device(parameters.device()) {
                bail!("parameters, dense features and rows are on different devices");
            }
        }
        Ok(Self {
            parameters: parameters.detach(),
            dense: dense.detach(),
            rows: rows.detach(),
            batch,
        })
    }

    /// Checks the gradient of the output, of `outputs` values a sample, and what that of the rows
    /// goes to.
    ///
    /// # Errors
    /// Other sizes than the step's, or another device.
    pub fn check_gradients(
        &self,
        output_grad: &Tensor,
        outputs: usize,
        rows_grad: &Tensor,
    ) -> Result<()> {
        let fits = |tensor: &Tensor| {
            tensor.dtype() == DType::F32 && tensor.device().same_device(self.parameters.device())
        };
        if output_grad.elem_count() != self.batch * outputs
            || rows_grad.dims() != self.rows.dims()
            || !(fits(output_grad) && fits(rows_grad))
        {
            bail!(
                "gradients of shapes {:?} on {:?} and {:?} on {:?}",
                output_grad.dims(),
                output_grad.device().location(),
                rows_grad.dims(),
                rows_grad.device().location()
            );
        }
        Ok(())
    }
}

/// Memory for the steps of one network, made anew where a batch is larger than all before it.
#[derive(Debug)]
pub struct StepMemory<C, M> {
    config: C,
    device: Device,
    most: usize,
    number: u64,
    /// What the running step reads.
    pub inputs: Inputs,
    /// Where it works.
    pub work: M,
}

/// Memories made so far. An address would not do as a number: it comes back once its memory is
/// freed.
static MADE: AtomicU64 = AtomicU64::new(0);

impl<C: Clone + PartialEq, M> StepMemory<C, M> {
    /// The memory for a step of the network of a configuration; `make` is told the samples that it
    /// must have room for.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn fit<'a>(
        kept: &'a mut Option<Self>,
        config: &C,
        inputs: Inputs,
        make: impl FnOnce(usize, &Device) -> Result<M>,
    ) -> Result<&'a Self> {
        let fits = |memory: &Self| {
            memory.most >= inputs.batch
                && memory.config == *config
                && memory.device.same_device(inputs.parameters.device())
        };
        // What does not fit goes before the next is made.
        let memory = match kept.take().filter(fits) {
            Some(memory) => Self { inputs, ..memory },
            None => {
                let device = inputs.parameters.device().clone();
                let most = inputs.batch;
                let work = make(most, &device)?;
                Self {
                    config: config.clone(),
                    device,
                    most,
                    number: MADE.fetch_add(1, Ordering::Relaxed),
                    inputs,
                    work,
                }
            }
        };
        Ok(kept.insert(memory))
    }

    /// A number of the memory, where steps of so many samples run in what there is.
    pub fn number_for(&self, batch: usize) -> Option<u64> {
        (self.most >= batch).then_some(self.number)
    }
}
