//! Copies between tensors, wherever they are.

use candle_core::Tensor;

use crate::slices::{read_slice, same_storage, write_slice};
use crate::{Error, Result};

/// Copies the values of an f32 tensor over those of a contiguous one with equally many elements,
/// on the same device or on another. A tensor may be copied onto itself, and views of one tensor
/// may overlap: the target then holds what the source held before.
///
/// Between NVIDIA devices the host does not wait for the copy.
///
/// # Errors
/// Tensors of different sizes, a target that is not contiguous or not f32, and a device that
/// fails.
pub fn copy_between(from: &Tensor, into: &Tensor) -> Result<()> {
    if from.elem_count() != into.elem_count() {
        return Err(Error::CopySize {
            from: from.dims().to_vec(),
            into: into.dims().to_vec(),
        });
    }
    if into.elem_count() == 0 {
        return Ok(());
    }
    if same_storage(from, into) {
        if from.layout() == into.layout() {
            return Ok(());
        }
        // Both locks of one storage cannot be held together.
        return copy_apart(&from.copy()?.contiguous()?, into);
    }
    copy_apart(from, into)
}

/// Between tensors that share no memory.
fn copy_apart(from: &Tensor, into: &Tensor) -> Result<()> {
    #[cfg(feature = "cuda")]
    if from.device().is_cuda() && into.device().is_cuda() {
        return Ok(crate::launch::copy_across(&from.contiguous()?, into)?);
    }
    if into.device().is_cpu() {
        let from = from.to_device(into.device())?.contiguous()?;
        read_slice(&from, |from| {
            write_slice(into, |into| into.copy_from_slice(from))
        })?
    } else {
        let from = from.to_device(into.device())?.reshape(into.shape())?;
        Ok(into.slice_set(&from.contiguous()?, 0, 0)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use candle_core::{DType, Device};

    use super::*;

    fn numbers(count: usize) -> Tensor {
        Tensor::arange(0f32, count as f32, &Device::Cpu).unwrap()
    }

    #[test]
    fn a_copy_of_unequal_sizes_is_an_error_and_does_not_panic() {
        let (from, into) = (numbers(4), numbers(3));
        let error = copy_between(&from, &into).unwrap_err();
        assert!(matches!(error, Error::CopySize { .. }), "{error}");
        assert_eq!(into.to_vec1::<f32>().unwrap(), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn a_copy_onto_itself_changes_nothing_and_does_not_deadlock() {
        let tensor = numbers(6);
        copy_between(&tensor, &tensor).unwrap();
        copy_between(&tensor.detach(), &tensor).unwrap();
        assert_eq!(
            tensor.to_vec1::<f32>().unwrap(),
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        );
    }

    #[test]
    fn views_of_one_tensor_are_copied_as_they_were_and_do_not_deadlock() {
        let tensor = numbers(6);
        let views = (tensor.narrow(0, 0, 4), tensor.narrow(0, 2, 4));
        copy_between(&views.0.unwrap(), &views.1.unwrap()).unwrap();
        assert_eq!(
            tensor.to_vec1::<f32>().unwrap(),
            [0.0, 1.0, 0.0, 1.0, 2.0, 3.0]
        );
        let square = numbers(4).reshape((2, 2)).unwrap();
        copy_between(&square.t().unwrap(), &square).unwrap();
        assert_eq!(square.to_vec2::<f32>().unwrap(), [[0.0, 2.0], [1.0, 3.0]]);
    }

    #[test]
    fn shapes_may_differ_where_sizes_do_not() {
        let into = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        copy_between(&numbers(6), &into).unwrap();
        assert_eq!(
            into.to_vec2::<f32>().unwrap(),
            [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        );
        let wide = into.to_dtype(DType::F64).unwrap();
        assert!(matches!(
            copy_between(&into, &wide),
            Err(Error::WrongDType { dtype: DType::F64 })
        ));
        let empty = Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
        copy_between(&empty, &empty).unwrap();
    }
}
