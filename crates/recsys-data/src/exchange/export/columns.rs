//! Parquet files, one for each split, and the mapping under which `fae prepare table` reads them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow_array::builder::{ListBuilder, UInt32Builder};
use arrow_array::{ArrayRef, Float32Array, Int32Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::output::Output;
use super::samples::{Block, splits, with_progress};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::exchange::rules::DenseValues;
use crate::exchange::table::{
    CategoricalColumn, CategoryKind, CsvForm, DenseColumn, TableMapping, Transform,
};
use crate::packed::PackedDataset;
use crate::progress::Progress;
use crate::schema::Schema;

/// Samples of a row group, which the writer holds in memory.
const GROUP: usize = 1 << 17;
/// Name of the label's column.
const LABEL: &str = "label";

pub(super) fn write(
    data: &PackedDataset,
    dense: DenseValues,
    output: &mut Output,
    inexact: &AtomicU64,
    progress: &dyn Progress,
) -> Result<()> {
    let schema = data.schema();
    let names = schema
        .dense
        .iter()
        .chain(schema.tables.iter().map(|table| &table.name));
    if names.into_iter().any(|name| name == LABEL) {
        return Err(Error::Exchange(ExchangeError::NotExportable {
            format: "parquet",
            problem: format!("a column is called {LABEL}, as the label is there"),
        }));
    }
    let columns = Arc::new(columns(schema, dense));
    with_progress(data, 1, progress, || {
        for part in splits(data, |split| format!("{split}.parquet")) {
            let mut file = output.create(part.name.clone())?;
            let path = file.path.clone();
            let failed = |error: ParquetError| {
                Error::io("cannot write", &path)(std::io::Error::other(error))
            };
            let properties = WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_max_row_group_row_count(Some(GROUP))
                .build();
            let writer = ArrowWriter::try_new(&mut file.writer, columns.clone(), Some(properties));
            let mut writer = writer.map_err(failed)?;
            part.for_each(progress, |block, batch| {
                let arrays = arrays(block, schema, batch, (dense, inexact))?;
                let rows = RecordBatch::try_new(columns.clone(), arrays);
                let written = rows
                    .map_err(ParquetError::from)
                    .and_then(|rows| writer.write(&rows));
                written.map_err(failed)
            })?;
            writer.close().map_err(failed)?;
            output.close(file)?;
        }
        let mut file = output.create("mapping.toml".to_owned())?;
        file.write(mapping(schema, dense).to_toml()?.as_bytes())?;
        output.close(file)
    })
}

fn columns(schema: &Schema, dense: DenseValues) -> ArrowSchema {
    let number = match dense {
        DenseValues::Log => DataType::Int32,
        DenseValues::AsIs => DataType::Float32,
    };
    let ids = if schema.multi_hot {
        DataType::List(Arc::new(id_field()))
    } else {
        DataType::UInt32
    };
    let mut fields = vec![Field::new(LABEL, DataType::Float32, false)];
    fields.extend(
        schema
            .dense
            .iter()
            .map(|name| Field::new(name, number.clone(), false)),
    );
    fields.extend(
        schema
            .tables
            .iter()
            .map(|table| Field::new(&table.name, ids.clone(), false)),
    );
    ArrowSchema::new(fields)
}

fn id_field() -> Field {
    Field::new("item", DataType::UInt32, false)
}

fn arrays(
    block: Block<'_>,
    schema: &Schema,
    batch: &Batch,
    (dense, inexact): (DenseValues, &AtomicU64),
) -> Result<Vec<ArrayRef>> {
    let (width, tables) = (schema.dense.len(), schema.tables.len());
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(Float32Array::from(batch.label.clone()))];
    match dense {
        DenseValues::Log => {
            let integers = block.integers(batch, inexact)?;
            let column = |first| integers.iter().skip(first).step_by(width).copied();
            arrays
                .extend((0..width).map(|first| {
                    Arc::new(Int32Array::from_iter_values(column(first))) as ArrayRef
                }));
        }
        DenseValues::AsIs => {
            let column = |first| batch.dense.iter().skip(first).step_by(width).copied();
            arrays.extend(
                (0..width).map(|first| {
                    Arc::new(Float32Array::from_iter_values(column(first))) as ArrayRef
                }),
            );
        }
    }
    for table in 0..tables {
        let bags = (0..batch.len()).map(|sample| batch.sparse.bag(sample * tables + table));
        arrays.push(if schema.multi_hot {
            let mut lists = ListBuilder::new(UInt32Builder::new()).with_field(id_field());
            for bag in bags {
                lists.values().append_slice(bag);
                lists.append(true);
            }
            Arc::new(lists.finish())
        } else {
            Arc::new(UInt32Array::from_iter_values(bags.flatten().copied()))
        });
    }
    Ok(arrays)
}

fn mapping(schema: &Schema, dense: DenseValues) -> TableMapping {
    let transform = match dense {
        DenseValues::Log => vec![Transform::Log1p],
        DenseValues::AsIs => Vec::new(),
    };
    let dense = schema.dense.iter().map(|name| DenseColumn {
        column: name.clone(),
        name: name.clone(),
        transform: transform.clone(),
    });
    let categorical = schema.tables.iter().map(|table| CategoricalColumn {
        column: table.name.clone(),
        name: table.name.clone(),
        kind: CategoryKind::Integer,
        list: schema.multi_hot,
        separator: " ".to_owned(),
        merge_numbers: None,
    });
    TableMapping {
        label: LABEL.into(),
        dense: dense.collect(),
        categorical: categorical.collect(),
        csv: CsvForm::default(),
    }
}
