//! Pass one: how many rows there are, and how often each category occurs.

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
}

/// The categories of a chunk, one table after the other, so that each table is counted by a thread of its own.
struct Columns {
    /// Category of row `r` in table `t`, at `t * stride + r`.
    values: Vec<u32>,
    stride: usize,
    /// Which categories of each row are missing.
    missing: Vec<u32>,
    skipped: SkipLog<RowFieldDefect>,
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
    };
    let work = |chunk: Chunk| columns(options, categories, &chunk);
    let consume = |chunks: Vec<Columns>| {
        // Within a table chunk follows chunk: entries come in the order of the text on any number of threads.
        let tables = counted.tables.par_iter_mut().enumerate();
        tables.try_for_each(|(table, counts)| count_table(table, counts, &chunks))?;
        for chunk in chunks {
            let rows = chunk.missing.len() as u64;
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
        stored_bytes: chunk.stored_bytes,
    })
}

fn count_table(table: usize, counts: &mut CategoryCounts, chunks: &[Columns]) -> Result<()> {
    for chunk in chunks {
        let column = &chunk.values[table * chunk.stride..][..chunk.missing.len()];
        let mut coming = column.iter().skip(PREFETCH);
        for (&value, &missing) in column.iter().zip(&chunk.missing) {
            if let Some(&value) = coming.next() {
                counts.prefetch(value);
            }
            if missing >> table & 1 == 1 {
                counts.add_missing();
            } else {
                counts.add(value);
            }
        }
    }
    // Entries are numbered in 32 bits; one group of chunks is far below what is left here.
    if counts.len() > CategoryCounts::MOST {
        return Err(Error::TooManyCategories {
            table: super::field_name(1 + super::DENSE_FEATURES + table),
        });
    }
    Ok(())
}
