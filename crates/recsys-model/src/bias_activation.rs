//! Bias and activation of a fully connected layer as one differentiable candle operator: one kernel
//! forward, and backward one that masks and adds and one that adds what is left. Products stay with
//! candle's `matmul`.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use recsys_device::contiguous;

/// What a layer ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The value itself.
    None,
    /// `max(x, 0)`; its slope at 0 is 0. NaN stays NaN.
    Relu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

impl Activation {
    fn of(self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Relu if x < 0.0 => 0.0,
            Self::Relu => x,
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }

    /// The gradient in front of the activation, from the one behind it and the value that it has
    /// given.
    fn in_front(self, y: f32, y_grad: f32) -> f32 {
        match self {
            Self::None => y_grad,
            Self::Relu if y <= 0.0 => 0.0,
            Self::Relu => y_grad,
            Self::Sigmoid => y_grad * (y * (1.0 - y)),
        }
    }

    /// How the kernels call it.
    #[cfg(feature = "cuda")]
    fn code(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Relu => 1,
            Self::Sigmoid => 2,
        }
    }
}

/// Rows that one thread sums: the unit of summation, so this number changes the last bits of bias
/// gradients.
const ROWS_SUMMED: usize = 32;
/// Sums of a column that are added side by side.
const LANES: usize = 32;

/// `activation(x + bias)` for `x [rows, columns]` and `bias [columns]`, differentiable in both.
/// Sums are taken in a fixed order, the same on every device.
///
/// # Errors
/// Tensors of other shapes or of another type than F32, or a device that fails.
pub fn bias_activation(x: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    x.contiguous()?
        .apply_op2(&bias.contiguous()?, BiasActivationOp { activation })
}

/// From the output `y [rows, columns]` and its gradient those of `x`, `[rows, columns]`, and of the
/// bias, `[columns]`.
///
/// # Errors
/// As [`bias_activation`].
pub fn bias_activation_gradient(
    y: &Tensor,
    y_grad: &Tensor,
    activation: Activation,
) -> Result<(Tensor, Tensor)> {
    let (rows, columns) = y.dims2()?;
    let y_grad = y_grad.contiguous()?;
    let grads = y
        .contiguous()?
        .apply_op2_no_bwd(&y_grad, &BiasActivationGradientOp { activation })?;
    let bias = grads.narrow(0, 0, columns)?;
    let x = match activation {
        Activation::None => y_grad,
        _ => grads
            .narrow(0, columns, rows * columns)?
            .reshape((rows, columns))?,
    };
    Ok((x, bias))
}

struct BiasActivationOp {
    activation: Activation,
}

/// `(y, y_grad)` to the gradient of the bias and, behind it where there is an activation, that of
/// `x`.
struct BiasActivationGradientOp {
    activation: Activation,
}

impl BiasActivationGradientOp {
    fn len(&self, rows: usize, columns: usize) -> usize {
        match self.activation {
            Activation::None => columns,
            _ => columns + rows * columns,
        }
    }
}

/// The rows and columns of `x`, where `bias` fits them.
fn extents(x: &Layout, bias: &Layout) -> Result<(usize, usize)> {
    match (x.dims(), bias.dims()) {
        (&[rows, columns], &[biases]) if columns == biases && rows * columns > 0 => {
            Ok((rows, columns))
        }
        (x, bias) => bail!("a bias of shape {bias:?} cannot be added to the rows of {x:?}"),
    }
}

/// The rows and columns of `y`, where its gradient has the same.
fn equal_extents(y: &Layout, y_grad: &Layout) -> Result<(usize, usize)> {
    match (y.dims(), y_grad.dims()) {
        (&[rows, columns], grad) if *grad == [rows, columns] && rows * columns > 0 => {
            Ok((rows, columns))
        }
        (y, grad) => bail!("an output of shape {y:?} cannot have a gradient of shape {grad:?}"),
    }
}

impl CustomOp2 for BiasActivationOp {
    fn name(&self) -> &'static str {
        "bias-activation"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, columns) = extents(x_layout, bias_layout)?;
        let x = contiguous(x, x_layout, "x")?;
        let bias = contiguous(bias, bias_layout, "bias")?;
        let row = |row: &[f32]| -> Vec<f32> {
            let sums = row.iter().zip(bias).map(|(x, bias)| x + bias);
            sums.map(|sum| self.activation.of(sum)).collect()
        };
        let y = x.chunks_exact(columns).flat_map(row).collect();
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        bias: &candle_core::CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let extents = extents(x_layout, bias_layout)?;
        let views = [
            cuda::view(x, x_layout, "x")?,
            cuda::view(bias, bias_layout, "bias")?,
        ];
        let device = candle_core::backend::BackendStorage::device(x);
        let y = cuda::forward(device, self.activation, extents, views)?;
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        _bias: &Tensor,
        y: &Tensor,
        y_grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (x, bias) = bias_activation_gradient(&y.detach(), y_grad, self.activation)?;
        Ok((Some(x), Some(bias)))
    }
}

impl CustomOp2 for BiasActivationGradientOp {
    fn name(&self) -> &'static str {
        "bias-activation-gradient"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        y_layout: &Layout,
        y_grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = equal_extents(y_layout, grad_layout)?;
        let y = contiguous(y, y_layout, "y")?;
        let y_grad = contiguous(y_grad, grad_layout, "y_grad")?;
        let x_grad: Vec<f32> = y
            .iter()
            .zip(y_grad)
            .map(|(y, grad)| self.activation.in_front(*y, *grad))
            .collect();
        // Some rows a sum, some sums a lane, and the lanes: the order of the kernels.
        let mut lanes = vec![0.0f32; LANES * columns];
        for (k, rows) in x_grad.chunks(ROWS_SUMMED * columns).enumerate() {
            let lane = &mut lanes[k % LANES * columns..][..columns];
            for (column, lane) in lane.iter_mut().enumerate() {
                let values = rows.iter().skip(column).step_by(columns);
                *lane += values.fold(0.0, |sum, value| sum + value);
            }
        }
        let mut grads = vec![0.0f32; columns];
        for lane in lanes.chunks_exact(columns) {
            for (grad, lane) in grads.iter_mut().zip(lane) {
                *grad += lane;
            }
        }
        if self.activation != Activation::None {
            grads.extend_from_slice(&x_grad);
        }
        Ok((CpuStorage::F32(grads), self.len(rows, columns).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        y: &candle_core::CudaStorage,
        y_layout: &Layout,
        y_grad: &candle_core::CudaStorage,
        grad_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let (rows, columns) = equal_extents(y_layout, grad_layout)?;
        let views = [
            cuda::view(y, y_layout, "y")?,
            cuda::view(y_grad, grad_layout, "y_grad")?,
        ];
        let device = candle_core::backend::BackendStorage::device(y);
        let len = self.len(rows, columns);
        let grads = cuda::backward(device, self.activation, (rows, columns), len, views)?;
        Ok((grads, len.into()))
    }
}

#[cfg(feature = "cuda")]
pub(crate) mod cuda {
    use candle_core::cuda::WrapErr;
    use candle_core::cuda::cudarc::driver::{CudaView, DevicePtr, DevicePtrMut, PushKernelArg};
    use candle_core::{CudaDevice, CudaStorage, Result};
    pub(super) use recsys_device::launch::view;
    use recsys_device::launch::{grid, number};

    use super::{Activation, LANES, ROWS_SUMMED};

    const MODULE: &str = "recsys-model/layer";
    const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/layer.ptx"));
    /// Threads of a block.
    const THREADS: usize = 256;
    /// Rows that a thread takes forward, where nothing is summed.
    const ROWS_EACH: usize = 8;

    /// Sums of a column of so many rows, which are added at last.
    pub(crate) fn partial_sums(rows: usize) -> usize {
        rows.div_ceil(ROWS_SUMMED)
    }

    /// Writes `activation(x + bias)` to `y`, which may be `x`.
    ///
    /// # Safety
    /// `x` and `y` are addresses of `rows · columns` values on the device, `bias` of `columns`.
    pub(crate) unsafe fn launch_forward(
        device: &CudaDevice,
        activation: Activation,
        (rows, columns): (usize, usize),
        [x, bias, y]: [u64; 3],
    ) -> Result<()> {
        let kernel = device.get_or_load_custom_func("bias_activation_forward", MODULE, PTX)?;
        let blocks = (rows.div_ceil(ROWS_EACH) * columns).div_ceil(THREADS);
        let config = grid(blocks, THREADS, 0)?;
        let (rows, columns) = (rows as u64, number(columns)?);
        let (rows_each, activation) = (number(ROWS_EACH)?, activation.code());
        let mut launch = kernel.builder();
        launch.arg(&x).arg(&bias).arg(&y).arg(&rows);
        launch.arg(&columns).arg(&rows_each).arg(&activation);
        // SAFETY: the arguments are those of the kernel, in its order and types; the caller vouches
        // for the memory, and threads behind the last row do nothing.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }

    /// Writes the gradient in front of the activation to `x_grad`, which may be `y_grad` and is not
    /// touched where there is no activation, and its [`partial_sums`] to `columns` of every
    /// `stride` values of `sums`.
    ///
    /// # Safety
    /// `y`, `y_grad` and `x_grad` are addresses of `rows · columns` values on the device, `sums` of
    /// as many as that takes.
    pub(crate) unsafe fn launch_backward(
        device: &CudaDevice,
        activation: Activation,
        (rows, columns): (usize, usize),
        [y, y_grad, x_grad]: [u64; 3],
        (sums, stride): (u64, usize),
    ) -> Result<()> {
        let kernel = device.get_or_load_custom_func("bias_activation_backward", MODULE, PTX)?;
        let blocks = (partial_sums(rows) * columns).div_ceil(THREADS);
        let config = grid(blocks, THREADS, 0)?;
        let (rows, columns, stride) = (rows as u64, number(columns)?, number(stride)?);
        let (rows_each, activation) = (number(ROWS_SUMMED)?, activation.code());
        let mut launch = kernel.builder();
        launch.arg(&y).arg(&y_grad).arg(&x_grad).arg(&sums);
        launch.arg(&rows).arg(&columns).arg(&rows_each);
        launch.arg(&activation).arg(&stride);
        // SAFETY: as in `launch_forward`.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }

    /// Adds the partial sums of all columns, `[count, columns]`, and writes each to its place among
    /// the gradients; `places` is 0 where that is the column's own.
    ///
    /// # Safety
    /// `sums` is the address of that many values on the device, `places` of `columns` numbers, and
    /// `gradients` of values at all of them.
    pub(crate) unsafe fn launch_sums(
        device: &CudaDevice,
        (count, columns): (usize, usize),
        [sums, gradients, places]: [u64; 3],
    ) -> Result<()> {
        let kernel = device.get_or_load_custom_func("bias_gradient", MODULE, PTX)?;
        let config = grid(columns.div_ceil(THREADS / LANES), THREADS, THREADS)?;
        let (count, columns) = (count as u64, number(columns)?);
        let mut launch = kernel.builder();
        launch.arg(&sums).arg(&gradients).arg(&count).arg(&columns);
        launch.arg(&places);
        // SAFETY: as in `launch_forward`; a block has `LANES` threads a column and a value of
        // shared memory a thread.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }

    pub(super) fn forward(
        device: &CudaDevice,
        activation: Activation,
        (rows, columns): (usize, usize),
        [x, bias]: [CudaView<'_, f32>; 2],
    ) -> Result<CudaStorage> {
        let stream = device.cuda_stream();
        // SAFETY: the kernel writes every value.
        let mut y = unsafe { device.alloc::<f32>(rows * columns)? };
        let [x, bias] = [&x, &bias].map(|values| values.device_ptr(&stream).0);
        let at = y.device_ptr_mut(&stream).0;
        // SAFETY: the views have the lengths that the extents were read from.
        unsafe { launch_forward(device, activation, (rows, columns), [x, bias, at])? };
        Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
    }

    pub(super) fn backward(
        device: &CudaDevice,
        activation: Activation,
        (rows, columns): (usize, usize),
        len: usize,
        [y, y_grad]: [CudaView<'_, f32>; 2],
    ) -> Result<CudaStorage> {
        let (stream, count) = (device.cuda_stream(), partial_sums(rows));
        // SAFETY: the two kernels write every value of both: `len` counts the gradient of `x` where
        // there is an activation.
        let (mut grads, mut sums) = unsafe {
            (
                device.alloc::<f32>(len)?,
                device.alloc::<f32>(count * columns)?,
            )
        };
        let [y, y_grad] = [&y, &y_grad].map(|values| values.device_ptr(&stream).0);
        let (bias_grad, at) = (
            grads.device_ptr_mut(&stream).0,
            sums.device_ptr_mut(&stream).0,
        );
        let x_grad = bias_grad + (columns * size_of::<f32>()) as u64;
        let extents = (rows, columns);
        // SAFETY: the views have the lengths that the extents were read from; without activation
        // nothing lies behind the bias.
        unsafe {
            launch_backward(
                device,
                activation,
                extents,
                [y, y_grad, x_grad],
                (at, columns),
            )?;
            launch_sums(device, (count, columns), [at, bias_grad, 0])?;
        }
        Ok(CudaStorage::wrap_cuda_slice(grads, device.clone()))
    }
}
