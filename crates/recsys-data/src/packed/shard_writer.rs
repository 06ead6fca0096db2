//! One shard by itself: shards of a data set are then written in parallel, and a finished one is known by its name.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::layout::ShardLayout;
use super::manifest::ShardFile;
use super::output_folder::sync_folder;
use super::shard_files::ShardFiles;
use super::split_writer::{ShardPlan, SplitWriter};
use super::xxh3_hex;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::packed::error::Error as PackedError;
use crate::schema::Schema;
use crate::split::Split;

/// Which shard of a data set, and how many samples it takes. Single-hot data only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShardPlace {
    pub(crate) split: Split,
    /// Its number in the split.
    pub(crate) shard: u64,
    pub(crate) rows: u64,
}

impl ShardPlace {
    fn layout(&self, schema: &Schema) -> ShardLayout {
        ShardLayout::new(schema, self.split, self.shard, self.rows)
    }

    /// Name of the file.
    pub(crate) fn name(&self) -> String {
        self.split.shard_name(self.shard)
    }

    /// Size of the file.
    pub(crate) fn bytes(&self, schema: &Schema) -> u64 {
        ShardPlan::new(self.layout(schema)).least_bytes()
    }

    /// What the manifest says about this shard, if it lies in `folder` complete.
    ///
    /// # Errors
    /// A file of this name that is another shard, or cannot be read.
    pub(crate) fn finished(&self, schema: &Schema, folder: &Path) -> Result<Option<ShardFile>> {
        let path = folder.join(self.name());
        if !path.exists() {
            return Ok(None);
        }
        let layout = self.layout(schema);
        let ids = layout.single_hot_ids();
        let (header, bytes) = (layout.header(ids), layout.file_bytes(ids));
        let read = || -> std::io::Result<_> {
            let mut file = File::open(&path)?;
            let checksums = layout.blocks() * 8 * layout.checked_tensors().len() as u64;
            let mut front = vec![0; header.len() + checksums as usize];
            file.read_exact(&mut front)?;
            Ok((front, file.metadata()?.len()))
        };
        let (front, found) = read().map_err(Error::io("cannot read", &path))?;
        let (found_header, checksums) = front.split_at(header.len());
        if found_header != header || found != bytes {
            let part = "the header or the size";
            return Err(Error::Packed(PackedError::Altered { path, part }));
        }
        Ok(Some(ShardFile {
            file: self.name(),
            rows: self.rows,
            bytes,
            header_xxh3: xxh3_hex(&header),
            checksums_xxh3: xxh3_hex(checksums),
        }))
    }
}

/// Writes one shard in a folder for unfinished ones, and moves it when it is complete.
pub(crate) struct ShardWriter<'a> {
    schema: &'a Schema,
    files: ShardFiles,
    writer: SplitWriter,
    unfinished: PathBuf,
    finished: PathBuf,
}

impl<'a> ShardWriter<'a> {
    /// Reserves the file in `writing`.
    ///
    /// # Errors
    /// Too little disk space.
    pub(crate) fn create(
        schema: &'a Schema,
        place: ShardPlace,
        writing: &Path,
        finished: &Path,
    ) -> Result<Self> {
        let mut files = ShardFiles::new(writing);
        let plan = ShardPlan::new(place.layout(schema));
        Ok(Self {
            schema,
            writer: SplitWriter::of_shard(&mut files, schema, plan)?,
            files,
            unfinished: writing.join(place.name()),
            finished: finished.join(place.name()),
        })
    }

    /// Adds samples.
    ///
    /// # Errors
    /// As [`PackedWriter::append`](super::PackedWriter::append).
    pub(crate) fn append(&mut self, batch: &Batch) -> Result<()> {
        self.writer
            .append(&mut self.files, self.schema, batch, &self.finished)
    }

    /// Completes the file, makes it durable and gives it its name.
    ///
    /// # Errors
    /// Fewer samples than announced, or a failing write.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.writer.finish(&mut self.files)?;
        fs::rename(&self.unfinished, &self.finished)
            .map_err(Error::io("cannot create", &self.finished))?;
        self.finished.parent().map_or(Ok(()), sync_folder)
    }
}
