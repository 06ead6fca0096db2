//! What operators need to run a kernel on an NVIDIA device.

use candle_core::cuda::cudarc::driver::{CudaView, LaunchConfig};
use candle_core::{CudaStorage, Layout, Result, bail};

/// The values of a contiguous tensor on the device; `what` names it in messages.
///
/// # Errors
/// A layout with gaps, or values of another type than F32.
pub fn view<'a>(
    storage: &'a CudaStorage,
    layout: &Layout,
    what: &str,
) -> Result<CudaView<'a, f32>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_cuda_slice::<f32>()?.slice(start..end)),
        None => bail!("{what} of a fused operator must be contiguous"),
    }
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
