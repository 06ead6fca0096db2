//! What is trained on: all inputs in one order, or hot and cold ones apart.

use std::collections::VecDeque;
use std::sync::Arc;

use embedding_store::{EmbeddingStore, Plan, Side};
use recsys_data::{Dataset, Epoch, Loaded, Loader, LoaderOptions, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::progress::EpochProgress;
use crate::{Error, Model, Result, Schedule, TrainOptions, Trainer};

/// The training inputs of a run.
pub enum Inputs<'a> {
    /// All of them, in the data set's order or shuffled.
    Unsplit(Arc<dyn Dataset>),
    /// Wholly hot inputs and the others, by turns as a schedule says.
    Split {
        /// Inputs that touch hot rows only; may be empty.
        hot: Arc<dyn Dataset>,
        /// The others; may be empty.
        cold: Arc<dyn Dataset>,
        /// Which side's batches come next.
        schedule: &'a mut dyn Schedule,
    },
}

impl From<Arc<dyn Dataset>> for Inputs<'_> {
    fn from(dataset: Arc<dyn Dataset>) -> Self {
        Self::Unsplit(dataset)
    }
}

impl<D: Dataset + 'static> From<Arc<D>> for Inputs<'_> {
    fn from(dataset: Arc<D>) -> Self {
        Self::Unsplit(dataset)
    }
}

impl Inputs<'_> {
    /// Inputs of an epoch.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Unsplit(all) => all.len(),
            Self::Split { hot, cold, .. } => hot.len() + cold.len(),
        }
    }

    pub(crate) fn schemas(&self) -> impl Iterator<Item = &Schema> {
        let (first, second) = match self {
            Self::Unsplit(all) => (all, None),
            Self::Split { hot, cold, .. } => (hot, Some(cold)),
        };
        std::iter::once(first)
            .chain(second)
            .map(|dataset| dataset.schema())
    }
}

/// The loaders of a run's inputs, and the schedule where they are split.
pub(crate) struct Feed<'a> {
    loaders: Vec<(Option<Side>, Loader<Plan>)>,
    schedule: Option<&'a mut dyn Schedule>,
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

impl<'a> Feed<'a> {
    pub(crate) fn new<M: Model, S: EmbeddingStore>(
        trainer: &Trainer<M, S>,
        inputs: Inputs<'a>,
        options: &TrainOptions,
    ) -> Result<Self> {
        let loader = |dataset, seed| {
            trainer.loader(
                dataset,
                LoaderOptions {
                    batch_size: options.batch_size,
                    order: options.order,
                    seed,
                    threads: options.loader_threads,
                    prefetch: options.prefetch,
                },
            )
        };
        let seed = options.seed;
        Ok(match inputs {
            Inputs::Unsplit(all) => Self {
                loaders: vec![(None, loader(all, seed)?)],
                schedule: None,
            },
            Inputs::Split {
                hot,
                cold,
                schedule,
            } => Self {
                loaders: vec![
                    (Some(Side::Hot), loader(hot, seed)?),
                    // Another seed, so that two sides of one size are not shuffled alike.
                    (Some(Side::Cold), loader(cold, seed ^ 1 << 63)?),
                ],
                schedule: Some(schedule),
            },
        })
    }

    /// Batches of an epoch.
    pub(crate) fn batches(&self) -> u64 {
        self.loaders
            .iter()
            .map(|(_, loader)| loader.batches())
            .sum()
    }

    /// Batches of every lane.
    pub(crate) fn lanes(&self) -> Vec<u64> {
        let loaders = self.loaders.iter();
        loaders.map(|(_, loader)| loader.batches()).collect()
    }

    /// What decides the order of the batches of an epoch, the schedule's rules apart.
    pub(crate) fn order(&self) -> Value {
        let lane = |(side, loader): &(Option<Side>, Loader<Plan>)| json!({"side": side, "batches": loader.batches()});
        self.loaders.iter().map(lane).collect()
    }

    /// Begins an epoch, or goes on in it: one lane of batches for each side.
    pub(crate) fn begin(&mut self, epoch: &mut EpochProgress, lookahead: usize) -> Vec<Lane> {
        if let Some(schedule) = &mut self.schedule {
            schedule.begin(self.loaders[0].1.batches(), self.loaders[1].1.batches());
        }
        epoch.done.resize(self.loaders.len(), 0);
        self.loaders
            .iter()
            .zip(&epoch.done)
            .map(|((_, loader), &done)| Lane {
                epoch: loader.epoch(epoch.number, done),
                queue: VecDeque::with_capacity(lookahead + 1),
                lookahead,
                ended: false,
            })
            .collect()
    }

    /// What runs next in this epoch, of which `done` batches have run.
    pub(crate) fn turn(&mut self, done: u64) -> Option<Turn> {
        if done >= self.batches() {
            return None;
        }
        match &mut self.schedule {
            None => Some(Turn {
                side: None,
                batches: self.batches() - done,
                lane: 0,
            }),
            Some(schedule) => schedule.next().map(|stretch| Turn {
                side: Some(stretch.side),
                batches: stretch.batches,
                lane: usize::from(stretch.side == Side::Cold),
            }),
        }
    }

    pub(crate) fn schedule(&mut self) -> Option<&mut dyn Schedule> {
        match &mut self.schedule {
            Some(schedule) => Some(&mut **schedule),
            None => None,
        }
    }

    /// The schedule's state; null without a schedule.
    pub(crate) fn schedule_state(&self) -> Result<Value> {
        match &self.schedule {
            Some(schedule) => schedule.state(),
            None => Ok(Value::Null),
        }
    }
}

/// The batches of one side in an epoch, of which the store may see some ahead of their turn.
pub(crate) struct Lane {
    epoch: Epoch<Plan>,
    /// The next batches; the first of them is about to run.
    queue: VecDeque<Loaded<Plan>>,
    lookahead: usize,
    ended: bool,
}

impl Lane {
    /// The next batch, and the plans of those behind it that have come into sight with this call.
    pub(crate) fn next(&mut self) -> Result<Option<(Loaded<Plan>, Vec<&Plan>)>> {
        let seen = self.queue.len().saturating_sub(1);
        while !self.ended && self.queue.len() <= self.lookahead {
            match self.epoch.next() {
                Some(loaded) => self.queue.push_back(loaded.map_err(Error::from)?),
                None => self.ended = true,
            }
        }
        let Some(first) = self.queue.pop_front() else {
            return Ok(None);
        };
        let coming = self.queue.iter().skip(seen).map(|loaded| &loaded.extra);
        Ok(Some((first, coming.collect())))
    }
}
