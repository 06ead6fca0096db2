//! The rows of a day as columns on disk, block by block.
//!
//! A block holds, for each table, the categories of its rows (u32) and one bit a row for missing ones; then dense values (f32, 13 a
//! row) and labels (one byte a row). All blocks of a file but the last have the same number of rows. Little-endian.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::super::RawRow;
use super::super::encode::Logarithms;
use crate::criteo::error::Error as CriteoError;
use crate::criteo::{DENSE_FEATURES, TABLES};
use crate::error::{Error, Result};

/// Bytes of the columns of a row, without the bits of missing values.
pub(super) const COLUMN_ROW_BYTES: u64 = (TABLES * 4 + DENSE_FEATURES * 4 + 1) as u64;

/// Where everything lies in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockLayout {
    pub(super) rows: usize,
}

impl BlockLayout {
    pub(super) fn new(rows: usize) -> Self {
        Self { rows }
    }

    fn missing_bytes(self) -> usize {
        self.rows.div_ceil(64) * 8
    }

    fn column_bytes(self) -> usize {
        self.rows * 4 + self.missing_bytes()
    }

    /// Categories and missing bits of a table.
    pub(super) fn column(self, table: usize) -> Range<usize> {
        table * self.column_bytes()..(table + 1) * self.column_bytes()
    }

    pub(super) fn dense(self) -> Range<usize> {
        let start = TABLES * self.column_bytes();
        start..start + self.rows * DENSE_FEATURES * 4
    }

    pub(super) fn labels(self) -> Range<usize> {
        let start = self.dense().end;
        start..start + self.rows
    }

    pub(super) fn bytes(self) -> usize {
        self.labels().end
    }
}

/// Rows of one word of missing bits, which are handled together.
pub(super) const GROUP: usize = 64;

/// The categories of a table in some rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    values: &'a [[u8; 4]],
    missing: &'a [[u8; 8]],
}

impl<'a> Column<'a> {
    /// The bytes of [`BlockLayout::column`].
    pub(super) fn new(layout: BlockLayout, bytes: &'a [u8]) -> Self {
        let (values, missing) = bytes.split_at(layout.rows * 4);
        Self {
            values: values.as_chunks().0,
            missing: missing.as_chunks().0,
        }
    }

    /// The keys of rows `64 * group` and on, up to 64 of them: the category, or `missing` where it is missing.
    #[inline]
    pub(super) fn keys(self, group: usize, missing: u64, keys: &mut [u64; GROUP]) -> usize {
        let start = group * GROUP;
        let values = &self.values[start..self.values.len().min(start + GROUP)];
        let bits = u64::from_le_bytes(self.missing[group]);
        for (key, value) in keys.iter_mut().zip(values) {
            *key = u64::from(u32::from_le_bytes(*value));
        }
        let mut left = bits;
        while left != 0 {
            keys[left.trailing_zeros() as usize] = missing;
            left &= left - 1;
        }
        values.len()
    }

    /// Number of calls of [`Column::keys`] that cover all rows.
    pub(super) fn groups(self) -> usize {
        self.values.len().div_ceil(GROUP)
    }
}

/// Collects rows and writes them block by block.
pub(super) struct ColumnWriter<'a> {
    path: &'a Path,
    file: File,
    logarithms: &'a Logarithms,
    layout: BlockLayout,
    block: Vec<u8>,
    rows: usize,
}

impl<'a> ColumnWriter<'a> {
    /// # Errors
    /// The file cannot be created.
    pub(super) fn create(
        path: &'a Path,
        logarithms: &'a Logarithms,
        block_rows: usize,
        mut memory: Vec<u8>,
    ) -> Result<Self> {
        let layout = BlockLayout::new(block_rows);
        memory.clear();
        memory.resize(layout.bytes(), 0);
        Ok(Self {
            path,
            file: File::create(path).map_err(Error::io("cannot create", path))?,
            logarithms,
            layout,
            block: memory,
            rows: 0,
        })
    }

    /// Adds a row whose categories are those to be counted.
    ///
    /// # Errors
    /// A full disk.
    #[inline]
    pub(super) fn push(&mut self, row: &RawRow) -> Result<()> {
        let (layout, at) = (self.layout, self.rows);
        for (table, value) in row.categories.iter().enumerate() {
            put(
                &mut self.block,
                layout.column(table).start + at * 4,
                value.to_le_bytes(),
            );
        }
        let mut missing = row.missing;
        while missing != 0 {
            let bits = layout.column(missing.trailing_zeros() as usize).start + layout.rows * 4;
            self.block[bits + at / 8] |= 1 << (at % 8);
            missing &= missing - 1;
        }
        let dense = layout.dense().start + at * DENSE_FEATURES * 4;
        for (column, &value) in row.dense.iter().enumerate() {
            let value = self.logarithms.of(value);
            put(&mut self.block, dense + column * 4, value.to_le_bytes());
        }
        self.block[layout.labels().start + at] = row.label;
        self.rows += 1;
        if self.rows == layout.rows {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let bytes = BlockLayout::new(self.rows).bytes();
        self.compact();
        self.file
            .write_all(&self.block[..bytes])
            .map_err(Error::io("cannot write", self.path))?;
        // The bits of missing values are set one by one.
        self.block.fill(0);
        self.rows = 0;
        Ok(())
    }

    /// Moves what a block that is not full holds to where it lies in a smaller one.
    fn compact(&mut self) {
        let (full, small) = (self.layout, BlockLayout::new(self.rows));
        if full == small {
            return;
        }
        for table in 0..TABLES {
            let (from, to) = (full.column(table).start, small.column(table).start);
            self.block.copy_within(from..from + small.rows * 4, to);
            let bits = from + full.rows * 4;
            let bits = bits..bits + small.missing_bytes();
            self.block.copy_within(bits, to + small.rows * 4);
        }
        let dense = full.dense().start;
        let dense = dense..dense + small.dense().len();
        self.block.copy_within(dense, small.dense().start);
        let labels = full.labels().start;
        let labels = labels..labels + small.rows;
        self.block.copy_within(labels, small.labels().start);
    }

    /// Makes the file durable and returns the memory of the block.
    ///
    /// # Errors
    /// A full disk.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.file
            .sync_all()
            .map_err(Error::io("cannot write", self.path))?;
        Ok(self.block)
    }
}

#[inline(always)]
fn put(block: &mut [u8], at: usize, value: [u8; 4]) {
    block[at..at + 4].copy_from_slice(&value);
}

/// The file of a day.
#[derive(Debug, Clone)]
pub(super) struct ColumnFile {
    pub(super) path: PathBuf,
    pub(super) rows: u64,
    pub(super) block_rows: usize,
}

impl ColumnFile {
    pub(super) fn blocks(&self) -> usize {
        self.rows.div_ceil(self.block_rows as u64) as usize
    }

    /// Rows of the day in a block.
    pub(super) fn rows_of(&self, block: usize) -> Range<u64> {
        let start = block as u64 * self.block_rows as u64;
        start..self.rows.min(start + self.block_rows as u64)
    }

    pub(super) fn layout(&self, block: usize) -> BlockLayout {
        let rows = self.rows_of(block);
        BlockLayout::new((rows.end - rows.start) as usize)
    }

    /// Size of the file.
    pub(super) fn bytes(&self) -> u64 {
        let full = BlockLayout::new(self.block_rows).bytes() as u64;
        let last = (self.rows % self.block_rows as u64) as usize;
        self.rows / self.block_rows as u64 * full + BlockLayout::new(last).bytes() as u64
    }

    /// # Errors
    /// The file is missing, or has another size than its rows take.
    pub(super) fn open(&self) -> Result<OpenColumns<'_>> {
        let file = File::open(&self.path).map_err(Error::io("cannot open", &self.path))?;
        let found = file
            .metadata()
            .map_err(Error::io("cannot read", &self.path))?;
        if found.len() != self.bytes() {
            return Err(Error::Criteo(CriteoError::WorkFile {
                path: self.path.clone(),
                problem: "was truncated or replaced",
            }));
        }
        Ok(OpenColumns { of: self, file })
    }
}

/// The file of a day, open for reading.
pub(super) struct OpenColumns<'a> {
    of: &'a ColumnFile,
    file: File,
}

impl OpenColumns<'_> {
    /// Replaces `into` by a part of a block, such as [`BlockLayout::column`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(&self, block: usize, part: Range<usize>, into: &mut Vec<u8>) -> Result<()> {
        let start = block as u64 * BlockLayout::new(self.of.block_rows).bytes() as u64;
        into.resize(part.len(), 0);
        super::positional::read_exact_at(&self.file, into, start + part.start as u64)
            .map_err(Error::io("cannot read", &self.of.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u32) -> RawRow {
        let mut row = RawRow {
            label: (number.is_multiple_of(3)).into(),
            missing: number.wrapping_mul(0x9e37_79b9) >> 6,
            ..RawRow::default()
        };
        row.categories = std::array::from_fn(|table| number * 100 + table as u32);
        row.dense = std::array::from_fn(|column| number as i32 - column as i32);
        row
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let logarithms = Logarithms::new();
        for rows in [1u32, 99, 100, 101, 250] {
            let path = folder.path().join("columns");
            let mut writer = ColumnWriter::create(&path, &logarithms, 100, Vec::new()).unwrap();
            (0..rows).for_each(|number| writer.push(&row(number)).unwrap());
            writer.finish().unwrap();
            let file = ColumnFile {
                path,
                rows: rows.into(),
                block_rows: 100,
            };
            let open = file.open().unwrap();
            let mut bytes = Vec::new();
            for number in 0..rows {
                let (block, at) = (number as usize / 100, number as usize % 100);
                let (layout, row) = (file.layout(block), row(number));
                open.read(block, 0..layout.bytes(), &mut bytes).unwrap();
                assert_eq!(bytes[layout.labels()][at], row.label);
                let dense = &bytes[layout.dense()][at * 52 + 4..][..4];
                assert_eq!(dense, logarithms.of(row.dense[1]).to_le_bytes());
                for table in 0..TABLES {
                    let column = Column::new(layout, &bytes[layout.column(table)]);
                    let mut keys = [0; GROUP];
                    column.keys(at / 64, u64::MAX, &mut keys);
                    let expected = match row.missing >> table & 1 {
                        1 => u64::MAX,
                        _ => row.categories[table].into(),
                    };
                    assert_eq!(keys[at % 64], expected, "row {number} table {table}");
                }
            }
        }
    }
}
