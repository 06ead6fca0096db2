//! The pieces that a model with a DLRM inside is built from: kernels on plain slices, and what makes an engine on slices
//! a candle operator.

pub use crate::gemm::{Matrix, multiply};
pub use crate::interaction::{InteractionLayer, InteractionScratch, SLACK};
pub use crate::named::{flat_parameters, named_parameters};
pub use crate::operator::{Engine, EngineOp, PassPool};
pub use crate::simd::multiply_add;
pub use crate::transpose::transpose_block;
