//! Tables with any columns: CSV, and with the feature `parquet` Parquet and Arrow IPC.

#[cfg(feature = "parquet")]
mod arrays;
#[cfg(feature = "parquet")]
mod arrow_files;
#[cfg(feature = "parquet")]
mod arrow_ipc;
mod cell;
mod csv;
mod files;
mod lines;
mod mapping;
#[cfg(feature = "parquet")]
mod pages;
#[cfg(feature = "parquet")]
mod parquet_files;
#[cfg(feature = "parquet")]
mod quiet;
mod rows;
mod scale;
#[cfg(feature = "parquet")]
mod thrift;

use std::path::{Path, PathBuf};

pub(super) use cell::{is_integer, whole_part};
pub use mapping::{
    CategoricalColumn, CategoryKind, CsvForm, DenseColumn, LabelColumn, TableMapping, Transform,
};
pub(super) use scale::{Measure, Scale};

use self::files::{Form, TableFiles};
use super::foreign::{Columns, Foreign, ForeignReader, TableColumn};
use super::rules::ForeignIds;
use crate::error::{Error, Result};
#[cfg(not(feature = "parquet"))]
use crate::exchange::error::Error as ExchangeError;
use crate::packed::SourceFile;
use crate::text::{BadRows, stored_bytes};

/// Opens tables and looks whether they have the columns.
pub(super) fn open_table(
    mapping: &TableMapping,
    paths: &[PathBuf],
    ids: ForeignIds,
    bad_rows: BadRows,
) -> Result<Box<dyn ForeignReader>> {
    let keep = ids == ForeignIds::Keep;
    let texts = |column: &CategoricalColumn| column.kind == CategoryKind::Text;
    if let Some(column) = mapping
        .categorical
        .iter()
        .find(|column| keep && texts(column))
    {
        return Err(Error::InvalidOption {
            option: "ids",
            value: format!("keep, and column {:?} holds texts", column.column),
            allowed: "rank where there are texts",
        });
    }
    let table = |column: &CategoricalColumn| TableColumn {
        name: column.name.clone(),
        text: texts(column),
        apart: texts(column) && column.merge_numbers.is_none(),
        bound: None,
    };
    let columns = Columns {
        dense: mapping
            .dense
            .iter()
            .map(|column| column.name.clone())
            .collect(),
        tables: mapping.categorical.iter().map(table).collect(),
        multi_hot: mapping.categorical.iter().any(|column| column.list),
    };
    let files = TableFiles::new(columns, mapping, keep, bad_rows);
    for path in paths {
        stored_bytes(path)?;
        files.check_columns(path)?;
    }
    Ok(Box::new(files))
}

impl TableFiles {
    fn check_columns(&self, path: &Path) -> Result<()> {
        match Form::of(path)? {
            Form::Csv => csv::check_columns(self, path),
            form => arrow_check(self, path, form),
        }
    }
}

impl ForeignReader for TableFiles {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn standardised(&self) -> &[usize] {
        &self.unscaled
    }

    fn standardise(&mut self, scales: &[Scale]) {
        for (number, scale) in std::mem::take(&mut self.unscaled).into_iter().zip(scales) {
            self.scales[number] = Some(*scale);
        }
    }

    fn read(
        &self,
        path: &Path,
        consume: &mut dyn FnMut(Foreign) -> Result<()>,
    ) -> Result<Vec<SourceFile>> {
        match Form::of(path)? {
            Form::Csv => csv::read(self, path, consume),
            form => arrow_read(self, path, form, consume),
        }
    }
}

#[cfg(feature = "parquet")]
use arrow_files::{check_columns as arrow_check, read as arrow_read};

#[cfg(not(feature = "parquet"))]
fn arrow_check(_: &TableFiles, path: &Path, _: Form) -> Result<()> {
    Err(Error::Exchange(ExchangeError::FeatureMissing {
        path: path.to_path_buf(),
        feature: "parquet",
    }))
}

#[cfg(not(feature = "parquet"))]
fn arrow_read(
    files: &TableFiles,
    path: &Path,
    form: Form,
    _: &mut dyn FnMut(Foreign) -> Result<()>,
) -> Result<Vec<SourceFile>> {
    arrow_check(files, path, form).map(|()| Vec::new())
}
