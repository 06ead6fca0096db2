//! The files of an import of tables: what is known of them before a row is read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::cell::MissingTexts;
use super::mapping::{TableMapping, Transform};
use super::scale::Scale;
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::exchange::foreign::Columns;
use crate::text::BadRows;

/// Files of tables under one mapping.
pub(super) struct TableFiles {
    pub(super) columns: Columns,
    pub(super) mapping: TableMapping,
    pub(super) missing: MissingTexts,
    /// Whether numbers stay as ids.
    pub(super) keep: bool,
    pub(super) bad_rows: BadRows,
    /// What standardises every dense column, where that is known.
    pub(super) scales: Vec<Option<Scale>>,
    /// The dense columns of which it is not known.
    pub(super) unscaled: Vec<usize>,
}

impl TableFiles {
    pub(super) fn new(
        columns: Columns,
        mapping: &TableMapping,
        keep: bool,
        bad_rows: BadRows,
    ) -> Self {
        let dense = mapping.dense.iter().enumerate();
        let standardised = dense
            .filter(|(_, column)| column.transform.contains(&Transform::Standardise))
            .map(|(number, _)| number);
        Self {
            columns,
            missing: MissingTexts::new(&mapping.csv.missing),
            keep,
            bad_rows,
            scales: vec![None; mapping.dense.len()],
            unscaled: standardised.collect(),
            mapping: mapping.clone(),
        }
    }

    /// Where the columns of the mapping are among those of a file.
    ///
    /// # Errors
    /// One that is not there, or twice.
    pub(super) fn places(&self, path: &Path, names: &[&str]) -> Result<Vec<usize>> {
        let place = |column: &str| {
            let mut found = (0..names.len()).filter(|&at| names[at] == column);
            match (found.next(), found.next()) {
                (Some(at), None) => Ok(at),
                (Some(_), Some(_)) => Err(Error::Exchange(ExchangeError::BadForeignFile {
                    path: path.to_path_buf(),
                    problem: format!(
                        "has two columns named {column:?}: rename one (in CSV without a header: \
                        in csv.columns)"
                    ),
                })),
                (None, _) => Err(Error::Exchange(ExchangeError::UnknownColumn {
                    path: path.to_path_buf(),
                    column: column.to_owned(),
                    known: names.join(", "),
                })),
            }
        };
        self.mapping.columns().map(place).collect()
    }
}

/// How a table is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Csv,
    Parquet,
    ArrowIpc,
}

impl Form {
    /// By the first bytes, else by the ending of the name.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let mut first = Vec::new();
        File::open(path)
            .and_then(|file| file.take(6).read_to_end(&mut first))
            .map_err(Error::io("cannot open", path))?;
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        Ok(match (first.as_slice(), ending.to_str()) {
            (b"ARROW1", _) | (_, Some("arrow" | "arrows" | "feather" | "ipc")) => Self::ArrowIpc,
            ([b'P', b'A', b'R', b'1' | b'E', ..], _) | (_, Some("parquet" | "pq")) => Self::Parquet,
            _ => Self::Csv,
        })
    }
}
