#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod budget;
pub mod card;
mod checkpoints;
mod devices;
mod error;
mod hot;
mod model;
pub mod parity;
mod placing;
mod run;
mod settings;

pub use budget::Budget;
pub use card::{Card, InteractionName, LossName, OptimizerName, ScheduleName, Widths};
pub use checkpoints::{load_weights_file, newest_checkpoint, scorer, scorer_of};
pub use devices::{devices, one_device};
pub use error::{Error, Result};
pub use hot::{Hot, default_sample};
pub use model::{ModelConfig, ModelKind};
pub use placing::Placing;
pub use run::{AnyTrainer, Run, evaluations, on_threads, read_card};
pub use settings::Settings;
