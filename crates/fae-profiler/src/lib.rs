#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod classify;
mod counts;
mod error;
mod file;
mod frequency;
mod hot_set;
mod inputs;
mod materialise;
mod partition;
mod sample;
mod select;
mod student_t;
mod tally;

pub use counts::{AccessCounts, CountOptions};
pub use error::{Error, Result};
pub use hot_set::{DatasetIdentity, HotSet, HotTable, Sampling};
pub use partition::Partition;
pub use select::{Bound, SelectOptions, Selection, Selector, Strategy};
pub use tally::{HotCounts, HotEstimate, ShareEstimate};
