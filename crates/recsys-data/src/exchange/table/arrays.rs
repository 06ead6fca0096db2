//! Arrow arrays to the values of rows.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, OffsetSizeTrait, RecordBatch};
use arrow_schema::DataType;
use arrow_select::take::take;

use super::super::foreign::Row;
use super::cell::{Cell, EXACT};
use super::files::TableFiles;
use super::quiet::without_panic;
use super::rows::RowCells;
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;

/// More values of lists than this in a few thousand rows are damage.
const MOST_VALUES: usize = 1 << 24;

/// The rows of a batch, of which one is looked at.
pub(super) struct Rows<'a> {
    columns: Vec<Column<'a>>,
    pub(super) row: usize,
}

/// The values of a column, and which are those of every row where it holds lists.
struct Column<'a> {
    cells: Vec<Cell<'a>>,
    lists: Option<Vec<Range<usize>>>,
}

/// The arrays behind a column: its values, and which of them every row has where it holds lists.
pub(super) struct Values {
    array: ArrayRef,
    lists: Option<Vec<Range<usize>>>,
}

impl<'a> Rows<'a> {
    /// The arrays of the mapping's columns.
    ///
    /// # Errors
    /// A list where there should be none, or none where there should be one.
    pub(super) fn arrays(
        path: &Path,
        files: &TableFiles,
        places: &[usize],
        batch: &RecordBatch,
    ) -> Result<Vec<Values>> {
        let first = places.len() - files.mapping.categorical.len();
        let mut columns = Vec::with_capacity(places.len());
        for (number, (&place, name)) in places.iter().zip(files.mapping.columns()).enumerate() {
            let list = number
                .checked_sub(first)
                .is_some_and(|table| files.mapping.categorical[table].list);
            let array = batch.column(place);
            let values = || {
                if list {
                    return lists(array);
                }
                let array = plain(array)?;
                Ok(Values { array, lists: None })
            };
            let values = without_panic(values).and_then(|values| values);
            columns.push(values.map_err(|problem| wrong(path, name, &problem))?);
        }
        Ok(columns)
    }

    /// The values of arrays.
    ///
    /// # Errors
    /// An array of a type that is neither numbers nor texts.
    pub(super) fn new(path: &Path, files: &TableFiles, arrays: &'a [Values]) -> Result<Self> {
        let mut columns = Vec::with_capacity(arrays.len());
        for (values, name) in arrays.iter().zip(files.mapping.columns()) {
            let cells = without_panic(|| cells(&values.array)).and_then(|cells| cells);
            columns.push(Column {
                cells: cells.map_err(|problem| wrong(path, name, &problem))?,
                lists: values.lists.clone(),
            });
        }
        Ok(Self { columns, row: 0 })
    }
}

impl RowCells for Rows<'_> {
    fn cell(&self, column: usize) -> Row<Cell<'_>> {
        Ok(self.columns[column].cells[self.row].borrowed())
    }

    fn for_each(
        &self,
        column: usize,
        _: &str,
        show: &mut dyn FnMut(Cell<'_>) -> Row<()>,
    ) -> Row<()> {
        let Column { cells, lists } = &self.columns[column];
        let values = lists.as_ref().map_or(0..0, |lists| lists[self.row].clone());
        cells[values]
            .iter()
            .try_for_each(|cell| show(cell.borrowed()))
    }
}

fn wrong(path: &Path, column: &str, problem: &str) -> Error {
    Error::Exchange(ExchangeError::BadForeignFile {
        path: path.to_path_buf(),
        problem: format!("has a column {column} that cannot be read: {problem}"),
    })
}

/// The values that a dictionary's keys stand for; other arrays as they are.
fn plain(array: &ArrayRef) -> std::result::Result<ArrayRef, String> {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => {
            take(dictionary.values(), dictionary.keys(), None).map_err(|error| error.to_string())
        }
        None => Ok(array.clone()),
    }
}

/// All values of a column of lists, and which of them every row has.
fn bounds_of<O: OffsetSizeTrait>(array: &ArrayRef) -> (&ArrayRef, Vec<Range<usize>>) {
    let list = array.as_list::<O>();
    let between = |pair: &[O]| pair[0].as_usize()..pair[1].as_usize();
    let bounds = list.value_offsets().windows(2).map(between);
    (list.values(), bounds.collect())
}

/// The values of a column of lists, and which of them every row has.
fn lists(array: &ArrayRef) -> std::result::Result<Values, String> {
    let (values, bounds): (&ArrayRef, Vec<Range<usize>>) = match array.data_type() {
        DataType::List(_) => bounds_of::<i32>(array),
        DataType::LargeList(_) => bounds_of::<i64>(array),
        DataType::FixedSizeList(_, size) => {
            let size = (*size).max(0) as usize;
            let bounds = (0..array.len()).map(|row| row * size..(row + 1) * size);
            (array.as_fixed_size_list().values(), bounds.collect())
        }
        other => return Err(format!("{other} is no list; map it without list = true")),
    };
    let first = bounds.first().map_or(0, |bounds| bounds.start);
    let count = bounds.last().map_or(0, |bounds| bounds.end - first);
    if count > MOST_VALUES {
        return Err(format!(
            "its lists hold {count} values in {} rows",
            array.len()
        ));
    }
    // A list that is missing may still have values behind it.
    let of_row = |(row, bounds): (usize, Range<usize>)| match array.is_valid(row) {
        true => bounds.start - first..bounds.end - first,
        false => 0..0,
    };
    Ok(Values {
        array: plain(&values.slice(first, count))?,
        lists: Some(bounds.into_iter().enumerate().map(of_row).collect()),
    })
}

/// All values of an array.
fn cells(array: &ArrayRef) -> std::result::Result<Vec<Cell<'_>>, String> {
    macro_rules! cells {
        ($values:expr, $cell:expr) => {
            $values
                .iter()
                .map(|value| value.map_or(Cell::Missing, $cell))
                .collect()
        };
    }
    macro_rules! unsigned {
        ($type:ty) => {
            cells!(array.as_primitive::<$type>(), |value| Cell::Unsigned(
                value.into()
            ))
        };
    }
    macro_rules! signed {
        ($type:ty) => {
            cells!(array.as_primitive::<$type>(), |value| Cell::signed(
                value.into()
            ))
        };
    }
    macro_rules! real {
        ($type:ty, $exact:expr) => {
            cells!(array.as_primitive::<$type>(), |value| Cell::Real {
                value: value.into(),
                exact: $exact,
            })
        };
    }
    macro_rules! decimals {
        ($type:ty) => {{
            let decimals = array.as_primitive::<$type>();
            let cell = |row| match decimals.is_valid(row) {
                true => decimal(&decimals.value_as_string(row)),
                false => Some(Cell::Missing),
            };
            let cells: Option<Vec<Cell<'_>>> = (0..decimals.len()).map(cell).collect();
            cells.ok_or("a decimal is damaged")?
        }};
    }
    let text = |text| Cell::Text(Cow::Borrowed(text));
    Ok(match array.data_type() {
        DataType::Boolean => cells!(array.as_boolean(), Cell::Truth),
        DataType::Int8 => signed!(Int8Type),
        DataType::Int16 => signed!(Int16Type),
        DataType::Int32 => signed!(Int32Type),
        DataType::Int64 => signed!(Int64Type),
        DataType::UInt8 => unsigned!(UInt8Type),
        DataType::UInt16 => unsigned!(UInt16Type),
        DataType::UInt32 => unsigned!(UInt32Type),
        DataType::UInt64 => unsigned!(UInt64Type),
        DataType::Float16 => real!(Float16Type, 2048.0),
        DataType::Float32 => real!(Float32Type, 16_777_216.0),
        DataType::Float64 => real!(Float64Type, EXACT),
        DataType::Decimal32(..) => decimals!(Decimal32Type),
        DataType::Decimal64(..) => decimals!(Decimal64Type),
        DataType::Decimal128(..) => decimals!(Decimal128Type),
        DataType::Decimal256(..) => decimals!(Decimal256Type),
        DataType::Utf8 => cells!(array.as_string::<i32>(), text),
        DataType::LargeUtf8 => cells!(array.as_string::<i64>(), text),
        DataType::Utf8View => cells!(array.as_string_view(), text),
        DataType::Binary => cells!(array.as_binary::<i32>(), bytes),
        DataType::LargeBinary => cells!(array.as_binary::<i64>(), bytes),
        DataType::BinaryView => cells!(array.as_binary_view(), bytes),
        // Hashes and identifiers of one width, which are read by people in hexadecimal.
        DataType::FixedSizeBinary(_) => cells!(array.as_fixed_size_binary(), |bytes: &[u8]| {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            Cell::Text(Cow::Owned(digits.collect()))
        }),
        DataType::Null if array.len() > MOST_VALUES => {
            return Err("it holds too many missing values".to_owned());
        }
        DataType::Null => vec![Cell::Missing; array.len()],
        other => {
            return Err(format!(
                "{other} is neither numbers nor texts; cast it when it is written"
            ));
        }
    })
}

/// Bytes as a text, different ones as different texts: UTF-8 as it is, others escaped as in Rust
/// and Python. A backslash is escaped too, so that no text looks like escaped bytes.
fn bytes(bytes: &[u8]) -> Cell<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\\') => Cell::Text(Cow::Borrowed(text)),
        _ => Cell::Text(Cow::Owned(bytes.escape_ascii().to_string())),
    }
}

/// A decimal number, written out.
fn decimal(text: &str) -> Option<Cell<'static>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().all(|byte| byte == b'0') {
        if let Ok(number) = whole.parse() {
            return Some(Cell::Unsigned(number));
        }
        if let Ok(number) = whole.parse() {
            return Some(Cell::signed(number));
        }
    }
    let value = text.parse().ok()?;
    Some(Cell::Real {
        value,
        exact: EXACT,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_bytes_are_different_texts() {
        let shown = |value: &'static [u8]| match bytes(value) {
            Cell::Text(text) => text.into_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(shown("Grüße".as_bytes()), "Grüße");
        assert_eq!(shown(b"\xff"), "\\xff");
        assert_eq!(shown(b"\\xff"), "\\\\xff");
    }

    #[test]
    fn decimals_are_integers_where_they_are_whole() {
        let real = |value| Cell::Real {
            value,
            exact: EXACT,
        };
        for (text, expected) in [
            ("12.00", Cell::Unsigned(12)),
            ("18446744073709551615", Cell::Unsigned(u64::MAX)),
            ("-3.0", Cell::Negative(-3)),
            ("0.25", real(0.25)),
            ("-0.5", real(-0.5)),
        ] {
            assert_eq!(decimal(text), Some(expected), "{text}");
        }
    }
}
