//! Copies to and from a device beside its work: what arrives for the next batch while the device
//! computes the current one.
//!
//! A device runs two queues, one of work and one of copies, each in the order of submission.
//! Nothing orders one against the other but events. The rings below place them: a buffer is written
//! when its last reader has run, and read when its copy has run. The host waits only for its own
//! memory, never for the device as a whole.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod fake;
mod ring;

#[cfg(feature = "cuda")]
pub use cuda::CudaQueues;
pub use ring::{Downloading, Downloads, Uploaded, Uploads};

use crate::Result;

/// The two queues of a device, for elements of one type.
pub trait Queues<T> {
    /// A place in the order of a queue: it has happened when everything submitted before it has
    /// run.
    type Event;
    /// Host memory that copies read or write while the host goes on.
    type Host;
    /// Device memory.
    type Buffer;

    /// Host memory for `len` elements.
    ///
    /// # Errors
    /// A device that fails.
    fn host(&self, len: usize) -> Result<Self::Host>;

    /// Device memory for `len` elements.
    ///
    /// # Errors
    /// A device that fails.
    fn buffer(&self, len: usize) -> Result<Self::Buffer>;

    /// Lets the host write the first `len` elements.
    ///
    /// # Errors
    /// A device that fails.
    fn write(&self, into: &mut Self::Host, len: usize, write: impl FnOnce(&mut [T])) -> Result<()>;

    /// Lets the host read the first `len` elements.
    ///
    /// # Errors
    /// A device that fails.
    fn read<R>(&self, from: &Self::Host, len: usize, read: impl FnOnce(&[T]) -> R) -> Result<R>;

    /// Submits a copy of the first `len` elements to the device.
    ///
    /// # Errors
    /// A device that fails.
    fn upload(&self, from: &Self::Host, len: usize, into: &Self::Buffer) -> Result<()>;

    /// Submits a copy of the first `len` elements to the host.
    ///
    /// # Errors
    /// A device that fails.
    fn download(&self, from: &Self::Buffer, len: usize, into: &mut Self::Host) -> Result<()>;

    /// The place behind all work submitted until now.
    ///
    /// # Errors
    /// A device that fails.
    fn work_so_far(&self) -> Result<Self::Event>;

    /// The place behind all copies submitted until now.
    ///
    /// # Errors
    /// A device that fails.
    fn copies_so_far(&self) -> Result<Self::Event>;

    /// Work that is submitted from now on runs after the event.
    ///
    /// # Errors
    /// A device that fails.
    fn work_after(&self, event: &Self::Event) -> Result<()>;

    /// Copies that are submitted from now on run after the event.
    ///
    /// # Errors
    /// A device that fails.
    fn copies_after(&self, event: &Self::Event) -> Result<()>;

    /// The host goes on after the event.
    ///
    /// # Errors
    /// A device that fails.
    fn wait(&self, event: &Self::Event) -> Result<()>;
}
