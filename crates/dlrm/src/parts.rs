//! The pieces that a model with a DLRM inside is built from: kernels on plain slices, what makes an engine on slices a candle
//! operator, and fused operators on tensors of the CPU and of NVIDIA devices.

pub use crate::bias_activation::{Activation, bias_activation};
pub use crate::dot_operator::dot_interaction;
pub use crate::gemm::{Matrix, multiply};
pub use crate::interaction::{InteractionLayer, InteractionScratch, SLACK};
pub use crate::named::{flat_parameters, named_parameters};
pub use crate::operator::{Engine, EngineOp, PassPool, contiguous};
pub use crate::simd::{keep_above_zero, multiply_add};
pub use crate::transpose::transpose_block;

/// What a training step on an NVIDIA device is built from: for the models of this workspace, whose steps work in memory that is kept.
#[cfg(feature = "cuda")]
#[doc(hidden)]
pub mod device {
    pub use crate::device_layers::{BiasSums, DeviceLayer, Layers, Matrix, Places, Step, behind};
    pub use crate::device_memory::{Inputs, StepMemory};
    pub use crate::device_tower::DeviceTower;
}
