#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod copy;
mod error;
#[cfg(feature = "cuda")]
pub mod launch;
mod mirror;
mod open;
mod peers;
mod slices;
pub mod transfer;

pub use candle_core;
pub use copy::copy_between;
pub use error::{Error, Result};
pub use mirror::Mirror;
pub use open::{allow_tf32, cuda_device, free_memory};
pub use peers::connect_devices;
pub use slices::{contiguous, read_slice, read_slices, write_slice};
