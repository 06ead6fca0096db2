//! The files of an export while they are written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};

/// Collected before the system is called.
const BUFFER: usize = 1 << 20;

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExportedFile {
    /// Its name in the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// The folder of an export.
pub(super) struct Output {
    /// Where it is while it is written.
    folder: PathBuf,
    /// Where it will be.
    pub(super) target: PathBuf,
    pub(super) files: Vec<ExportedFile>,
}

impl Output {
    pub(super) fn new(folder: &Path, target: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            target: target.to_path_buf(),
            files: Vec::new(),
        }
    }

    /// Starts a file.
    pub(super) fn create(&self, name: String) -> Result<UnfinishedFile> {
        let path = self.target.join(&name);
        let file =
            File::create_new(self.folder.join(&name)).map_err(Error::io("cannot create", &path))?;
        Ok(UnfinishedFile {
            name,
            path,
            writer: BufWriter::with_capacity(BUFFER, file),
        })
    }

    /// Makes a file durable.
    pub(super) fn close(&mut self, file: UnfinishedFile) -> Result<()> {
        let UnfinishedFile { name, path, writer } = file;
        let synced = writer.into_inner().map_err(io::IntoInnerError::into_error);
        let bytes = synced.and_then(|file| {
            file.sync_all()?;
            Ok(file.metadata()?.len())
        });
        let bytes = bytes.map_err(Error::io("cannot write", &path))?;
        self.files.push(ExportedFile { name, bytes });
        Ok(())
    }
}

/// A file of an export.
pub(super) struct UnfinishedFile {
    name: String,
    /// Its later path, for messages.
    pub(super) path: PathBuf,
    pub(super) writer: BufWriter<File>,
}

impl UnfinishedFile {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.writer.write_all(bytes);
        written.map_err(Error::io("cannot write", &self.path))
    }
}

/// The little-endian bytes of numbers.
pub(super) fn bytes_of<T, const N: usize>(
    numbers: &[T],
    to_bytes: impl Fn(&T) -> [u8; N],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(numbers.len() * N);
    numbers
        .iter()
        .for_each(|number| bytes.extend(to_bytes(number)));
    bytes
}
