//! The vocabulary of a table, written id by id.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::packed::SourceFile;
use crate::text::identity;
use crate::vocabulary::vocabulary_header;

const BUFFER: usize = 1 << 18;

/// Writes the file of a [`Vocabulary`](crate::vocabulary::Vocabulary), byte for byte, without having it in memory.
pub(super) struct VocabularyWriter {
    path: PathBuf,
    counts: BufWriter<File>,
    categories: BufWriter<File>,
}

impl VocabularyWriter {
    /// A vocabulary of `rows` ids.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(super) fn create(
        path: &Path,
        rows: u64,
        missing: Option<u32>,
        other: Option<u32>,
    ) -> Result<Self> {
        let header = vocabulary_header(rows, missing, other);
        let open = || -> std::io::Result<_> {
            let mut file = File::create(path)?;
            file.write_all(&header)?;
            let mut behind = File::options().write(true).open(path)?;
            behind.seek(SeekFrom::Start(header.len() as u64 + 8 * rows))?;
            Ok((file, behind))
        };
        let (counts, categories) = open().map_err(Error::io("cannot create", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            counts: BufWriter::with_capacity(BUFFER, counts),
            categories: BufWriter::with_capacity(BUFFER, categories),
        })
    }

    /// Adds the next id.
    ///
    /// # Errors
    /// A full disk.
    #[inline]
    pub(super) fn push(&mut self, category: u32, count: u64) -> Result<()> {
        self.counts
            .write_all(&count.to_le_bytes())
            .and_then(|()| self.categories.write_all(&category.to_le_bytes()))
            .map_err(Error::io("cannot write", &self.path))
    }

    /// Makes the file durable and returns its size and xxh3.
    ///
    /// # Errors
    /// A full disk.
    pub(super) fn finish(mut self) -> Result<(u64, String)> {
        self.counts
            .flush()
            .and_then(|()| self.categories.flush())
            .and_then(|()| self.categories.get_ref().sync_all())
            .map_err(Error::io("cannot write", &self.path))?;
        let SourceFile { bytes, xxh3, .. } = identity(&self.path)?;
        Ok((bytes, xxh3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Vocabulary;

    #[test]
    fn the_bytes_are_those_of_a_vocabulary_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("C1.safetensors");
        for (rows, missing, other) in [
            (0u32, None, None),
            (3, Some(2), None),
            (70_000, Some(12), Some(0)),
        ] {
            let vocabulary = Vocabulary {
                categories: (0..rows).map(|id| id.wrapping_mul(0x9e37_79b9)).collect(),
                counts: (0..rows).map(|id| u64::from(id) << 33).collect(),
                missing,
                other,
                wide: None,
            };
            let mut writer = VocabularyWriter::create(&path, rows.into(), missing, other).unwrap();
            for (&category, &count) in vocabulary.categories.iter().zip(&vocabulary.counts) {
                writer.push(category, count).unwrap();
            }
            let (bytes, hash) = writer.finish().unwrap();
            let expected = vocabulary.to_bytes();
            assert_eq!(std::fs::read(&path).unwrap(), expected);
            assert_eq!(
                (bytes, hash),
                (expected.len() as u64, crate::packed::xxh3_hex(&expected))
            );
        }
    }
}
