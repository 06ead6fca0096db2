#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod driver;
mod gemm;
mod libraries;
mod machine;
mod memory;
mod nccl;
pub mod ptx;
mod settings;
mod status;
