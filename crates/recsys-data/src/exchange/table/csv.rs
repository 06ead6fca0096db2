//! CSV with any separator, quotes and header.

use std::path::Path;

use super::super::foreign::{BadRow, Foreign, Place, Row};
use super::super::id_rows::SAMPLES;
use super::cell::Cell;
use super::files::TableFiles;
use super::lines::Records;
use super::rows::RowCells;
use crate::error::Result;
use crate::packed::SourceFile;
use crate::text::{Source, shorten};

/// A file, and where its columns are.
struct CsvTable<'a> {
    files: &'a TableFiles,
    records: Records,
    /// Fields of every row.
    width: usize,
    places: Vec<usize>,
}

/// The separator, which a name that ends in `.tsv` (or `.tsv.gz`) says too.
fn separator<'a>(files: &'a TableFiles, path: &Path) -> &'a str {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let is_tsv = name.ends_with(".tsv") || name.contains(".tsv.");
    let usual = if is_tsv { "\t" } else { "," };
    files.mapping.csv.separator.as_deref().unwrap_or(usual)
}

fn open<'a>(files: &'a TableFiles, path: &Path) -> Result<CsvTable<'a>> {
    let form = &files.mapping.csv;
    let mut records = Records::new(Source::text(path)?, form, separator(files, path))?;
    let names: Vec<String> = match &form.columns {
        Some(columns) => columns.clone(),
        None => {
            if let Some((number, header)) = records.next()? {
                let place = Place {
                    path,
                    unit: "line",
                    number,
                };
                header.map_err(|bad| bad.at(place))?;
            }
            let fields = (0..records.len()).filter_map(|field| records.field(field));
            fields
                .map(|field| String::from_utf8_lossy(field).into_owned())
                .collect()
        }
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(CsvTable {
        places: files.places(path, &names)?,
        width: names.len(),
        files,
        records,
    })
}

pub(super) fn check_columns(files: &TableFiles, path: &Path) -> Result<()> {
    open(files, path).map(drop)
}

pub(super) fn read(
    files: &TableFiles,
    path: &Path,
    consume: &mut dyn FnMut(Foreign) -> Result<()>,
) -> Result<Vec<SourceFile>> {
    let mut table = open(files, path)?;
    let (mut foreign, mut before) = (files.no_samples("line"), 0);
    loop {
        let row = table.records.next()?;
        if foreign.label.len() == SAMPLES || row.is_none() {
            let read = table.records.source().bytes_read();
            foreign.stored_bytes = read - before;
            before = read;
            consume(std::mem::replace(&mut foreign, files.no_samples("line")))?;
        }
        let Some((number, row)) = row else {
            return Ok(vec![table.records.source().identity()]);
        };
        let place = Place {
            path,
            unit: "line",
            number,
        };
        match row {
            Ok(()) if table.records.len() == table.width => {
                files.add(place, &table, &mut foreign)?;
            }
            Ok(()) => {
                let bad = BadRow::line("wrong number of fields", table.wrong_width());
                files.refuse(place, *bad, &mut foreign)?;
            }
            Err(bad) => files.refuse(place, *bad, &mut foreign)?,
        }
    }
}

impl CsvTable<'_> {
    fn wrong_width(&self) -> String {
        let names = match self.files.mapping.csv.columns {
            Some(_) => "csv.columns",
            None => "the first line",
        };
        format!(
            "has {} fields, and {names} names {}: mend the line, or look at csv.separator and csv.columns in \
             the mapping",
            self.records.len(),
            self.width
        )
    }

    /// The name of a column of the mapping.
    fn name(&self, column: usize) -> &str {
        self.files.mapping.columns().nth(column).unwrap_or_default()
    }
}

impl RowCells for CsvTable<'_> {
    fn cell(&self, column: usize) -> Row<Cell<'_>> {
        let bytes = self.records.field(self.places[column]).unwrap_or_default();
        if self.files.missing.contain(bytes) {
            return Ok(Cell::Missing);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| {
            let shown = format!("\"{}\"", shorten(bytes));
            BadRow::value(
                "not UTF-8",
                self.name(column),
                shown,
                "is no UTF-8: convert the file",
            )
        })?;
        Ok(Cell::Text(text.into()))
    }

    fn for_each(
        &self,
        column: usize,
        separator: &str,
        show: &mut dyn FnMut(Cell<'_>) -> Row<()>,
    ) -> Row<()> {
        if let Cell::Text(text) = self.cell(column)? {
            let parts = text.split(separator).filter(|part| !part.is_empty());
            for part in parts {
                show(Cell::Text(part.into()))?;
            }
        }
        Ok(())
    }
}
