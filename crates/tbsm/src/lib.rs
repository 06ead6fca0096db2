#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod attention;
mod block;
mod config;
mod device_pass;
mod engine;
mod error;
mod extents;
mod fused;
mod gradients;
mod graph;
mod init;
mod layout;
mod linear;
mod lstm;
mod model;
mod multihead;
mod network;
mod normalise_operator;
mod pairs;
mod pass;
mod product;
#[cfg(feature = "cuda")]
mod sequence_kernels;
mod tower;
mod vectors;
mod wide;
mod window_operator;

pub use config::{Inner, Mechanism, SequenceLayer, TbsmConfig};
pub use device_pass::DevicePass;
pub use error::{Error, Result};
pub use fused::FusedTbsm;
pub use model::Tbsm;
pub use network::Network;
pub use pass::Pass;
