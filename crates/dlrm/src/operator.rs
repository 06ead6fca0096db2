//! The whole network as one differentiable candle operator.
//!
//! candle's autograd zero-fills a tensor and adds to it on every edge, on one thread; a graph of the network has about
//! forty edges, this operator three.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Storage, Tensor};

use crate::{Network, Pass};

/// Passes that no operator holds, shared by a model and its operators.
#[derive(Debug, Clone, Default)]
pub(crate) struct PassPool(Arc<Mutex<Vec<Pass>>>);

impl PassPool {
    pub(crate) fn take(&self) -> Pass {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default()
    }

    pub(crate) fn give_back(&self, pass: Pass) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pass);
    }
}

/// `(parameters, dense, rows) -> output`. One operator belongs to one forward pass: it keeps that pass's activations,
/// so that a second forward before backward disturbs nothing, and gives the workspace back after backward or, where
/// none comes, when the graph is dropped.
pub(crate) struct NetworkOp {
    network: Arc<Network>,
    pool: PassPool,
    /// Whether a backward pass can follow.
    keep: bool,
    pass: Mutex<Option<Pass>>,
}

impl NetworkOp {
    pub(crate) fn new(network: Arc<Network>, pool: PassPool, keep: bool) -> Self {
        Self {
            network,
            pool,
            keep,
            pass: Mutex::new(None),
        }
    }

    fn take_pass(&self) -> Option<Pass> {
        self.pass
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Drop for NetworkOp {
    fn drop(&mut self) {
        if let Some(pass) = self.take_pass() {
            self.pool.give_back(pass);
        }
    }
}

fn contiguous<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
    what: &str,
) -> candle_core::Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("dlrm: {what} must be contiguous"),
    }
}

/// Calls `with` on the values of contiguous CPU tensors.
fn read<const N: usize, R>(
    tensors: [&Tensor; N],
    with: impl FnOnce([&[f32]; N]) -> candle_core::Result<R>,
) -> candle_core::Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        match &**storage {
            Storage::Cpu(storage) => *slice = contiguous(storage, layout, "an argument")?,
            _ => candle_core::bail!("dlrm: the fused operator runs on the CPU alone"),
        }
    }
    with(slices)
}

impl CustomOp3 for NetworkOp {
    fn name(&self) -> &'static str {
        "dlrm"
    }

    fn cpu_fwd(
        &self,
        parameters: &CpuStorage,
        parameters_layout: &Layout,
        dense: &CpuStorage,
        dense_layout: &Layout,
        rows: &CpuStorage,
        rows_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let parameters = contiguous(parameters, parameters_layout, "parameters")?;
        let dense = contiguous(dense, dense_layout, "dense")?;
        let rows = contiguous(rows, rows_layout, "rows")?;
        let (batch, outputs) = (dense_layout.dims()[0], self.network.config().output_width());
        let mut output = vec![0.0f32; batch * outputs];
        let mut pass = self.pool.take();
        let result = if self.keep {
            self.network
                .forward(parameters, dense, rows, &mut pass, &mut output)
        } else {
            self.network
                .infer(parameters, dense, rows, &mut pass, &mut output)
        };
        if self.keep && result.is_ok() {
            *self.pass.lock().unwrap_or_else(PoisonError::into_inner) = Some(pass);
        } else {
            self.pool.give_back(pass);
        }
        result.map_err(candle_core::Error::wrap)?;
        let shape = if outputs == 1 {
            Shape::from(batch)
        } else {
            Shape::from((batch, outputs))
        };
        Ok((CpuStorage::F32(output), shape))
    }

    fn bwd(
        &self,
        parameters: &Tensor,
        dense: &Tensor,
        rows: &Tensor,
        output: &Tensor,
        output_grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let output_grad = output_grad.contiguous()?;
        let held = self.take_pass();
        let repeated = held.is_none();
        let mut pass = held.unwrap_or_else(|| self.pool.take());
        let mut rows_grad = vec![0.0f32; rows.elem_count()];
        let mut dense_grad = dense.track_op().then(|| vec![0.0f32; dense.elem_count()]);
        let result = read(
            [parameters, dense, rows, &output_grad],
            |[parameters, dense, rows, output_grad]| {
                if repeated {
                    // The graph is walked a second time and the workspace is already back in the pool.
                    let mut again = vec![0.0f32; output.elem_count()];
                    self.network
                        .forward(parameters, dense, rows, &mut pass, &mut again)
                        .map_err(candle_core::Error::wrap)?;
                }
                self.network
                    .backward(
                        parameters,
                        dense,
                        rows,
                        output_grad,
                        &mut pass,
                        &mut rows_grad,
                        dense_grad.as_deref_mut(),
                    )
                    .map_err(candle_core::Error::wrap)
            },
        );
        let mut gradient = Vec::new();
        if parameters.track_op() {
            pass.sum_gradients(&mut gradient);
        }
        self.pool.give_back(pass);
        result?;
        let device = output_grad.device();
        let parameters_grad = match parameters.track_op() {
            true => Some(Tensor::from_vec(gradient, parameters.shape(), device)?),
            false => None,
        };
        let dense_grad = dense_grad
            .map(|grad| Tensor::from_vec(grad, dense.shape(), device))
            .transpose()?;
        let rows_grad = match rows.track_op() {
            true => Some(Tensor::from_vec(rows_grad, rows.shape(), device)?),
            false => None,
        };
        Ok((parameters_grad, dense_grad, rows_grad))
    }
}
