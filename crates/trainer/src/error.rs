//! The errors of this crate.

use std::path::PathBuf;

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while a model is trained or evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data set could not be read.
    #[error(transparent)]
    Data(#[from] recsys_data::Error),
    /// The embedding store refused an operation.
    #[error(transparent)]
    Store(#[from] embedding_store::Error),
    /// A device failed, or a tensor is not laid out as its memory is used.
    #[error(transparent)]
    Device(#[from] recsys_device::Error),
    /// The model refused its weights or input; errors of a model from outside are inside of it.
    #[error(transparent)]
    Model(recsys_model::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Code from outside of this workspace failed: a loss, a schedule, an observer, a policy or a
    /// model of the caller's own.
    #[error(transparent)]
    External(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// An option has a value that makes no sense.
    #[error("{option} is {value}; {remedy}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its value.
        value: String,
        /// What would be accepted.
        remedy: &'static str,
    },
    /// Model and data set do not fit together.
    #[error("{what}: the model has {model}, the data set has {data}; {remedy}")]
    Mismatch {
        /// Which quantity.
        what: String,
        /// The model's value.
        model: u64,
        /// The data set's value.
        data: u64,
        /// What to change.
        remedy: &'static str,
    },
    /// The training set is empty.
    #[error("the training set holds no sample; prepare a data set with training rows")]
    NoTrainingData,
    /// The loss is no longer a finite number.
    #[error(
        "the loss became {loss} at step {step} (learning rate {learning_rate}); \
         lower the learning rate, add warm-up steps, or clamp predictions with a loss \
         threshold{largest}"
    )]
    Diverged {
        /// Step at which it happened, counted from 1.
        step: u64,
        /// The value.
        loss: f64,
        /// The learning rate of that step.
        learning_rate: f64,
        /// The dense column with the largest values, as the end of the message; may be empty.
        largest: String,
    },
    /// A model's answer is no finite number, so that no metric of it means anything.
    #[error(
        "the score of sample {sample} is {score}: training has diverged, the weights are damaged, \
         or dense values are too large for them; train again with a lower learning rate{largest}"
    )]
    ScoreNotFinite {
        /// The sample, counted from 0 in the order in which they were scored.
        sample: u64,
        /// The logit.
        score: f32,
        /// The dense column with the largest values, as the end of the message; may be empty.
        largest: String,
    },
    /// A weight that was to be saved is no finite number.
    #[error(
        "weight `{name}` holds {value}, so it is not saved: training has diverged; lower the \
         learning rate, or add warm-up steps{largest}"
    )]
    WeightNotFinite {
        /// Name of the weight.
        name: String,
        /// The value.
        value: f32,
        /// The dense column with the largest values, as the end of the message; may be empty.
        largest: String,
    },
    /// A learning-rate policy answered what no step can be taken with.
    #[error(
        "the learning rate of step {step} is {rate}; a policy must answer a finite number of at \
         least 0"
    )]
    LearningRate {
        /// The step, counted from 1.
        step: u64,
        /// What the policy answered.
        rate: f64,
    },
    /// A schedule does not run every batch of both sides once.
    #[error(
        "the schedule {problem}; until an epoch's batches of both sides are used up it must \
         answer stretches of at least 1 batch and at most those left of the side"
    )]
    Schedule {
        /// What it did.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was being done: "cannot read", "cannot create" …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A weights file is not a readable safetensors file.
    #[error("{path} is not a weights file: {source}", path = path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: safetensors::SafeTensorError,
    },
    /// A file that PyTorch saved holds no weights that can be read.
    #[error("{path} {problem}", path = path.display())]
    NotPickledWeights {
        /// The file.
        path: PathBuf,
        /// What it is or holds instead, and what would help.
        problem: String,
    },
    /// A weight has another shape or type than the model's.
    #[error(
        "{path}: weight `{name}` is {found}, the model needs {expected}; \
         it was saved from a model of another configuration",
        path = path.display()
    )]
    WeightShape {
        /// The file.
        path: PathBuf,
        /// Name of the weight.
        name: String,
        /// Type and shape in the file.
        found: String,
        /// Type and shape in the model.
        expected: String,
    },
    /// A table has another number of rows in the file than in the store.
    #[error(
        "{path}: weight `{name}` has {found} rows, the store has {expected}; {remedy}",
        path = path.display()
    )]
    WeightRows {
        /// The file.
        path: PathBuf,
        /// Name of the weight.
        name: String,
        /// Rows in the file.
        found: u64,
        /// Rows in the store.
        expected: u64,
        /// What to change.
        remedy: &'static str,
    },
    /// A weight that the model needs is not in the file.
    #[error("{path}: weight `{name}` is missing; the file has {known}", path = path.display())]
    WeightMissing {
        /// The file.
        path: PathBuf,
        /// Name of the weight.
        name: String,
        /// Some of the names there are.
        known: String,
    },
    /// A checkpoint is incomplete or altered.
    #[error("checkpoint {path} is damaged: {problem}", path = path.display())]
    CheckpointDamaged {
        /// The file, or the folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A checkpoint is of a format that this version does not know.
    #[error("{path} has the format {found}, this version reads {expected}", path = path.display())]
    CheckpointFormat {
        /// The file.
        path: PathBuf,
        /// Format and version in the file.
        found: String,
        /// Format and version of this crate.
        expected: String,
    },
    /// There are checkpoints, and none can be used.
    #[error(
        "none of the {count} checkpoints in {path} can be used, the newest because of: {newest}; \
         train into another folder, or remove these to start afresh",
        path = path.display()
    )]
    NoUsableCheckpoint {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// What is wrong with the newest.
        newest: Box<Error>,
    },
    /// A checkpoint was written with other settings than the run that is to go on from it.
    #[error(
        "{path} was written with other settings, and going on with these would mix two runs: \
         {differences}",
        path = path.display()
    )]
    CheckpointSettings {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What differs, with both values.
        differences: String,
    },
    /// A run that starts afresh would write among the checkpoints of another.
    #[error(
        "{path} holds checkpoints already, the newest of step {step}; set `Checkpoints::resume` to go \
         on from it, or give another folder",
        path = path.display()
    )]
    CheckpointsExist {
        /// The folder.
        path: PathBuf,
        /// Step of the newest.
        step: u64,
    },
    /// Another run writes checkpoints into the same folder.
    #[error(
        "another run writes its checkpoints into {path}; wait for its end, or give another folder",
        path = path.display()
    )]
    CheckpointsInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A checkpoint would replace something that is not provably one.
    #[error(
        "{path} is where a checkpoint belongs, and holds something else; move it away, or give \
         another folder",
        path = path.display()
    )]
    NotOurs {
        /// The folder or file.
        path: PathBuf,
    },
    /// What a run knows cannot be written as JSON, such as a loss that is not a number.
    #[error("cannot write {path}: {source}", path = path.display())]
    CheckpointJson {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: serde_json::Error,
    },
}

/// What the training loop answers to a model comes back through the model, and is taken out again.
impl From<recsys_model::Error> for Error {
    fn from(error: recsys_model::Error) -> Self {
        match error {
            recsys_model::Error::External(error) => match error.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::Model(recsys_model::Error::External(other)),
            },
            recsys_model::Error::Candle(error) => Self::Candle(error),
            recsys_model::Error::Device(error) => Self::Device(error),
            error => Self::Model(error),
        }
    }
}

impl Error {
    /// An error from outside of this workspace, for what traits of this crate answer:
    /// `something.map_err(Error::external)?`. It is passed on as it is.
    pub fn external(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::External(error.into())
    }

    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}
