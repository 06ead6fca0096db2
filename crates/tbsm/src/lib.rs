#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod attention;
mod block;
mod config;
mod engine;
mod error;
mod graph;
mod init;
mod layout;
mod linear;
mod lstm;
mod model;
mod multihead;
mod network;
mod pairs;
mod pass;
mod product;
mod tower;
mod vectors;
mod wide;

pub use config::{Inner, Mechanism, SequenceLayer, TbsmConfig};
pub use error::{Error, Result};
pub use model::Tbsm;
pub use network::Network;
pub use pass::Pass;
