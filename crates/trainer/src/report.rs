//! What comes of a run.

use std::fmt;

use embedding_store::{Side, Traffic};
use serde::{Deserialize, Serialize};

use crate::metrics::Evaluation;

/// Results on the evaluation sets at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpochReport {
    /// Steps taken so far.
    pub step: u64,
    /// On the test set.
    pub test: Option<Evaluation>,
    /// On the validation set.
    pub validation: Option<Evaluation>,
    /// On both together.
    pub validation_and_test: Option<Evaluation>,
    /// Mean loss of the training samples since the epoch began, each taken before its update.
    pub train_loss: f64,
}

/// The set and the metric that decide which evaluation is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SelectedBy {
    /// The AUC on the validation set.
    #[serde(rename = "validation AUC")]
    ValidationAuc,
    /// The AUC on the test set, where there is no validation set.
    #[serde(rename = "test AUC")]
    TestAuc,
    /// The log loss on the validation set, where the AUC is undefined.
    #[serde(rename = "validation log loss")]
    ValidationLogLoss,
    /// The log loss on the test set, where there is no validation set and the AUC is undefined.
    #[serde(rename = "test log loss")]
    TestLogLoss,
}

impl fmt::Display for SelectedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ValidationAuc => "validation AUC",
            Self::TestAuc => "test AUC",
            Self::ValidationLogLoss => "validation log loss",
            Self::TestLogLoss => "test log loss",
        })
    }
}

/// The evaluation at which the selection set looked best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Best {
    /// Steps taken until then.
    pub step: u64,
    /// Epoch of that step, counted from 0.
    pub epoch: u64,
    /// By which set and metric it was picked.
    pub selected_by: SelectedBy,
    /// On the test set (on the validation set where there is no test set).
    #[serde(flatten)]
    pub test: Evaluation,
    /// On the validation set.
    pub validation: Option<Evaluation>,
}

/// How much was trained, and how fast; evaluations not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ThroughputReport {
    /// Samples trained on, over all epochs.
    pub samples: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Their quotient.
    pub samples_per_second: f64,
    /// Steps taken.
    pub steps: u64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunReport {
    /// At the end, on the test set.
    pub test: Option<Evaluation>,
    /// At the end, on the validation set.
    pub validation: Option<Evaluation>,
    /// At the end, on both together.
    pub validation_and_test: Option<Evaluation>,
    /// After every epoch.
    pub epochs: Vec<EpochReport>,
    /// The best evaluation of the run.
    pub best: Option<Best>,
    /// How much was trained, and how fast.
    pub train: ThroughputReport,
    /// Whether a target was reached before the last epoch's end.
    pub stopped_early: bool,
    /// Whether an observer ended the run.
    pub stopped_by_observer: bool,
    /// The step after which the run was told to stop, its last checkpoint's; `None` where it came
    /// to its end. The other fields tell what there was until then.
    pub interrupted_at: Option<u64>,
    /// Why the last checkpoint was not written; `None` where it was, or the run has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsaved: Option<String>,
    /// What ran in which phase, how long, and how many bytes crossed.
    pub phases: Phases,
    /// Every change of the schedule's side; empty where inputs are not split.
    pub swaps: Vec<Swap>,
}

/// The parts of a run, by the batches that they train on. A phase without steps is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Phases {
    /// Batches in the original order.
    pub unsplit: Option<PhaseReport>,
    /// Batches of wholly hot inputs.
    pub hot: Option<PhaseReport>,
    /// Batches of the other inputs.
    pub cold: Option<PhaseReport>,
}

impl Phases {
    /// The phase of a side; `None` for unsplit inputs.
    pub(crate) fn of(&mut self, side: Option<Side>) -> &mut PhaseReport {
        match side {
            None => &mut self.unsplit,
            Some(Side::Hot) => &mut self.hot,
            Some(Side::Cold) => &mut self.cold,
        }
        .get_or_insert_default()
    }
}

/// Time and traffic of one phase; evaluations not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseReport {
    /// Steps taken.
    pub steps: u64,
    /// Samples trained on.
    pub samples: u64,
    /// Seconds in all.
    pub seconds: f64,
    /// Seconds of waiting for the loader.
    pub load_seconds: f64,
    /// What the steps did, and how long.
    #[serde(flatten)]
    pub times: StepTimes,
    /// Bytes that crossed between host and device, and syncs at the phase's beginning.
    #[serde(flatten)]
    pub traffic: Traffic,
}

impl PhaseReport {
    /// Adds another phase's figures to these.
    pub fn add(&mut self, more: &Self) {
        self.steps += more.steps;
        self.samples += more.samples;
        self.seconds += more.seconds;
        self.load_seconds += more.load_seconds;
        self.times.add(more.times);
        self.add_traffic(more.traffic);
    }

    pub(crate) fn add_traffic(&mut self, more: Traffic) {
        let all = &mut self.traffic;
        all.host_to_device += more.host_to_device;
        all.device_to_host += more.device_to_host;
        all.sync_to_device += more.sync_to_device;
        all.sync_to_host += more.sync_to_host;
        all.syncs += more.syncs;
        all.sync_seconds += more.sync_seconds;
    }
}

/// Where the time of training steps goes, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepTimes {
    /// Gathering rows.
    pub lookup_seconds: f64,
    /// The model forward and backward, loss and dense optimizer included.
    pub model_seconds: f64,
    /// Updating rows.
    pub update_seconds: f64,
}

impl StepTimes {
    pub(crate) fn add(&mut self, more: Self) {
        self.lookup_seconds += more.lookup_seconds;
        self.model_seconds += more.model_seconds;
        self.update_seconds += more.update_seconds;
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            lookup_seconds: self.lookup_seconds - earlier.lookup_seconds,
            model_seconds: self.model_seconds - earlier.model_seconds,
            update_seconds: self.update_seconds - earlier.update_seconds,
        }
    }
}

/// A change of the schedule's side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Swap {
    /// Steps taken until then.
    pub step: u64,
    /// The side that ran until then.
    pub from: Side,
    /// The loss that the schedule was shown, where it asked for one.
    pub loss: Option<f64>,
    /// The schedule's rate afterwards, in percent, where it has one.
    pub rate: Option<f64>,
}
