//! A run on the terminal.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use trainer::{EpochReport, Evaluation, Event, Observer, Result};

use crate::say::escaped;

/// A progress bar on standard error with throughput, loss and time left, and a line for every
/// evaluation. Where standard error is no terminal, lines alone.
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
            note!("{line}");
        } else {
            self.bar.println(escaped(line, &[]));
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Console {
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
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
            Event::Evaluated { epoch, report, .. } => {
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
            Event::CheckpointDamaged { path, problem, .. } => self.say(&format!(
                "checkpoint {} cannot be used, the one before it is tried: {problem}",
                path.display()
            )),
            Event::Resumed {
                path,
                step,
                samples,
                ..
            } => {
                self.earlier = *samples;
                self.say(&format!(
                    "going on after step {step}, from {}",
                    path.display()
                ));
            }
            Event::NothingToResume { folder, .. } => self.say(&format!(
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
            Event::NotSaved { step, problem, .. } => self.say(&format!(
                "warning: no checkpoint after step {step}: {problem}"
            )),
            Event::Finished { .. } => self.bar.finish_and_clear(),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
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
