#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

pub mod card;
mod error;

pub use card::{Card, InteractionName, LossName, OptimizerName, Widths};
pub use error::{Error, Result};
