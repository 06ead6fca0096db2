//! `.npz` archives as the original writes them, one for each split.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::output::{Output, UnfinishedFile, bytes_of};
use super::samples::{Block, filled, for_each, with_progress};
use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::exchange::rules::DenseValues;
use crate::numpy::{Element, npy_header};
use crate::packed::{PackedDataset, PackedSplit};
use crate::progress::Progress;
use crate::schema::Schema;

/// The arrays that are written sample by sample, each in a pass of its own: members of an archive follow each other.
const ARRAYS: u64 = 3;

pub(super) fn write(
    data: &PackedDataset,
    dense: DenseValues,
    output: &mut Output,
    progress: &dyn Progress,
) -> Result<()> {
    with_progress(data, ARRAYS, progress, || {
        for split in filled(data) {
            let name = format!("{}.npz", split.split());
            archive(output, name, |archive| {
                let (samples, schema) = (split.len(), split.schema());
                let (width, tables) = (schema.dense.len() as u64, schema.tables.len() as u64);
                let element = match dense {
                    DenseValues::Log => Element::I4,
                    DenseValues::AsIs => Element::F4,
                };
                archive.start("X_int", element, &[samples, width])?;
                archive.samples(&split, progress, |block, batch| {
                    Ok(match dense {
                        DenseValues::Log => bytes_of(&block.integers(batch)?, |n| n.to_le_bytes()),
                        DenseValues::AsIs => bytes_of(&batch.dense, |n| n.to_le_bytes()),
                    })
                })?;
                archive.start("X_cat", Element::I4, &[samples, tables])?;
                archive.samples(&split, progress, |_, batch| {
                    Ok(bytes_of(&batch.sparse.ids, |n| n.to_le_bytes()))
                })?;
                archive.start("y", Element::I4, &[samples])?;
                archive.samples(&split, progress, |block, batch| {
                    Ok(bytes_of(&block.labels(batch)?, |n| n.to_le_bytes()))
                })?;
                archive.counts(schema)
            })?;
        }
        write_counts(data, output)
    })
}

/// `day_fea_count.npz`: the rows of every table.
pub(super) fn write_counts(data: &PackedDataset, output: &mut Output) -> Result<()> {
    archive(output, "day_fea_count.npz".to_owned(), |archive| {
        archive.counts(data.schema())
    })
}

/// An archive of arrays.
struct Archive<'a> {
    zip: ZipWriter<&'a mut BufWriter<File>>,
    path: &'a Path,
}

/// Writes an archive.
fn archive(
    output: &mut Output,
    name: String,
    fill: impl FnOnce(&mut Archive<'_>) -> Result<()>,
) -> Result<()> {
    let mut file = output.create(name)?;
    {
        let UnfinishedFile { writer, path, .. } = &mut file;
        let zip = ZipWriter::new(writer);
        let mut archive = Archive { zip, path };
        fill(&mut archive)?;
        let finished = archive.zip.finish();
        finished.map_err(|error| zip_error(path, error))?;
    }
    output.close(file)
}

fn zip_error(path: &Path, error: zip::result::ZipError) -> Error {
    Error::io("cannot write", path)(error.into())
}

impl Archive<'_> {
    /// Begins an array. Sizes have 64 bits, as in the archives that NumPy writes.
    fn start(&mut self, name: &str, element: Element, shape: &[u64]) -> Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::STORE)
            .large_file(true);
        let started = self.zip.start_file(format!("{name}.npy"), options);
        started.map_err(|error| zip_error(self.path, error))?;
        self.write(&npy_header(element, shape))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.zip.write_all(bytes);
        written.map_err(Error::io("cannot write", self.path))
    }

    fn samples(
        &mut self,
        split: &PackedSplit,
        progress: &dyn Progress,
        bytes: impl Fn(Block<'_>, &Batch) -> Result<Vec<u8>>,
    ) -> Result<()> {
        for_each(split, progress, |first, batch| {
            let bytes = bytes(Block { split, first }, batch)?;
            self.write(&bytes)
        })
    }

    fn counts(&mut self, schema: &Schema) -> Result<()> {
        let rows: Vec<i32> = schema
            .tables
            .iter()
            .map(|table| table.rows as i32)
            .collect();
        self.start("counts", Element::I4, &[rows.len() as u64])?;
        self.write(&bytes_of(&rows, |n| n.to_le_bytes()))
    }
}
