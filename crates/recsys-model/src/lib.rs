#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod autograd;
mod bias_activation;
#[cfg(feature = "cuda")]
pub mod device;
#[cfg(feature = "cuda")]
mod device_layers;
#[cfg(feature = "cuda")]
mod device_memory;
mod engine;
mod error;
mod fused;
mod gemm;
mod model;
mod named;
pub mod simd;
mod transpose;
mod var_map;

pub use bias_activation::{Activation, bias_activation, bias_activation_gradient};
pub use candle_core;
pub use engine::{Engine, EngineOp, PassPool};
pub use error::{Error, Result};
pub use fused::{Fused, FusedNetwork};
pub use gemm::{Matrix, multiply};
pub use model::{ApplyGradient, Gradient, InputShape, LossGradient, Model};
pub use named::{ParameterSpec, distinct_names, flat_parameters, named_tensors, room_for};
pub use transpose::transpose_block;
pub use var_map::VarMapModel;
