//! The memory of candle tensors as slices.

use std::cell::Cell;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Storage, Tensor};

use crate::{Error, Result};

/// Calls `f` with the elements of a contiguous f32 tensor in host memory, row-major, without a
/// copy.
///
/// The tensor's storage is locked for reading meanwhile: `f` must not write to it.
///
/// # Errors
/// A tensor on another device, of another element type, or not contiguous.
pub fn read_slice<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    check(tensor)?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(floats)) => Ok(f(&floats[range(layout)?])),
        _ => Err(Error::WrongDType {
            dtype: tensor.dtype(),
        }),
    }
}

/// Calls `f` with the elements of a contiguous f32 tensor in host memory, row-major, to be changed
/// in place. All tensors that share the storage see the change, and nothing is recorded for
/// autograd.
///
/// The tensor's storage is locked meanwhile: `f` must neither read it nor write to it by another
/// way.
///
/// # Errors
/// A tensor on another device, of another element type, or not contiguous.
pub fn write_slice<R>(tensor: &Tensor, f: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    check(tensor)?;
    let write = Write {
        f: Cell::new(Some(f)),
        result: Cell::new(None),
    };
    tensor.inplace_op1(&write)?;
    write.result.into_inner().ok_or(Error::WrongDType {
        dtype: tensor.dtype(),
    })
}

/// Calls `f` with the elements of several tensors as [`read_slice`] does with those of one.
///
/// # Errors
/// As [`read_slice`], for any of them.
pub fn read_slices<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R> {
    for tensor in tensors {
        check(tensor)?;
    }
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        if let Storage::Cpu(storage) = &**storage {
            *slice = &storage.as_slice()?[range(layout)?];
        }
    }
    Ok(f(slices))
}

/// The values that an operator gets of a contiguous tensor on the CPU; `what` names it in messages.
///
/// # Errors
/// A layout with gaps, or values of another type than F32.
pub fn contiguous<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
    what: &str,
) -> candle_core::Result<&'a [f32]> {
    Ok(&storage.as_slice::<f32>()?[contiguous_range(layout, what)?])
}

/// The place of a contiguous tensor in its storage; `what` names the tensor in messages.
pub(crate) fn contiguous_range(
    layout: &Layout,
    what: &str,
) -> candle_core::Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => candle_core::bail!(
            "{what} of shape {:?} is not contiguous; call contiguous() first",
            layout.dims()
        ),
    }
}

/// Whether two tensors are views of the same memory.
pub(crate) fn same_storage(a: &Tensor, b: &Tensor) -> bool {
    // One lock after the other: a thread must not take the same one twice. Both storages live as
    // long as their tensors, so that equal addresses mean one storage.
    let address = |tensor: &Tensor| std::ptr::from_ref(&*tensor.storage_and_layout().0).addr();
    address(a) == address(b)
}

fn check(tensor: &Tensor) -> Result<()> {
    if !tensor.device().is_cpu() {
        return Err(Error::NotOnCpu {
            device: format!("{:?}", tensor.device().location()),
        });
    }
    if tensor.dtype() != DType::F32 {
        return Err(Error::WrongDType {
            dtype: tensor.dtype(),
        });
    }
    if !tensor.is_contiguous() {
        return Err(Error::NotContiguous {
            shape: tensor.dims().to_vec(),
        });
    }
    Ok(())
}

fn range(layout: &Layout) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => Err(Error::NotContiguous {
            shape: layout.dims().to_vec(),
        }),
    }
}

struct Write<F, R> {
    f: Cell<Option<F>>,
    result: Cell<Option<R>>,
}

impl<R, F: FnOnce(&mut [f32]) -> R> InplaceOp1 for Write<F, R> {
    fn name(&self) -> &'static str {
        "write-slice"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        if let (CpuStorage::F32(floats), Some((start, end)), Some(f)) =
            (storage, layout.contiguous_offsets(), self.f.take())
        {
            self.result.set(Some(f(&mut floats[start..end])));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use candle_core::Device;

    use super::*;

    #[test]
    fn views_are_read_and_written_in_place() {
        let tensor = Tensor::arange(0f32, 6.0, &Device::Cpu)
            .unwrap()
            .reshape((3, 2))
            .unwrap();
        let view = tensor.narrow(0, 1, 2).unwrap();
        assert_eq!(
            read_slice(&view, <[f32]>::to_vec).unwrap(),
            [2.0, 3.0, 4.0, 5.0]
        );
        write_slice(&view, |floats| floats[3] = 9.0).unwrap();
        assert_eq!(
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            [0.0, 1.0, 2.0, 3.0, 4.0, 9.0]
        );
    }

    #[test]
    fn other_tensors_are_refused() {
        let tensor = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(
            read_slice(&tensor.t().unwrap(), |_| ()),
            Err(Error::NotContiguous { .. })
        ));
        assert!(matches!(
            write_slice(&tensor.t().unwrap(), |_| ()),
            Err(Error::NotContiguous { .. })
        ));
        let wide = tensor.to_dtype(DType::F64).unwrap();
        assert!(matches!(
            read_slice(&wide, |_| ()),
            Err(Error::WrongDType { dtype: DType::F64 })
        ));
        assert!(matches!(
            write_slice(&wide, |_| ()),
            Err(Error::WrongDType { dtype: DType::F64 })
        ));
    }
}
