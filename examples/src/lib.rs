//! What the example programs share: arguments, presets and reports.

pub mod logistic_regression;
pub mod parity;
pub mod process;
pub mod progress;
pub mod training;
