//! Pass two: the rows again, now as samples of the packed data set.

use std::ops::Range;

use super::PrepareOptions;
use super::encode::Encoder;
use super::parse::parse_rows;
use super::report::SplitReport;
use super::split::RowDivision;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::packed::{PackedWriter, SourceFile};
use crate::progress::Progress;
use crate::split::Split;
use crate::text::Error as TextError;
use crate::text::{BadRows, Chunk, read_all};

/// Where pass two is.
pub(super) struct WritePass<'a> {
    pub(super) options: &'a PrepareOptions,
    pub(super) encoder: &'a Encoder,
    pub(super) division: &'a RowDivision,
    /// Rows that pass one counted, and the files as it found them.
    pub(super) rows: u64,
    pub(super) sources: &'a [SourceFile],
}

struct Encoded {
    batch: Batch,
    stored_bytes: u64,
}

impl WritePass<'_> {
    /// Reads all files again and writes every row; returns what went into each split.
    ///
    /// # Errors
    /// As in pass one; a file that is not what it was then; the output cannot be written.
    pub(super) fn run(
        &self,
        writer: &mut PackedWriter,
        progress: &dyn Progress,
    ) -> Result<Vec<SplitReport>> {
        let mut splits = Split::ALL.map(|split| SplitReport {
            split,
            rows: 0,
            clicks: 0,
        });
        let mut next_row = 0;
        let consume = |chunks: Vec<Encoded>| {
            for chunk in chunks {
                let rows = next_row..next_row + chunk.batch.len() as u64;
                next_row = rows.end;
                if next_row > self.rows {
                    return Err(self.changed(&self.options.raw[0]));
                }
                progress.advance(chunk.stored_bytes, chunk.batch.len() as u64);
                self.write(writer, rows, chunk.batch, &mut splits)?;
            }
            Ok(())
        };
        let sources = read_all(&self.options.raw, |chunk| self.encode(&chunk), consume)?;
        for ((now, before), path) in sources.iter().zip(self.sources).zip(&self.options.raw) {
            if now != before {
                return Err(self.changed(path));
            }
        }
        Ok(splits.into())
    }

    fn changed(&self, path: &std::path::Path) -> Error {
        Error::Text(TextError::SourceChanged {
            path: path.to_path_buf(),
        })
    }

    fn encode(&self, chunk: &Chunk) -> Result<Encoded> {
        let path = &self.options.raw[chunk.file];
        let lines = chunk.lines as usize;
        let mut batch = Batch::default();
        batch.label.reserve_exact(lines);
        batch.dense.reserve_exact(lines * super::DENSE_FEATURES);
        batch.sparse.ids.reserve_exact(lines * super::TABLES);
        let mut known = true;
        let good = |row: &super::RawRow| known &= self.encoder.encode(*row, &mut batch);
        parse_rows(&chunk.text, good, |_, _| match self.options.bad_rows {
            BadRows::Skip => Ok(()),
            // Pass one found none.
            BadRows::Error => Err(self.changed(path)),
        })?;
        if !known {
            return Err(self.changed(path));
        }
        Ok(Encoded {
            batch,
            stored_bytes: chunk.stored_bytes,
        })
    }

    /// Writes a batch that holds rows `rows` of the text.
    fn write(
        &self,
        writer: &mut PackedWriter,
        rows: Range<u64>,
        batch: Batch,
        splits: &mut [SplitReport],
    ) -> Result<()> {
        let mut part = Batch::default();
        for (split, range) in self.division.cut(rows.clone()) {
            let whole = range == rows;
            if !whole {
                copy_rows(
                    &batch,
                    (range.start - rows.start) as usize..(range.end - rows.start) as usize,
                    &mut part,
                );
            }
            let batch = if whole { &batch } else { &part };
            for report in splits.iter_mut().filter(|report| report.split == split) {
                report.rows += batch.len() as u64;
                report.clicks += batch.label.iter().filter(|&&label| label == 1.0).count() as u64;
            }
            let positions = self
                .division
                .train_positions(range)
                .filter(|_| split == Split::Train);
            match positions {
                Some(positions) => {
                    writer.scatter(split, &positions.collect::<Vec<u64>>(), batch)?
                }
                None => writer.append(split, batch)?,
            }
        }
        Ok(())
    }
}

/// Copies some rows of a single-hot Criteo batch.
fn copy_rows(batch: &Batch, rows: Range<usize>, into: &mut Batch) {
    let part = |width: usize| rows.start * width..rows.end * width;
    into.clear();
    into.label.extend_from_slice(&batch.label[part(1)]);
    into.dense
        .extend_from_slice(&batch.dense[part(super::DENSE_FEATURES)]);
    into.sparse
        .ids
        .extend_from_slice(&batch.sparse.ids[part(super::TABLES)]);
}
