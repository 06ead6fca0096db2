//! CSV with any separator, quotes and header.

use std::io::{self, Read};
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::super::foreign::{Foreign, Place};
use super::super::id_rows::SAMPLES;
use super::files::{TableFiles, position};
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::packed::SourceFile;
use crate::text::{MAX_LINE, Source, shorten};
use crate::vocabulary::Category;

/// The file, and how much of it was read since the last record ended.
struct Guarded {
    source: Source,
    since: usize,
}

impl Read for Guarded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        self.since += count;
        if self.since > MAX_LINE {
            let problem = "a record is longer than 1 MiB: is a quote left open?";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(count)
    }
}

/// A file, and where its columns are.
struct CsvTable {
    reader: Reader<Guarded>,
    label: usize,
    dense: Vec<usize>,
    categorical: Vec<usize>,
}

fn failure(path: &Path, error: &csv::Error) -> Error {
    Error::Exchange(ExchangeError::BadForeignFile {
        path: path.to_path_buf(),
        problem: format!("cannot be read as CSV ({error})"),
    })
}

/// The separator, which a name that ends in `.tsv` (or `.tsv.gz`) says too.
fn separator(files: &TableFiles, path: &Path) -> u8 {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let is_tsv = name.ends_with(".tsv") || name.contains(".tsv.");
    let usual = if is_tsv { '\t' } else { ',' };
    files.mapping.csv.separator.unwrap_or(usual) as u8
}

fn open(files: &TableFiles, path: &Path) -> Result<CsvTable> {
    let form = &files.mapping.csv;
    let mut builder = ReaderBuilder::new();
    builder
        .delimiter(separator(files, path))
        .has_headers(form.columns.is_none())
        .buffer_capacity(MAX_LINE / 4);
    match form.quote.as_bytes() {
        [quote, ..] => builder.quote(*quote),
        [] => builder.quoting(false),
    };
    let source = Source::text(path)?;
    let mut reader = builder.from_reader(Guarded { source, since: 0 });
    let names: Vec<String> = match &form.columns {
        Some(columns) => columns.clone(),
        None => {
            let header = reader
                .byte_headers()
                .map_err(|error| failure(path, &error))?;
            let name = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
            header.iter().map(name).collect()
        }
    };
    let find = |column: &str| position(path, column, names.iter().map(String::as_str));
    let mapping = &files.mapping;
    let dense: Result<Vec<usize>> = mapping
        .dense
        .iter()
        .map(|entry| find(&entry.column))
        .collect();
    let categorical = mapping.categorical.iter().map(|entry| find(&entry.column));
    Ok(CsvTable {
        label: find(&mapping.label)?,
        dense: dense?,
        categorical: categorical.collect::<Result<_>>()?,
        reader,
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
    let mut record = ByteRecord::new();
    let (mut foreign, mut before) = (files.no_samples(), 0);
    loop {
        let more = table.reader.read_byte_record(&mut record);
        let more = more.map_err(|error| failure(path, &error))?;
        table.reader.get_mut().since = 0;
        if foreign.label.len() == SAMPLES || !more {
            let read = table.reader.get_ref().source.bytes_read();
            foreign.stored_bytes = read - before;
            before = read;
            consume(std::mem::replace(&mut foreign, files.no_samples()))?;
        }
        if !more {
            return Ok(vec![table.reader.get_ref().source.identity()]);
        }
        let place = Place {
            path,
            unit: "line",
            number: record.position().map_or(0, csv::Position::line),
        };
        add(files, &table, place, &record, &mut foreign)?;
    }
}

/// Adds a record to the samples.
fn add(
    files: &TableFiles,
    table: &CsvTable,
    place: Place<'_>,
    record: &ByteRecord,
    foreign: &mut Foreign,
) -> Result<()> {
    let mapping = &files.mapping;
    let field = |column: &str, at: usize| -> Result<Option<&str>> {
        let bytes = record.get(at).ok_or_else(|| {
            place.bad(
                column,
                "no field",
                "is there: the line is shorter than the list of columns",
            )
        })?;
        if mapping
            .csv
            .missing
            .iter()
            .any(|missing| missing.as_bytes() == bytes)
        {
            return Ok(None);
        }
        let text = std::str::from_utf8(bytes);
        let lossy = || shorten(bytes);
        text.map(Some)
            .map_err(|_| place.bad(column, lossy(), "is no UTF-8: convert the file"))
    };
    let label = field(&mapping.label, table.label)?.unwrap_or("");
    let label = match label {
        "true" | "True" => 1.0,
        "false" | "False" => 0.0,
        _ => number(place, &mapping.label, label)?,
    };
    foreign.label.push(place.label(&mapping.label, label)?);
    for (entry, &at) in mapping.dense.iter().zip(&table.dense) {
        foreign.dense.push(match field(&entry.column, at)? {
            Some(text) => {
                let value = number(place, &entry.column, text)?;
                entry.transform.apply(place, &entry.column, value)?
            }
            None => 0.0,
        });
    }
    for (number, (entry, &at)) in mapping
        .categorical
        .iter()
        .zip(&table.categorical)
        .enumerate()
    {
        let bags = &mut foreign.tables[number];
        let parse = |text| entry.kind.parse(place, &entry.column, text);
        match field(&entry.column, at)? {
            None if entry.list => {}
            None => files.push(place, number, Category::Missing, bags)?,
            Some(text) if entry.list => {
                for part in text
                    .split(entry.separator.as_str())
                    .filter(|part| !part.is_empty())
                {
                    files.push(place, number, parse(part)?, bags)?;
                }
            }
            Some(text) => files.push(place, number, parse(text)?, bags)?,
        }
    }
    files.end_sample(foreign);
    Ok(())
}

fn number(place: Place<'_>, column: &str, text: &str) -> Result<f64> {
    let number = text.trim().parse();
    number.map_err(|_| {
        let problem = "is no number: mend the file, or name it in csv.missing where it stands for a missing value";
        place.bad(column, format!("{text:?}"), problem)
    })
}
