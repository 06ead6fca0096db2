//! A whole network as one differentiable candle operator.
//!
//! candle's autograd zero-fills a tensor and adds to it on every edge, on one thread; a graph of
//! the network has about forty edges, this operator three.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};
use recsys_device::{contiguous, read_slices};

/// A network on plain slices that can stand in a candle graph.
pub trait Engine: Send + Sync + 'static {
    /// The workspaces of one forward and backward pass.
    type Pass: Default + Send + 'static;
    /// What the engine answers where arguments do not fit.
    type Error: std::error::Error + Send + Sync + 'static;
    /// The operator's name in messages.
    const NAME: &'static str;

    /// The shape of the output for a batch.
    fn output_shape(&self, batch: usize) -> Shape;

    /// The output, and in `pass` what backward needs.
    ///
    /// # Errors
    /// When a slice has the wrong length or the batch is empty.
    fn forward(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        pass: &mut Self::Pass,
        output: &mut [f32],
    ) -> Result<(), Self::Error>;

    /// The output alone.
    ///
    /// # Errors
    /// When a slice has the wrong length or the batch is empty.
    fn infer(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        pass: &mut Self::Pass,
        output: &mut [f32],
    ) -> Result<(), Self::Error>;

    /// The gradients of `rows`, if wanted that of `dense`, and in `pass` those of the
    /// parameters.
    ///
    /// # Errors
    /// When a slice has the wrong length, or `pass` does not hold the forward pass of this batch.
    fn backward(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        output_grad: &[f32],
        pass: &mut Self::Pass,
        rows_grad: &mut [f32],
        dense_grad: Option<&mut [f32]>,
    ) -> Result<(), Self::Error>;

    /// Flat parameter gradients whose sum, in this order, is the gradient of the last backward
    /// pass.
    fn gradients(pass: &Self::Pass) -> impl ExactSizeIterator<Item = &[f32]>;
}

/// Passes that no operator holds, shared by a model and its operators.
#[derive(Debug)]
pub struct PassPool<P>(Arc<Mutex<Vec<P>>>);

impl<P> Default for PassPool<P> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<P> Clone for PassPool<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Default> PassPool<P> {
    fn take(&self) -> P {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default()
    }

    fn give_back(&self, pass: P) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pass);
    }
}

/// `(parameters, dense, rows) -> output`, to be applied with candle's `apply_op3` to contiguous
/// tensors on the CPU. One operator belongs to one forward pass: it keeps that pass's activations,
/// so that a second forward before backward disturbs nothing, and gives the workspace back after
/// backward or, where none comes, when the graph is dropped.
#[derive(Debug)]
pub struct EngineOp<E: Engine> {
    network: Arc<E>,
    pool: PassPool<E::Pass>,
    /// Whether a backward pass can follow.
    keep: bool,
    pass: Mutex<Option<E::Pass>>,
}

impl<E: Engine> EngineOp<E> {
    /// An operator for one forward pass; without `keep`, for one that no backward pass follows.
    pub fn new(network: Arc<E>, pool: PassPool<E::Pass>, keep: bool) -> Self {
        Self {
            network,
            pool,
            keep,
            pass: Mutex::new(None),
        }
    }

    fn take_pass(&self) -> Option<E::Pass> {
        self.pass
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl<E: Engine> Drop for EngineOp<E> {
    fn drop(&mut self) {
        if let Some(pass) = self.take_pass() {
            self.pool.give_back(pass);
        }
    }
}

/// The sum of all slices of the parameter gradient, in their order.
fn sum_gradients<E: Engine>(pass: &E::Pass) -> Vec<f32> {
    let mut sum = Vec::new();
    for (k, gradients) in E::gradients(pass).enumerate() {
        if k == 0 {
            sum.extend_from_slice(gradients);
        } else {
            sum.iter_mut()
                .zip(gradients)
                .for_each(|(sum, gradient)| *sum += gradient);
        }
    }
    sum
}

impl<E: Engine> CustomOp3 for EngineOp<E> {
    fn name(&self) -> &'static str {
        E::NAME
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
        let shape = self.network.output_shape(dense_layout.dims()[0]);
        let mut output = vec![0.0f32; shape.elem_count()];
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
        let result = read_slices(
            [parameters, dense, rows, &output_grad],
            |[parameters, dense, rows, output_grad]| -> candle_core::Result<()> {
                if repeated {
                    // The graph is walked a second time and the workspace is already back in the
                    // pool.
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
        let gradient = match parameters.track_op() {
            true => sum_gradients::<E>(&pass),
            false => Vec::new(),
        };
        self.pool.give_back(pass);
        result.map_err(candle_core::Error::wrap)??;
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
