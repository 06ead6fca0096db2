//! Vectors divided by their lengths, as one differentiable candle operator: one kernel each way on
//! NVIDIA devices.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use recsys_device::contiguous;

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
        let view = recsys_device::launch::view(vectors, layout, "vectors")?;
        let device = candle_core::backend::BackendStorage::device(vectors);
        let units = cuda::forward(device, extents, &view)?;
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
            recsys_device::launch::view(vectors, layout, "vectors")?,
            recsys_device::launch::view(grads, grads_layout, "grads")?,
        ];
        let device = candle_core::backend::BackendStorage::device(vectors);
        let grads = cuda::backward(device, extents, views)?;
        Ok((grads, layout.shape().clone()))
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::cuda::cudarc::driver::{CudaView, DevicePtr, DevicePtrMut};
    use candle_core::{CudaDevice, CudaStorage, Result};

    use crate::sequence_kernels::{normalise, normalise_backward};

    pub(super) fn forward(
        device: &CudaDevice,
        (rows, width): (usize, usize),
        vectors: &CudaView<'_, f32>,
    ) -> Result<CudaStorage> {
        let stream = device.cuda_stream();
        // SAFETY: the kernel writes every value.
        let mut units = unsafe { device.alloc::<f32>(rows * width)? };
        let addresses = [
            vectors.device_ptr(&stream).0,
            units.device_ptr_mut(&stream).0,
        ];
        // SAFETY: the extents were read from the vectors' layout.
        unsafe { normalise(device, (rows, width), addresses)? };
        Ok(CudaStorage::wrap_cuda_slice(units, device.clone()))
    }

    pub(super) fn backward(
        device: &CudaDevice,
        (rows, width): (usize, usize),
        inputs: [CudaView<'_, f32>; 2],
    ) -> Result<CudaStorage> {
        let stream = device.cuda_stream();
        // SAFETY: the kernel writes every value.
        let mut grads = unsafe { device.alloc::<f32>(rows * width)? };
        let [vectors, unit_grads] = inputs.each_ref().map(|values| values.device_ptr(&stream).0);
        let addresses = [vectors, unit_grads, grads.device_ptr_mut(&stream).0];
        // SAFETY: the extents were read from both layouts, which are equal.
        unsafe { normalise_backward(device, (rows, width), addresses)? };
        Ok(CudaStorage::wrap_cuda_slice(grads, device.clone()))
    }
}
