//! Whole training runs: epochs, evaluations, early stop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use embedding_store::{EmbeddingStore, Side, Tiered, Traffic};
use recsys_data::Dataset;
use recsys_data::views::Subset;
use recsys_model::Model;
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoints, Keeper};
use crate::error::{Error, Result};
use crate::finite::with_largest;
use crate::inputs::{Feed, Inputs, Lane};
use crate::learning_rate::{LearningRates, checked};
use crate::metrics::{Evaluation, Scores};
use crate::observer::{Event, Observer, Watch};
use crate::options::{MAX_LOOKAHEAD, StopAt, TrainOptions};
use crate::parameters::distinct_parameters;
use crate::progress::{EpochProgress, Progress, Turn};
use crate::report::{
    Best, EpochReport, PhaseReport, RunReport, SelectedBy, StepTimes, Swap, ThroughputReport,
};
use crate::step::{StepLoss, Trainer};

/// The data sets that a run is judged on; either may be absent or empty.
#[derive(Clone, Default)]
pub struct Evaluations {
    /// Picks the best step and decides on an early stop.
    pub validation: Option<Arc<dyn Dataset>>,
    /// Reported; picks the best step only where there is no validation set.
    pub test: Option<Arc<dyn Dataset>>,
}

/// Trains for the given epochs and evaluates after each of them (and every
/// [`TrainOptions::test_every`] steps).
///
/// Inputs are a data set, or [`Inputs::Split`]: then hot and cold batches come in turns, as the
/// schedule says, and the store is told which side follows. Every epoch sees every input once, last
/// batches that are not full included.
///
/// A second call on the same trainer goes on with its weights and optimizer state. It counts epochs
/// and steps from 0 again, with the shuffles and learning rates that belong to them, unless
/// [`TrainOptions::earlier_epochs`] and [`TrainOptions::earlier_steps`] say what was trained
/// before: with them, several calls give the bits of one.
///
/// The loop runs inside the current rayon pool, or the global one where there is none, so that the
/// parallel operators of a step need no hand-over between threads. Call it in
/// [`rayon::ThreadPool::install`] for another number of threads: the results are the same.
///
/// # Errors
/// Options that make no sense, two parameters of one name, data that do not fit the model, damaged
/// data, a schedule that does not run every batch once, errors of the caller's own code, and
/// [`Error::Diverged`] as soon as a loss is not finite, or [`Error::ScoreNotFinite`] where that is
/// noticed by an evaluation.
pub fn fit<'a, M: Model, S: EmbeddingStore>(
    trainer: &mut Trainer<M, S>,
    train: impl Into<Inputs<'a>>,
    evaluations: &Evaluations,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<RunReport> {
    fit_with_checkpoints(trainer, train, evaluations, options, None, observer)
}

/// [`fit`] with checkpoints: a run that was ended at any moment and goes on from one gives the
/// weights, the optimizer state and the report of the run that was not, bit for bit, times and
/// traffic apart.
///
/// The trainer must be made as for the first part, with any placement, number of devices and hot
/// rows; what it holds is overwritten by what the checkpoint holds. [`RunReport::interrupted_at`]
/// tells whether the run was stopped. Over tables that have grown since, a new run starts, from
/// [`Checkpoint::load_with_state`](crate::Checkpoint::load_with_state).
///
/// # Errors
/// As [`fit`]; a folder that cannot be written to, that another run writes to, or that holds
/// checkpoints of a run that this is not to go on from; settings that differ from the checkpoint's.
/// A checkpoint that cannot be written later ends no run: [`RunReport::unsaved`] tells.
pub fn fit_with_checkpoints<'a, M: Model, S: EmbeddingStore>(
    trainer: &mut Trainer<M, S>,
    train: impl Into<Inputs<'a>>,
    evaluations: &Evaluations,
    options: &TrainOptions,
    checkpoints: Option<&Checkpoints>,
    observer: &mut dyn Observer,
) -> Result<RunReport> {
    let train = train.into();
    let datasets = train.datasets();
    let report = rayon::scope(|_| {
        Run::start(trainer, &train, evaluations, options, observer)?.go(train, checkpoints)
    });
    report.map_err(|error| with_largest(error, &datasets))
}

struct Run<'a, M, S> {
    trainer: &'a mut Trainer<M, S>,
    evaluations: &'a Evaluations,
    options: &'a TrainOptions,
    watch: Watch<'a>,
    keeper: Option<Keeper<'a>>,
    progress: Progress,
    /// Why the last checkpoint was not written.
    unsaved: Option<String>,
    /// Steps whose losses are on their way from a device, oldest first.
    begun: VecDeque<Begun>,
}

/// Steps that a device may be asked for before the loss of the first of them is waited for.
const STEPS_AHEAD: usize = 3;

/// A step that was begun.
struct Begun {
    step: u64,
    batch: u64,
    rates: LearningRates,
    loss: StepLoss,
}

/// How a stretch of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It ran its course.
    Reached,
    /// The run is told to stop; where it has checkpoints, one was written.
    Interrupted,
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
        // Else the first checkpoint would tell, after what may be hours.
        distinct_parameters(trainer.model())?;
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
            watch: Watch::new(observer),
            keeper: None,
            progress: Progress {
                step: options.earlier_steps,
                epoch: EpochProgress::of(options.earlier_epochs),
                ..Progress::default()
            },
            unsaved: None,
            begun: VecDeque::new(),
        })
    }

    fn go(mut self, train: Inputs<'_>, checkpoints: Option<&'a Checkpoints>) -> Result<RunReport> {
        let samples_per_epoch = train.len();
        let settings = self.settings(&train);
        let mut feed = Feed::new(self.trainer, train, self.options)?;
        let mut schedule = None;
        if let Some(checkpoints) = checkpoints {
            let keeper = self
                .keeper
                .insert(Keeper::open(checkpoints, settings, &feed)?);
            if let Some(moment) = keeper.resume(self.trainer, &feed, &mut self.watch)? {
                (self.progress, schedule) = (moment.progress, moment.schedule);
                // The target may be another one now.
                let epoch = &mut self.progress.epoch;
                let evaluated = epoch.evaluated.as_ref();
                epoch.stopped_early &=
                    evaluated.is_some_and(|report| reached(self.options.stop_at, report));
            }
        }
        self.watch.tell(&Event::Started {
            epochs: self.options.epochs,
            steps: self.expected_steps(&feed),
            samples_per_epoch,
        })?;
        if self.watch.has_stopped() {
            return self.finish(false);
        }
        let options = self.options;
        let end = options.earlier_epochs.saturating_add(options.epochs);
        loop {
            let number = self.progress.epoch.number;
            if self.epoch(&mut feed, schedule.take())? == End::Interrupted {
                return Ok(self.report(false, true));
            }
            let whole = self.progress.epoch.batches() == feed.batches();
            // Before the evaluation, which the run that is not stopped here does not have.
            if self.watch.has_stopped()
                && !whole
                && self.save_if_due(&feed, true)? == End::Interrupted
            {
                return Ok(self.report(false, true));
            }
            let report = match self.progress.epoch.evaluated {
                Some(report) => report,
                None => self.evaluate()?,
            };
            self.progress.epoch.evaluated = Some(report);
            self.watch.tell(&Event::EpochEnded {
                epoch: number,
                report,
            })?;
            let last = number.saturating_add(1) >= end;
            let stopped_early =
                self.progress.epoch.stopped_early || (!last && reached(options.stop_at, &report));
            let ends = last || stopped_early || self.is_over();
            if whole && self.save_if_due(&feed, ends)? == End::Interrupted && !ends {
                return Ok(self.report(false, true));
            }
            self.progress.epochs.push(report);
            if ends || self.watch.has_stopped() {
                return self.finish(stopped_early);
            }
            self.progress.epoch = EpochProgress::of(number.saturating_add(1));
        }
    }

    /// Reports a run that was not interrupted.
    fn finish(mut self, stopped_early: bool) -> Result<RunReport> {
        let report = self.report(stopped_early, false);
        self.watch.tell(&Event::Finished { report: &report })?;
        Ok(report)
    }

    /// What decides the numbers of this run, as far as the loop knows.
    fn settings(&self, train: &Inputs<'_>) -> Value {
        let options = self.options;
        let samples =
            |set: &Option<Arc<dyn Dataset>>| set.as_ref().map_or(0, |dataset| dataset.len());
        let parts = self.trainer.store().parts().iter();
        let mut settings = json!({
            "optimizer": self.trainer.store().optimizer(),
            "batch_size": options.batch_size,
            "order": options.order,
            "seed": options.seed,
            "learning_rate": options.learning_rate,
            "policy": options.policy.describe(),
            "loss": options.loss.describe(),
            "test_every": options.test_every,
            "swap_samples": options.swap_samples,
            "train_samples": train.len(),
            "validation_samples": samples(&self.evaluations.validation),
            "test_samples": samples(&self.evaluations.test),
            "matrices": parts
                .map(|part| (part.name.clone(), json!([part.rows, part.dim])))
                .collect::<Value>(),
        });
        // What is as it always was before it became an option is left out, so that checkpoints from
        // before then can be resumed.
        if let Some(optimizer) = self.trainer.dense_optimizer() {
            settings["dense_optimizer"] = json!(optimizer);
        }
        if options.dense_base() != options.learning_rate {
            settings["dense_learning_rate"] = json!(options.dense_base());
        }
        for (name, count) in [
            ("earlier_epochs", options.earlier_epochs),
            ("earlier_steps", options.earlier_steps),
        ] {
            if count > 0 {
                settings[name] = json!(count);
            }
        }
        settings
    }

    /// Number of the last step, unless the run stops early.
    fn expected_steps(&self, feed: &Feed<'_>) -> u64 {
        let Progress { step, epoch, .. } = &self.progress;
        let options = self.options;
        let end = options.earlier_epochs.saturating_add(options.epochs);
        let left = feed
            .batches()
            .saturating_mul(end.saturating_sub(epoch.number));
        let steps = step.saturating_add(left.saturating_sub(epoch.batches()));
        let most = options.max_steps.unwrap_or(u64::MAX);
        steps.min(options.earlier_steps.saturating_add(most))
    }

    /// Steps that this run has taken.
    fn steps(&self) -> u64 {
        self.progress
            .step
            .saturating_sub(self.options.earlier_steps)
    }

    fn has_taken_its_steps(&self) -> bool {
        let most = self.options.max_steps;
        most.is_some_and(|most| self.steps() >= most)
    }

    /// What came of the run until now.
    fn report(&mut self, stopped_early: bool, interrupted: bool) -> RunReport {
        let steps = self.steps();
        let Progress {
            step,
            samples,
            epochs,
            best,
            swaps,
            phases,
            ..
        } = std::mem::take(&mut self.progress);
        let last = epochs.last().copied().unwrap_or_default();
        let all = [phases.unsplit, phases.hot, phases.cold];
        let seconds: f64 = all.iter().flatten().map(|phase| phase.seconds).sum();
        RunReport {
            test: last.test,
            validation: last.validation,
            validation_and_test: last.validation_and_test,
            epochs,
            best,
            train: ThroughputReport {
                samples,
                seconds,
                samples_per_second: samples as f64 / seconds.max(f64::MIN_POSITIVE),
                steps,
            },
            stopped_early,
            stopped_by_observer: self.watch.has_stopped(),
            interrupted_at: interrupted.then_some(step),
            unsaved: self.unsaved.take(),
            phases,
            swaps,
        }
    }

    /// Runs an epoch, or what is left of it, turn by turn.
    fn epoch(&mut self, feed: &mut Feed<'_>, schedule: Option<Value>) -> Result<End> {
        let lookahead = self.options.lookahead;
        let lookahead = lookahead.unwrap_or_else(|| {
            let tiers = self.trainer.store().tiers();
            tiers.map_or(0, Tiered::lookahead)
        });
        let mut lanes = feed.begin(&mut self.progress.epoch, lookahead.min(MAX_LOOKAHEAD))?;
        if let (Some(state), Some(schedule)) = (schedule, feed.schedule()) {
            schedule.restore(&state)?;
        }
        while !self.is_over() {
            let Some(turn) = self.next_turn(feed)? else {
                break;
            };
            if self.turn(turn, &mut lanes[turn.lane], feed)? == End::Interrupted {
                return Ok(End::Interrupted);
            }
        }
        Ok(End::Reached)
    }

    /// Whether the run ends before the epoch does.
    fn is_over(&self) -> bool {
        self.progress.epoch.stopped_early || self.watch.has_stopped() || self.has_taken_its_steps()
    }

    /// What is left of the running stretch, or the next one.
    fn next_turn(&mut self, feed: &mut Feed<'_>) -> Result<Option<Turn>> {
        let running = self.progress.epoch.turn;
        if let Some(turn) = running.filter(|turn| turn.batches > 0) {
            return Ok(Some(turn));
        }
        let next = feed.turn(&self.progress.epoch.done)?;
        if let (Some(running), Some(next)) = (running, next)
            && let Some(from) = running.side.filter(|&from| Some(from) != next.side)
        {
            self.swap(from, feed)?;
        }
        if next.is_some() {
            self.progress.epoch.turn = next;
        }
        Ok(next)
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
            schedule.observe(loss)?;
        }
        self.progress.swaps.push(Swap {
            step: self.progress.step,
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
    fn turn(&mut self, turn: Turn, lane: &mut Lane, feed: &Feed<'_>) -> Result<End> {
        let mut meter = Meter::start(self.trainer);
        self.enter(turn.side)?;
        for left in (0..turn.batches).rev() {
            self.step(lane, &mut meter.phase)?;
            let epoch = &mut self.progress.epoch;
            epoch.done[turn.lane] += 1;
            epoch.turn = Some(Turn {
                batches: left,
                ..turn
            });
            epoch.evaluated = None;
            let every = self.options.test_every;
            let evaluates = every.is_some_and(|every| self.progress.step.is_multiple_of(every));
            if evaluates || self.checkpoint_is_due(feed) {
                self.settle(0)?;
                meter.stop(self.trainer, self.progress.phases.of(turn.side));
                if evaluates {
                    let report = self.evaluate()?;
                    let epoch = &mut self.progress.epoch;
                    epoch.evaluated = Some(report);
                    epoch.stopped_early = reached(self.options.stop_at, &report);
                }
                // An epoch that is over is evaluated before it is saved, unless there is no time
                // for that.
                let over = self.progress.epoch.batches() == feed.batches();
                if (!over || self.is_stopping())
                    && self.save_if_due(feed, self.is_over())? == End::Interrupted
                {
                    return Ok(End::Interrupted);
                }
                meter = Meter::start(self.trainer);
                if evaluates && !self.is_over() {
                    self.enter(turn.side)?;
                }
            }
            if self.is_over() {
                break;
            }
        }
        self.settle(0)?;
        meter.stop(self.trainer, self.progress.phases.of(turn.side));
        Ok(End::Reached)
    }

    /// Runs the next batch of a lane.
    fn step(&mut self, lane: &mut Lane, phase: &mut PhaseReport) -> Result<()> {
        let (options, waiting) = (self.options, Instant::now());
        let (loaded, coming) = lane.next()?;
        phase.load_seconds += waiting.elapsed().as_secs_f64();
        let batch = loaded.batch.len() as u64;
        let progress = &mut self.progress;
        progress.step = progress.step.saturating_add(1);
        let step = progress.step;
        let rate = |base| checked(&*options.policy, base, step);
        let rates = LearningRates {
            rows: rate(options.learning_rate)?,
            // A policy may have a least rate; what is frozen has none.
            dense: match options.dense_base() {
                0.0 => 0.0,
                base => rate(base)?,
            },
        };
        let loss = self.trainer.begin_step(
            &loaded.batch,
            &loaded.extra,
            &coming,
            &*options.loss,
            rates,
        )?;
        phase.steps += 1;
        phase.samples += batch;
        let ahead = if loss.is_here() { 0 } else { STEPS_AHEAD };
        self.begun.push_back(Begun {
            step,
            batch,
            rates,
            loss,
        });
        self.settle(ahead)
    }

    /// Takes the losses of all steps but the last `ahead`.
    fn settle(&mut self, ahead: usize) -> Result<()> {
        while self.begun.len() > ahead
            && let Some(begun) = self.begun.pop_front()
        {
            let Begun {
                step,
                batch,
                rates,
                loss,
            } = begun;
            let loss = self.trainer.loss_of(loss)?;
            if !loss.is_finite() {
                return Err(Error::Diverged {
                    step,
                    loss,
                    learning_rate: rates.rows,
                    largest: String::new(),
                });
            }
            let progress = &mut self.progress;
            progress.epoch.loss_sum += loss * batch as f64;
            progress.epoch.seen += batch;
            progress.samples += batch;
            let event = Event::Step {
                step,
                epoch: progress.epoch.number,
                samples: progress.samples,
                loss,
                learning_rate: rates.rows,
                dense_learning_rate: (rates.dense != rates.rows).then_some(rates.dense),
            };
            self.watch.tell(&event)?;
        }
        Ok(())
    }

    /// Whether the run is told to stop.
    fn is_stopping(&self) -> bool {
        self.options.stop.load(Ordering::Relaxed)
    }

    /// Whether training pauses here for another reason than an evaluation: this step's state is to
    /// be saved, or the run is told to stop.
    fn checkpoint_is_due(&self, feed: &Feed<'_>) -> bool {
        let over = self.progress.epoch.batches() == feed.batches();
        let due = |keeper: &Keeper<'_>| keeper.is_due(self.progress.step) || self.is_over();
        self.is_stopping() || (!over && self.keeper.as_ref().is_some_and(due))
    }

    /// Writes a checkpoint where the run has them and there is a reason: it is due, the best
    /// evaluation so far is of this step, the run ends, or it is told to stop.
    ///
    /// One that cannot be written ends no run, which may go on for hours: the next one may succeed.
    fn save_if_due(&mut self, feed: &Feed<'_>, ends: bool) -> Result<End> {
        let (step, stopping) = (self.progress.step, self.is_stopping());
        let is_best = self.progress.best.is_some_and(|best| best.step == step);
        if let Some(keeper) = &mut self.keeper
            && (stopping || ends || is_best || keeper.is_due(step))
        {
            let schedule = feed.schedule_state()?;
            let saved = keeper.save(self.trainer, &self.progress, schedule, &mut self.watch);
            self.unsaved = match saved {
                Ok(()) => None,
                Err(error @ (Error::Io { .. } | Error::NotOurs { .. })) => {
                    let problem = error.to_string();
                    self.watch.tell(&Event::NotSaved {
                        step,
                        problem: &problem,
                    })?;
                    Some(problem)
                }
                Err(error) => return Err(error),
            };
        }
        Ok(match stopping {
            true => End::Interrupted,
            false => End::Reached,
        })
    }

    /// Tells the store which side follows; unsplit inputs are any inputs.
    fn enter(&mut self, side: Option<Side>) -> Result<()> {
        match self.trainer.store_mut().tiers_mut() {
            Some(tiers) => Ok(tiers.enter(side.unwrap_or(Side::Cold))?),
            None => Ok(()),
        }
    }

    /// Logits, as the loss sees them, and labels of an evaluation set, whose inputs may touch any
    /// rows.
    fn score(&mut self, dataset: Arc<dyn Dataset>) -> Result<Scores> {
        self.enter(None)?;
        let options = self.options;
        let scores = self.trainer.score(dataset, options.test_batch_size)?;
        Ok(scores.seen_by(&*options.loss))
    }

    fn evaluate(&mut self) -> Result<EpochReport> {
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
        let epoch = self.progress.epoch.number;
        let report = EpochReport {
            step: self.progress.step,
            test,
            validation,
            validation_and_test,
            train_loss: self.progress.epoch.train_loss(),
        };
        self.keep_best(epoch, &report);
        self.watch.tell(&Event::Evaluated { epoch, report })?;
        Ok(report)
    }

    fn keep_best(&mut self, epoch: u64, report: &EpochReport) {
        let Some((value, selected_by)) = judged(report.validation, report.test) else {
            return;
        };
        let best = self.progress.best;
        let before = best.and_then(|best| judged(best.validation, Some(best.test)));
        let before = before.map_or(f64::NEG_INFINITY, |(value, _)| value);
        if let Some(test) = report.test.or(report.validation)
            && value > before
        {
            self.progress.best = Some(Best {
                step: report.step,
                epoch,
                selected_by,
                test,
                validation: report.validation,
            });
        }
    }
}

/// How good an evaluation is, the higher the better, and by what.
fn judged(validation: Option<Evaluation>, test: Option<Evaluation>) -> Option<(f64, SelectedBy)> {
    let judge = validation.or(test)?;
    Some(match (judge.auc, validation.is_some()) {
        (Some(auc), true) => (auc, SelectedBy::ValidationAuc),
        (Some(auc), false) => (auc, SelectedBy::TestAuc),
        (None, true) => (-judge.log_loss, SelectedBy::ValidationLogLoss),
        (None, false) => (-judge.log_loss, SelectedBy::TestLogLoss),
    })
}

/// Measures the training of one phase; evaluations and checkpoints are not counted.
struct Meter {
    clock: Instant,
    times: StepTimes,
    traffic: Traffic,
    phase: PhaseReport,
}

impl Meter {
    fn start<M: Model, S: EmbeddingStore>(trainer: &Trainer<M, S>) -> Self {
        Self {
            clock: Instant::now(),
            times: trainer.times(),
            traffic: traffic(trainer),
            phase: PhaseReport::default(),
        }
    }

    /// Adds what was measured to a phase.
    fn stop<M: Model, S: EmbeddingStore>(
        &mut self,
        trainer: &Trainer<M, S>,
        into: &mut PhaseReport,
    ) {
        let phase = &mut self.phase;
        phase.seconds = self.clock.elapsed().as_secs_f64();
        phase.times = trainer.times().since(self.times);
        phase.traffic = traffic(trainer).since(&self.traffic);
        into.add(phase);
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

/// What the store has moved between host and device.
fn traffic<M: Model, S: EmbeddingStore>(trainer: &Trainer<M, S>) -> Traffic {
    trainer
        .store()
        .tiers()
        .map_or_else(Traffic::default, Tiered::traffic)
}
