//! What tests of several crates share: numbers, comparisons, allocations that are counted, and
//! fuzzing of parsers.
//!
//! A [`Target`] is a parser with some valid inputs. [`run`] shows it inputs that were damaged in many
//! ways, and fails where it panics, breaks a property of its own or takes too much memory. The same
//! seed gives the same inputs, so a test without `RECSYS_FUZZ_SECONDS` does the same on every
//! machine, and a failing input is found again by its number.

#![deny(missing_docs)]

mod allocation;
mod closeness;
mod mutation;
mod run;
mod values;

pub use allocation::{Allocated, Counting};
pub use closeness::{Rounding, close};
pub use mutation::mutate;
pub use run::{Check, Target, run};
pub use values::{residues, values};
