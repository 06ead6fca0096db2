//! A file that appears under its name only when it is complete.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file on its way to its name: written as `.NAME.partial` beside it, made durable, then renamed.
///
/// What is no regular file is written into and never replaced: see [`stream`].
///
/// Dropping it without [`OutputFile::finish`] removes what was written; what a killed process left is overwritten by the next one
/// that writes a file of this name.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    /// Its way to its name; none of a stream.
    way: Option<Way>,
}

/// Removes the temporary file, unless it has got its name.
#[derive(Debug)]
struct Way {
    path: PathBuf,
    temporary: PathBuf,
    finished: bool,
}

impl OutputFile {
    /// Begins a file; its folder is made if it does not exist.
    ///
    /// # Errors
    /// Those of the system, those of [`stream`], and [`io::ErrorKind::ResourceBusy`] where another
    /// process writes a file of this name.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        if let Some(file) = stream(path)? {
            return Ok(Self { file, way: None });
        }
        // Through a link, the file it names is the one to replace.
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
            file,
            way: Some(Way {
                path,
                temporary,
                finished: false,
            }),
        };
        file.file.set_len(0)?;
        Ok(file)
    }

    /// Tries whether a file of this name can be begun, and changes nothing: for programs that write
    /// at the end of long work. A FIFO is not opened, because its reader would take that for the
    /// whole file.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub fn probe(path: impl AsRef<Path>) -> io::Result<()> {
        #[cfg(unix)]
        if fs::metadata(&path).is_ok_and(|file| {
            use std::os::unix::fs::FileTypeExt;
            file.file_type().is_fifo()
        }) {
            return Ok(());
        }
        Self::create(path).map(drop)
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// Those of the system.
    pub fn finish(mut self) -> io::Result<()> {
        let Some(way) = &mut self.way else {
            return Ok(());
        };
        self.file.sync_all()?;
        fs::rename(&way.temporary, &way.path)?;
        way.finished = true;
        sync_folder(folder_of(&way.path))
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

impl Drop for Way {
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

/// Opens what is there under a name and is no regular file, to be written into: a device such as
/// `/dev/null`, a FIFO, or the file that is this process's standard output or error, under whatever
/// name. Such a file must not be replaced. `None` for a name that has no file, or a regular one.
///
/// # Errors
/// A folder or a disk, which nothing is written into, and those of the system.
#[cfg(unix)]
pub fn stream(path: &Path) -> io::Result<Option<File>> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(None);
    };
    let (output, error) = (io::stdout(), io::stderr());
    for standard in [output.as_fd(), error.as_fd()] {
        // The duplicate has the position of the original, so that neither overwrites what the other
        // wrote.
        let standard = File::from(standard.try_clone_to_owned()?);
        if identity(&standard.metadata()?) == identity(&metadata) {
            return Ok(Some(standard));
        }
    }
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(None);
    }
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if kind.is_block_device() {
        let problem = "it is a disk: give the name of a file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    OpenOptions::new().write(true).open(path).map(Some)
}

/// Elsewhere a name has a regular file or none.
#[cfg(not(unix))]
pub fn stream(_path: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Opens the file of this name, makes it if there is none, and locks it; `None` where it is locked already. The system drops the
/// lock of a killed process. A file system without locks is no reason to stop.
///
/// # Errors
/// Those of the system, and something under that name which no process like this one has made
/// there: a link, a FIFO, a file with another name.
pub(crate) fn lock_by_name(path: &Path) -> io::Result<Option<File>> {
    loop {
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            // Neither through a link nor into a FIFO, which would wait for a reader.
            options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        }
        let file = match options.open(path) {
            Ok(file) => file,
            Err(_) if is_strange(path) => return Err(strange(path)),
            Err(error) => return Err(error),
        };
        if is_strange(path) {
            return Err(strange(path));
        }
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Ok(None);
        }
        // Whoever held the lock may have removed or renamed the file between the two calls.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

fn strange(path: &Path) -> io::Error {
    let problem = format!(
        "{} is in the way, and no program like this one has made it: remove it",
        path.display()
    );
    io::Error::new(io::ErrorKind::AlreadyExists, problem)
}

/// Whether there is something under a name that is no regular file of that name alone.
fn is_strange(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| {
        #[cfg(unix)]
        let alone = std::os::unix::fs::MetadataExt::nlink(&metadata) <= 1;
        #[cfg(not(unix))]
        let alone = true;
        !metadata.is_file() || !alone
    })
}

/// Whether an open file is the one under this name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    let open = file.metadata().map(|metadata| identity(&metadata));
    let named = fs::symlink_metadata(path).map(|metadata| identity(&metadata));
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

/// The device and the number of a file.
#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
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

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_written_into_and_links_are_not_followed() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let mut null = OutputFile::create("/dev/null").unwrap();
        null.write_all(b"gone").unwrap();
        null.finish().unwrap();
        let kind = fs::metadata("/dev/null").unwrap().file_type();
        assert!(kind.is_char_device());
        let error = OutputFile::create(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);

        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        let partial = folder.path().join(".file.partial");
        fs::write(&other, "of somebody else").unwrap();
        let link = |hard: bool| match hard {
            true => fs::hard_link(&other, &partial).unwrap(),
            false => symlink(&other, &partial).unwrap(),
        };
        for hard in [true, false] {
            link(hard);
            let error = OutputFile::create(&path).unwrap_err().to_string();
            assert!(error.contains(".file.partial is in the way"), "{error}");
            assert!(partial.symlink_metadata().is_ok());
            fs::remove_file(&partial).unwrap();
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "of somebody else");

        OutputFile::probe(&path).unwrap();
        assert!(!path.exists() && !partial.exists());
        assert!(OutputFile::probe(other.join("below")).is_err());
    }
}
