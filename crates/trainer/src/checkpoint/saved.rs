//! A checkpoint on disk: checked, and read into a trainer.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use candle_core::Var;
use embedding_store::EmbeddingStore;
use serde::Deserialize;
use serde_json::{Value, json};

use super::differences::differences;
use super::folder::steps;
use super::manifest::{MANIFEST_FILE, MODEL_FILE, Manifest, SavedFile, TABLES_FILE};
use crate::parameters::distinct_parameters;
use crate::table_rows::{TableRows, check_rows, read_rows};
use crate::tensor_file::{TensorReader, measure};
use crate::tensor_source::TensorSource;
use crate::weights::{check_dense, check_maps, read_dense, read_mapped};
use crate::{BinaryLoss, Error, Model, Result, RowMap, Trainer};

/// A checkpoint whose files are complete and unaltered.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    pub(super) manifest: Manifest,
}

impl Checkpoint {
    /// Opens the folder of one checkpoint and checks size and hash of its files.
    ///
    /// # Errors
    /// [`Error::CheckpointDamaged`] where something is missing or altered,
    /// [`Error::CheckpointFormat`], or a file that cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let manifest = Manifest::read(&path.join(MANIFEST_FILE))?;
        for name in [MODEL_FILE, TABLES_FILE] {
            let file = path.join(name);
            let damaged = |problem| Error::CheckpointDamaged {
                path: file.clone(),
                problem,
            };
            let Some(expected) = manifest.files.iter().find(|file| file.name == name) else {
                return Err(damaged(format!("{MANIFEST_FILE} does not list it")));
            };
            let io = |source| Error::io("cannot read", &file, source);
            // Before it is read: a file of another length may have any.
            let length = std::fs::metadata(&file).map_err(io)?.len();
            if length != expected.bytes {
                let expected = expected.bytes;
                return Err(damaged(format!("{length} bytes instead of {expected}")));
            }
            let found = SavedFile::new(name, measure(&file)?);
            if found.xxh3 != expected.xxh3 {
                return Err(damaged(
                    "its hash is another than when it was written".into(),
                ));
            }
        }
        Ok(Self {
            path: path.into(),
            manifest,
        })
    }

    /// Opens the newest checkpoint in a folder that is not damaged; `damaged` is told of those that
    /// are. `None` where there are no checkpoints.
    ///
    /// # Errors
    /// [`Error::NoUsableCheckpoint`] where all are damaged, [`Error::CheckpointFormat`], or files
    /// that cannot be read.
    pub fn newest(
        folder: &Path,
        damaged: &mut dyn FnMut(&Path, &Error) -> Result<()>,
    ) -> Result<Option<Self>> {
        let all = steps(folder)?;
        let mut newest = None;
        for (_, path) in all.iter().rev() {
            match Self::open(path) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(error) if is_damage(&error) => {
                    damaged(path, &error)?;
                    newest.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match newest {
            None => Ok(None),
            Some(newest) => Err(Error::NoUsableCheckpoint {
                path: folder.into(),
                count: all.len(),
                newest: Box::new(newest),
            }),
        }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Steps taken until then.
    pub fn step(&self) -> u64 {
        self.manifest.progress.step
    }

    /// The loss that the run was trained with, where that is one of this crate's.
    pub fn loss(&self) -> Option<BinaryLoss> {
        BinaryLoss::deserialize(&self.manifest.settings.run["loss"]).ok()
    }

    /// What the program that wrote it gave as
    /// [`Checkpoints::settings`](crate::Checkpoints::settings).
    pub fn settings(&self) -> &Value {
        &self.manifest.settings.program
    }

    /// What the program that wrote it gave as
    /// [`Checkpoints::about`](crate::Checkpoints::about).
    pub fn about(&self) -> &Value {
        &self.manifest.about
    }

    /// Reads all weights of model and store, whatever their placement. Optimizer state starts
    /// afresh. Every table must have as many rows as in the store.
    ///
    /// # Errors
    /// A missing weight, one of another shape than the model's, or two parameters of one name; all
    /// of that is found before anything is changed.
    pub fn load_weights<M: Model, S: EmbeddingStore>(
        &self,
        trainer: &mut Trainer<M, S>,
    ) -> Result<()> {
        self.load_weights_with(trainer, TableRows::Exact)
            .map(|_| ())
    }

    /// [`load_weights`](Self::load_weights), where `rows` says whether tables may have fewer rows
    /// in the checkpoint than in the store. Dense weights must be the model's. Returns how many
    /// rows of the store's matrices are not in the checkpoint.
    ///
    /// # Errors
    /// As [`load_weights`](Self::load_weights), and [`Error::WeightRows`] for tables whose numbers
    /// of rows do not fit.
    pub fn load_weights_with<M: Model, S: EmbeddingStore>(
        &self,
        trainer: &mut Trainer<M, S>,
        rows: TableRows,
    ) -> Result<u64> {
        self.read(trainer, rows, false)
    }

    /// [`load_weights`](Self::load_weights) where the rows are under other ids than the store's;
    /// `maps` has one for each table. Rows that are not there keep their weights; returns how many
    /// those are.
    ///
    /// # Errors
    /// As [`load_weights_by_category`](crate::load_weights_by_category).
    pub fn load_weights_by_category<M: Model, S: EmbeddingStore>(
        &self,
        trainer: &mut Trainer<M, S>,
        maps: &[RowMap],
    ) -> Result<u64> {
        let mut model = TensorReader::open(&self.path.join(MODEL_FILE))?;
        let mut tables = TensorReader::open(&self.path.join(TABLES_FILE))?;
        check_dense(&model, trainer.model())?;
        check_maps(&tables, trainer, maps)?;
        read_dense(&mut model, trainer.model_mut())?;
        read_mapped(&mut tables, trainer, maps)
    }

    /// [`load_weights_with`](Self::load_weights_with), optimizer state included, and the number of
    /// updates that the store counts. A new run over more ids goes on from there; the old run goes
    /// on by [`fit_with_checkpoints`](crate::fit_with_checkpoints), over the same tables alone.
    ///
    /// # Errors
    /// As [`load_weights_with`](Self::load_weights_with), missing state, and
    /// [`Error::CheckpointSettings`] where the state is that of another optimizer; factors on the
    /// learning rate may be others.
    pub fn load_with_state<M: Model, S: EmbeddingStore>(
        &self,
        trainer: &mut Trainer<M, S>,
        rows: TableRows,
    ) -> Result<u64> {
        self.check_optimizers(trainer)?;
        let absent = self.read(trainer, rows, true)?;
        trainer.store_mut().continue_from(self.manifest.updates);
        Ok(absent)
    }

    /// That the state is what the trainer's optimizers keep: equal shapes do not say so.
    fn check_optimizers<M: Model, S: EmbeddingStore>(&self, trainer: &Trainer<M, S>) -> Result<()> {
        let saved = &self.manifest.settings.run;
        let both = |rows: &Value, dense: &Value| json!({"optimizer": without_factors(rows), "dense_optimizer": dense});
        let now = both(
            &json!(trainer.store().optimizer()),
            &json!(trainer.dense_optimizer()),
        );
        let saved = both(&saved["optimizer"], &saved["dense_optimizer"]);
        match differences(&saved, &now) {
            text if text.is_empty() => Ok(()),
            differences => Err(Error::CheckpointSettings {
                path: self.path.clone(),
                differences,
            }),
        }
    }

    fn read<M: Model, S: EmbeddingStore>(
        &self,
        trainer: &mut Trainer<M, S>,
        rows: TableRows,
        with_state: bool,
    ) -> Result<u64> {
        let mut model = TensorReader::open(&self.path.join(MODEL_FILE))?;
        let mut tables = TensorReader::open(&self.path.join(TABLES_FILE))?;
        check_dense(&model, trainer.model())?;
        if with_state {
            check_dense_state(&model, self.manifest.version, trainer.model())?;
        }
        let counts = check_rows(&tables, trainer, rows, with_state)?;
        read_dense(&mut model, trainer.model_mut())?;
        if with_state {
            read_dense_state(&mut model, self.manifest.version, trainer)?;
        }
        read_rows(&mut tables, trainer, &counts, with_state)
    }
}

/// What is written of a row optimizer, factors on the learning rate apart: a built-in rule is
/// written alone where it has none.
fn without_factors(optimizer: &Value) -> Value {
    let mut rule = optimizer.clone();
    if let Some(fields) = rule.as_object_mut()
        && fields.remove("factors").is_some()
        && fields.len() == 1
        && let Some(alone) = fields.remove("rule")
    {
        return alone;
    }
    rule
}

/// Whether an error says that a file is not what was written, rather than that it could not be
/// read.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::CheckpointDamaged { .. } => true,
        Error::Io { source, .. } => source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

/// Name of the optimizer state of a dense parameter. No version 1 name has a stroke.
pub(super) fn dense_state_name(parameter: &str) -> String {
    format!("optimizer/{parameter}")
}

/// The name of the state of every distinct parameter in a checkpoint of a version. Version 1 knew
/// them by their number.
fn dense_state_names<M: Model>(version: u64, model: &M) -> Result<Vec<String>> {
    let parameters = distinct_parameters(model)?;
    let named = parameters.iter().enumerate();
    let name = |(index, (name, _)): (usize, &(String, Var))| match version {
        1 => format!("optimizer.{index}"),
        _ => dense_state_name(name),
    };
    Ok(named.map(name).collect())
}

fn check_dense_state<M: Model>(file: &TensorReader, version: u64, model: &M) -> Result<()> {
    let names = dense_state_names(version, model)?;
    for (name, (_, parameter)) in names.iter().zip(model.named_parameters()) {
        if file.has(name) {
            file.check(name, &[parameter.elem_count() as u64])?;
        }
    }
    Ok(())
}

/// Gives every copy of a parameter the state that is in the file; those without one were never
/// updated.
fn read_dense_state<M: Model, S: EmbeddingStore>(
    file: &mut TensorReader,
    version: u64,
    trainer: &mut Trainer<M, S>,
) -> Result<()> {
    let names = dense_state_names(version, trainer.model())?;
    let parameters = trainer.model().named_parameters().into_iter();
    for (index, ((_, parameter), name)) in parameters.zip(names.iter().cycle()).enumerate() {
        let state = match file.has(name) {
            true => Some(file.read(name, 0, parameter.elem_count())?),
            false => None,
        };
        trainer
            .optimizer_mut()
            .set_state(index, &parameter, state)?;
    }
    Ok(())
}
