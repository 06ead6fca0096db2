#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod bias_activation;
mod config;
#[cfg(feature = "cuda")]
mod device_layers;
#[cfg(feature = "cuda")]
mod device_memory;
mod device_pass;
#[cfg(feature = "cuda")]
mod device_tower;
mod dot;
mod dot_operator;
mod error;
mod gemm;
mod graph;
mod init;
mod interaction;
mod layers;
mod layout;
mod mlp;
mod model;
mod named;
mod network;
mod operator;
pub mod parts;
mod pass;
mod simd;
mod tiling;
mod transpose;

pub use config::{DlrmConfig, Interaction, Output, SliceSize};
pub use device_pass::DevicePass;
pub use error::{Error, Result};
pub use layout::ParameterSpec;
pub use model::Dlrm;
pub use network::Network;
pub use pass::Pass;
