//! Samples made instead of read: known distributions, any number, no download.

mod alias;
mod behaviour;
mod catalogue;
mod counter;
mod criteo_text;
mod dense_levels;
mod hidden_model;
mod planted;
mod planted_options;
mod planted_sequences;
mod planted_sequences_options;
mod random;
mod separation;
mod text;
mod user_behaviour;
mod write;
mod zipf;

pub(crate) use counter::{Counter, Draws, mix};
pub use planted::Planted;
pub use planted_options::{PlantedOptions, PlantedTable};
pub use planted_sequences::PlantedSequences;
pub use planted_sequences_options::PlantedSequencesOptions;
pub use random::{RandomData, RandomDataOptions};
pub use write::write_packed;
