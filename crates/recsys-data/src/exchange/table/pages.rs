//! The pages of Parquet files, of which every length is checked before the library allocates for
//! it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::thrift::{Compact, STRUCT};

/// What a page may take where it is unpacked, whatever its size in the file.
const MOST_UNPACKED: u64 = 32 << 20;
/// What it may take for each of its bytes beyond that.
const MOST_RATIO: u64 = 1 << 12;
/// Values of one width are no wider.
const MOST_WIDTH: i32 = 1 << 12;
/// Values of lists in one page.
const MOST_VALUES: i64 = 1 << 24;

fn damaged(problem: impl Into<String>) -> ParquetError {
    ParquetError::General(problem.into())
}

/// A file whose pages are checked.
pub(super) struct CheckedFile {
    reader: SerializedFileReader<File>,
    file: File,
}

impl CheckedFile {
    pub(super) fn open(file: File) -> Result<Self> {
        let mut tail = [0; 4];
        (&file).seek(SeekFrom::End(-4))?;
        (&file).read_exact(&mut tail)?;
        if &tail == b"PARE" {
            return Err(damaged("it is encrypted: write it without encryption"));
        }
        Ok(Self {
            reader: SerializedFileReader::new(file.try_clone()?)?,
            file,
        })
    }

    /// Looks whether row groups and column chunks are where the footer says; returns the rows.
    pub(super) fn check(&self, columns: impl Iterator<Item = usize> + Clone) -> Result<u64> {
        let size = self.file.metadata()?.len();
        let metadata = self.reader.metadata();
        let schema = metadata.file_metadata().schema_descr();
        for column in columns.clone() {
            let width = schema.column(column).type_length();
            if width > MOST_WIDTH {
                return Err(damaged(format!("a column has values of {width} bytes")));
            }
        }
        let mut rows: u64 = 0;
        for group in metadata.row_groups() {
            let count = u64::try_from(group.num_rows()).ok();
            let sum = count.and_then(|count| rows.checked_add(count));
            rows = sum.ok_or_else(|| damaged("a row group has an impossible number of rows"))?;
            for column in columns.clone() {
                let chunk = group.columns().get(column);
                let (start, end) = chunk
                    .and_then(place)
                    .ok_or_else(|| damaged("a column is missing"))?;
                if end > size {
                    return Err(damaged(format!(
                        "a column lies at {start}..{end}, and the file has {size} bytes"
                    )));
                }
            }
        }
        Ok(rows)
    }
}

/// Where a column chunk starts and ends.
fn place(chunk: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let start = chunk
        .dictionary_page_offset()
        .unwrap_or(chunk.data_page_offset());
    let start = u64::try_from(start).ok()?;
    let length = u64::try_from(chunk.compressed_size()).ok()?;
    Some((start, start.checked_add(length)?))
}

impl FileReader for CheckedFile {
    fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    fn num_row_groups(&self) -> usize {
        self.reader.num_row_groups()
    }

    fn get_row_group(&self, group: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        Ok(Box::new(CheckedGroup {
            reader: self.reader.get_row_group(group)?,
            file: &self.file,
        }))
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        self.reader.get_row_iter(projection)
    }
}

struct CheckedGroup<'a> {
    reader: Box<dyn RowGroupReader + 'a>,
    file: &'a File,
}

impl RowGroupReader for CheckedGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.reader.metadata()
    }

    fn num_columns(&self) -> usize {
        self.reader.num_columns()
    }

    fn get_column_page_reader(&self, column: usize) -> Result<Box<dyn PageReader>> {
        let chunk = self.metadata().column(column);
        let column_type = chunk.column_descr();
        check_headers(self.file, chunk)?;
        Ok(Box::new(CheckedPages {
            has_repetitions: column_type.max_rep_level() > 0,
            has_definitions: column_type.max_def_level() > 0,
            pages: self.reader.get_column_page_reader(column)?,
        }))
    }

    fn get_column_bloom_filter(&self, column: usize) -> Option<&Sbbf> {
        self.reader.get_column_bloom_filter(column)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        self.reader.get_row_iter(projection)
    }
}

/// What the header of a page says about its size.
#[derive(Default)]
struct PageSizes {
    unpacked: i64,
    packed: i64,
    /// Values, nulls among them.
    values: i64,
    is_dictionary: bool,
}

impl PageSizes {
    fn read(from: impl Read) -> io::Result<Self> {
        let mut header = Compact(from);
        let mut sizes = Self::default();
        let mut last = 0;
        // Numbers of fields: https://github.com/apache/parquet-format, `PageHeader`.
        while let Some((number, kind)) = header.field(last)? {
            match (number, kind) {
                (2, _) => sizes.unpacked = header.integer()?,
                (3, _) => sizes.packed = header.integer()?,
                (5 | 7 | 8, STRUCT) => {
                    sizes.is_dictionary |= number == 7;
                    let mut last = 0;
                    while let Some((number, kind)) = header.field(last)? {
                        match number {
                            1 => sizes.values = header.integer()?,
                            _ => header.skip(kind)?,
                        }
                        last = number;
                    }
                }
                _ => header.skip(kind)?,
            }
            last = number;
        }
        Ok(sizes)
    }
}

/// Looks at the headers of all pages of a column chunk.
fn check_headers(file: &File, chunk: &ColumnChunkMetaData) -> Result<()> {
    let (mut at, end) = place(chunk).ok_or_else(|| damaged("a column is missing"))?;
    let has_lists = chunk.column_descr().max_rep_level() > 0;
    let mut file = BufReader::new(file);
    file.seek(SeekFrom::Start(at))?;
    while at < end {
        let mut header = (&mut file).take(end - at);
        let sizes = PageSizes::read(&mut header)?;
        at = end - header.limit();
        let packed = u64::try_from(sizes.packed)
            .ok()
            .filter(|&packed| packed <= end - at);
        let unpacked = u64::try_from(sizes.unpacked).ok();
        let (Some(packed), Some(unpacked)) = (packed, unpacked) else {
            return Err(damaged("a page reaches beyond its column"));
        };
        if unpacked > MOST_UNPACKED.max(packed.saturating_mul(MOST_RATIO)) {
            let problem = format!("a page of {packed} bytes unpacks to {unpacked}");
            return Err(damaged(problem));
        }
        let most = match (sizes.is_dictionary, has_lists) {
            // A category takes a byte or more.
            (true, _) => sizes.unpacked,
            (false, true) => MOST_VALUES,
            (false, false) => i64::from(i32::MAX),
        };
        if !(0..=most).contains(&sizes.values) {
            return Err(damaged(format!("a page holds {} values", sizes.values)));
        }
        file.seek_relative(packed as i64)?;
        at += packed;
    }
    Ok(())
}

/// Pages whose values are looked at, too, where a length stands among them.
struct CheckedPages {
    pages: Box<dyn PageReader>,
    has_repetitions: bool,
    has_definitions: bool,
}

impl CheckedPages {
    fn check(&self, page: &Page) -> Result<()> {
        let encodings = match page.encoding() {
            Encoding::DELTA_BINARY_PACKED | Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
            Encoding::DELTA_BYTE_ARRAY => 2,
            _ => return Ok(()),
        };
        let mut values = page.buffer().as_ref();
        match page {
            Page::DataPage { .. } => {
                for _ in 0..u8::from(self.has_repetitions) + u8::from(self.has_definitions) {
                    let (length, rest) = values.split_first_chunk().ok_or_else(no_levels)?;
                    let length = u32::from_le_bytes(*length) as usize;
                    values = rest.get(length..).ok_or_else(no_levels)?;
                }
            }
            Page::DataPageV2 {
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                values = values.get(levels..).ok_or_else(no_levels)?;
            }
            Page::DictionaryPage { .. } => {}
        }
        for _ in 0..encodings {
            skip_deltas(&mut values, u64::from(page.num_values()))
                .map_err(|_| damaged("the differences in a page are damaged"))?;
        }
        Ok(())
    }
}

fn no_levels() -> ParquetError {
    damaged("the levels of a page are cut off")
}

/// Passes over values in the encoding DELTA_BINARY_PACKED, at most `most` of them.
fn skip_deltas(values: &mut &[u8], most: u64) -> io::Result<()> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let mut header = Compact(&mut *values);
    let (block, parts, count) = (header.unsigned()?, header.unsigned()?, header.unsigned()?);
    header.integer()?;
    let per_part = block.checked_div(parts).ok_or_else(damaged)?;
    if count > most || per_part == 0 || parts > 1 << 16 || block > 1 << 24 {
        return Err(damaged());
    }
    let mut left = count.saturating_sub(1);
    while left > 0 {
        Compact(&mut *values).integer()?;
        let (widths, rest) = values
            .split_at_checked(parts as usize)
            .ok_or_else(damaged)?;
        *values = rest;
        for &width in widths {
            if left == 0 {
                break;
            }
            let bytes = u64::from(width) * per_part / 8;
            *values = values.get(bytes as usize..).ok_or_else(damaged)?;
            left = left.saturating_sub(per_part);
        }
    }
    Ok(())
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.as_ref().map_or(Ok(()), |page| self.check(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}
