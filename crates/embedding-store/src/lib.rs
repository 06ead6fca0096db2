#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod arena;
mod encoding;
mod error;
mod export;
mod initialization;
mod kernel;
mod layout;
mod lookup;
mod optimizer;
mod plan;
mod planner;
mod projection;
mod store;
mod tensor;
mod update;

pub use encoding::{Combine, Encoding, TableSpec};
pub use error::{Error, Result};
pub use initialization::Initialization;
pub use layout::Part;
pub use optimizer::Optimizer;
pub use plan::Plan;
pub use planner::{Ids, Planner};
pub use store::{CpuStore, EmbeddingStore, Rows, StoreOptions};
pub use tensor::{read_slice, write_slice};
