//! Copies to and from a device beside its work: what arrives for the next batch while the device computes the current one.
//!
//! A device runs two queues, one of work and one of copies, each in the order in which it was asked. Nothing orders one
//! against the other but events. The rings below place them: a buffer is written when its last reader has run, and read when
//! its copy has run. The host waits only for its own memory, never for the device as a whole.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod fake;
mod ring;

#[cfg(feature = "cuda")]
pub use cuda::CudaQueues;
#[cfg(feature = "cuda")]
pub use ring::{Downloading, Downloads, Uploaded, Uploads};

use crate::Result;

/// The two queues of a device, for elements of one type.
pub trait Queues<T> {
    /// A place in the order of a queue: it has happened when everything asked for before it has run.
    type Event;
    /// Host memory that copies read or write while the host goes on.
    type Host;
    /// Device memory.
    type Buffer;

    /// Host memory for so many elements.
    fn host(&self, len: usize) -> Result<Self::Host>;

    /// Device memory for so many elements.
    fn buffer(&self, len: usize) -> Result<Self::Buffer>;

    /// Lets the host write the first `len` elements.
    fn write(&self, into: &mut Self::Host, len: usize, write: impl FnOnce(&mut [T])) -> Result<()>;

    /// Lets the host read the first `len` elements.
    fn read<R>(&self, from: &Self::Host, len: usize, read: impl FnOnce(&[T]) -> R) -> Result<R>;

    /// Asks for a copy of the first `len` elements to the device.
    fn upload(&self, from: &Self::Host, len: usize, into: &Self::Buffer) -> Result<()>;

    /// Asks for a copy of the first `len` elements to the host.
    fn download(&self, from: &Self::Buffer, len: usize, into: &mut Self::Host) -> Result<()>;

    /// The place behind all work asked for so far.
    fn work_so_far(&self) -> Result<Self::Event>;

    /// The place behind all copies asked for so far.
    fn copies_so_far(&self) -> Result<Self::Event>;

    /// Work that is asked for from now on runs after the event.
    fn work_after(&self, event: &Self::Event) -> Result<()>;

    /// Copies that are asked for from now on run after the event.
    fn copies_after(&self, event: &Self::Event) -> Result<()>;

    /// The host goes on after the event.
    fn wait(&self, event: &Self::Event) -> Result<()>;
}
