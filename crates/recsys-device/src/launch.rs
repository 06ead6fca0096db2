//! Kernels on the memory of candle tensors: slices that a kernel reads or writes in place, and the
//! numbers of a launch, checked. Behind the feature `cuda`.

use std::cell::Cell;

use candle_core::cuda::cudarc::driver::{
    CudaView, CudaViewMut, DevicePtr, DeviceRepr, LaunchConfig,
};
use candle_core::cuda::{CudaDType, WrapErr};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, DType, Device, Error, InplaceOp1, Layout, Result, Storage,
    Tensor, bail,
};
use half::bf16;

use crate::slices::{contiguous_range, same_storage};

/// The values that an operator gets of a contiguous tensor on the device; `what` names it in
/// messages.
///
/// # Errors
/// A layout with gaps, or values of another type than F32.
pub fn view<'a>(
    storage: &'a CudaStorage,
    layout: &Layout,
    what: &str,
) -> Result<CudaView<'a, f32>> {
    Ok(storage
        .as_cuda_slice::<f32>()?
        .slice(contiguous_range(layout, what)?))
}

/// An extent as kernels take it.
///
/// # Errors
/// One of 2^32 or more.
pub fn number(extent: usize) -> Result<u32> {
    match u32::try_from(extent) {
        Ok(extent) => Ok(extent),
        Err(_) => bail!("an extent of {extent} is too large for a kernel"),
    }
}

/// A launch of `blocks` times `threads`, every block with `shared` values of shared memory.
///
/// # Errors
/// More blocks than a grid has.
pub fn grid(blocks: usize, threads: usize, shared: usize) -> Result<LaunchConfig> {
    if blocks > i32::MAX as usize {
        bail!("{blocks} blocks are more than a grid has");
    }
    Ok(LaunchConfig {
        grid_dim: (number(blocks)?, 1, 1),
        block_dim: (number(threads)?, 1, 1),
        shared_mem_bytes: number(shared * size_of::<f32>())?,
    })
}

/// The CUDA device of a tensor.
///
/// # Errors
/// A tensor that is elsewhere.
pub fn device_of(tensor: &Tensor) -> Result<&CudaDevice> {
    match tensor.device() {
        Device::Cuda(device) => Ok(device),
        other => bail!(
            "a tensor is on {:?}, but a kernel needs it on a CUDA device",
            other.location()
        ),
    }
}

/// Where the values of a contiguous tensor start in device memory, as kernels take it. It holds as
/// long as the tensor lives.
///
/// # Errors
/// As [`read`].
pub fn address(tensor: &Tensor) -> Result<u64> {
    let stream = device_of(tensor)?.cuda_stream();
    match tensor.dtype() {
        DType::U32 => read::<u32, _, Error>(tensor, |values| Ok(values.device_ptr(&stream).0)),
        DType::BF16 => read::<bf16, _, Error>(tensor, |values| Ok(values.device_ptr(&stream).0)),
        _ => read::<f32, _, Error>(tensor, |values| Ok(values.device_ptr(&stream).0)),
    }
}

/// Copies the values of a contiguous f32 tensor over those of another of equally many, on one
/// device, in the order of its work.
///
/// # Errors
/// As [`read`], tensors of different sizes, and views of one tensor.
pub fn copy(from: &Tensor, into: &Tensor) -> Result<()> {
    if !can_copy(from, into)? {
        return Ok(());
    }
    let device = device_of(from)?;
    read::<f32, _, Error>(from, |from| {
        write(into, |into| device.memcpy_dtod(from, into))
    })
}

/// [`copy`] on the same device or to another. What either device is given from then on comes after
/// the copy, so that the caller may change or free both tensors.
pub(crate) fn copy_across(from: &Tensor, into: &Tensor) -> Result<()> {
    let (source, target) = (device_of(from)?, device_of(into)?);
    if source.id() == target.id() {
        return copy(from, into);
    }
    if !can_copy(from, into)? {
        return Ok(());
    }
    let (before, after) = (source.cuda_stream(), target.cuda_stream());
    after.join(&before).w()?;
    read::<f32, _, Error>(from, |from| {
        write(into, |into| after.memcpy_dtod(from, into).w())
    })?;
    before.join(&after).w()
}

/// Whether there is something to copy.
fn can_copy(from: &Tensor, into: &Tensor) -> Result<bool> {
    if into.elem_count() != from.elem_count() {
        bail!(
            "a tensor of shape {:?} cannot be copied over one of {:?}",
            from.dims(),
            into.dims()
        );
    }
    if from.elem_count() > 0 && same_storage(from, into) {
        bail!("a kernel cannot copy within one tensor; use copy_between");
    }
    Ok(from.elem_count() > 0)
}

/// Calls `f` with the elements of a contiguous tensor on a CUDA device.
///
/// # Errors
/// A tensor that is elsewhere, has gaps or elements of another type, and those of `f`.
pub fn read<T: CudaDType + DeviceRepr, R, E: From<Error>>(
    tensor: &Tensor,
    f: impl FnOnce(&CudaView<'_, T>) -> std::result::Result<R, E>,
) -> std::result::Result<R, E> {
    device_of(tensor)?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(elsewhere().into());
    };
    let range = contiguous_range(layout, "a tensor")?;
    f(&storage.as_cuda_slice::<T>()?.slice(range))
}

/// The same, to be changed in place.
///
/// # Errors
/// As [`read`].
pub fn write<R, E: From<Error>>(
    tensor: &Tensor,
    f: impl FnOnce(&mut CudaViewMut<'_, f32>) -> std::result::Result<R, E>,
) -> std::result::Result<R, E> {
    device_of(tensor)?;
    let write = Write {
        f: Cell::new(Some(f)),
        result: Cell::new(None),
    };
    tensor.inplace_op1(&write)?;
    let result = write.result.into_inner();
    result.unwrap_or_else(|| Err(elsewhere().into()))
}

struct Write<F, R> {
    f: Cell<Option<F>>,
    result: Cell<Option<R>>,
}

impl<R, F: FnOnce(&mut CudaViewMut<'_, f32>) -> R> InplaceOp1 for Write<F, R> {
    fn name(&self) -> &'static str {
        "write"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        Err(elsewhere())
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let range = contiguous_range(layout, "a tensor")?;
        let slice = storage.as_cuda_slice_mut::<f32>()?;
        if let Some(f) = self.f.take() {
            self.result.set(Some(f(&mut slice.slice_mut(range))));
        }
        Ok(())
    }
}

fn elsewhere() -> Error {
    Error::Msg("a kernel needs tensors on a CUDA device".into())
}
