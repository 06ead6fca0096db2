//! What is trained on: all inputs in one order, or hot and cold ones apart.

use std::collections::VecDeque;
use std::sync::Arc;

use embedding_store::{EmbeddingStore, Plan, Side};
use recsys_data::{Dataset, Epoch, Loaded, Loader, LoaderOptions, Schema};
use recsys_model::Model;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::options::TrainOptions;
use crate::progress::{EpochProgress, Turn};
use crate::schedule::{Schedule, SideBatches, Stretch};
use crate::step::Trainer;

/// The training inputs of a run.
pub enum Inputs<'a> {
    /// All of them, in the data set's order or shuffled.
    Unsplit(Arc<dyn Dataset>),
    /// Wholly hot inputs and the others, in turns as a schedule says.
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
    /// The data sets.
    pub(crate) fn datasets(&self) -> Vec<Arc<dyn Dataset>> {
        match self {
            Self::Unsplit(all) => vec![all.clone()],
            Self::Split { hot, cold, .. } => vec![hot.clone(), cold.clone()],
        }
    }

    /// Inputs of an epoch.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Unsplit(all) => all.len(),
            Self::Split { hot, cold, .. } => hot.len().saturating_add(cold.len()),
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
        self.lanes().into_iter().fold(0, u64::saturating_add)
    }

    /// Batches of every lane.
    pub(crate) fn lanes(&self) -> Vec<u64> {
        let loaders = self.loaders.iter();
        loaders.map(|(_, loader)| loader.batches()).collect()
    }

    /// Whether a position is one of an epoch: every lane has the batches that have run and those
    /// that are left of the stretch.
    pub(crate) fn has(&self, epoch: &EpochProgress) -> bool {
        let (all, done) = (self.lanes(), &epoch.done);
        let in_lanes =
            done.len() == all.len() && done.iter().zip(&all).all(|(done, all)| done <= all);
        let stretch = |turn: Turn| {
            let (side, loader) = self.loaders.get(turn.lane)?;
            let left = loader.batches().checked_sub(*done.get(turn.lane)?)?;
            Some(*side == turn.side && turn.batches <= left)
        };
        in_lanes && epoch.turn.is_none_or(|turn| stretch(turn) == Some(true))
    }

    /// What decides the order of the batches of an epoch, the schedule's rules apart.
    pub(crate) fn order(&self) -> Value {
        let lane = |(side, loader): &(Option<Side>, Loader<Plan>)| json!({"side": side, "batches": loader.batches()});
        self.loaders.iter().map(lane).collect()
    }

    /// Begins an epoch, or goes on in it: one lane of batches for each side.
    pub(crate) fn begin(
        &mut self,
        epoch: &mut EpochProgress,
        lookahead: usize,
    ) -> Result<Vec<Lane>> {
        if let Some(schedule) = &mut self.schedule {
            schedule.begin(SideBatches {
                hot: self.loaders[0].1.batches(),
                cold: self.loaders[1].1.batches(),
            })?;
        }
        epoch.done.resize(self.loaders.len(), 0);
        let lanes = self
            .loaders
            .iter()
            .zip(&epoch.done)
            .map(|((_, loader), &done)| Lane {
                epoch: loader.epoch(epoch.number, done),
                queue: VecDeque::with_capacity(lookahead + 1),
                lookahead,
                ended: false,
            })
            .collect();
        Ok(lanes)
    }

    /// What runs next in this epoch, of whose lanes `done` batches have run; `None` where all have.
    ///
    /// # Errors
    /// A schedule that does not give every batch once.
    pub(crate) fn turn(&mut self, done: &[u64]) -> Result<Option<Turn>> {
        let lanes = self.loaders.iter().zip(done);
        let left: Vec<u64> = lanes
            .map(|((_, loader), done)| loader.batches().saturating_sub(*done))
            .collect();
        if left.iter().all(|&left| left == 0) {
            return Ok(None);
        }
        let Some(schedule) = &mut self.schedule else {
            return Ok(Some(Turn {
                side: None,
                batches: left[0],
                lane: 0,
            }));
        };
        let refused = |problem| Err(Error::Schedule { problem });
        let Some(Stretch { side, batches }) = schedule.next()? else {
            let [hot, cold] = [left[0], left[1]];
            return refused(format!(
                "ended the epoch with {hot} hot and {cold} cold batches left"
            ));
        };
        let lane = usize::from(side == Side::Cold);
        let name = ["hot", "cold"][lane];
        match batches {
            0 => refused(format!("answered a stretch of 0 {name} batches")),
            _ if batches > left[lane] => refused(format!(
                "answered a stretch of {batches} {name} batches where {} are left",
                left[lane]
            )),
            _ => Ok(Some(Turn {
                side: Some(side),
                batches,
                lane,
            })),
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
    ///
    /// # Errors
    /// Damaged data, or no further batch.
    pub(crate) fn next(&mut self) -> Result<(Loaded<Plan>, Vec<&Plan>)> {
        let seen = self.queue.len().saturating_sub(1);
        while !self.ended && self.queue.len() <= self.lookahead {
            match self.epoch.next() {
                Some(loaded) => self.queue.push_back(loaded.map_err(Error::from)?),
                None => self.ended = true,
            }
        }
        let Some(first) = self.queue.pop_front() else {
            // Turns are of batches that are left, so this is a position from elsewhere.
            return Err(Error::Schedule {
                problem: "goes on where its side has no batch".into(),
            });
        };
        let coming = self.queue.iter().skip(seen).map(|loaded| &loaded.extra);
        Ok((first, coming.collect()))
    }
}
