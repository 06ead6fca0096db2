//! What tests of several crates share: numbers, comparison up to rounding, allocations that are
//! counted, and fuzzing of parsers within a bound of time and memory.

#![deny(missing_docs)]

mod allocation;
mod closeness;
pub mod fuzzing;
mod memory_limit;
mod values;

pub use allocation::{Allocated, Counting};
pub use closeness::{Rounding, close};
pub use memory_limit::MemoryLimit;
pub use values::{residues, values};
