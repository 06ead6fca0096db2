//! The errors of this crate.

use candle_core::DType;

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with devices and the memory of tensors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor that is not in host memory.
    #[error(
        "the tensor is on {device}, host memory is needed; copy it with to_device(&Device::Cpu)"
    )]
    NotOnCpu {
        /// Where it is.
        device: String,
    },
    /// A tensor of another element type.
    #[error("the tensor holds {dtype:?}, F32 is needed; convert it with to_dtype(DType::F32)")]
    WrongDType {
        /// Its element type.
        dtype: DType,
    },
    /// A tensor whose elements do not lie in row-major order.
    #[error("the tensor of shape {shape:?} is not contiguous; call contiguous() first")]
    NotContiguous {
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A copy between tensors of different sizes.
    #[error(
        "a tensor of shape {from:?} cannot be copied over one of shape {into:?}: the two need \
         equally many elements"
    )]
    CopySize {
        /// Shape of the source.
        from: Vec<usize>,
        /// Shape of the target.
        into: Vec<usize>,
    },
    /// A transfer of more elements than a buffer can hold.
    #[error("a transfer of {len} elements is larger than its buffer of {capacity}")]
    TransferSize {
        /// Elements of the transfer.
        len: usize,
        /// Elements of the buffer.
        capacity: usize,
    },
    /// A transfer of another ring, or one that was released.
    #[error("the transfer is not one of this ring; hand it back to the ring that started it")]
    ForeignTransfer,
    /// An NVIDIA device in a build without the feature `cuda`.
    #[error(
        "cuda:{ordinal}: this program was built without CUDA; build it with the feature `cuda` on \
         a machine with NVIDIA's toolkit, or use Device::Cpu"
    )]
    BuiltWithoutCuda {
        /// Number of the device.
        ordinal: usize,
    },
    /// There is no driver, or it has no device.
    #[error(
        "no NVIDIA device can be used: {reason}; `nvidia-smi` shows what the driver sees, and the \
         CPU can be used instead"
    )]
    NoCudaDevice {
        /// What the driver says.
        reason: String,
    },
    /// A device number beyond those that exist.
    #[error("there is no device cuda:{ordinal}: the driver has {devices}, counted from 0")]
    NoSuchDevice {
        /// Number of the device.
        ordinal: usize,
        /// Devices that the driver has.
        devices: usize,
    },
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
