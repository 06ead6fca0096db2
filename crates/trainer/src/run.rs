//! Whole training runs: epochs, evaluations, early stop, and what came of it.

use std::sync::Arc;
use std::time::Instant;

use embedding_store::EmbeddingStore;
use recsys_data::{Dataset, LoaderOptions};
use serde::Serialize;

use crate::{
    Error, Evaluation, Event, Model, Observer, Result, Scores, StopAt, TrainOptions, Trainer,
};

/// The data sets that a run is judged on; either may be absent or empty.
#[derive(Clone, Default)]
pub struct Evaluations {
    /// Picks the best step and decides on an early stop.
    pub validation: Option<Arc<dyn Dataset>>,
    /// Reported; picks the best step only where there is no validation set.
    pub test: Option<Arc<dyn Dataset>>,
}

/// Results on the evaluation sets at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
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

/// The evaluation at which the selection set looked best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Best {
    /// Steps taken until then.
    pub step: u64,
    /// Epoch of that step, counted from 0.
    pub epoch: u64,
    /// By which set and metric it was picked: "validation AUC", "test log loss" …
    pub selected_by: &'static str,
    /// On the test set (on the validation set where there is no test set).
    #[serde(flatten)]
    pub test: Evaluation,
    /// On the validation set.
    pub validation: Option<Evaluation>,
}

/// How much was trained, and how fast; evaluations not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
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
}

/// Trains for the given epochs and evaluates after each of them (and every [`TrainOptions::test_every`] steps).
///
/// The loop runs inside the current rayon pool, or the global one where there is none, so that the parallel operators of a
/// step need no hand-over between threads. Call it in [`rayon::ThreadPool::install`] for another number of threads: the
/// results are the same.
///
/// # Errors
/// Options that make no sense, data that do not fit the model, damaged data, and [`Error::Diverged`] as soon as a loss is
/// not finite.
pub fn fit<M: Model, S: EmbeddingStore>(
    trainer: &mut Trainer<M, S>,
    train: Arc<dyn Dataset>,
    evaluations: &Evaluations,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<RunReport> {
    rayon::scope(|_| Run::start(trainer, train, evaluations, options, observer)?.go())
}

struct Run<'a, M, S> {
    trainer: &'a mut Trainer<M, S>,
    train: Arc<dyn Dataset>,
    evaluations: &'a Evaluations,
    options: &'a TrainOptions,
    observer: &'a mut dyn Observer,
    step: u64,
    seconds: f64,
    samples: u64,
    best: Option<Best>,
    best_value: f64,
}

impl<'a, M: Model, S: EmbeddingStore> Run<'a, M, S> {
    fn start(
        trainer: &'a mut Trainer<M, S>,
        train: Arc<dyn Dataset>,
        evaluations: &'a Evaluations,
        options: &'a TrainOptions,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        options.validate()?;
        if train.is_empty() {
            return Err(Error::NoTrainingData);
        }
        for dataset in [
            Some(&train),
            evaluations.validation.as_ref(),
            evaluations.test.as_ref(),
        ]
        .into_iter()
        .flatten()
        {
            trainer.check(dataset.schema())?;
        }
        let best_value = f64::NEG_INFINITY;
        Ok(Self {
            trainer,
            train,
            evaluations,
            options,
            observer,
            step: 0,
            seconds: 0.0,
            samples: 0,
            best: None,
            best_value,
        })
    }

    fn go(mut self) -> Result<RunReport> {
        let options = self.options;
        let loader = self.trainer.loader(
            self.train.clone(),
            LoaderOptions {
                batch_size: options.batch_size,
                order: options.order,
                seed: options.seed,
                threads: options.loader_threads,
                prefetch: options.prefetch,
            },
        )?;
        let steps = options
            .max_steps
            .unwrap_or(u64::MAX)
            .min(loader.batches() * options.epochs);
        self.observer.observe(&Event::Started {
            epochs: options.epochs,
            steps,
            samples_per_epoch: self.train.len(),
        })?;
        let mut epochs = Vec::new();
        let mut stopped_early = false;
        for epoch in 0..options.epochs {
            let (mut loss_sum, mut seen) = (0.0, 0u64);
            let mut clock = Instant::now();
            let mut evaluated = None;
            for loaded in loader.epoch(epoch, 0) {
                let loaded = loaded?;
                let batch = loaded.batch.len() as u64;
                self.step += 1;
                let learning_rate = options.policy.rate(options.learning_rate, self.step);
                let loss = self.trainer.step(
                    &loaded.batch,
                    &loaded.extra,
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
                loss_sum += loss * batch as f64;
                seen += batch;
                self.samples += batch;
                let event = Event::Step {
                    step: self.step,
                    epoch,
                    samples: self.samples,
                    loss,
                    learning_rate,
                };
                self.observer.observe(&event)?;
                evaluated = None;
                if options
                    .test_every
                    .is_some_and(|every| self.step.is_multiple_of(every))
                {
                    self.seconds += clock.elapsed().as_secs_f64();
                    evaluated = Some(self.evaluate(epoch, loss_sum / seen as f64)?);
                    clock = Instant::now();
                    stopped_early =
                        evaluated.is_some_and(|report| reached(options.stop_at, &report));
                }
                if stopped_early || self.step >= steps {
                    break;
                }
            }
            self.seconds += clock.elapsed().as_secs_f64();
            let report = match evaluated {
                Some(report) => report,
                None => self.evaluate(epoch, loss_sum / seen as f64)?,
            };
            self.observer
                .observe(&Event::EpochEnded { epoch, report })?;
            epochs.push(report);
            stopped_early |= epoch + 1 < options.epochs && reached(options.stop_at, &report);
            if stopped_early || self.step >= steps {
                break;
            }
        }
        let last = epochs.last().copied().unwrap_or_default();
        let report = RunReport {
            test: last.test,
            validation: last.validation,
            validation_and_test: last.validation_and_test,
            epochs,
            best: self.best,
            train: ThroughputReport {
                samples: self.samples,
                seconds: self.seconds,
                samples_per_second: self.samples as f64 / self.seconds.max(f64::MIN_POSITIVE),
                steps: self.step,
            },
            stopped_early,
        };
        self.observer
            .observe(&Event::Finished { report: &report })?;
        Ok(report)
    }

    fn evaluate(&mut self, epoch: u64, train_loss: f64) -> Result<EpochReport> {
        let mut scores = |dataset: &Option<Arc<dyn Dataset>>| match dataset {
            Some(dataset) => self
                .trainer
                .score(dataset.clone(), self.options.test_batch_size),
            None => Ok(Scores::default()),
        };
        let mut both = scores(&self.evaluations.validation)?;
        let validation = both.evaluate();
        let test_scores = scores(&self.evaluations.test)?;
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
