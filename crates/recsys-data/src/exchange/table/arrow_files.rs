//! Parquet and Arrow IPC files, batch by batch.

use std::path::Path;

use arrow_array::RecordBatch;

use super::super::foreign::{Foreign, Place};
use super::super::id_rows::SAMPLES;
use super::arrays::Rows;
use super::files::{Form, TableFiles};
use super::{arrow_ipc, parquet_files};
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::packed::SourceFile;
use crate::text::identity;

/// A file that is read batch by batch.
pub(super) struct ArrowTable {
    /// Names of its columns, of which batches hold those of the mapping.
    pub(super) names: Vec<String>,
    /// Batches, each with the bytes of the file that it stands for.
    pub(super) batches: Box<dyn Iterator<Item = Result<(RecordBatch, u64)>>>,
}

pub(super) fn damaged(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::Exchange(ExchangeError::BadForeignFile {
        path: path.to_path_buf(),
        problem: format!(
            "cannot be read ({problem}): is it cut off, or in another format than its ending says?"
        ),
    })
}

fn open(files: &TableFiles, path: &Path, form: Form) -> Result<ArrowTable> {
    let table = match form {
        Form::ArrowIpc => arrow_ipc::open(files, path)?,
        Form::Parquet | Form::Csv => parquet_files::open(files, path)?,
    };
    places(files, path, table.names.iter().map(String::as_str)).map(|_| table)
}

fn places<'a>(
    files: &TableFiles,
    path: &Path,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<usize>> {
    files.places(path, &names.collect::<Vec<_>>())
}

pub(super) fn check_columns(files: &TableFiles, path: &Path, form: Form) -> Result<()> {
    open(files, path, form).map(drop)
}

pub(super) fn read(
    files: &TableFiles,
    path: &Path,
    form: Form,
    consume: &mut dyn FnMut(Foreign) -> Result<()>,
) -> Result<Vec<SourceFile>> {
    let source = identity(path)?;
    let table = open(files, path, form)?;
    let mut number = 0;
    for batch in table.batches {
        let (batch, mut bytes) = batch?;
        let schema = batch.schema();
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let places = places(files, path, names)?;
        // Batches of IPC files have the size that their writer chose.
        for start in (0..batch.num_rows()).step_by(SAMPLES) {
            let count = SAMPLES.min(batch.num_rows() - start);
            let mut foreign = files.no_samples("sample");
            let part = batch.slice(start, count);
            let arrays = Rows::arrays(path, files, &places, &part)?;
            let mut rows = Rows::new(path, files, &arrays)?;
            for row in 0..count {
                rows.row = row;
                let place = Place {
                    path,
                    unit: "sample",
                    number,
                };
                files.add(place, &rows, &mut foreign)?;
                number += 1;
            }
            foreign.stored_bytes = std::mem::take(&mut bytes);
            consume(foreign)?;
        }
    }
    Ok(vec![source])
}
