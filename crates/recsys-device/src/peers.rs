//! Access of devices to each other's memory.

use candle_core::Device;

/// Lets NVIDIA devices copy from each other's memory directly, where their machine has a way;
/// otherwise such copies go through the host. Other devices are left alone.
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

/// Opens the memory of a device to a peer. Its tensors are of the default pool, which has access
/// rights of its own.
#[cfg(feature = "cuda")]
fn connect(device: &candle_core::CudaDevice, peer: &candle_core::CudaDevice) -> crate::Result<()> {
    use candle_core::cuda::WrapErr;
    use candle_core::cuda::cudarc::driver::{result, sys};

    let (owner, reader) = (device.cuda_stream(), peer.cuda_stream());
    let (owner, reader) = (owner.context(), reader.context());
    if owner.ordinal() == reader.ordinal() || !owner.has_async_alloc() {
        return Ok(());
    }
    // A `CUmemAccessDesc`: a device, its number, and that it may read and write. Later versions of
    // CUDA have a union for the number.
    let access = [
        sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE as u32,
        reader.ordinal() as u32,
        sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE as u32,
    ];
    // SAFETY: the owner's device exists, so its pool does; one description is given, laid out as
    // the driver reads it.
    unsafe {
        let pool = result::device::get_default_mem_pool(owner.cu_device()).w()?;
        sys::cuMemPoolSetAccess(pool, access.as_ptr().cast(), 1)
            .result()
            .w()?;
    }
    Ok(())
}
