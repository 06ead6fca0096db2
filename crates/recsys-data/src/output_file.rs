//! A file that appears under its name only when it is complete.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file on its way to its name: written as `.NAME.partial` beside it, made durable, then renamed.
///
/// Dropping it without [`OutputFile::finish`] removes what was written; what a killed process left is overwritten by the next one
/// that writes a file of this name.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    finished: bool,
}

impl OutputFile {
    /// Begins a file; its folder is made if it does not exist.
    ///
    /// # Errors
    /// Those of the system, and [`io::ErrorKind::ResourceBusy`] where another process writes a file of this name.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        // Through a link, the file it names is the one to replace.
        let path = path.as_ref();
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let Some(name) = path.file_name() else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(".partial");
        let temporary = path.with_file_name(temporary);
        fs::create_dir_all(folder_of(&path))?;
        let Some(file) = lock_by_name(&temporary)? else {
            let problem = "another process is writing it: wait until that is done";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, problem));
        };
        let file = Self {
            path,
            temporary,
            file,
            finished: false,
        };
        file.file.set_len(0)?;
        Ok(file)
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// Those of the system.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.finished = true;
        sync_folder(folder_of(&self.path))
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// The folder that a path lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder durable; does nothing where the system cannot open folders.
///
/// # Errors
/// Those of the system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Opens the file of this name, makes it if there is none, and locks it; `None` where it is locked already. The system drops the
/// lock of a killed process. A file system without locks is no reason to stop.
pub(crate) fn lock_by_name(path: &Path) -> io::Result<Option<File>> {
    loop {
        let mut options = File::options();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Ok(None);
        }
        // Whoever held the lock may have removed or renamed the file between the two calls.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// Whether an open file is the one under this name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let open = file.metadata().map(identity);
    let named = fs::metadata(path).map(identity);
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

/// Elsewhere a locked file keeps its name.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_finished_and_only_one_is_written_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "old").unwrap();
        // What a killed run left is longer than what comes.
        fs::write(path.with_file_name(".file.partial"), "left behind").unwrap();
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        let error = OutputFile::create(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        drop(OutputFile::create(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let names = fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1);
    }
}
