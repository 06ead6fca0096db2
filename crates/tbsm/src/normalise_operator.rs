//! Vectors divided by their lengths, as one differentiable candle operator: one kernel each way on NVIDIA devices.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use dlrm::parts::contiguous;

use crate::vectors::SHORTEST;

/// `vectors / max(|vectors|, 1e-12)`, row by row, for `vectors [rows, width]`.
pub(crate) fn normalise(vectors: &Tensor) -> Result<Tensor> {
    vectors.contiguous()?.apply_op1(NormaliseOp)
}

struct NormaliseOp;

/// `(vectors, gradient of the units)` to the gradient of the vectors.
struct NormaliseGradientOp;

fn extents(vectors: &Layout) -> Result<(usize, usize)> {
    match *vectors.dims() {
        [rows, width] if rows * width > 0 => Ok((rows, width)),
        _ => bail!(
            "vectors to be normalised have the shape {:?}, not [rows, width]",
            vectors.dims()
        ),
    }
}

fn equal_extents(vectors: &Layout, grads: &Layout) -> Result<(usize, usize)> {
    if vectors.dims() != grads.dims() {
        bail!(
            "vectors of shape {:?} have a gradient of shape {:?}",
            vectors.dims(),
            grads.dims()
        );
    }
    extents(vectors)
}

/// The length, but at least the shortest. NaN stays NaN.
fn length_of(vector: &[f32]) -> f32 {
    let sum = vector.iter().fold(0.0f32, |sum, v| v.mul_add(*v, sum));
    let length = sum.sqrt();
    if length < SHORTEST { SHORTEST } else { length }
}

impl CustomOp1 for NormaliseOp {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn cpu_fwd(&self, vectors: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = extents(layout)?;
        let mut units = contiguous(vectors, layout, "vectors")?.to_vec();
        for vector in units.chunks_exact_mut(width) {
            let length = length_of(vector);
            vector.iter_mut().for_each(|value| *value /= length);
        }
        Ok((CpuStorage::F32(units), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        vectors: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let extents = extents(layout)?;
        let views = [kernel_launch::view(vectors, layout, "vectors")?];
        let device = candle_core::backend::BackendStorage::device(vectors);
        let units = cuda::launch(device, "normalise_forward", extents, views)?;
        Ok((units, layout.shape().clone()))
    }

    fn bwd(&self, vectors: &Tensor, _: &Tensor, grads: &Tensor) -> Result<Option<Tensor>> {
        let vectors = vectors.detach().contiguous()?;
        let grads = vectors.apply_op2_no_bwd(&grads.contiguous()?, &NormaliseGradientOp)?;
        Ok(Some(grads))
    }
}

impl CustomOp2 for NormaliseGradientOp {
    fn name(&self) -> &'static str {
        "normalise-gradient"
    }

    fn cpu_fwd(
        &self,
        vectors: &CpuStorage,
        layout: &Layout,
        grads: &CpuStorage,
        grads_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = equal_extents(layout, grads_layout)?;
        let vectors = contiguous(vectors, layout, "vectors")?;
        let mut grads = contiguous(grads, grads_layout, "grads")?.to_vec();
        for (vector, grad) in vectors
            .chunks_exact(width)
            .zip(grads.chunks_exact_mut(width))
        {
            let length = length_of(vector);
            // A vector that was divided by the bound did not change its divisor.
            let along = if length <= SHORTEST {
                0.0
            } else {
                let both = vector.iter().zip(&*grad);
                both.fold(0.0f32, |sum, (v, g)| (v / length).mul_add(*g, sum))
            };
            for (grad, value) in grad.iter_mut().zip(vector) {
                *grad = (-along).mul_add(value / length, *grad) / length;
            }
        }
        Ok((CpuStorage::F32(grads), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        vectors: &candle_core::CudaStorage,
        layout: &Layout,
        grads: &candle_core::CudaStorage,
        grads_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let extents = equal_extents(layout, grads_layout)?;
        let views = [
            kernel_launch::view(vectors, layout, "vectors")?,
            kernel_launch::view(grads, grads_layout, "grads")?,
        ];
        let device = candle_core::backend::BackendStorage::device(vectors);
        let grads = cuda::launch(device, "normalise_backward", extents, views)?;
        Ok((grads, layout.shape().clone()))
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::cuda::WrapErr;
    use candle_core::cuda::cudarc::driver::{CudaView, PushKernelArg};
    use candle_core::{CudaDevice, CudaStorage, Result};
    use kernel_launch::{grid, number};

    use crate::sequence_ptx::{MODULE, PTX, THREADS};
    use crate::vectors::SHORTEST;

    /// Both kernels take their inputs, the output, the extents and the bound.
    pub(super) fn launch<const N: usize>(
        device: &CudaDevice,
        name: &str,
        (rows, width): (usize, usize),
        inputs: [CudaView<'_, f32>; N],
    ) -> Result<CudaStorage> {
        let kernel = device.get_or_load_custom_func(name, MODULE, PTX)?;
        // SAFETY: the kernels write every value.
        let mut output = unsafe { device.alloc::<f32>(rows * width)? };
        let config = grid(rows.div_ceil(THREADS), THREADS, 0)?;
        let (rows, width, shortest) = (rows as u64, number(width)?, SHORTEST);
        let mut launch = kernel.builder();
        for input in &inputs {
            launch.arg(input);
        }
        launch
            .arg(&mut output)
            .arg(&rows)
            .arg(&width)
            .arg(&shortest);
        // SAFETY: the arguments are those of the kernel that has `N` inputs, in its order and types; all slices have
        // `rows * width` values; threads behind the last row do nothing.
        unsafe { launch.launch(config) }.w()?;
        Ok(CudaStorage::wrap_cuda_slice(output, device.clone()))
    }
}
