//! A folder that appears under its name only when it is complete.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{FORMAT, MANIFEST_FILE, Split, VOCABULARY_FOLDER};
use crate::{Error, Result};

/// Held open and locked while a temporary folder is being written; the system drops the lock of a killed process.
const LOCK_FILE: &str = "writing.lock";

/// A temporary folder beside its target; removed on drop unless [`OutputFolder::publish`] succeeded.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    target: PathBuf,
    temporary: PathBuf,
    force: bool,
    lock: Option<File>,
}

impl OutputFolder {
    /// Makes the temporary folder, after removing those that killed runs left for the same target.
    pub(crate) fn create(target: &Path, force: bool) -> Result<Self> {
        let Target {
            path: target,
            parent,
            name,
        } = Target::locate(target)?;
        check_target(&target, force)?;
        fs::create_dir_all(&parent).map_err(Error::io("cannot create", &parent))?;
        let prefix = sibling(&name, ".partial-");
        remove_stale(&parent, &prefix)?;
        let mut file_name = prefix;
        file_name.push(std::process::id().to_string());
        let temporary = parent.join(file_name);
        fs::create_dir(&temporary).map_err(Error::io("cannot create", &temporary))?;
        let mut folder = Self {
            target,
            temporary,
            force,
            lock: None,
        };
        let path = folder.temporary.join(LOCK_FILE);
        let lock = File::create(&path).map_err(Error::io("cannot create", &path))?;
        // A file system without locks is no reason to stop: then nobody can take this folder for a stale one by its lock.
        let _ = lock.try_lock();
        folder.lock = Some(lock);
        Ok(folder)
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Where the files will be.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Gives the folder its name; its files must have been synced.
    pub(crate) fn publish(mut self) -> Result<()> {
        self.lock = None;
        let lock = self.temporary.join(LOCK_FILE);
        fs::remove_file(&lock).map_err(Error::io("cannot remove", &lock))?;
        publish(&self.temporary, &self.target, self.force)
    }
}

/// Where an output folder will be.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) path: PathBuf,
    pub(crate) parent: PathBuf,
    pub(crate) name: OsString,
}

impl Target {
    /// # Errors
    /// A path that does not end in a name.
    pub(crate) fn locate(target: &Path) -> Result<Self> {
        // Through a link, the folder it names is the one to replace.
        let path = target
            .canonicalize()
            .unwrap_or_else(|_| target.to_path_buf());
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return Err(Error::InvalidOption {
                option: "output folder",
                value: target.display().to_string(),
                allowed: "a path that ends in a name",
            });
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        Ok(Self { path, parent, name })
    }
}

/// Gives a complete folder, whose files have been synced, the name `target`; with `force` in the place of a packed data set.
pub(crate) fn publish(folder: &Path, target: &Path, force: bool) -> Result<()> {
    sync_folder(folder)?;
    check_target(target, force)?;
    let replaced = if is_filled(target)? {
        exchange(folder, target)?
    } else {
        // Renaming onto an empty folder works on Unix alone.
        let _ = fs::remove_dir(target);
        fs::rename(folder, target).map_err(Error::io("cannot create", target))?;
        None
    };
    if let Some(parent) = target
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        sync_folder(parent)?;
    }
    if let Some(old) = replaced {
        fs::remove_dir_all(&old).map_err(Error::io("cannot remove the replaced data set", &old))?;
    }
    Ok(())
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        self.lock = None;
        // After a rename there is nothing under this name.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

pub(crate) fn sibling(name: &OsStr, suffix: &str) -> OsString {
    let mut sibling = OsString::from(".");
    sibling.push(name);
    sibling.push(suffix);
    sibling
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
        return Err(Error::OutputExists {
            path: target.into(),
        });
    }
    let manifest = fs::read(target.join(MANIFEST_FILE)).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap_or_default();
    if manifest["format"] != FORMAT {
        return Err(Error::NotReplaceable {
            path: target.into(),
            entry: None,
        });
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
            return Err(Error::NotReplaceable {
                path: target.into(),
                entry: Some(name.into_owned()),
            });
        }
    }
    Ok(())
}

/// Removes temporary folders whose writer is gone.
fn remove_stale(parent: &Path, prefix: &OsStr) -> Result<()> {
    for entry in fs::read_dir(parent).map_err(Error::io("cannot read", parent))? {
        let entry = entry.map_err(Error::io("cannot read", parent))?;
        let name = entry.file_name();
        let id = name
            .as_encoded_bytes()
            .strip_prefix(prefix.as_encoded_bytes());
        if !id.is_some_and(|id| !id.is_empty() && id.iter().all(u8::is_ascii_digit))
            || !entry.path().is_dir()
        {
            continue;
        }
        let busy = match File::open(entry.path().join(LOCK_FILE)) {
            Ok(lock) => matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)),
            Err(_) => false,
        };
        if !busy {
            fs::remove_dir_all(entry.path()).map_err(Error::io(
                "cannot remove the remains of an interrupted run",
                &entry.path(),
            ))?;
        }
    }
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io("cannot sync", folder))?;
    }
    Ok(())
}

/// Puts `new` in the place of `target` and returns where the old contents are now.
fn exchange(new: &Path, target: &Path) -> Result<Option<PathBuf>> {
    if swap_names(new, target) {
        return Ok(Some(new.into()));
    }
    // Two renames: between them the old data set is complete under its other name.
    let name = sibling(
        target.file_name().unwrap_or_default(),
        &format!(".replaced-{}", std::process::id()),
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
