//! One writer at a time for an output folder.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::output_file::{folder_of, lock_by_name};
use crate::packed::error::Error as PackedError;

/// Whoever holds this is alone in making an output folder; the system drops the lock of a killed process.
///
/// It is a locked file `.NAME.lock` beside the folder, and goes together with folders that were made for it and stay empty.
#[derive(Debug)]
pub(crate) struct OutputLock {
    target: PathBuf,
    path: PathBuf,
    file: Option<File>,
    /// Folders that did not exist, innermost first.
    made: Vec<PathBuf>,
}

impl OutputLock {
    /// Takes the lock of an output folder, which need not exist.
    ///
    /// # Errors
    /// [`Error::OutputBusy`](crate::packed::Error::OutputBusy) where another writer holds it; a path without a name; a folder around it that cannot be made or
    /// written.
    pub(crate) fn take(out: &Path) -> Result<Self> {
        // Through a link, the folder it names is the one to replace.
        let target = out.canonicalize().unwrap_or_else(|_| out.to_path_buf());
        let Some(name) = target.file_name() else {
            return Err(Error::InvalidOption {
                option: "output folder",
                value: target.display().to_string(),
                allowed: "a path that ends in a name",
            });
        };
        let parent = folder_of(&target);
        let missing = parent
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let mut lock = Self {
            path: parent.join(sibling(name, ".lock")),
            file: None,
            made: missing.map(Path::to_path_buf).collect(),
            target: target.clone(),
        };
        fs::create_dir_all(parent).map_err(Error::io("cannot create", parent))?;
        lock.file = lock_by_name(&lock.path).map_err(Error::io("cannot create", &lock.path))?;
        match lock.file {
            Some(_) => Ok(lock),
            None => Err(Error::Packed(PackedError::OutputBusy { path: target })),
        }
    }

    /// The output folder.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        if self.file.is_some() {
            // While the lock is held: whoever waits for the file then sees that it is gone.
            let _ = fs::remove_file(&self.path);
        }
        self.file = None;
        // Refused where something lies in them.
        self.made
            .iter()
            .for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

/// `.NAME` and a suffix: what belongs to an output folder and lies beside it.
pub(crate) fn sibling(name: &OsStr, suffix: &str) -> OsString {
    let mut sibling = OsString::from(".");
    sibling.push(name);
    sibling.push(suffix);
    sibling
}
