//! How far a run has come: all that a checkpoint must hold besides weights and schedule.

use embedding_store::Side;
use serde::{Deserialize, Serialize};

use crate::report::{Best, EpochReport, Phases, Swap};

/// How far a run has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Steps taken.
    pub(crate) step: u64,
    /// Samples trained on.
    pub(crate) samples: u64,
    /// The epoch that is running.
    pub(crate) epoch: EpochProgress,
    /// Of the epochs before it.
    pub(crate) epochs: Vec<EpochReport>,
    pub(crate) best: Option<Best>,
    pub(crate) swaps: Vec<Swap>,
    pub(crate) phases: Phases,
}

/// Batches of one side that run one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    pub(crate) side: Option<Side>,
    pub(crate) batches: u64,
    /// Number of the side's lane.
    pub(crate) lane: usize,
}

/// How far an epoch has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochProgress {
    /// Its number, counted from 0.
    pub(crate) number: u64,
    /// Over the samples seen.
    pub(crate) loss_sum: f64,
    pub(crate) seen: u64,
    /// Batches that have run, lane by lane; none before the epoch has begun.
    pub(crate) done: Vec<u64>,
    /// The stretch that is running, with the batches that are left of it.
    pub(crate) turn: Option<Turn>,
    /// The evaluation after the last step, if there was one.
    pub(crate) evaluated: Option<EpochReport>,
    /// Whether that evaluation reached a target.
    pub(crate) stopped_early: bool,
}

impl EpochProgress {
    pub(crate) fn of(number: u64) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    /// Batches that have run.
    pub(crate) fn batches(&self) -> u64 {
        self.done
            .iter()
            .fold(0, |sum, &done| sum.saturating_add(done))
    }

    /// Mean loss of the samples seen.
    pub(crate) fn train_loss(&self) -> f64 {
        self.loss_sum / self.seen as f64
    }
}
