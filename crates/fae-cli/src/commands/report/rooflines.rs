//! What the hardware allows.

use std::time::Duration;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use serde::Serialize;

use super::timing::{billions_per_second, median_time};

/// Rates that no kernel exceeds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Rooflines {
    /// Device memory, GB/s, bytes read and bytes written together.
    pub memory: f64,
    /// Host to device, GB/s, from pinned memory where the device is CUDA's.
    pub to_device: f64,
    /// Device to host, GB/s, to such memory.
    pub to_host: f64,
    /// Products of square matrices in f32, GFLOP/s.
    pub products: f64,
}

impl Rooflines {
    /// Measures them on a device.
    ///
    /// # Errors
    /// A device without so much memory, or one that fails.
    pub(super) fn measure(device: &Device) -> Result<Self> {
        const ROUNDS: usize = 15;
        let on_host = device.is_cpu();
        // Larger than any cache.
        let floats: usize = if on_host { 1 << 25 } else { 1 << 28 };
        let from = Tensor::ones(floats, DType::F32, device)?;
        let into = Tensor::zeros(floats, DType::F32, device)?;
        let copied = median_time(device, ROUNDS, |_| copy(&from, &into))?;
        drop((from, into));
        let crossing: usize = 1 << 24;
        let bytes = (size_of::<f32>() * crossing) as f64;
        let (to_device, to_host) = copies(device, crossing, ROUNDS)?;
        let side: usize = if on_host { 1024 } else { 8192 };
        let x = Tensor::rand(-1f32, 1f32, (side, side), device)?;
        let product = median_time(device, ROUNDS, |_| {
            x.matmul(&x)?;
            Ok(())
        })?;
        Ok(Self {
            memory: billions_per_second((2 * size_of::<f32>() * floats) as f64, copied),
            to_device: billions_per_second(bytes, to_device),
            to_host: billions_per_second(bytes, to_host),
            products: billions_per_second(2.0 * (side as f64).powi(3), product),
        })
    }
}

/// Copies a tensor over another, as fast as the device can.
fn copy(from: &Tensor, into: &Tensor) -> Result<()> {
    #[cfg(feature = "cuda")]
    if from.device().is_cuda() {
        return Ok(recsys_device::launch::copy(from, into)?);
    }
    Ok(into.slice_set(from, 0, 0)?)
}

/// The times of copies to a device and from it.
fn copies(device: &Device, floats: usize, rounds: usize) -> Result<(Duration, Duration)> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        use recsys_device::transfer::{CudaQueues, Downloads, Uploads};

        let queues = CudaQueues::new(device)?;
        let mut uploads = Uploads::<f32, _>::new(queues.clone());
        let to_device = median_time(device, rounds, |_| {
            let uploaded = uploads.upload(floats, |_| ())?;
            uploads.read(&uploaded)?;
            Ok(uploads.release(uploaded)?)
        })?;
        let mut downloads = Downloads::<f32, _>::new(queues);
        let to_host = median_time(device, rounds, |_| {
            let asked = downloads.download(floats, |_| Ok::<_, recsys_device::Error>(()))?;
            Ok(downloads.take(asked, |_| ())?)
        })?;
        return Ok((to_device, to_host));
    }
    let host = vec![1f32; floats];
    let to_device = median_time(device, rounds, |_| {
        std::hint::black_box(Tensor::from_slice(&host, host.len(), device)?);
        Ok(())
    })?;
    let there = Tensor::zeros(floats, DType::F32, device)?;
    let to_host = median_time(device, rounds, |_| {
        std::hint::black_box(there.to_vec1::<f32>()?);
        Ok(())
    })?;
    Ok((to_device, to_host))
}
