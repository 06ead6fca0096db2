#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod classify;
mod counts;
mod error;
mod file;
mod frequency;
mod hot_set;
mod inputs;
mod lengths;
mod materialise;
mod partition;
mod report;
mod sample;
mod select;
mod sides;
mod skew;
mod student_t;
mod sweep;
mod tally;
mod visit;

pub use counts::{AccessCounts, CountOptions};
pub use error::{Error, Result};
pub use hot_set::{DatasetIdentity, HotSet, HotTable, Sampling};
pub use lengths::{LengthPoint, LengthSweep};
pub use partition::Partition;
pub use report::Report;
pub use select::{Bound, SelectOptions, Selection, Selector, Strategy};
pub use skew::{AccessSkew, SkewCurve};
pub use sweep::{BudgetPoint, BudgetSweep, EstimatePoint, EstimateSweep};
pub use tally::{HotCounts, HotEstimate, ShareEstimate};
