//! What a training step on an NVIDIA device is built from: fully connected layers and their
//! gradients in memory that is kept from step to step. Behind the feature `cuda`.

pub use crate::device_layers::{BiasSums, DeviceLayer, DeviceMatrix, Layers, Places, Step, behind};
pub use crate::device_memory::{Inputs, StepMemory};
