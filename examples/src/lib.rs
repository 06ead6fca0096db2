//! What the example programs share: arguments, presets and reports.

pub mod bars;
pub mod budget;
pub mod checkpointing;
pub mod curve;
pub mod experiment;
pub mod flags;
pub mod gpu_report;
pub mod inspecting;
pub mod logistic_regression;
pub mod memory_limit;
pub mod model;
pub mod numbers;
pub mod parity;
pub mod placing;
pub mod planted;
pub mod preparing;
pub mod process;
pub mod profiling;
pub mod progress;
pub mod scaling;
pub mod speedup;
pub mod training;
