#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod any_rows;
mod arena;
mod backing;
mod cold_rows;
mod cpu_store;
mod device_store;
mod dirty_rows;
mod encoding;
mod error;
mod export;
mod gradient_sum;
mod grouping;
mod growth;
mod hot_cold;
mod hot_replicas;
mod hot_rows;
mod initialization;
mod kernel;
mod layout;
mod lookup;
mod mapped;
mod memory;
mod on_device;
mod part_storage;
mod plan;
mod planner;
mod projection;
mod read_ahead;
mod rounding;
mod row_folder;
mod row_format;
mod rows;
mod rule;
mod sides;
mod split;
mod store;
mod traffic;
mod update;

pub use backing::Backing;
pub use candle_core;
pub use cpu_store::CpuStore;
pub use device_store::DeviceStore;
pub use encoding::{Combine, Encoding, TableSpec};
pub use error::{Error, Result};
pub use growth::copy_rows;
pub use hot_cold::{HotCold, PREFETCHED_BATCHES};
pub use hot_replicas::HotReplicas;
pub use hot_rows::{Held, device_row_bytes, device_table_bytes, hot_ranges};
pub use initialization::Initialization;
pub use layout::Part;
pub use memory::memory_limit;
pub use on_device::OnDevice;
pub use plan::Plan;
pub use planner::{Ids, Planner};
pub use row_format::RowFormat;
pub use rows::Rows;
pub use rule::{DenseStep, Optimizer, RowOptimizer, RowRule};
pub use sides::{ColdSide, HotSide};
pub use store::{EmbeddingStore, Side, StoreOptions, Tiered};
pub use traffic::Traffic;
/// What `kernels/rows.cu` reads, for the tests that run kernels without a device: these are in a
/// crate of their own, which no user builds. It may change in any version.
#[doc(hidden)]
pub mod kernel_input {
    pub use crate::device_store::batch_lists::{BatchLists, ClassLists};
    pub use crate::rounding::Rounding;
}
