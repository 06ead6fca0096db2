//! Who watches a run: the terminal, a file, or the caller's own code.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{EpochReport, Error, Evaluation, Result, RunReport};

/// Something that happened in a run.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event<'a> {
    /// Training begins.
    Started {
        /// Epochs asked for.
        epochs: u64,
        /// Steps that they take.
        steps: u64,
        /// Training samples.
        samples_per_epoch: u64,
    },
    /// A checkpoint cannot be used; the one before it is tried.
    CheckpointDamaged {
        /// Its folder.
        path: &'a Path,
        /// What is wrong with it.
        problem: &'a str,
    },
    /// The run was to go on from a checkpoint, but there is none.
    NothingToResume {
        /// The folder.
        folder: &'a Path,
    },
    /// The run goes on from a checkpoint.
    Resumed {
        /// Its folder.
        path: &'a Path,
        /// Steps taken until then.
        step: u64,
        /// Samples trained on until then.
        samples: u64,
    },
    /// A checkpoint was written.
    Saved {
        /// Its folder.
        path: &'a Path,
        /// Steps taken until then.
        step: u64,
        /// Bytes of its files.
        bytes: u64,
        /// Seconds that it took.
        seconds: f64,
    },
    /// A step was taken.
    Step {
        /// Its number, counted from 1 over all epochs.
        step: u64,
        /// Its epoch, counted from 0.
        epoch: u64,
        /// Samples trained on so far.
        samples: u64,
        /// Mean loss of the batch before the update.
        loss: f64,
        /// The learning rate.
        learning_rate: f64,
    },
    /// The evaluation sets were scored.
    Evaluated {
        /// The epoch, counted from 0.
        epoch: u64,
        /// The results.
        report: EpochReport,
    },
    /// An epoch is over.
    EpochEnded {
        /// The epoch, counted from 0.
        epoch: u64,
        /// The results at its end.
        report: EpochReport,
    },
    /// The run is over.
    Finished {
        /// What came of it.
        report: &'a RunReport,
    },
}

/// Watches a run. It is told of every step, so it should return quickly.
pub trait Observer: Send {
    /// Is told what happened.
    ///
    /// # Errors
    /// An error ends the run.
    fn observe(&mut self, event: &Event<'_>) -> Result<()>;
}

/// Watches nothing.
impl Observer for () {
    fn observe(&mut self, _: &Event<'_>) -> Result<()> {
        Ok(())
    }
}

/// Several observers, told in order.
#[derive(Default)]
pub struct Observers(pub Vec<Box<dyn Observer>>);

impl Observer for Observers {
    fn observe(&mut self, event: &Event<'_>) -> Result<()> {
        self.0
            .iter_mut()
            .try_for_each(|observer| observer.observe(event))
    }
}

/// A progress bar on standard error with throughput, loss and time left, and a line for every evaluation. Where standard
/// error is no terminal, lines alone.
pub struct Console {
    bar: ProgressBar,
    started: Instant,
    refreshed: Instant,
    /// Trained on, and how many of them before this process.
    samples: u64,
    earlier: u64,
    loss: f64,
}

/// How often the bar's text changes.
const REFRESH: Duration = Duration::from_millis(200);

impl Console {
    /// A bar that appears when the run starts.
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            bar: ProgressBar::hidden(),
            started: now,
            refreshed: now,
            samples: 0,
            earlier: 0,
            loss: f64::NAN,
        }
    }

    fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Console {
    fn observe(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Started { steps, .. } => {
                self.started = Instant::now();
                if std::io::stderr().is_terminal() {
                    let template = "{bar:30} {percent:>3}% step {pos}/{len}, {msg}, {eta} left";
                    let style = ProgressStyle::with_template(template)
                        .unwrap_or_else(|_| ProgressStyle::default_bar());
                    self.bar = ProgressBar::new(*steps).with_style(style);
                }
            }
            Event::Step {
                step,
                samples,
                loss,
                ..
            } => {
                // An exponential mean over about fifty steps reads better than single batches.
                self.loss = if self.loss.is_nan() {
                    *loss
                } else {
                    self.loss + 0.02 * (loss - self.loss)
                };
                self.samples = *samples;
                if self.refreshed.elapsed() >= REFRESH {
                    self.refreshed = Instant::now();
                    let rate =
                        (*samples - self.earlier) as f64 / self.started.elapsed().as_secs_f64();
                    self.bar.set_position(*step);
                    self.bar
                        .set_message(format!("{rate:.0} samples/s, loss {:.4}", self.loss));
                }
            }
            Event::Evaluated { epoch, report } => {
                let EpochReport {
                    step, train_loss, ..
                } = report;
                self.say(&format!(
                    "epoch {} step {step}: training loss {train_loss:.4}",
                    epoch + 1
                ));
                for (name, evaluation) in
                    [("validation", &report.validation), ("test", &report.test)]
                {
                    if let Some(evaluation) = evaluation {
                        self.say(&format!("  {name:<10} {}", line(evaluation)));
                    }
                }
            }
            Event::CheckpointDamaged { path, problem } => self.say(&format!(
                "checkpoint {} cannot be used, the one before it is tried: {problem}",
                path.display()
            )),
            Event::Resumed {
                path,
                step,
                samples,
            } => {
                self.earlier = *samples;
                self.say(&format!(
                    "going on after step {step}, from {}",
                    path.display()
                ));
            }
            Event::NothingToResume { folder } => self.say(&format!(
                "no checkpoint in {}: starting afresh",
                folder.display()
            )),
            Event::Saved {
                step,
                bytes,
                seconds,
                ..
            } => self.say(&format!(
                "checkpoint after step {step}: {:.1} MiB in {seconds:.2} s",
                *bytes as f64 / f64::from(1 << 20)
            )),
            Event::Finished { .. } => self.bar.finish_and_clear(),
            _ => {}
        }
        Ok(())
    }
}

fn line(evaluation: &Evaluation) -> String {
    let auc = match evaluation.auc {
        Some(auc) => format!("{auc:.4}"),
        None => "undefined (all labels are the same)".into(),
    };
    format!(
        "AUC {auc}, log loss {:.4}, accuracy {:.2}%",
        evaluation.log_loss,
        100.0 * evaluation.accuracy
    )
}

/// Writes events to a file, one JSON object a line: every evaluation, and every so many steps one step with the mean loss
/// since the last.
pub struct JsonLines {
    path: PathBuf,
    out: BufWriter<File>,
    every: u64,
    since: (f64, u64),
}

impl JsonLines {
    /// Creates (or empties) the file; a step is written every `every` steps.
    ///
    /// # Errors
    /// A file that cannot be created.
    pub fn create(path: &Path, every: u64) -> Result<Self> {
        Self::open(path, every, File::create(path))
    }

    /// Writes behind what the file holds, for a run that goes on; makes it where there is none.
    ///
    /// # Errors
    /// A file that cannot be written to.
    pub fn append(path: &Path, every: u64) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        Self::open(path, every, file)
    }

    fn open(path: &Path, every: u64, file: std::io::Result<File>) -> Result<Self> {
        let file = file.map_err(|source| Error::io("cannot create", path, source))?;
        Ok(Self {
            path: path.to_path_buf(),
            out: BufWriter::new(file),
            every: every.max(1),
            since: (0.0, 0),
        })
    }

    fn write(&mut self, event: &Event<'_>) -> Result<()> {
        serde_json::to_writer(&mut self.out, event)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .and_then(|()| {
                if matches!(event, Event::Step { .. }) {
                    Ok(())
                } else {
                    self.out.flush()
                }
            })
            .map_err(|source| Error::io("cannot write", &self.path, source))
    }
}

impl Observer for JsonLines {
    fn observe(&mut self, event: &Event<'_>) -> Result<()> {
        let Event::Step {
            step,
            epoch,
            samples,
            loss,
            learning_rate,
        } = *event
        else {
            return self.write(event);
        };
        self.since = (self.since.0 + loss, self.since.1 + 1);
        if !step.is_multiple_of(self.every) {
            return Ok(());
        }
        let loss = self.since.0 / self.since.1 as f64;
        self.since = (0.0, 0);
        self.write(&Event::Step {
            step,
            epoch,
            samples,
            loss,
            learning_rate,
        })
    }
}
