//! Writes the checkpoints of a run, and removes old ones.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use embedding_store::EmbeddingStore;
use serde_json::Value;

use super::differences::differences;
use super::folder::{Folder, remove, steps};
use super::manifest::{
    MANIFEST_FILE, MODEL_FILE, Manifest, Order, SavedFile, Settings, TABLES_FILE, VERSION,
};
use super::saved::{Checkpoint, dense_state_name};
use super::{CheckpointEvery, Checkpoints};
use crate::finite::check_weights;
use crate::inputs::Feed;
use crate::observer::Watch;
use crate::parameters::distinct_parameters;
use crate::progress::Progress;
use crate::table_rows::{TableRows, pieces, rows_name, state_name};
use crate::tensor_file::{Entry, TensorWriter, Written};
use crate::weights::{entry, write_dense};
use crate::{Error, Event, Model, Result, Trainer};

/// The checkpoints of a run that is going on.
pub(crate) struct Keeper<'a> {
    options: &'a Checkpoints,
    folder: Folder,
    settings: Settings,
    order: Order,
    /// Steps whose checkpoints are known to be whole.
    whole: BTreeSet<u64>,
    /// Steps whose checkpoints are known to be damaged.
    damaged: BTreeSet<u64>,
    last: Instant,
}

/// What a run goes on from.
pub(crate) struct Moment {
    pub(crate) progress: Progress,
    /// State of the schedule; `None` where another one takes over, at the end of an epoch.
    pub(crate) schedule: Option<Value>,
}

impl<'a> Keeper<'a> {
    /// Takes the folder for this run.
    pub(crate) fn open(options: &'a Checkpoints, run: Value, feed: &Feed<'_>) -> Result<Self> {
        let folder = Folder::open(&options.folder)?;
        if !options.resume
            && let Some((step, _)) = steps(folder.path())?.last()
        {
            return Err(Error::CheckpointsExist {
                path: options.folder.clone(),
                step: *step,
            });
        }
        Ok(Self {
            options,
            folder,
            settings: Settings {
                program: options.settings.clone(),
                run,
            },
            order: Order {
                program: options.order.clone(),
                lanes: feed.order(),
            },
            whole: BTreeSet::new(),
            damaged: BTreeSet::new(),
            last: Instant::now(),
        })
    }

    /// Whether one is due after that many steps.
    pub(crate) fn is_due(&self, step: u64) -> bool {
        match self.options.every {
            CheckpointEvery::Steps(steps) => step.is_multiple_of(steps.max(1)),
            CheckpointEvery::Time(time) => self.last.elapsed() >= time,
        }
    }

    /// Reads the newest usable checkpoint into the trainer.
    pub(crate) fn resume<M: Model, S: EmbeddingStore>(
        &mut self,
        trainer: &mut Trainer<M, S>,
        feed: &Feed<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Moment>> {
        if !self.options.resume {
            return Ok(None);
        }
        let damaged = &mut self.damaged;
        let folder = &self.folder;
        let newest = Checkpoint::newest(folder.path(), &mut |path, error| {
            let known = steps(folder.path())?;
            damaged.extend(
                known
                    .iter()
                    .filter(|(_, of)| of == path)
                    .map(|(step, _)| step),
            );
            let problem = error.to_string();
            watch.tell(&Event::CheckpointDamaged {
                path,
                problem: &problem,
            })
        })?;
        let Some(checkpoint) = newest else {
            watch.tell(&Event::NothingToResume {
                folder: folder.path(),
            })?;
            return Ok(None);
        };
        let moment = self.moment(&checkpoint, feed)?;
        checkpoint.load_with_state(trainer, TableRows::Exact)?;
        self.whole.insert(checkpoint.step());
        watch.tell(&Event::Resumed {
            path: checkpoint.path(),
            step: moment.progress.step,
            samples: moment.progress.samples,
        })?;
        self.last = Instant::now();
        Ok(Some(moment))
    }

    /// What this run can go on from, if the checkpoint is of such a run.
    fn moment(&self, checkpoint: &Checkpoint, feed: &Feed<'_>) -> Result<Moment> {
        let manifest = &checkpoint.manifest;
        let others = |saved: &Value, now: &Value| match differences(saved, now) {
            text if text.is_empty() => Ok(()),
            differences => Err(Error::CheckpointSettings {
                path: checkpoint.path().into(),
                differences,
            }),
        };
        let Settings { program, run } = &manifest.settings;
        others(program, &self.settings.program)?;
        others(run, &self.settings.run)?;
        let Order {
            program: saved,
            lanes,
        } = &manifest.order;
        let mut progress = manifest.progress.clone();
        let damaged = || Error::CheckpointDamaged {
            path: checkpoint.path().into(),
            problem: "its position is not one of the epoch".into(),
        };
        if manifest.order == self.order {
            if !feed.has(&progress.epoch) {
                return Err(damaged());
            }
            return Ok(Moment {
                progress,
                schedule: Some(manifest.schedule.clone()),
            });
        }
        if progress.epoch.batches() < lane_batches(lanes) {
            others(saved, &self.order.program)?;
            others(lanes, &self.order.lanes)?;
        }
        // The epoch is over, and the next one may go another way.
        let left = progress.epoch.turn.map_or(0, |turn| turn.batches);
        if left > 0 || progress.epoch.batches() != lane_batches(lanes) {
            return Err(damaged());
        }
        progress.epoch.turn = None;
        progress.epoch.done = feed.lanes();
        Ok(Moment {
            progress,
            schedule: None,
        })
    }

    /// Writes a checkpoint, unless this moment has one, and removes those that need not stay.
    pub(crate) fn save<M: Model, S: EmbeddingStore>(
        &mut self,
        trainer: &Trainer<M, S>,
        progress: &Progress,
        schedule: Value,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let saved = self.write(trainer, progress, schedule, watch);
        let removed = saved.and_then(|()| self.remove_old(progress));
        // After a failure, too: the next try comes when the next checkpoint is due.
        self.last = Instant::now();
        removed
    }

    fn write<M: Model, S: EmbeddingStore>(
        &mut self,
        trainer: &Trainer<M, S>,
        progress: &Progress,
        schedule: Value,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (step, clock) = (progress.step, Instant::now());
        if !self.whole.contains(&step) {
            let bytes = self.folder.publish(step, |path| {
                let model = write_model(&path.join(MODEL_FILE), trainer)?;
                let tables = write_tables(&path.join(TABLES_FILE), trainer)?;
                let manifest = Manifest {
                    version: VERSION,
                    settings: self.settings.clone(),
                    order: self.order.clone(),
                    progress: progress.clone(),
                    schedule,
                    updates: trainer.store().updates(),
                    about: self.options.about.clone(),
                    files: vec![
                        SavedFile::new(MODEL_FILE, model),
                        SavedFile::new(TABLES_FILE, tables),
                    ],
                };
                let own = manifest.write(&path.join(MANIFEST_FILE))?;
                Ok(own + model.bytes + tables.bytes)
            })?;
            self.whole.insert(step);
            self.damaged.remove(&step);
            watch.tell(&Event::Saved {
                path: &self.folder.of_step(step),
                step,
                bytes,
                seconds: clock.elapsed().as_secs_f64(),
            })?;
        }
        Ok(())
    }

    fn remove_old(&self, progress: &Progress) -> Result<()> {
        let mut kept = 0;
        for (step, path) in steps(self.folder.path())?.into_iter().rev() {
            let damaged = self.damaged.contains(&step);
            if !damaged && kept < self.options.keep.max(1) {
                kept += 1;
            } else if damaged || progress.best.is_none_or(|best| best.step != step) {
                match remove(&path) {
                    // Whoever put it there may want it.
                    Ok(()) | Err(Error::NotOurs { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// Batches of an epoch with these lanes.
fn lane_batches(lanes: &Value) -> u64 {
    let lanes = lanes.as_array().into_iter().flatten();
    lanes
        .filter_map(|lane| lane["batches"].as_u64())
        .fold(0, u64::saturating_add)
}

/// Writes dense weights under their names, and their optimizer state.
fn write_model<M: Model, S: EmbeddingStore>(
    path: &Path,
    trainer: &Trainer<M, S>,
) -> Result<Written> {
    let dense = trainer.model().named_weights()?;
    let mut entries: Vec<Entry> = dense.iter().map(entry).collect();
    let mut states = Vec::new();
    for (index, (name, _)) in distinct_parameters(trainer.model())?.iter().enumerate() {
        if let Some(state) = trainer.optimizer().state(index)? {
            entries.push((dense_state_name(name), vec![state.len() as u64]));
            states.push(state);
        }
    }
    let mut out = TensorWriter::create(path, &entries)?;
    write_dense(&mut out, &dense)?;
    for state in &states {
        out.write(state)?;
    }
    out.sync()
}

/// Writes the rows of every part under their names, each followed by its optimizer state where it
/// has one.
fn write_tables<M: Model, S: EmbeddingStore>(
    path: &Path,
    trainer: &Trainer<M, S>,
) -> Result<Written> {
    let parts = trainer.store().parts();
    let mut entries = Vec::<Entry>::new();
    for part in parts {
        let name = rows_name(trainer, part);
        let state = state_name(&name);
        entries.push((name, vec![part.rows, part.dim as u64]));
        if part.state_width > 0 {
            entries.push((state, vec![part.rows, part.state_width as u64]));
        }
    }
    let mut out = TensorWriter::create(path, &entries)?;
    for (index, part) in parts.iter().enumerate() {
        for rows in pieces(part) {
            let rows = trainer.store().export(index, rows)?.weights;
            check_weights(&rows_name(trainer, part), &rows)?;
            out.write(&rows)?;
        }
        if part.state_width > 0 {
            for rows in pieces(part) {
                out.write(&trainer.store().export(index, rows)?.state)?;
            }
        }
    }
    out.sync()
}
