//! Who watches a run: a file, the terminal, or the caller's own code.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use recsys_data::output_file::stream;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::report::{EpochReport, RunReport};

/// Something that happened in a run.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event<'a> {
    /// Training begins.
    #[non_exhaustive]
    Started {
        /// Epochs of this run.
        epochs: u64,
        /// Number of the last step, unless the run ends early.
        steps: u64,
        /// Training samples.
        samples_per_epoch: u64,
    },
    /// A checkpoint cannot be used; the one before it is tried.
    #[non_exhaustive]
    CheckpointDamaged {
        /// Its folder.
        path: &'a Path,
        /// What is wrong with it.
        problem: &'a str,
    },
    /// The run was to go on from a checkpoint, but there is none.
    #[non_exhaustive]
    NothingToResume {
        /// The folder.
        folder: &'a Path,
    },
    /// The run goes on from a checkpoint.
    #[non_exhaustive]
    Resumed {
        /// Its folder.
        path: &'a Path,
        /// Steps taken until then.
        step: u64,
        /// Samples trained on until then.
        samples: u64,
    },
    /// A checkpoint was written.
    #[non_exhaustive]
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
    /// A checkpoint could not be written. The run goes on, and tries again when the next is due.
    #[non_exhaustive]
    NotSaved {
        /// Steps taken until then.
        step: u64,
        /// What is wrong.
        problem: &'a str,
    },
    /// A step was taken.
    #[non_exhaustive]
    Step {
        /// Its number, counted from 1 over all epochs.
        step: u64,
        /// Its epoch, counted from 0.
        epoch: u64,
        /// Samples trained on so far.
        samples: u64,
        /// Mean loss of the batch before the update.
        loss: f64,
        /// The learning rate of embedding rows.
        learning_rate: f64,
        /// The learning rate of dense parameters, where that is another one.
        #[serde(skip_serializing_if = "Option::is_none")]
        dense_learning_rate: Option<f64>,
    },
    /// The evaluation sets were scored.
    #[non_exhaustive]
    Evaluated {
        /// The epoch, counted from 0.
        epoch: u64,
        /// The results.
        report: EpochReport,
    },
    /// An epoch is over.
    #[non_exhaustive]
    EpochEnded {
        /// The epoch, counted from 0.
        epoch: u64,
        /// The results at its end.
        report: EpochReport,
    },
    /// The run is over.
    #[non_exhaustive]
    Finished {
        /// What came of it.
        report: &'a RunReport,
    },
}

/// Watches a run, and may end it. It is told of every step, so it should return quickly.
pub trait Observer: Send {
    /// Is told what happened. `Ok(ControlFlow::Continue(()))` lets the run go on.
    ///
    /// [`ControlFlow::Break`] ends it in good order, as [`TrainOptions::max_steps`] does: no
    /// further step is begun, a checkpoint is written where the run has them, the evaluation sets
    /// are scored if a step was taken since they last were, and [`RunReport::stopped_by_observer`]
    /// tells. Where a device works ahead, the run ends up to three steps behind the one that it was
    /// told of. From before the first step, the run ends without an evaluation. After
    /// [`Event::Finished`] there is nothing left to end.
    ///
    /// [`TrainOptions::max_steps`]: crate::TrainOptions::max_steps
    ///
    /// # Errors
    /// Any; it ends the run as it is ([`Error::External`] takes any error).
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>>;
}

/// The observer of a run, and whether it has ended it.
pub(crate) struct Watch<'a> {
    observer: &'a mut dyn Observer,
    stopped: bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(observer: &'a mut dyn Observer) -> Self {
        Self {
            observer,
            stopped: false,
        }
    }

    pub(crate) fn tell(&mut self, event: &Event<'_>) -> Result<()> {
        self.stopped |= self.observer.observe(event)?.is_break();
        Ok(())
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped
    }
}

/// Watches nothing.
impl Observer for () {
    fn observe(&mut self, _: &Event<'_>) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }
}

/// Several observers, told in order. Where one ends the run, the others still hear of the event.
#[derive(Default)]
pub struct Observers(pub Vec<Box<dyn Observer>>);

impl Observer for Observers {
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        let mut flow = ControlFlow::Continue(());
        for observer in &mut self.0 {
            if observer.observe(event)?.is_break() {
                flow = ControlFlow::Break(());
            }
        }
        Ok(flow)
    }
}

/// Writes events to a file, one JSON object a line: every evaluation, and one step of every few,
/// with the mean loss since the last that was written. A [`stream`] is written into as it is.
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
        Self::open(path, every, |path| File::create(path))
    }

    /// Writes behind what the file holds, for a run that goes on; makes it where there is none.
    ///
    /// # Errors
    /// A file that cannot be written to.
    pub fn append(path: &Path, every: u64) -> Result<Self> {
        let append = |path: &Path| File::options().create(true).append(true).open(path);
        Self::open(path, every, append)
    }

    fn open(path: &Path, every: u64, open: fn(&Path) -> io::Result<File>) -> Result<Self> {
        let file = match stream(path) {
            Ok(None) => open(path),
            Ok(Some(stream)) => Ok(stream),
            Err(error) => Err(error),
        };
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
            .map_err(io::Error::from)
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
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        let Event::Step {
            step,
            epoch,
            samples,
            loss,
            learning_rate,
            dense_learning_rate,
        } = *event
        else {
            self.write(event)?;
            return Ok(ControlFlow::Continue(()));
        };
        self.since = (self.since.0 + loss, self.since.1 + 1);
        if !step.is_multiple_of(self.every) {
            return Ok(ControlFlow::Continue(()));
        }
        let loss = self.since.0 / self.since.1 as f64;
        self.since = (0.0, 0);
        self.write(&Event::Step {
            step,
            epoch,
            samples,
            loss,
            learning_rate,
            dense_learning_rate,
        })?;
        Ok(ControlFlow::Continue(()))
    }
}
