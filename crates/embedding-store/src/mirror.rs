//! Tensors that follow one on another device.

use candle_core::{DType, Device, Tensor};

use crate::{Result, read_slice, write_slice};

/// A copy of a tensor on another device, in memory that is kept from one to the next of its shape.
#[derive(Debug, Default)]
pub struct Mirror {
    kept: Option<Tensor>,
}

impl Mirror {
    /// A contiguous f32 tensor as it is on `device`: itself where it is there. The copy is overwritten by the next one.
    ///
    /// Between NVIDIA devices it is a copy from one to the other, directly where they are [connected](connect_devices), which the host
    /// does not wait for.
    ///
    /// # Errors
    /// A copy that fails.
    pub fn of(&mut self, tensor: &Tensor, device: &Device) -> Result<Tensor> {
        if tensor.device().same_device(device) {
            return Ok(tensor.clone());
        }
        let here = self.room(tensor.dims(), device)?;
        copy_between(tensor, &here)?;
        Ok(here)
    }

    /// Memory for a tensor of a shape on `device`, which holds anything.
    ///
    /// # Errors
    /// A device without so much memory.
    pub fn room(&mut self, shape: &[usize], device: &Device) -> Result<Tensor> {
        match &self.kept {
            Some(kept) if kept.dims() == shape && kept.device().same_device(device) => {
                Ok(kept.clone())
            }
            _ => {
                let made = Tensor::zeros(shape, DType::F32, device)?;
                self.kept = Some(made.clone());
                Ok(made)
            }
        }
    }
}

/// Copies the values of an f32 tensor over those of a contiguous one of the same shape, wherever both are.
///
/// # Errors
/// A copy that fails.
pub fn copy_between(from: &Tensor, into: &Tensor) -> Result<()> {
    #[cfg(feature = "cuda")]
    if from.device().is_cuda() && into.device().is_cuda() {
        return Ok(kernel_launch::copy_across(&from.contiguous()?, into)?);
    }
    if into.device().is_cpu() {
        let from = from.to_device(into.device())?.contiguous()?;
        read_slice(&from, |from| {
            write_slice(into, |into| into.copy_from_slice(from))
        })??;
    } else {
        into.slice_set(&from.to_device(into.device())?, 0, 0)?;
    }
    Ok(())
}

/// Lets NVIDIA devices copy from each other's memory directly, where their machine has a way; otherwise such copies go through the host.
/// Other devices are left alone.
pub fn connect_devices(devices: &[Device]) {
    #[cfg(feature = "cuda")]
    for device in devices {
        for peer in devices {
            if let (Device::Cuda(device), Device::Cuda(peer)) = (device, peer) {
                // Without it, all works, slower.
                let _ = connect(device, peer);
            }
        }
    }
    let _ = devices;
}

/// Opens the memory of a device to a peer. Its tensors are of the default pool, which has access rights of its own.
#[cfg(feature = "cuda")]
fn connect(device: &candle_core::CudaDevice, peer: &candle_core::CudaDevice) -> Result<()> {
    use candle_core::cuda::WrapErr;
    use candle_core::cuda::cudarc::driver::{result, sys};

    let (owner, reader) = (device.cuda_stream(), peer.cuda_stream());
    let (owner, reader) = (owner.context(), reader.context());
    if owner.ordinal() == reader.ordinal() || !owner.has_async_alloc() {
        return Ok(());
    }
    // A `CUmemAccessDesc`: a device, its number, and that it may read and write. Later versions of CUDA have a union for the number.
    let access = [
        sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE as u32,
        reader.ordinal() as u32,
        sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE as u32,
    ];
    // SAFETY: the owner's device exists, so its pool does; one description is given, laid out as the driver reads it.
    unsafe {
        let pool = result::device::get_default_mem_pool(owner.cu_device()).w()?;
        sys::cuMemPoolSetAccess(pool, access.as_ptr().cast(), 1)
            .result()
            .w()?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where something fails")]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_copied() {
        let tensor = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let mut mirror = Mirror::default();
        assert_eq!(mirror.of(&tensor, &Device::Cpu).unwrap().id(), tensor.id());
        let room = mirror.room(&[2, 2], &Device::Cpu).unwrap();
        assert_eq!(mirror.room(&[2, 2], &Device::Cpu).unwrap().id(), room.id());
        copy_between(&tensor.t().unwrap(), &room).unwrap();
        assert_eq!(room.to_vec2::<f32>().unwrap(), [[1.0, 3.0], [2.0, 4.0]]);
    }
}
