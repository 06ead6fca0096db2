//! Data sets made of another one: some of its samples, or shorter sequences.

mod last_positions;
mod subset;

pub use last_positions::LastPositions;
pub use subset::{SampleList, Subset};
