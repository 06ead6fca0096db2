//! The files of an import of tables: what is known of them before a row is read.

use std::path::Path;

use super::mapping::TableMapping;
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::exchange::foreign::Columns;

/// Files of tables under one mapping.
pub(super) struct TableFiles {
    pub(super) columns: Columns,
    pub(super) mapping: TableMapping,
    /// Whether numbers stay as ids.
    pub(super) keep: bool,
}

/// How a table is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Csv,
    Parquet,
    ArrowIpc,
}

impl Form {
    /// By the ending of the name.
    pub(super) fn of(path: &Path) -> Self {
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        match ending.to_str() {
            Some("parquet" | "pq") => Self::Parquet,
            Some("arrow" | "feather" | "ipc") => Self::ArrowIpc,
            _ => Self::Csv,
        }
    }
}

/// Where a column is among those of a file.
pub(super) fn position<'a>(
    path: &Path,
    column: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<usize> {
    names
        .clone()
        .position(|name| name == column)
        .ok_or_else(|| {
            Error::Exchange(ExchangeError::UnknownColumn {
                path: path.to_path_buf(),
                column: column.to_owned(),
                known: names.collect::<Vec<_>>().join(", "),
            })
        })
}
