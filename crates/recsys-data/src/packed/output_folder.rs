//! A folder that appears under its name only when it is complete.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::output_lock::{OutputLock, sibling};
use super::{FORMAT, MANIFEST_FILE, VOCABULARY_FOLDER};
use crate::error::{Error, Result};
use crate::input_file::read_regular;
use crate::output_file::{self, folder_of};
use crate::packed::error::Error as PackedError;
use crate::split::Split;

/// Behind the name of a folder that is being written: the process.
const PARTIAL: &str = ".partial-";
/// Behind the name of a data set that is being replaced: the process.
const REPLACED: &str = ".replaced-";

/// A temporary folder beside its target; removed on drop unless [`OutputFolder::publish`] succeeded.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    lock: OutputLock,
    temporary: PathBuf,
    force: bool,
}

impl OutputFolder {
    /// Makes the temporary folder, after removing what killed runs left for the same target.
    pub(crate) fn create(lock: OutputLock, force: bool) -> Result<Self> {
        let target = lock.target();
        check_target(target, force)?;
        let name = target.file_name().unwrap_or_default();
        recover(target, name)?;
        let file_name = sibling(name, &format!("{PARTIAL}{}", std::process::id()));
        let temporary = target.with_file_name(file_name);
        fs::create_dir(&temporary).map_err(Error::io("cannot create", &temporary))?;
        Ok(Self {
            lock,
            temporary,
            force,
        })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Where the files will be.
    pub(super) fn target(&self) -> &Path {
        self.lock.target()
    }

    /// Gives the folder its name; see [`publish`].
    pub(crate) fn publish(self) -> Result<()> {
        publish(&self.temporary, self.lock.target(), self.force)
    }
}

/// Gives a complete folder, whose files have been synced, the name `target`; with `force` in the place of a packed data set. After
/// an error the target is what it was. The caller holds the lock.
pub(crate) fn publish(new: &Path, target: &Path, force: bool) -> Result<()> {
    sync_folder(new)?;
    check_target(target, force)?;
    let replaced = if is_filled(target)? {
        exchange(new, target)?
    } else {
        // Renaming onto an empty folder works on Unix alone.
        let _ = fs::remove_dir(target);
        fs::rename(new, target).map_err(Error::io("cannot create", target))?;
        None
    };
    if let Err(error) = sync_folder(folder_of(target)) {
        take_back(new, target, replaced.as_deref());
        return Err(error);
    }
    if let Some(old) = replaced {
        // The new data set is complete; what stays of the old one is removed by the next writer.
        let _ = fs::remove_dir_all(old);
    }
    Ok(())
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        // After a rename there is nothing under this name.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

fn is_filled(folder: &Path) -> Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Io {
            action: "cannot write to",
            path: folder.into(),
            source,
        }),
    }
}

/// Refuses a target that holds anything, unless it is a packed data set and `force` is given.
pub(crate) fn check_target(target: &Path, force: bool) -> Result<()> {
    if !is_filled(target)? {
        return Ok(());
    }
    if !force {
        return Err(Error::Packed(PackedError::OutputExists {
            path: target.into(),
        }));
    }
    let manifest = read_regular(&target.join(MANIFEST_FILE)).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap_or_default();
    if manifest["format"] != FORMAT {
        return Err(Error::Packed(PackedError::NotReplaceable {
            path: target.into(),
            entry: None,
        }));
    }
    for entry in fs::read_dir(target).map_err(Error::io("cannot read", target))? {
        let name = entry.map_err(Error::io("cannot read", target))?.file_name();
        let name = name.to_string_lossy();
        let shard = Split::ALL.iter().any(|split| {
            let number = name
                .strip_prefix(split.name())
                .and_then(|rest| rest.strip_prefix('-'));
            number.is_some_and(|rest| rest.ends_with(".safetensors"))
        });
        if !shard && name != MANIFEST_FILE && name != VOCABULARY_FOLDER {
            return Err(Error::Packed(PackedError::NotReplaceable {
                path: target.into(),
                entry: Some(name.into_owned()),
            }));
        }
    }
    Ok(())
}

/// Removes temporary folders of killed runs, and puts a data set back that one of them had moved away and not yet replaced. The
/// caller holds the lock, so nobody is writing them.
fn recover(target: &Path, name: &OsStr) -> Result<()> {
    let parent = folder_of(target);
    for entry in fs::read_dir(parent).map_err(Error::io("cannot read", parent))? {
        let entry = entry.map_err(Error::io("cannot read", parent))?;
        let (found, path) = (entry.file_name(), entry.path());
        let is_remains = |suffix| {
            let prefix = sibling(name, suffix);
            let id = found
                .as_encoded_bytes()
                .strip_prefix(prefix.as_encoded_bytes());
            id.is_some_and(|id| !id.is_empty() && id.iter().all(u8::is_ascii_digit))
                && path.is_dir()
        };
        if is_remains(REPLACED) && !target.exists() {
            fs::rename(&path, target).map_err(Error::io("cannot put back", target))?;
        } else if is_remains(PARTIAL) || is_remains(REPLACED) {
            fs::remove_dir_all(&path).map_err(Error::io(
                "cannot remove the remains of an interrupted run",
                &path,
            ))?;
        }
    }
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    output_file::sync_folder(folder).map_err(Error::io("cannot sync", folder))
}

/// Puts `new` in the place of `target` and returns where the old contents are now.
fn exchange(new: &Path, target: &Path) -> Result<Option<PathBuf>> {
    if swap_names(new, target) {
        return Ok(Some(new.into()));
    }
    // Two renames: between them the old data set is complete under its other name.
    let name = sibling(
        target.file_name().unwrap_or_default(),
        &format!("{REPLACED}{}", std::process::id()),
    );
    let old = target.with_file_name(name);
    fs::rename(target, &old).map_err(Error::io("cannot replace", target))?;
    if let Err(source) = fs::rename(new, target) {
        let _ = fs::rename(&old, target);
        return Err(Error::Io {
            action: "cannot replace",
            path: target.into(),
            source,
        });
    }
    Ok(Some(old))
}

/// Undoes what [`OutputFolder::publish`] did to the names, as far as the system lets it.
fn take_back(new: &Path, target: &Path, replaced: Option<&Path>) {
    if replaced == Some(new) {
        swap_names(new, target);
        return;
    }
    let _ = fs::rename(target, new);
    if let Some(old) = replaced {
        let _ = fs::rename(old, target);
    }
}

/// Exchanges two names in one step, where the file system can.
#[cfg(target_os = "linux")]
fn swap_names(a: &Path, b: &Path) -> bool {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    let (Ok(a), Ok(b)) = (
        CString::new(a.as_os_str().as_bytes()),
        CString::new(b.as_os_str().as_bytes()),
    ) else {
        return false;
    };
    // The system call itself, because C libraries other than glibc have no function for it.
    // SAFETY: both paths are terminated strings that outlive the call, which keeps neither.
    let code = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            a.as_ptr(),
            libc::AT_FDCWD,
            b.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    code == 0
}

#[cfg(not(target_os = "linux"))]
fn swap_names(_a: &Path, _b: &Path) -> bool {
    false
}
