//! The dot interaction as one differentiable candle operator: one kernel forward and one backward
//! on NVIDIA devices.
//!
//! On the CPU it computes the same sums in the same order, slowly: it is there to be compared with.
//! The engine on slices has kernels of its own.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use recsys_device::contiguous;

/// From `bottom [batch, dim]` and `rows [batch, tables, dim]` to `[batch, dim + products]`:
/// `bottom`, and behind it the lower triangle of `T T'`, row by row, for `T = [bottom; rows]`;
/// `with_self` includes its diagonal. Differentiable in both.
///
/// # Errors
/// Tensors of other shapes or of another type than F32, on an NVIDIA device more features than a
/// block holds (a hundred tables fit at every width up to 512), or a device that fails.
pub fn dot_interaction(bottom: &Tensor, rows: &Tensor, with_self: bool) -> Result<Tensor> {
    bottom
        .contiguous()?
        .apply_op2(&rows.contiguous()?, DotOp { with_self })
}

/// The gradients of `bottom` and `rows` from that of the output.
pub(crate) fn dot_interaction_gradient(
    bottom: &Tensor,
    rows: &Tensor,
    output_grad: &Tensor,
    with_self: bool,
) -> Result<(Tensor, Tensor)> {
    let (bottom, rows) = (bottom.contiguous()?, rows.contiguous()?);
    let both = bottom.apply_op3_no_bwd(
        &rows,
        &output_grad.contiguous()?,
        &DotGradientOp { with_self },
    )?;
    let (bottom_len, rows_len) = (bottom.elem_count(), rows.elem_count());
    Ok((
        both.narrow(0, 0, bottom_len)?.reshape(bottom.shape())?,
        both.narrow(0, bottom_len, rows_len)?
            .reshape(rows.shape())?,
    ))
}

struct DotOp {
    with_self: bool,
}

/// `(bottom, rows, output_grad)` to the gradients of `bottom` and, behind them, of `rows`: an
/// operator has one result.
struct DotGradientOp {
    with_self: bool,
}

/// What the shapes say.
#[derive(Clone, Copy)]
pub(crate) struct Extents {
    pub(crate) batch: usize,
    pub(crate) tables: usize,
    pub(crate) dim: usize,
    pub(crate) with_self: bool,
}

impl Extents {
    fn of(bottom: &Layout, rows: &Layout, with_self: bool) -> Result<Self> {
        match (bottom.dims(), rows.dims()) {
            (&[batch, dim], &[rows, tables, width])
                if batch == rows && dim == width && batch * tables * dim > 0 =>
            {
                Ok(Self {
                    batch,
                    tables,
                    dim,
                    with_self,
                })
            }
            (bottom, rows) => bail!(
                "the interaction needs bottom [batch, dim] and rows [batch, tables, dim], but got {bottom:?} and {rows:?}"
            ),
        }
    }

    fn row_start(self, i: usize) -> usize {
        if self.with_self {
            i * (i + 1) / 2
        } else {
            i * i.saturating_sub(1) / 2
        }
    }

    fn features(self) -> usize {
        self.tables + 1
    }

    /// Values of a sample's output.
    fn width(self) -> usize {
        self.dim + self.row_start(self.features())
    }

    fn check_output(self, output: &Layout) -> Result<()> {
        if output.dims() != [self.batch, self.width()] {
            let (found, width) = (output.dims(), self.width());
            bail!(
                "the interaction's output is [batch {}, {width}], but its gradient is {found:?}",
                self.batch
            );
        }
        Ok(())
    }

    /// The features of sample `s`, in their order.
    fn sample<'a>(self, s: usize, bottom: &'a [f32], rows: &'a [f32]) -> Vec<&'a [f32]> {
        let dim = self.dim;
        let rows = &rows[s * self.tables * dim..][..self.tables * dim];
        std::iter::once(&bottom[s * dim..][..dim])
            .chain(rows.chunks_exact(dim))
            .collect()
    }
}

impl CustomOp2 for DotOp {
    fn name(&self) -> &'static str {
        "dot-interaction"
    }

    fn cpu_fwd(
        &self,
        bottom: &CpuStorage,
        bottom_layout: &Layout,
        rows: &CpuStorage,
        rows_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let extents = Extents::of(bottom_layout, rows_layout, self.with_self)?;
        let bottom = contiguous(bottom, bottom_layout, "bottom")?;
        let rows = contiguous(rows, rows_layout, "rows")?;
        let mut output = Vec::with_capacity(extents.batch * extents.width());
        for s in 0..extents.batch {
            let features = extents.sample(s, bottom, rows);
            output.extend_from_slice(features[0]);
            for (i, x) in features.iter().enumerate() {
                for y in &features[..i + usize::from(self.with_self)] {
                    output.push(x.iter().zip(*y).fold(0.0, |sum, (x, y)| x.mul_add(*y, sum)));
                }
            }
        }
        Ok((
            CpuStorage::F32(output),
            (extents.batch, extents.width()).into(),
        ))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        bottom: &candle_core::CudaStorage,
        bottom_layout: &Layout,
        rows: &candle_core::CudaStorage,
        rows_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let extents = Extents::of(bottom_layout, rows_layout, self.with_self)?;
        let views = [
            cuda::view(bottom, bottom_layout, "bottom")?,
            cuda::view(rows, rows_layout, "rows")?,
        ];
        let output = cuda::forward(
            candle_core::backend::BackendStorage::device(bottom),
            extents,
            views,
        )?;
        Ok((output, (extents.batch, extents.width()).into()))
    }

    fn bwd(
        &self,
        bottom: &Tensor,
        rows: &Tensor,
        _output: &Tensor,
        output_grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (bottom, rows) = dot_interaction_gradient(
            &bottom.detach(),
            &rows.detach(),
            output_grad,
            self.with_self,
        )?;
        Ok((Some(bottom), Some(rows)))
    }
}

impl CustomOp3 for DotGradientOp {
    fn name(&self) -> &'static str {
        "dot-interaction-gradient"
    }

    fn cpu_fwd(
        &self,
        bottom: &CpuStorage,
        bottom_layout: &Layout,
        rows: &CpuStorage,
        rows_layout: &Layout,
        output_grad: &CpuStorage,
        output_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let extents = Extents::of(bottom_layout, rows_layout, self.with_self)?;
        extents.check_output(output_layout)?;
        let bottom = contiguous(bottom, bottom_layout, "bottom")?;
        let rows = contiguous(rows, rows_layout, "rows")?;
        let output_grad = contiguous(output_grad, output_layout, "output_grad")?;
        let dim = extents.dim;
        let mut grads = vec![0.0f32; bottom.len() + rows.len()];
        let (bottom_grad, rows_grad) = grads.split_at_mut(bottom.len());
        for (s, output_grad) in output_grad.chunks_exact(extents.width()).enumerate() {
            let features = extents.sample(s, bottom, rows);
            let (direct, products) = output_grad.split_at(dim);
            let into = std::iter::once(&mut bottom_grad[s * dim..][..dim])
                .chain(rows_grad[s * extents.tables * dim..].chunks_exact_mut(dim));
            for (i, into) in into.take(features.len()).enumerate() {
                for (j, feature) in features.iter().enumerate() {
                    let coefficient = match (i == j, self.with_self) {
                        (true, true) => 2.0 * products[extents.row_start(i) + i],
                        (true, false) => 0.0,
                        (false, _) => products[extents.row_start(i.max(j)) + i.min(j)],
                    };
                    for (into, value) in into.iter_mut().zip(*feature) {
                        *into = coefficient.mul_add(*value, *into);
                    }
                }
                if i == 0 {
                    for (into, direct) in into.iter_mut().zip(direct) {
                        *into += direct;
                    }
                }
            }
        }
        let len = grads.len();
        Ok((CpuStorage::F32(grads), len.into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        bottom: &candle_core::CudaStorage,
        bottom_layout: &Layout,
        rows: &candle_core::CudaStorage,
        rows_layout: &Layout,
        output_grad: &candle_core::CudaStorage,
        output_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let extents = Extents::of(bottom_layout, rows_layout, self.with_self)?;
        extents.check_output(output_layout)?;
        let views = [
            cuda::view(bottom, bottom_layout, "bottom")?,
            cuda::view(rows, rows_layout, "rows")?,
            cuda::view(output_grad, output_layout, "output_grad")?,
        ];
        let grads = cuda::backward(
            candle_core::backend::BackendStorage::device(bottom),
            extents,
            views,
        )?;
        let len = extents.batch * extents.features() * extents.dim;
        Ok((grads, len.into()))
    }
}

#[cfg(feature = "cuda")]
pub(crate) mod cuda {
    use candle_core::cuda::WrapErr;
    use candle_core::cuda::cudarc::driver::{CudaView, DevicePtr, DevicePtrMut, PushKernelArg};
    use candle_core::{CudaDevice, CudaStorage, Result, bail};
    pub(super) use recsys_device::launch::view;
    use recsys_device::launch::{grid, number};

    use super::Extents;
    use crate::tiling::Tiling;

    const MODULE: &str = "dlrm/interaction";
    const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/interaction.ptx"));

    /// Both kernels take addresses, the extents and how they are cut.
    fn launch<const N: usize>(
        device: &CudaDevice,
        name: &str,
        tiling: Option<Tiling>,
        extents: Extents,
        addresses: [u64; N],
    ) -> Result<()> {
        let Extents {
            batch,
            tables,
            dim,
            with_self,
        } = extents;
        let Some(tiling) = tiling else {
            bail!(
                "the interaction of {tables} tables of dim {dim} does not fit a block; use the plain graph"
            );
        };
        let kernel = device.get_or_load_custom_func(name, MODULE, PTX)?;
        let config = grid(
            batch.div_ceil(tiling.samples),
            tiling.threads,
            tiling.shared,
        )?;
        let (batch, tables, dim) = (batch as u64, number(tables)?, number(dim)?);
        let (samples, columns) = (number(tiling.samples)?, number(tiling.columns)?);
        let with_self = u32::from(with_self);
        let mut launch = kernel.builder();
        for address in &addresses {
            launch.arg(address);
        }
        launch.arg(&batch).arg(&tables).arg(&dim).arg(&with_self);
        launch.arg(&samples).arg(&columns);
        // SAFETY: the arguments are those of the kernel that takes `N` addresses, in its order and
        // types; callers vouch for the memory; shared memory is what the kernel asks for
        // this tiling.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }

    /// # Safety
    /// `bottom`, `rows` and `output` are addresses on the device, of as many values as the extents
    /// say.
    pub(crate) unsafe fn launch_forward(
        device: &CudaDevice,
        extents: Extents,
        bottom_rows_output: [u64; 3],
    ) -> Result<()> {
        let tiling = Tiling::forward(extents.features(), extents.dim);
        launch(
            device,
            "interaction_forward",
            tiling,
            extents,
            bottom_rows_output,
        )
    }

    /// # Safety
    /// `bottom`, `rows`, the output's gradient and those of `bottom` and `rows` are addresses on
    /// the device, of as many values as the extents say.
    pub(crate) unsafe fn launch_backward(
        device: &CudaDevice,
        extents: Extents,
        bottom_rows_and_gradients: [u64; 5],
    ) -> Result<()> {
        let tiling = Tiling::backward(extents.features(), extents.dim);
        launch(
            device,
            "interaction_backward",
            tiling,
            extents,
            bottom_rows_and_gradients,
        )
    }

    pub(super) fn forward(
        device: &CudaDevice,
        extents: Extents,
        inputs: [CudaView<'_, f32>; 2],
    ) -> Result<CudaStorage> {
        let stream = device.cuda_stream();
        // SAFETY: the kernel writes every value: all columns of `bottom`, and all products.
        let mut output = unsafe { device.alloc::<f32>(extents.batch * extents.width())? };
        let [bottom, rows] = inputs.each_ref().map(|values| values.device_ptr(&stream).0);
        let at = output.device_ptr_mut(&stream).0;
        // SAFETY: the views have the lengths that the extents were read from.
        unsafe { launch_forward(device, extents, [bottom, rows, at])? };
        Ok(CudaStorage::wrap_cuda_slice(output, device.clone()))
    }

    pub(super) fn backward(
        device: &CudaDevice,
        extents: Extents,
        inputs: [CudaView<'_, f32>; 3],
    ) -> Result<CudaStorage> {
        let stream = device.cuda_stream();
        let bottom_len = extents.batch * extents.dim;
        // SAFETY: the kernel writes every gradient.
        let mut grads = unsafe { device.alloc::<f32>(bottom_len * extents.features())? };
        let [bottom, rows, grad] = inputs.each_ref().map(|values| values.device_ptr(&stream).0);
        let at = grads.device_ptr_mut(&stream).0;
        let rows_grad = at + (bottom_len * size_of::<f32>()) as u64;
        // SAFETY: the views have the lengths that the extents were read from.
        unsafe { launch_backward(device, extents, [bottom, rows, grad, at, rows_grad])? };
        Ok(CudaStorage::wrap_cuda_slice(grads, device.clone()))
    }
}
