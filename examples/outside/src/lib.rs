//! What a user of the libraries can write: a data set, a store of rows, a rule by which rows move, a
//! model, a loss, a learning rate, a schedule and an observer. Each file is one of them, with the
//! public API alone. `tests/training.rs` trains with all of them together, on every placement, and
//! goes on from checkpoints bit for bit.

mod clicks;
mod focal;
mod lazy_adam;
mod map_store;
mod sawtooth;
mod stop_after;
mod thirds;
mod wide_and_deep;

pub use clicks::{Clicks, HOT_ROWS, ROWS, tables};
pub use focal::Focal;
pub use lazy_adam::LazyAdam;
pub use map_store::MapStore;
pub use sawtooth::Sawtooth;
pub use stop_after::StopAfter;
pub use thirds::Thirds;
pub use wide_and_deep::{DIM, wide_and_deep};
