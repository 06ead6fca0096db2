//! The kernels of the sequence layer, for NVIDIA devices.

/// The module's name on a device.
pub(crate) const MODULE: &str = "tbsm/sequence";
/// What the driver compiles.
pub(crate) const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/sequence.ptx"));
/// Threads of a block.
pub(crate) const THREADS: usize = 256;
