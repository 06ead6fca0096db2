//! Bounded fuzzing of parsers, for tests.
//!
//! A [`Target`] is a parser with some valid inputs. [`run`] shows it inputs that were damaged in
//! many ways, and fails where it panics, breaks a property of its own or takes too much memory. The
//! same seed gives the same inputs, so a test without `RECSYS_FUZZ_SECONDS` does the same on every
//! machine, and a failing input is found again by its number.

mod mutation;
mod run;

pub use mutation::mutate;
pub use run::{Check, Target, run};
