//! Parquet and Arrow IPC files.

use std::fs::File;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::super::foreign::Foreign;
use super::super::id_rows::{SAMPLES, share};
use super::arrays::{Places, add};
use super::files::{Form, TableFiles, position};
use crate::error::{Error, Result, io_error};
use crate::exchange::error::Error as ExchangeError;
use crate::packed::SourceFile;
use crate::text::identity;

/// A file that is read batch by batch.
struct ArrowTable {
    /// Its columns, of which batches hold those in `columns`.
    schema: SchemaRef,
    /// Rows of a Parquet file, batches of an IPC file: what progress is measured in.
    steps: u64,
    batches: Box<dyn Iterator<Item = std::result::Result<RecordBatch, ArrowError>>>,
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::Exchange(ExchangeError::BadForeignFile {
        path: path.to_path_buf(),
        problem: format!(
            "cannot be read ({error}): is it cut off, or in another format than its ending says?"
        ),
    })
}

fn open(files: &TableFiles, path: &Path, form: Form) -> Result<ArrowTable> {
    let file = File::open(path).map_err(|source| io_error("cannot open", path, source))?;
    if form == Form::ArrowIpc {
        let reader =
            FileReader::try_new_buffered(file, None).map_err(|error| damaged(path, error))?;
        return Ok(ArrowTable {
            schema: reader.schema(),
            steps: reader.num_batches() as u64,
            batches: Box::new(reader),
        });
    }
    // Without the Arrow schema that a writer left, dictionaries come as the plain values they stand for.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .map_err(|error| damaged(path, error))?;
    let (schema, rows) = (
        builder.schema().clone(),
        builder.metadata().file_metadata().num_rows(),
    );
    let mapping = &files.mapping;
    let used = |name: &str| {
        mapping.label == name
            || mapping.dense.iter().any(|entry| entry.column == name)
            || mapping.categorical.iter().any(|entry| entry.column == name)
    };
    let fields = schema.fields().iter().enumerate();
    let used = fields
        .filter(|(_, field)| used(field.name()))
        .map(|(at, _)| at);
    let mask = ProjectionMask::roots(builder.parquet_schema(), used);
    let reader = builder
        .with_projection(mask)
        .with_batch_size(SAMPLES)
        .build()
        .map_err(|error| damaged(path, error))?;
    Ok(ArrowTable {
        schema,
        steps: rows.max(0) as u64,
        batches: Box::new(reader),
    })
}

/// Finds the columns of a mapping.
fn places(files: &TableFiles, path: &Path, schema: &SchemaRef) -> Result<Places> {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let find = |column: &str| position(path, column, names.clone());
    let mapping = &files.mapping;
    let dense = mapping.dense.iter().map(|entry| find(&entry.column));
    let categorical = mapping.categorical.iter().map(|entry| find(&entry.column));
    Ok(Places {
        label: find(&mapping.label)?,
        dense: dense.collect::<Result<_>>()?,
        categorical: categorical.collect::<Result<_>>()?,
    })
}

pub(super) fn check_columns(files: &TableFiles, path: &Path, form: Form) -> Result<()> {
    let table = open(files, path, form)?;
    places(files, path, &table.schema).map(drop)
}

pub(super) fn read(
    files: &TableFiles,
    path: &Path,
    form: Form,
    consume: &mut dyn FnMut(Foreign) -> Result<()>,
) -> Result<Vec<SourceFile>> {
    let source = identity(path)?;
    let table = open(files, path, form)?;
    let (mut first, mut step) = (0, 0);
    for batch in table.batches {
        let batch = batch.map_err(|error| damaged(path, error))?;
        let places = places(files, path, &batch.schema())?;
        // Batches of IPC files have the size that their writer chose.
        for start in (0..batch.num_rows()).step_by(SAMPLES) {
            let count = SAMPLES.min(batch.num_rows() - start);
            let part = batch.slice(start, count);
            let mut foreign = add(files, path, first, &places, &part)?;
            let steps = match form {
                Form::ArrowIpc => usize::from(start == 0),
                Form::Parquet | Form::Csv => count,
            };
            foreign.stored_bytes = share(source.bytes, step, table.steps, steps);
            step += steps as u64;
            first += count as u64;
            consume(foreign)?;
        }
    }
    Ok(vec![source])
}
