//! The files of a data set that is being written: reserved in advance, written at any position, synced at the end.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::disk_space;
use crate::error::{Error, Result};

/// Files that are kept open at a time, well below the limits that systems start with.
const MOST_OPEN: usize = 128;

/// Writes to files of one folder by name.
///
/// Plain writes and not a memory map: written pages then belong to the system's cache and not to the process.
#[derive(Debug)]
pub(super) struct ShardFiles {
    folder: PathBuf,
    open: HashMap<String, File>,
}

impl ShardFiles {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.into(),
            open: HashMap::new(),
        }
    }

    fn file(&mut self, name: &str) -> Result<&mut File> {
        if !self.open.contains_key(name) {
            if self.open.len() == MOST_OPEN {
                self.open.clear();
            }
            let path = self.folder.join(name);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .map_err(Error::io("cannot open", &path))?;
            self.open.insert(name.to_owned(), file);
        }
        self.open.get_mut(name).ok_or_else(|| Error::Io {
            action: "cannot open",
            path: self.folder.join(name),
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// Makes a file of a given size and reserves the disk space. `needed` is what the whole data set takes.
    pub(super) fn reserve(&mut self, name: &str, bytes: u64, needed: u64) -> Result<()> {
        let path = self.folder.join(name);
        let file = File::create_new(&path).map_err(Error::io("cannot create", &path))?;
        disk_space::reserve(&file, bytes).map_err(|source| Error::NoSpace {
            path,
            needed,
            available: disk_space::available(&self.folder),
            source,
        })
    }

    /// Writes at a position.
    pub(super) fn write_at(&mut self, name: &str, position: u64, bytes: &[u8]) -> Result<()> {
        let file = self.file(name)?;
        let written = write_all_at(file, position, bytes);
        written.map_err(|source| Error::Io {
            action: "cannot write",
            path: self.folder.join(name),
            source,
        })
    }

    /// Fills `bytes` from a position.
    pub(super) fn read_at(&mut self, name: &str, position: u64, bytes: &mut [u8]) -> Result<()> {
        let file = self.file(name)?;
        let read = file
            .seek(SeekFrom::Start(position))
            .and_then(|_| file.read_exact(bytes));
        read.map_err(|source| Error::Io {
            action: "cannot read",
            path: self.folder.join(name),
            source,
        })
    }

    /// Gives a file its final size and makes it durable.
    pub(super) fn close(&mut self, name: &str, bytes: u64) -> Result<()> {
        let file = self.file(name)?;
        let synced = file.set_len(bytes).and_then(|()| file.sync_all());
        synced.map_err(|source| Error::Io {
            action: "cannot write",
            path: self.folder.join(name),
            source,
        })?;
        self.open.remove(name);
        Ok(())
    }
}

#[cfg(unix)]
fn write_all_at(file: &mut File, position: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, position)
}

#[cfg(not(unix))]
fn write_all_at(file: &mut File, position: u64, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(position))?;
    file.write_all(bytes)
}

/// Writes a new file and makes it durable.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    File::create_new(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(Error::io("cannot write", path))
}
