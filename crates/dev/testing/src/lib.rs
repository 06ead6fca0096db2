//! What tests of several crates share: fuzzing within a bound of time and memory, and values that
//! are the same on every machine.

#![deny(missing_docs)]

pub mod fuzzing;
