//! The folder of a run's checkpoints: one writer, complete checkpoints under their names, and
//! nothing else.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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
        Ok(folder)
    }

    fn remove_partial(&self) -> Result<()> {
        let io = |source| Error::io("cannot read", &self.path, source);
        for entry in fs::read_dir(&self.path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!(".{PREFIX}")) && name.contains(PARTIAL) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(|source| {
                    Error::io("cannot remove the remains of a killed run", &path, source)
                })?;
            }
        }
        Ok(())
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
        let id = std::process::id();
        let partial = self.path.join(format!(".{PREFIX}{step:010}{PARTIAL}{id}"));
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
            let _ = fs::remove_dir_all(&partial);
        }
        result
    }
}

/// Removes a checkpoint, if it is there.
pub(super) fn remove(checkpoint: &Path) -> Result<()> {
    match fs::remove_dir_all(checkpoint) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(Error::io("cannot remove", checkpoint, source))
        }
        _ => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> Result<()> {
    recsys_data::output_file::sync_folder(folder)
        .map_err(|source| Error::io("cannot sync", folder, source))
}
