//! `.npz` archives as the original programs write them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::AtomicU64;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::output::{Output, UnfinishedFile, bytes_of};
use super::samples::{Block, Part, with_progress};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exchange::rules::DenseValues;
use crate::numpy::{Element, npy_header};
use crate::packed::PackedDataset;
use crate::progress::Progress;
use crate::schema::Schema;

/// The arrays that are written sample by sample, each in a pass of its own: members of an archive follow each other.
const ARRAYS: u64 = 3;

/// Writes an archive for each part.
pub(super) fn write(
    data: &PackedDataset,
    parts: &[Part],
    (dense, inexact): (DenseValues, &AtomicU64),
    output: &mut Output,
    progress: &dyn Progress,
) -> Result<()> {
    let schema = data.schema();
    let (width, tables) = (schema.dense.len() as u64, schema.tables.len() as u64);
    with_progress(data, ARRAYS, progress, || {
        for part in parts {
            let samples = part.len();
            archive(output, format!("{}.npz", part.name), |archive| {
                let element = match dense {
                    DenseValues::Log => Element::I4,
                    DenseValues::AsIs => Element::F4,
                };
                archive.start("X_int", element, &[samples, width])?;
                archive.samples(part, progress, |block, batch| {
                    Ok(match dense {
                        DenseValues::Log => {
                            bytes_of(&block.integers(batch, inexact)?, |n| n.to_le_bytes())
                        }
                        DenseValues::AsIs => bytes_of(&batch.dense, |n| n.to_le_bytes()),
                    })
                })?;
                archive.start("X_cat", Element::I4, &[samples, tables])?;
                archive.samples(part, progress, |_, batch| {
                    Ok(bytes_of(&batch.sparse.ids, |n| n.to_le_bytes()))
                })?;
                archive.labels(part, progress)?;
                archive.counts(schema)
            })?;
        }
        Ok(())
    })
}

/// Writes sequences, an archive for each part: `X_cat` `[tables, samples, positions]`, `X_int`
/// `[dense features, samples, positions]` as float64, and `y`.
pub(super) fn write_sequences(
    data: &PackedDataset,
    parts: &[Part],
    output: &mut Output,
    progress: &dyn Progress,
) -> Result<()> {
    let schema = data.schema();
    let positions = schema
        .sequence_length
        .map_or(1, |length| u64::from(length.get()));
    let (width, tables) = (schema.dense.len(), schema.tables.len());
    let passes = (width + tables + 1) as u64;
    with_progress(data, passes, progress, || {
        for part in parts {
            let samples = part.len();
            archive(output, format!("{}.npz", part.name), |archive| {
                archive.start("X_cat", Element::I4, &[tables as u64, samples, positions])?;
                for table in 0..tables {
                    archive.samples(part, progress, |_, batch| {
                        let ids = batch.sparse.ids.iter().skip(table).step_by(tables);
                        Ok(ids.flat_map(|id| id.to_le_bytes()).collect())
                    })?;
                }
                archive.start("X_int", Element::F8, &[width as u64, samples, positions])?;
                for column in 0..width {
                    archive.samples(part, progress, |_, batch| {
                        let values = batch.dense.iter().skip(column).step_by(width);
                        Ok(values.flat_map(|&n| f64::from(n).to_le_bytes()).collect())
                    })?;
                }
                archive.labels(part, progress)
            })?;
        }
        Ok(())
    })
}

/// `NAME_fea_count.npz`: the rows of every table.
pub(super) fn write_counts(data: &PackedDataset, name: &str, output: &mut Output) -> Result<()> {
    archive(output, format!("{name}_fea_count.npz"), |archive| {
        archive.counts(data.schema())
    })
}

/// `NAME_day_count.npz`: the samples of every day.
pub(super) fn write_days(days: &[Part], name: &str, output: &mut Output) -> Result<()> {
    archive(output, format!("{name}_day_count.npz"), |archive| {
        let samples: Vec<u64> = days.iter().map(Part::len).collect();
        archive.start("total_per_file", Element::I8, &[samples.len() as u64])?;
        archive.write(&bytes_of(&samples, |n| n.to_le_bytes()))
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
        part: &Part,
        progress: &dyn Progress,
        bytes: impl Fn(Block<'_>, &Batch) -> Result<Vec<u8>>,
    ) -> Result<()> {
        part.for_each(progress, |block, batch| {
            let bytes = bytes(block, batch)?;
            self.write(&bytes)
        })
    }

    fn labels(&mut self, part: &Part, progress: &dyn Progress) -> Result<()> {
        self.start("y", Element::I4, &[part.len()])?;
        self.samples(part, progress, |block, batch| {
            Ok(bytes_of(&block.labels(batch)?, |n| n.to_le_bytes()))
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
