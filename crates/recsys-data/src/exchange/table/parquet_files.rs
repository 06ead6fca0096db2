//! Parquet files.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::FileReader;

use super::super::id_rows::{SAMPLES, share};
use super::arrow_files::{ArrowTable, damaged};
use super::files::TableFiles;
use super::pages::CheckedFile;
use super::quiet::without_panic;
use crate::error::{Error, Result};

struct Opened {
    names: Vec<String>,
    rows: u64,
    batches: ParquetRecordBatchReader,
}

pub(super) fn open(files: &TableFiles, path: &Path) -> Result<ArrowTable> {
    let file = File::open(path).map_err(Error::io("cannot open", path))?;
    let bytes = file
        .metadata()
        .map_err(Error::io("cannot read", path))?
        .len();
    let opened = without_panic(|| open_file(files, file).map_err(|error| error.to_string()));
    let opened = opened.and_then(|opened| opened);
    let Opened {
        names,
        rows,
        mut batches,
    } = opened.map_err(|problem| damaged(path, problem))?;
    let path = path.to_path_buf();
    let (mut done, mut ended) = (0, false);
    let next = move || {
        if ended {
            return None;
        }
        let batch = match without_panic(|| batches.next()) {
            Ok(Some(Ok(batch))) => Ok(Some(batch)),
            Ok(Some(Err(error))) => Err(error.to_string()),
            Ok(None) if done != rows => Err(format!("it holds {done} rows, and says {rows}")),
            Ok(None) => Ok(None),
            Err(problem) => Err(problem),
        };
        ended = !matches!(batch, Ok(Some(_)));
        let with_share = |batch: arrow_array::RecordBatch| {
            let share = share(bytes, done, rows, batch.num_rows());
            done += batch.num_rows() as u64;
            (batch, share)
        };
        batch
            .map(|batch| batch.map(with_share))
            .map_err(|problem| damaged(&path, problem))
            .transpose()
    };
    Ok(ArrowTable {
        names,
        batches: Box::new(std::iter::from_fn(next)),
    })
}

fn open_file(files: &TableFiles, file: File) -> ParquetResult<Opened> {
    let file = CheckedFile::open(file)?;
    let schema = file.metadata().file_metadata().schema_descr_ptr();
    let fields = schema.root_schema().get_fields();
    let names: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    let used = |name: &String| files.mapping.columns().any(|column| column == name);
    let roots: Vec<usize> = (0..names.len()).filter(|&at| used(&names[at])).collect();
    let mask = ProjectionMask::roots(&schema, roots);
    let leaves = (0..schema.num_columns()).filter(|&leaf| mask.leaf_included(leaf));
    let rows = file.check(leaves)?;
    // Without the Arrow schema that a writer left, dictionaries come as the values they stand for.
    let levels = parquet_to_arrow_field_levels(&schema, mask, None)?;
    let file: Arc<dyn FileReader> = Arc::new(file);
    Ok(Opened {
        names,
        rows,
        batches: ParquetRecordBatchReader::try_new_with_row_groups(&levels, &file, SAMPLES, None)?,
    })
}
