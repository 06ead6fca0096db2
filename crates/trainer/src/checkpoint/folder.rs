//! The folder of a run's checkpoints: one writer, complete checkpoints under their names, and
//! nothing else.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use recsys_data::input_file::open_regular;

use super::manifest::{FORMAT, MANIFEST_FILE, MODEL_FILE, TABLES_FILE};
use crate::{Error, Result};

/// Held locked by the run that writes; the system drops the lock of a killed process.
const LOCK_FILE: &str = ".lock";
const PREFIX: &str = "step-";
const PARTIAL: &str = ".partial-";

/// The folder, while this process alone may write to it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// The checkpoints of a folder, oldest first, with their steps; none where there is no folder.
///
/// # Errors
/// A folder that cannot be read.
pub(super) fn steps(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let io = |source| Error::io("cannot read", folder, source);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if let Some(step) = digits.and_then(|digits| digits.parse().ok()) {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

impl Folder {
    /// Makes the folder where there is none, and removes what killed runs left half-written.
    ///
    /// # Errors
    /// [`Error::CheckpointsInUse`], or a folder that cannot be written to.
    pub(super) fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(|source| Error::io("cannot create", path, source))?;
        let file = path.join(LOCK_FILE);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file)
            .map_err(|source| Error::io("cannot create", &file, source))?;
        // A file system without locks is no reason to stop.
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(Error::CheckpointsInUse { path: path.into() });
        }
        let folder = Self {
            path: path.into(),
            _lock: lock,
        };
        folder.remove_partial()?;
        // The first checkpoint would tell, after what may be hours.
        let trial = folder.partial(0);
        fs::create_dir(&trial)
            .and_then(|()| fs::remove_dir(&trial))
            .map_err(|source| Error::io("cannot write to", path, source))?;
        Ok(folder)
    }

    fn remove_partial(&self) -> Result<()> {
        let io = |source| Error::io("cannot read", &self.path, source);
        for entry in fs::read_dir(&self.path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let path = entry.path();
            let is_partial = entry.file_name().to_str().is_some_and(is_partial);
            if is_partial && files(&path).is_some() {
                remove_files(&path).map_err(|source| {
                    Error::io("cannot remove the remains of a killed run", &path, source)
                })?;
            }
        }
        Ok(())
    }

    /// Where a checkpoint is written before it has its name.
    fn partial(&self, step: u64) -> PathBuf {
        let id = std::process::id();
        self.path.join(format!(".{PREFIX}{step:010}{PARTIAL}{id}"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the checkpoint of a step is.
    pub(super) fn of_step(&self, step: u64) -> PathBuf {
        self.path.join(format!("{PREFIX}{step:010}"))
    }

    /// Has a checkpoint written, and gives it its name when everything is durable. What stood under
    /// that name is replaced.
    ///
    /// # Errors
    /// Those of `write`, or files that cannot be written; nothing is left behind then.
    pub(super) fn publish<T>(
        &self,
        step: u64,
        write: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<T> {
        let target = self.of_step(step);
        let partial = self.partial(step);
        let publish = || {
            fs::create_dir(&partial)
                .map_err(|source| Error::io("cannot create", &partial, source))?;
            let written = write(&partial)?;
            sync_folder(&partial)?;
            remove(&target)?;
            fs::rename(&partial, &target)
                .map_err(|source| Error::io("cannot rename to", &target, source))?;
            sync_folder(&self.path)?;
            Ok(written)
        };
        let result = publish();
        if result.is_err() {
            // The first error is the one to report.
            let _ = remove_files(&partial);
        }
        result
    }
}

/// Whether a name is one that [`Folder::partial`] gives.
fn is_partial(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = name
        .strip_prefix('.')
        .and_then(|name| name.strip_prefix(PREFIX));
    rest.and_then(|rest| rest.split_once(PARTIAL))
        .is_some_and(|(step, id)| is_number(step) && is_number(id))
}

/// The names in a folder, where it holds nothing but files of a checkpoint.
fn files(folder: &Path) -> Option<Vec<&'static str>> {
    // The manifest last, so that what is left of a removal can still be known.
    const OURS: [&str; 3] = [MODEL_FILE, TABLES_FILE, MANIFEST_FILE];
    if !fs::symlink_metadata(folder).ok()?.is_dir() {
        return None;
    }
    let names: Vec<_> = fs::read_dir(folder)
        .ok()?
        .map(|entry| Some(entry.ok()?.file_name()))
        .collect::<Option<_>>()?;
    let ours = |name: &&str| names.iter().any(|found| found == name);
    let found: Vec<_> = OURS.into_iter().filter(ours).collect();
    (found.len() == names.len()).then_some(found)
}

/// Removes what is left of a checkpoint, and nothing else.
fn remove_files(folder: &Path) -> std::io::Result<()> {
    for name in files(folder).unwrap_or_default() {
        fs::remove_file(folder.join(name))?;
    }
    fs::remove_dir(folder)
}

/// Whether a folder is provably a checkpoint, sound or damaged: it holds no other files, and its
/// manifest names the format. An empty folder is what is left of one.
fn is_ours(folder: &Path) -> bool {
    let names_format = || {
        let mut text = Vec::new();
        let file = open_regular(&folder.join(MANIFEST_FILE)).ok()?;
        file.take(1 << 20).read_to_end(&mut text).ok()?;
        Some(
            text.windows(FORMAT.len())
                .any(|part| part == FORMAT.as_bytes()),
        )
    };
    files(folder).is_some_and(|files| files.is_empty() || names_format() == Some(true))
}

/// Removes a checkpoint, if it is there.
///
/// # Errors
/// [`Error::NotOurs`] where something else is there, which stays as it is.
pub(super) fn remove(checkpoint: &Path) -> Result<()> {
    match fs::symlink_metadata(checkpoint) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        _ if !is_ours(checkpoint) => {
            return Err(Error::NotOurs {
                path: checkpoint.into(),
            });
        }
        _ => {}
    }
    remove_files(checkpoint).map_err(|source| Error::io("cannot remove", checkpoint, source))
}

fn sync_folder(folder: &Path) -> Result<()> {
    recsys_data::output_file::sync_folder(folder)
        .map_err(|source| Error::io("cannot sync", folder, source))
}
