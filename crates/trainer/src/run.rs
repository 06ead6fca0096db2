//! Whole training runs: epochs, evaluations, early stop.

use std::sync::Arc;
use std::time::Instant;

use embedding_store::{EmbeddingStore, Side};
use recsys_data::{Dataset, Subset};

use crate::inputs::{Feed, Lane, Turn};
use crate::{
    Best, EpochReport, Error, Event, Inputs, Model, Observer, PhaseReport, Phases, Result,
    RunReport, Scores, StopAt, Swap, ThroughputReport, TrainOptions, Trainer,
};

/// The data sets that a run is judged on; either may be absent or empty.
#[derive(Clone, Default)]
pub struct Evaluations {
    /// Picks the best step and decides on an early stop.
    pub validation: Option<Arc<dyn Dataset>>,
    /// Reported; picks the best step only where there is no validation set.
    pub test: Option<Arc<dyn Dataset>>,
}

/// Trains for the given epochs and evaluates after each of them (and every [`TrainOptions::test_every`] steps).
///
/// Inputs are a data set, or [`Inputs::Split`]: then hot and cold batches come by turns, as the schedule says, and the store is told
/// which side follows. Every epoch sees every input once, last batches that are not full included.
///
/// The loop runs inside the current rayon pool, or the global one where there is none, so that the parallel operators of a
/// step need no hand-over between threads. Call it in [`rayon::ThreadPool::install`] for another number of threads: the
/// results are the same.
///
/// # Errors
/// Options that make no sense, data that do not fit the model, damaged data, and [`Error::Diverged`] as soon as a loss is
/// not finite.
pub fn fit<'a, M: Model, S: EmbeddingStore>(
    trainer: &mut Trainer<M, S>,
    train: impl Into<Inputs<'a>>,
    evaluations: &Evaluations,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<RunReport> {
    let train = train.into();
    rayon::scope(|_| Run::start(trainer, &train, evaluations, options, observer)?.go(train))
}

struct Run<'a, M, S> {
    trainer: &'a mut Trainer<M, S>,
    evaluations: &'a Evaluations,
    options: &'a TrainOptions,
    observer: &'a mut dyn Observer,
    step: u64,
    steps: u64,
    samples: u64,
    phases: Phases,
    swaps: Vec<Swap>,
    best: Option<Best>,
    best_value: f64,
}

/// An epoch that is running.
struct Running {
    epoch: u64,
    /// Over the samples seen.
    loss_sum: f64,
    seen: u64,
    batches: u64,
    /// The evaluation after the last step, if there was one.
    evaluated: Option<EpochReport>,
    stopped_early: bool,
}

impl<'a, M: Model, S: EmbeddingStore> Run<'a, M, S> {
    fn start(
        trainer: &'a mut Trainer<M, S>,
        train: &Inputs<'_>,
        evaluations: &'a Evaluations,
        options: &'a TrainOptions,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        options.validate()?;
        if train.len() == 0 {
            return Err(Error::NoTrainingData);
        }
        let evaluated = [&evaluations.validation, &evaluations.test];
        let evaluated = evaluated.into_iter().flatten().map(|set| set.schema());
        for schema in train.schemas().chain(evaluated) {
            trainer.check(schema)?;
        }
        Ok(Self {
            trainer,
            evaluations,
            options,
            observer,
            step: 0,
            steps: 0,
            samples: 0,
            phases: Phases::default(),
            swaps: Vec::new(),
            best: None,
            best_value: f64::NEG_INFINITY,
        })
    }

    fn go(mut self, train: Inputs<'_>) -> Result<RunReport> {
        let options = self.options;
        let samples_per_epoch = train.len();
        let mut feed = Feed::new(self.trainer, train, options)?;
        self.steps = options
            .max_steps
            .unwrap_or(u64::MAX)
            .min(feed.batches().saturating_mul(options.epochs));
        self.observer.observe(&Event::Started {
            epochs: options.epochs,
            steps: self.steps,
            samples_per_epoch,
        })?;
        let mut epochs = Vec::new();
        let mut stopped_early = false;
        for epoch in 0..options.epochs {
            let running = self.epoch(epoch, &mut feed)?;
            let report = match running.evaluated {
                Some(report) => report,
                None => self.evaluate(epoch, running.loss_sum / running.seen as f64)?,
            };
            self.observer
                .observe(&Event::EpochEnded { epoch, report })?;
            epochs.push(report);
            stopped_early = running.stopped_early
                || (epoch + 1 < options.epochs && reached(options.stop_at, &report));
            if stopped_early || self.step >= self.steps {
                break;
            }
        }
        let last = epochs.last().copied().unwrap_or_default();
        let phases = [self.phases.unsplit, self.phases.hot, self.phases.cold];
        let seconds: f64 = phases.iter().flatten().map(|phase| phase.seconds).sum();
        let report = RunReport {
            test: last.test,
            validation: last.validation,
            validation_and_test: last.validation_and_test,
            epochs,
            best: self.best,
            train: ThroughputReport {
                samples: self.samples,
                seconds,
                samples_per_second: self.samples as f64 / seconds.max(f64::MIN_POSITIVE),
                steps: self.step,
            },
            stopped_early,
            phases: self.phases,
            swaps: self.swaps,
        };
        self.observer
            .observe(&Event::Finished { report: &report })?;
        Ok(report)
    }

    /// Runs an epoch, turn by turn.
    fn epoch(&mut self, epoch: u64, feed: &mut Feed<'_>) -> Result<Running> {
        let mut running = Running {
            epoch,
            loss_sum: 0.0,
            seen: 0,
            batches: 0,
            evaluated: None,
            stopped_early: false,
        };
        let mut lanes = feed.begin(epoch, self.options.lookahead);
        let mut last: Option<Side> = None;
        while let Some(turn) = feed.turn(running.batches) {
            if let Some(from) = last.filter(|&from| Some(from) != turn.side) {
                self.swap(from, feed)?;
            }
            last = turn.side;
            self.turn(turn, turn.lane(&mut lanes), &mut running)?;
            if running.stopped_early || self.step >= self.steps {
                break;
            }
        }
        Ok(running)
    }

    /// Shows the schedule the loss at a change of side.
    fn swap(&mut self, from: Side, feed: &mut Feed<'_>) -> Result<()> {
        let Some(schedule) = feed.schedule() else {
            return Ok(());
        };
        let loss = if schedule.wants_loss() {
            self.swap_loss()?
        } else {
            None
        };
        if let Some(loss) = loss {
            schedule.observe(loss);
        }
        self.swaps.push(Swap {
            step: self.step,
            from,
            loss,
            rate: schedule.rate(),
        });
        Ok(())
    }

    /// The loss on the first samples of the validation set, or of the test set where there is none.
    fn swap_loss(&mut self) -> Result<Option<f64>> {
        let sets = [&self.evaluations.validation, &self.evaluations.test];
        let Some(set) = sets.into_iter().flatten().find(|set| !set.is_empty()) else {
            return Ok(None);
        };
        let some = Subset::new(set.clone(), 0..set.len().min(self.options.swap_samples));
        let scores = self.score(Arc::new(some))?;
        Ok(scores.evaluate().map(|evaluation| evaluation.log_loss))
    }

    /// Runs the batches of one turn.
    fn turn(&mut self, turn: Turn, lane: &mut Lane, running: &mut Running) -> Result<()> {
        let options = self.options;
        let mut clock = Instant::now();
        let times = self.trainer.times();
        let mut traffic = self.trainer.store().traffic();
        let mut phase = PhaseReport::default();
        self.enter(turn.side)?;
        for _ in 0..turn.batches {
            let waiting = Instant::now();
            let Some((loaded, coming)) = lane.next()? else {
                break;
            };
            phase.load_seconds += waiting.elapsed().as_secs_f64();
            let batch = loaded.batch.len() as u64;
            self.step += 1;
            let learning_rate = options.policy.rate(options.learning_rate, self.step);
            let loss = self.trainer.step_ahead(
                &loaded.batch,
                &loaded.extra,
                &coming,
                &options.loss,
                learning_rate,
            )?;
            if !loss.is_finite() {
                return Err(Error::Diverged {
                    step: self.step,
                    loss,
                    learning_rate,
                });
            }
            running.loss_sum += loss * batch as f64;
            running.seen += batch;
            running.batches += 1;
            running.evaluated = None;
            self.samples += batch;
            phase.steps += 1;
            phase.samples += batch;
            self.observer.observe(&Event::Step {
                step: self.step,
                epoch: running.epoch,
                samples: self.samples,
                loss,
                learning_rate,
            })?;
            if options
                .test_every
                .is_some_and(|every| self.step.is_multiple_of(every))
            {
                phase.seconds += clock.elapsed().as_secs_f64();
                phase.add_traffic(self.trainer.store().traffic().since(&traffic));
                let report =
                    self.evaluate(running.epoch, running.loss_sum / running.seen as f64)?;
                running.evaluated = Some(report);
                running.stopped_early = reached(options.stop_at, &report);
                clock = Instant::now();
                traffic = self.trainer.store().traffic();
                if !running.stopped_early {
                    self.enter(turn.side)?;
                }
            }
            if running.stopped_early || self.step >= self.steps {
                break;
            }
        }
        phase.seconds += clock.elapsed().as_secs_f64();
        phase.times = self.trainer.times().since(times);
        phase.add_traffic(self.trainer.store().traffic().since(&traffic));
        self.phases.of(turn.side).add(&phase);
        Ok(())
    }

    /// Tells the store which side follows; unsplit inputs are any inputs.
    fn enter(&mut self, side: Option<Side>) -> Result<()> {
        Ok(self.trainer.store_mut().enter(side.unwrap_or(Side::Cold))?)
    }

    /// Logits and labels of an evaluation set, whose inputs may touch any rows.
    fn score(&mut self, dataset: Arc<dyn Dataset>) -> Result<Scores> {
        self.enter(None)?;
        self.trainer.score(dataset, self.options.test_batch_size)
    }

    fn evaluate(&mut self, epoch: u64, train_loss: f64) -> Result<EpochReport> {
        let evaluations = self.evaluations;
        let mut scores = |dataset: &Option<Arc<dyn Dataset>>| match dataset {
            Some(dataset) => self.score(dataset.clone()),
            None => Ok(Scores::default()),
        };
        let mut both = scores(&evaluations.validation)?;
        let validation = both.evaluate();
        let test_scores = scores(&evaluations.test)?;
        let test = test_scores.evaluate();
        both.append(&test_scores);
        let validation_and_test = if validation.is_some() && test.is_some() {
            both.evaluate()
        } else {
            None
        };
        let report = EpochReport {
            step: self.step,
            test,
            validation,
            validation_and_test,
            train_loss,
        };
        self.keep_best(epoch, &report);
        self.observer.observe(&Event::Evaluated { epoch, report })?;
        Ok(report)
    }

    fn keep_best(&mut self, epoch: u64, report: &EpochReport) {
        let Some(judge) = report.validation.or(report.test) else {
            return;
        };
        let (value, selected_by) = match (judge.auc, report.validation.is_some()) {
            (Some(auc), true) => (auc, "validation AUC"),
            (Some(auc), false) => (auc, "test AUC"),
            (None, true) => (-judge.log_loss, "validation log loss"),
            (None, false) => (-judge.log_loss, "test log loss"),
        };
        if value > self.best_value {
            self.best_value = value;
            let test = report.test.unwrap_or(judge);
            self.best = Some(Best {
                step: report.step,
                epoch,
                selected_by,
                test,
                validation: report.validation,
            });
        }
    }
}

/// Whether the selection set reached a target.
fn reached(stop_at: StopAt, report: &EpochReport) -> bool {
    let Some(judge) = report.validation.or(report.test) else {
        return false;
    };
    stop_at
        .auc
        .is_some_and(|target| judge.auc.is_some_and(|auc| auc >= target))
        || stop_at
            .accuracy
            .is_some_and(|target| judge.accuracy >= target)
}
