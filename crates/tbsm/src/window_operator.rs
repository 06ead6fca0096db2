//! The time-series layer's products of a sequence's vectors with one vector, as differentiable
//! candle operators: one kernel each on NVIDIA devices, where a graph copies the window and runs a
//! batched matrix product of one row.
//!
//! On the CPU they compute the same sums in the same order: there they are to be compared with. The
//! engine has kernels of its own.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use recsys_device::contiguous;

use crate::extents::Seen;

impl Seen {
    /// `a[s, t] = vectors[s, first + t] · x[s]`, from `vectors [n, positions, width]` and `x [n,
    /// width]` to `[n, span]`.
    pub(crate) fn compare(self, vectors: &Tensor, x: &Tensor) -> Result<Tensor> {
        self.apply(Product::Compare, vectors, x)
    }

    /// `c[s] = Σ_t y[s, t] vectors[s, first + t]`, from `vectors [n, positions, width]` and `y [n,
    /// span]` to `[n, width]`.
    pub(crate) fn weigh(self, vectors: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.apply(Product::Weigh, vectors, y)
    }

    /// `y[s, t] x[s]` in the positions seen and zero in the others, from `y [n, span]` and `x [n,
    /// width]` to `[n, positions, width]`: the gradient of the vectors in the other two. Has
    /// none itself.
    fn spread(self, y: &Tensor, x: &Tensor) -> Result<Tensor> {
        self.apply(Product::Spread, y, x)
    }

    fn apply(self, product: Product, left: &Tensor, right: &Tensor) -> Result<Tensor> {
        let operator = WindowOp {
            product,
            seen: self,
        };
        left.contiguous()?.apply_op2(&right.contiguous()?, operator)
    }
}

#[derive(Debug, Clone, Copy)]
enum Product {
    Compare,
    Weigh,
    Spread,
}

struct WindowOp {
    product: Product,
    seen: Seen,
}

/// What the shapes say.
#[derive(Clone, Copy)]
struct Extents {
    count: usize,
    width: usize,
}

impl WindowOp {
    fn extents(&self, left: &Layout, right: &Layout) -> Result<Extents> {
        let Seen {
            positions,
            first,
            span,
        } = self.seen;
        let (count, width, fits) = match (self.product, left.dims(), right.dims()) {
            (Product::Compare, &[n, p, width], &[m, w]) => {
                (n, width, (p, m, w) == (positions, n, width))
            }
            (Product::Weigh, &[n, p, width], &[m, s]) => {
                (n, width, (p, m, s) == (positions, n, span))
            }
            (Product::Spread, &[n, s], &[m, width]) => (n, width, (m, s) == (n, span)),
            _ => (0, 0, false),
        };
        if !fits || first + span > positions || count * span * width == 0 {
            let (left, right) = (left.dims(), right.dims());
            bail!(
                "{} for {:?} cannot take {left:?} and {right:?}",
                self.name(),
                self.seen
            );
        }
        Ok(Extents { count, width })
    }

    fn shape(&self, Extents { count, width }: Extents) -> Shape {
        match self.product {
            Product::Compare => (count, self.seen.span).into(),
            Product::Weigh => (count, width).into(),
            Product::Spread => (count, self.seen.positions, width).into(),
        }
    }
}

impl CustomOp2 for WindowOp {
    fn name(&self) -> &'static str {
        match self.product {
            Product::Compare => "sequence-compare",
            Product::Weigh => "sequence-weigh",
            Product::Spread => "sequence-spread",
        }
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let extents = self.extents(left_layout, right_layout)?;
        let left = contiguous(left, left_layout, "vectors")?;
        let right = contiguous(right, right_layout, "a vector")?;
        let Extents { count, width } = extents;
        let Seen {
            positions,
            first,
            span,
        } = self.seen;
        let shape = self.shape(extents);
        let mut output = vec![0.0f32; shape.elem_count()];
        for s in 0..count {
            let own =
                |values: &'_ [f32], size: usize| s * size..(s * size + size).min(values.len());
            match self.product {
                Product::Compare => {
                    let window = &left[own(left, positions * width)][first * width..];
                    let (x, range) = (&right[own(right, width)], own(&output, span));
                    for (a, vector) in output[range].iter_mut().zip(window.chunks_exact(width)) {
                        *a = vector
                            .iter()
                            .zip(x)
                            .fold(0.0, |sum, (v, x)| v.mul_add(*x, sum));
                    }
                }
                Product::Weigh => {
                    let window = &left[own(left, positions * width)][first * width..];
                    let (y, range) = (&right[own(right, span)], own(&output, width));
                    let c = &mut output[range];
                    for (y, vector) in y.iter().zip(window.chunks_exact(width)) {
                        for (c, value) in c.iter_mut().zip(vector) {
                            *c = y.mul_add(*value, *c);
                        }
                    }
                }
                Product::Spread => {
                    let (y, x) = (&left[own(left, span)], &right[own(right, width)]);
                    let range = own(&output, positions * width);
                    let window = &mut output[range][first * width..];
                    for (y, grad) in y.iter().zip(window.chunks_exact_mut(width)) {
                        for (grad, x) in grad.iter_mut().zip(x) {
                            *grad = y * x;
                        }
                    }
                }
            }
        }
        Ok((CpuStorage::F32(output), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        left: &candle_core::CudaStorage,
        left_layout: &Layout,
        right: &candle_core::CudaStorage,
        right_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let extents = self.extents(left_layout, right_layout)?;
        let shape = self.shape(extents);
        let views = [
            recsys_device::launch::view(left, left_layout, "vectors")?,
            recsys_device::launch::view(right, right_layout, "a vector")?,
        ];
        let device = candle_core::backend::BackendStorage::device(left);
        let output = cuda::launch(device, self, extents, shape.elem_count(), views)?;
        Ok((output, shape))
    }

    fn bwd(
        &self,
        left: &Tensor,
        right: &Tensor,
        _output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let seen = self.seen;
        let (vectors, with) = (left.detach(), right.detach());
        match self.product {
            Product::Compare => Ok((
                Some(seen.spread(grad, &with)?),
                Some(seen.weigh(&vectors, grad)?),
            )),
            Product::Weigh => Ok((
                Some(seen.spread(&with, grad)?),
                Some(seen.compare(&vectors, grad)?),
            )),
            Product::Spread => Err(candle_core::Error::BackwardNotSupported { op: self.name() }),
        }
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::cuda::cudarc::driver::{CudaView, DevicePtr, DevicePtrMut};
    use candle_core::{CudaDevice, CudaStorage, Result};

    use super::{Product, WindowOp};
    use crate::extents::Extents;

    pub(super) fn launch(
        device: &CudaDevice,
        operator: &WindowOp,
        super::Extents { count, width }: super::Extents,
        len: usize,
        inputs: [CudaView<'_, f32>; 2],
    ) -> Result<CudaStorage> {
        let stream = device.cuda_stream();
        // SAFETY: each of the kernels writes every value.
        let mut output = unsafe { device.alloc::<f32>(len)? };
        let [left, right] = inputs.each_ref().map(|values| values.device_ptr(&stream).0);
        let addresses = [left, right, output.device_ptr_mut(&stream).0];
        let seen = operator.seen;
        let extents = Extents { count, width, seen };
        // SAFETY: the operator has compared the lengths with the extents.
        unsafe {
            match operator.product {
                Product::Compare => extents.compare(device, addresses, width)?,
                Product::Weigh => extents.weigh(device, addresses)?,
                Product::Spread => extents.spread(device, addresses)?,
            }
        }
        Ok(CudaStorage::wrap_cuda_slice(output, device.clone()))
    }
}
