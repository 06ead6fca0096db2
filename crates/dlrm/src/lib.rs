#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod config;
mod device_pass;
#[cfg(feature = "cuda")]
mod device_tower;
mod dot;
mod dot_operator;
mod engine;
mod error;
mod fused;
mod graph;
mod init;
mod interaction;
mod layers;
mod layout;
mod mlp;
mod model;
mod network;
pub mod parts;
mod pass;
mod tiling;

pub use config::{DlrmConfig, Interaction, Output, SliceSize};
pub use device_pass::DevicePass;
pub use error::{Error, Result};
pub use fused::FusedDlrm;
pub use model::Dlrm;
pub use network::Network;
pub use pass::Pass;
