#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod checkpoint;
#[cfg(feature = "cuda")]
mod crossing;
#[cfg(not(feature = "cuda"))]
#[path = "no_crossing.rs"]
mod crossing;
mod error;
mod finite;
mod float;
mod inputs;
mod learning_rate;
mod loss;
mod metrics;
mod observer;
mod optimizer;
mod options;
mod parameters;
mod placement;
mod progress;
#[cfg(feature = "cuda")]
mod reduction;
mod replicas;
mod report;
mod row_map;
mod run;
mod schedule;
mod step;
mod table_rows;
mod tensor_file;
mod tensor_source;
mod text;
mod torch_file;
mod weight_names;
mod weights;
mod weights_export;

pub use candle_core;
pub use checkpoint::{Checkpoint, CheckpointEvery, Checkpoints};
pub use error::{Error, Result};
pub use inputs::Inputs;
pub use learning_rate::{LearningRate, LearningRatePolicy, LearningRates};
pub use loss::{BinaryLoss, Loss, LossInput, LossKind};
pub use metrics::{Evaluation, Scores};
pub use observer::{Event, JsonLines, Observer, Observers};
pub use optimizer::DenseOptimizer;
pub use options::{StopAt, TrainOptions};
pub use placement::Placement;
pub use recsys_model::{ApplyGradient, Gradient, InputShape, LossGradient, Model};
pub use replicas::Replicas;
pub use report::{
    Best, EpochReport, PhaseReport, Phases, RunReport, SelectedBy, StepTimes, Swap,
    ThroughputReport,
};
pub use row_map::RowMap;
pub use run::{Evaluations, fit, fit_with_checkpoints};
pub use schedule::{Interleave, Schedule, ShuffleOptions, ShuffleScheduler, SideBatches, Stretch};
pub use step::{StepLoss, Trainer};
pub use table_rows::TableRows;
pub use weights::{
    load_weights, load_weights_by_category, load_weights_with, save_weights, save_weights_about,
    weights_about,
};
pub use weights_export::{WeightsForm, export_weights};
