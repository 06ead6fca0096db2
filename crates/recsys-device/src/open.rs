//! Opening devices, and how much of their memory is free.

use candle_core::Device;

use crate::{Error, Result};

/// Opens an NVIDIA device by its number.
///
/// The device has one stream that all threads share, so that work runs in the order in which it was
/// submitted (a device of `Device::new_cuda` has one for each thread, and nothing orders them), and
/// it keeps the memory of freed tensors for the next ones. Open a device once and clone it: tensors
/// of two handles do not mix.
///
/// # Errors
/// [`Error::BuiltWithoutCuda`] without the feature `cuda`, [`Error::NoCudaDevice`] where there is
/// no driver or no device, and [`Error::NoSuchDevice`] for a number beyond them.
pub fn cuda_device(ordinal: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    return open(ordinal);
    #[cfg(not(feature = "cuda"))]
    Err(Error::BuiltWithoutCuda { ordinal })
}

/// Lets NVIDIA devices round the factors of matrix products of f32 to ten bits (TF32), which is
/// several times as fast: losses are as good, and numbers are no longer those of the CPU to the
/// last bits. It holds for the whole process and is off by default. A build without the feature
/// `cuda` ignores it.
pub fn allow_tf32(allow: bool) {
    #[cfg(feature = "cuda")]
    candle_core::cuda::set_gemm_reduced_precision_f32(allow);
    let _ = allow;
}

#[cfg(feature = "cuda")]
fn open(ordinal: usize) -> Result<Device> {
    use candle_core::cuda::cudarc::driver::CudaContext;

    let unusable = |reason: String| Error::NoCudaDevice { reason };
    let devices = CudaContext::device_count().map_err(|error| unusable(error.to_string()))?;
    let devices = usize::try_from(devices).unwrap_or(0);
    if devices == 0 {
        return Err(unusable("the driver knows no device".into()));
    }
    if ordinal >= devices {
        return Err(Error::NoSuchDevice { ordinal, devices });
    }
    let device = Device::new_cuda_with_stream(ordinal)?;
    let cuda = device.as_cuda_device()?;
    // SAFETY: the device's tensors are used on its one stream. Whoever makes another stream orders
    // the two by events.
    unsafe { cuda.disable_event_tracking() };
    keep_freed_memory(cuda)?;
    Ok(device)
}

/// Without this, the driver gives the memory of freed tensors back whenever the host waits for the
/// device.
#[cfg(feature = "cuda")]
fn keep_freed_memory(device: &candle_core::CudaDevice) -> Result<()> {
    use candle_core::cuda::WrapErr;
    use candle_core::cuda::cudarc::driver::{result, sys};

    let stream = device.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut all = u64::MAX;
    // SAFETY: the context's device exists, so its pool does, and this attribute is a u64.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device()).w()?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut all).cast()).w()?;
    }
    Ok(())
}

/// Bytes of a device's memory that are free; `None` for the CPU, whose system answers when memory
/// is taken, and for devices that do not tell.
///
/// # Errors
/// A device that does not answer.
pub fn free_memory(device: &Device) -> Result<Option<u64>> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(cuda) = device {
        use candle_core::cuda::WrapErr;

        let (free, _) = cuda.cuda_stream().context().mem_get_info().w()?;
        return Ok(Some(free as u64));
    }
    let _ = device;
    Ok(None)
}
