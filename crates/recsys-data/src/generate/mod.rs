//! Samples made instead of read: known distributions, any number, no download.

mod counter;
mod dense_levels;
mod hidden_model;
mod planted;
mod planted_options;
mod random;
mod separation;
mod text;
mod zipf;

pub(crate) use counter::{Counter, Draws, mix};
pub use planted::Planted;
pub use planted_options::{PlantedOptions, PlantedTable};
pub use random::{RandomData, RandomDataOptions};
