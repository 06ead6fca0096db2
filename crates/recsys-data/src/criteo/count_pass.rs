//! Pass one: how many rows there are, and how often each category occurs.
//!
//! Which rows train is known when all are counted, so the others are read once more and taken back.

use rayon::prelude::*;

use super::encode::Categories;
use super::parse::parse_rows;
use super::{PrepareOptions, RowFieldDefect, TABLES};
use crate::category_counts::CategoryCounts;
use crate::criteo::error::Error as CriteoError;
use crate::error::{Error, Result};
use crate::packed::SourceFile;
use crate::progress::Progress;
use crate::text::Error as TextError;
use crate::text::{BadRows, Chunk, SkipLog, read_all};

/// Categories between the one that is counted and the one whose slot is asked for.
const PREFETCH: usize = 16;

/// What pass one found.
pub(super) struct CountedRows {
    pub(super) rows: u64,
    /// Per table, entries in order of first appearance.
    pub(super) tables: Vec<CategoryCounts>,
    pub(super) skipped: SkipLog<RowFieldDefect>,
    pub(super) sources: Vec<SourceFile>,
    /// File, first line and first row of every chunk, in order.
    chunks: Vec<(usize, u64, u64)>,
}

/// The categories of a chunk, one table after the other, so that each table is counted by a thread of its own.
struct Columns {
    /// Category of row `r` in table `t`, at `t * stride + r`.
    values: Vec<u32>,
    stride: usize,
    /// Which categories of each row are missing.
    missing: Vec<u32>,
    skipped: SkipLog<RowFieldDefect>,
    file: usize,
    first_line: u64,
    stored_bytes: u64,
}

/// Reads all files and counts.
///
/// # Errors
/// A file that cannot be read; a bad row, unless those are skipped; no row at all.
pub(super) fn count(
    options: &PrepareOptions,
    categories: Categories,
    progress: &dyn Progress,
) -> Result<CountedRows> {
    let mut counted = CountedRows {
        rows: 0,
        tables: std::iter::repeat_with(CategoryCounts::new)
            .take(TABLES)
            .collect(),
        skipped: SkipLog::default(),
        sources: Vec::new(),
        chunks: Vec::new(),
    };
    let work = |chunk: Chunk| columns(options, categories, &chunk);
    let consume = |chunks: Vec<Columns>| {
        // Within a table chunk follows chunk: entries come in the order of the text on any number of threads.
        let tables = counted.tables.par_iter_mut().enumerate();
        tables.try_for_each(|(table, counts)| {
            chunks.iter().for_each(|chunk| chunk.count(table, counts));
            check(table, counts)
        })?;
        for chunk in chunks {
            let rows = chunk.missing.len() as u64;
            let start = (chunk.file, chunk.first_line, counted.rows);
            counted.chunks.push(start);
            counted.rows += rows;
            counted.skipped.append(chunk.skipped);
            progress.advance(chunk.stored_bytes, rows);
        }
        Ok(())
    };
    let sources = read_all(&options.raw, work, consume)?;
    counted.sources = sources;
    if counted.rows == 0 {
        return Err(Error::Text(TextError::NoRows {
            skipped: counted.skipped.rows(),
        }));
    }
    Ok(counted)
}

fn columns(options: &PrepareOptions, categories: Categories, chunk: &Chunk) -> Result<Columns> {
    let stride = chunk.lines as usize;
    let mut values = vec![0; TABLES * stride];
    let mut missing = Vec::with_capacity(stride);
    let mut skipped = SkipLog::default();
    let good = |row: &super::RawRow| {
        let mut row = *row;
        categories.apply(&mut row);
        for (column, value) in values.chunks_exact_mut(stride).zip(row.categories) {
            column[missing.len()] = value;
        }
        missing.push(row.missing);
    };
    parse_rows(&chunk.text, good, |line, defect| {
        let line = chunk.first_line + line;
        match options.bad_rows {
            BadRows::Skip => skipped.add(chunk.file, line, defect),
            BadRows::Error => {
                return Err(Error::Criteo(CriteoError::BadRow {
                    path: options.raw[chunk.file].clone(),
                    line,
                    defect,
                }));
            }
        }
        Ok(())
    })?;
    Ok(Columns {
        values,
        stride,
        missing,
        skipped,
        file: chunk.file,
        first_line: chunk.first_line,
        stored_bytes: chunk.stored_bytes,
    })
}

impl CountedRows {
    /// Takes back what rows from `first` on counted; their categories stay, as if they had never
    /// occurred.
    ///
    /// # Errors
    /// A file that cannot be read, or is not what it was.
    pub(super) fn forget_from(
        &mut self,
        first: u64,
        options: &PrepareOptions,
        categories: Categories,
        progress: &dyn Progress,
    ) -> Result<()> {
        let (starts, rows) = (&self.chunks, self.rows);
        // The last chunk that begins at or before the first row.
        let last = starts.partition_point(|&(_, _, row)| row <= first).max(1) - 1;
        let Some(&(first_file, ..)) = starts.get(last) else {
            return Ok(());
        };
        let changed = |file: usize| {
            Error::Text(TextError::SourceChanged {
                path: options.raw[file].clone(),
            })
        };
        let work = |mut chunk: Chunk| {
            chunk.file += first_file;
            let key = (chunk.file, chunk.first_line);
            let found = starts.binary_search_by_key(&key, |&(file, line, _)| (file, line));
            let number = found.map_err(|_| changed(chunk.file))?;
            let start = starts[number].2;
            let end = starts.get(number + 1).map_or(rows, |next| next.2);
            let found = match end > first {
                true => Some(columns(options, categories, &chunk)?),
                false => None,
            };
            if found
                .as_ref()
                .is_some_and(|of| of.missing.len() as u64 != end - start)
            {
                return Err(changed(chunk.file));
            }
            Ok((
                first.saturating_sub(start) as usize,
                found,
                chunk.stored_bytes,
            ))
        };
        let tables = &mut self.tables;
        let consume = |chunks: Vec<(usize, Option<Columns>, u64)>| {
            let tables = tables.par_iter_mut().enumerate();
            tables.for_each(|(table, counts)| {
                for (from, columns, _) in &chunks {
                    if let Some(columns) = columns {
                        columns.forget(table, *from, counts);
                    }
                }
            });
            for (from, columns, bytes) in &chunks {
                let rows = columns.as_ref().map_or(0, |of| of.missing.len() - from);
                progress.advance(*bytes, rows as u64);
            }
            Ok(())
        };
        read_all(&options.raw[first_file..], work, consume).map(|_| ())
    }
}

impl Columns {
    /// The categories of a table from row `from` on, each with whether it is missing.
    fn values(&self, table: usize, from: usize) -> impl Iterator<Item = (u32, bool)> + Clone + '_ {
        let values = self.values[table * self.stride..][from..self.missing.len()].iter();
        let missing = self.missing[from..].iter();
        values
            .zip(missing)
            .map(move |(&value, &missing)| (value, missing >> table & 1 == 1))
    }

    fn count(&self, table: usize, counts: &mut CategoryCounts) {
        let mut coming = self.values(table, 0).skip(PREFETCH);
        for (value, missing) in self.values(table, 0) {
            if let Some((value, _)) = coming.next() {
                counts.prefetch(value);
            }
            if missing {
                counts.add_missing();
            } else {
                counts.add(value);
            }
        }
    }

    fn forget(&self, table: usize, from: usize, counts: &mut CategoryCounts) {
        for (value, missing) in self.values(table, from) {
            let entry = if missing {
                counts.missing()
            } else {
                counts.entry(value)
            };
            // Pass one counted it.
            if let Some(entry) = entry {
                counts.remove(entry);
            }
        }
    }
}

/// Entries are numbered in 32 bits; one group of chunks is far below what is left here.
fn check(table: usize, counts: &CategoryCounts) -> Result<()> {
    if counts.len() > CategoryCounts::MOST {
        return Err(Error::TooManyCategories {
            table: super::field_name(1 + super::DENSE_FEATURES + table),
        });
    }
    Ok(())
}
