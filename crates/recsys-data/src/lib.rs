#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod batch;
mod category_counts;
mod dataset;
mod error;
mod loader;
mod numpy;
mod rank_on;
mod schema;
mod split;
mod stage;

pub mod criteo;
pub mod exchange;
pub mod generate;
pub mod input_file;
pub mod inspect;
pub mod output_file;
pub mod packed;
pub mod progress;
pub mod taobao;
pub mod text;
pub mod views;
pub mod vocabulary;

pub use batch::{Batch, SparseIds};
pub use dataset::{Dataset, IdBlock};
pub use error::{Error, Result};
pub use loader::{Epoch, Loaded, Loader, LoaderOptions, Order};
pub use rank_on::RankOn;
pub use schema::{Schema, TableSchema};
pub use split::{Split, SplitRows};
