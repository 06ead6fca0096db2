//! The queues of an NVIDIA device: candle's stream, and one of our own for copies.

use std::sync::Arc;

use candle_core::cuda::cudarc::driver::{
    CudaEvent, CudaStream, DeviceRepr, PinnedHostSlice, ValidAsZeroBits, sys,
};
use candle_core::cuda::{CudaDType, CudaStorage, WrapErr};
use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor, WithDType, bail};

use super::Queues;
use crate::{Error, Result};

/// Both streams of one device. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CudaQueues {
    device: Device,
    work: Arc<CudaStream>,
    copies: Arc<CudaStream>,
}

impl CudaQueues {
    /// Makes the stream for copies.
    ///
    /// # Errors
    /// A device that is not CUDA's, or that fails.
    pub fn new(device: &Device) -> Result<Self> {
        let work = device.as_cuda_device()?.cuda_stream();
        let copies = work.context().new_stream().w()?;
        Ok(Self {
            device: device.clone(),
            work,
            copies,
        })
    }
}

/// Host memory that the system does not move, so that the device reads and writes it by itself.
pub struct Pinned<T> {
    memory: PinnedHostSlice<T>,
    copies: Arc<CudaStream>,
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // A copy may still be running; an error has been reported where it happened.
        let _ = self.copies.synchronize();
    }
}

/// An element that both libraries know.
pub trait Element: WithDType + CudaDType + DeviceRepr + ValidAsZeroBits {}

impl Element for f32 {}
impl Element for u32 {}

impl<T: Element> Queues<T> for CudaQueues {
    type Event = CudaEvent;
    type Host = Pinned<T>;
    /// Made by candle, on its stream, so that its operations may read it.
    type Buffer = Tensor;

    fn host(&self, len: usize) -> Result<Pinned<T>> {
        // Not write-combined: downloads are read.
        // SAFETY: the memory is of a type that any bits are a value of, so none is undefined.
        let memory = unsafe { self.work.context().alloc_pinned_with_flags(len, 0) }.w()?;
        Ok(Pinned {
            memory,
            copies: Arc::clone(&self.copies),
        })
    }

    fn buffer(&self, len: usize) -> Result<Tensor> {
        let buffer = Tensor::zeros(len, T::DTYPE, &self.device)?;
        // The first copy comes after the zeros.
        self.copies.join(&self.work).w()?;
        Ok(buffer)
    }

    fn write(&self, into: &mut Pinned<T>, len: usize, write: impl FnOnce(&mut [T])) -> Result<()> {
        write(&mut into.memory.as_mut_slice().w()?[..len]);
        Ok(())
    }

    fn read<R>(&self, from: &Pinned<T>, len: usize, read: impl FnOnce(&[T]) -> R) -> Result<R> {
        Ok(read(&from.memory.as_slice().w()?[..len]))
    }

    fn upload(&self, from: &Pinned<T>, len: usize, into: &Tensor) -> Result<()> {
        let from = &from.memory.as_slice().w()?[..len];
        let copies = &self.copies;
        Ok(into.inplace_op1(&Upload { from, copies })?)
    }

    fn download(&self, from: &Tensor, len: usize, into: &mut Pinned<T>) -> Result<()> {
        let (storage, layout) = from.storage_and_layout();
        let candle_core::Storage::Cuda(storage) = &*storage else {
            return Err(
                candle_core::Error::Msg("a buffer that is not on the device".into()).into(),
            );
        };
        let capacity = from.elem_count();
        if len > capacity {
            return Err(Error::TransferSize { len, capacity });
        }
        let first = layout.start_offset();
        let from = storage.as_cuda_slice::<T>()?.slice(first..first + len);
        let into = &mut into.memory.as_mut_slice().w()?[..len];
        self.copies.memcpy_dtoh(&from, into).w()?;
        Ok(())
    }

    fn work_so_far(&self) -> Result<CudaEvent> {
        Ok(self.work.record_event(None).w()?)
    }

    fn copies_so_far(&self) -> Result<CudaEvent> {
        // The host sleeps where it waits for one, so that its threads can do other work.
        let sleeping = Some(sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC);
        Ok(self.copies.record_event(sleeping).w()?)
    }

    fn work_after(&self, event: &CudaEvent) -> Result<()> {
        Ok(self.work.wait(event).w()?)
    }

    fn copies_after(&self, event: &CudaEvent) -> Result<()> {
        Ok(self.copies.wait(event).w()?)
    }

    fn wait(&self, event: &CudaEvent) -> Result<()> {
        Ok(event.synchronize().w()?)
    }
}

/// A copy into a tensor's memory, asked for on the stream of copies.
struct Upload<'a, T> {
    from: &'a [T],
    copies: &'a Arc<CudaStream>,
}

impl<T: Element> InplaceOp1 for Upload<'_, T> {
    fn name(&self) -> &'static str {
        "upload"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        bail!("a buffer that is not on the device")
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> candle_core::Result<()> {
        let first = layout.start_offset();
        let mut into = storage
            .as_cuda_slice_mut::<T>()?
            .slice_mut(first..first + self.from.len());
        self.copies.memcpy_htod(self.from, &mut into).w()
    }
}
