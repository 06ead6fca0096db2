//! The pieces of a DLRM that other models are built from: its interaction, as kernels on plain
//! slices and as an operator on tensors, and its tower on NVIDIA devices.

#[cfg(feature = "cuda")]
pub use crate::device_tower::DeviceTower;
pub use crate::dot_operator::dot_interaction;
pub use crate::interaction::{InteractionLayer, InteractionScratch, SLACK};
