#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod budget;
pub mod card;
mod devices;
mod error;
mod hot;
mod memory;
mod model;
pub mod parity;
mod placing;
mod row_ids;
mod run;
mod settings;
mod tables;
mod weights;

pub use budget::Budget;
pub use card::{
    Card, CombineName, InteractionName, LossName, ModelKind, OptimizerName, ScheduleName,
    SequenceLayerName, Widths,
};
pub use devices::{devices, one_device};
pub use error::{Error, Result};
pub use hot::{Hot, default_sample};
pub use model::ModelConfig;
pub use placing::Placing;
pub use run::{AnyTrainer, Run, evaluations, on_threads, read_card};
pub use settings::Settings;
pub use weights::{
    LoadedRows, Scorer, load_weights_file, newest_checkpoint, save_weights_file, scorer, scorer_of,
};
