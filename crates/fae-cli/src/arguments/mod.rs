//! Options that several commands share.

mod checkpoints;
mod model;
mod placement;
mod rows;
mod training;

pub(crate) use checkpoints::CheckpointArguments;
pub(crate) use model::ModelArguments;
pub(crate) use placement::{PlacementArguments, PlacementName};
pub(crate) use rows::RowArguments;
pub(crate) use training::TrainArguments;
