//! Checkpoints: a run that was ended goes on as if nothing had been.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

mod differences;
mod folder;
mod keeper;
mod manifest;
mod saved;

pub(crate) use keeper::Keeper;
pub use saved::Checkpoint;

/// Where and when a run writes checkpoints, and whether it goes on from one.
///
/// Besides the moments asked for, a checkpoint is written at every evaluation that is the best so
/// far, at the end, and when the run is told to [stop](crate::TrainOptions::stop). Each is a folder
/// `step-0000001234` that appears only when it is complete and durable; the last
/// [`keep`](Self::keep) and the one of the best evaluation stay, the others are removed.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    /// The folder; it is made if it does not exist.
    pub folder: PathBuf,
    /// How often.
    pub every: CheckpointEvery,
    /// So many of the last ones stay, at least one.
    pub keep: usize,
    /// Whether to go on from the newest one that is not damaged; without any, the run starts
    /// afresh. Where this is false, a folder with checkpoints is refused.
    pub resume: bool,
    /// What decides the run's numbers and is not known here: the model's shape, the data set's
    /// identity … A run goes on only from a checkpoint with equal settings. Programs that read
    /// checkpoints find it in [`Checkpoint::settings`].
    pub settings: Value,
    /// What decides the order of the batches in an epoch and is not known here: the schedule's
    /// rules, which inputs are hot. It must be equal in the middle of an epoch; at the end of
    /// one, a run may go on with another.
    pub order: Value,
    /// What readers of a checkpoint find in [`Checkpoint::about`], such as what the rows of the
    /// tables stand for. A run goes on whatever it says.
    pub about: Value,
}

/// How often checkpoints are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointEvery {
    /// After every so many steps.
    Steps(u64),
    /// After the step in which so much time has passed since the last one.
    Time(Duration),
}

impl Checkpoints {
    /// Every ten minutes, the last two stay, from the start.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            every: CheckpointEvery::Time(Duration::from_secs(600)),
            keep: 2,
            resume: false,
            settings: Value::Null,
            order: Value::Null,
            about: Value::Null,
        }
    }
}
