//! Arrow arrays to the values of samples.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use arrow_select::take::take;

use super::super::foreign::{Bags, Foreign, Place, Values};
use super::files::TableFiles;
use super::mapping::{CategoricalColumn, CategoryKind};
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::vocabulary::Category;

/// Where the columns of a mapping are: label, dense, categorical.
pub(super) struct Places {
    pub(super) label: usize,
    pub(super) dense: Vec<usize>,
    pub(super) categorical: Vec<usize>,
}

/// The samples of a batch; its first one is number `first` of the file.
pub(super) fn add(
    files: &TableFiles,
    path: &Path,
    first: u64,
    places: &Places,
    batch: &RecordBatch,
) -> Result<Foreign> {
    let mapping = &files.mapping;
    let mut foreign = files.no_samples();
    let place = |row: usize| Place {
        path,
        unit: "sample",
        number: first + row as u64,
    };
    let column = |name: &str, at: usize| plain(path, name, batch.column(at));
    let rows = batch.num_rows();
    let labels = column(&mapping.label, places.label)?;
    let labels = numbers(path, &mapping.label, &labels)?;
    for (row, label) in labels.into_iter().enumerate() {
        let place = place(row);
        let label = label.ok_or_else(|| {
            place.bad(
                &mapping.label,
                "a missing value",
                "is no label: leave the row out",
            )
        })?;
        foreign.label.push(place.label(&mapping.label, label)?);
    }
    let width = mapping.dense.len();
    foreign.dense = vec![0.0; rows * width];
    for (number, (entry, &at)) in mapping.dense.iter().zip(&places.dense).enumerate() {
        let values = numbers(path, &entry.column, &column(&entry.column, at)?)?;
        for (row, value) in values.into_iter().enumerate() {
            if let Some(value) = value {
                let value = entry.transform.apply(place(row), &entry.column, value)?;
                foreign.dense[row * width + number] = value;
            }
        }
    }
    for (number, (entry, &at)) in mapping
        .categorical
        .iter()
        .zip(&places.categorical)
        .enumerate()
    {
        let array = column(&entry.column, at)?;
        let mut bags = std::mem::replace(
            &mut foreign.tables[number],
            Bags::new(Values::Numbers(Vec::new())),
        );
        let mut target = Target {
            files,
            table: number,
            entry,
            bags: &mut bags,
        };
        if entry.list {
            let (values, ends) = lists(path, entry, &array)?;
            let mut row = 0;
            let row_of = |index: usize| {
                while ends[row] <= index {
                    row += 1;
                }
                place(row)
            };
            target.push_all(path, &values, row_of)?;
            bags.ends = ends;
        } else {
            target.push_all(path, &array, place)?;
            if files.columns.multi_hot {
                bags.ends = (1..=rows).collect();
            }
        }
        foreign.tables[number] = bags;
    }
    Ok(foreign)
}

/// The values that a dictionary's keys stand for; other arrays as they are.
fn plain(path: &Path, column: &str, array: &ArrayRef) -> Result<ArrayRef> {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => take(dictionary.values(), dictionary.keys(), None)
            .map_err(|error| wrong(path, column, &error.to_string())),
        None => Ok(array.clone()),
    }
}

fn wrong(path: &Path, column: &str, problem: &str) -> Error {
    Error::Exchange(ExchangeError::BadForeignFile {
        path: path.to_path_buf(),
        problem: format!("has a column {column} that cannot be read: {problem}"),
    })
}

/// An array of numbers or truth values.
fn numbers(path: &Path, column: &str, array: &ArrayRef) -> Result<Vec<Option<f64>>> {
    macro_rules! as_numbers {
        ($type:ty) => {
            array
                .as_primitive::<$type>()
                .iter()
                .map(|value| value.map(|value| value as f64))
                .collect()
        };
    }
    Ok(match array.data_type() {
        DataType::Boolean => array
            .as_boolean()
            .iter()
            .map(|value| value.map(|value| f64::from(u8::from(value))))
            .collect(),
        DataType::Int8 => as_numbers!(Int8Type),
        DataType::Int16 => as_numbers!(Int16Type),
        DataType::Int32 => as_numbers!(Int32Type),
        DataType::Int64 => as_numbers!(Int64Type),
        DataType::UInt8 => as_numbers!(UInt8Type),
        DataType::UInt16 => as_numbers!(UInt16Type),
        DataType::UInt32 => as_numbers!(UInt32Type),
        DataType::UInt64 => as_numbers!(UInt64Type),
        DataType::Float32 => as_numbers!(Float32Type),
        DataType::Float64 => as_numbers!(Float64Type),
        DataType::Null => vec![None; array.len()],
        other => {
            return Err(wrong(
                path,
                column,
                &format!("{other} are no numbers; cast it when it is written"),
            ));
        }
    })
}

/// All values of a column of lists, and where each list ends.
fn lists(
    path: &Path,
    entry: &CategoricalColumn,
    array: &ArrayRef,
) -> Result<(ArrayRef, Vec<usize>)> {
    let (values, bounds): (ArrayRef, Vec<(usize, usize)>) = match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let bounds = list.value_offsets().windows(2);
            let bounds = bounds.map(|pair| (pair[0] as usize, pair[1] as usize));
            (list.values().clone(), bounds.collect())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let bounds = list.value_offsets().windows(2);
            let bounds = bounds.map(|pair| (pair[0] as usize, pair[1] as usize));
            (list.values().clone(), bounds.collect())
        }
        DataType::FixedSizeList(_, size) => {
            let size = (*size).max(0) as usize;
            let bounds = (0..array.len()).map(|row| (row * size, (row + 1) * size));
            (
                array.as_fixed_size_list().values().clone(),
                bounds.collect(),
            )
        }
        other => {
            let problem = format!("{other} is no list; map it without list = true");
            return Err(wrong(path, &entry.column, &problem));
        }
    };
    // A list that is missing may still have values behind it.
    let kept = bounds
        .iter()
        .enumerate()
        .filter(|(row, _)| array.is_valid(*row));
    let indices: Vec<u64> = kept
        .flat_map(|(_, &(start, end))| start as u64..end as u64)
        .collect();
    let mut end = 0;
    let ends = bounds.iter().enumerate().map(|(row, &(start, stop))| {
        end += if array.is_valid(row) { stop - start } else { 0 };
        end
    });
    let ends = ends.collect();
    let values = take(&values, &arrow_array::UInt64Array::from(indices), None)
        .map_err(|error| wrong(path, &entry.column, &error.to_string()))?;
    Ok((plain(path, &entry.column, &values)?, ends))
}

/// Where the values of a categorical column go.
struct Target<'a> {
    files: &'a TableFiles,
    table: usize,
    entry: &'a CategoricalColumn,
    bags: &'a mut Bags,
}

impl Target<'_> {
    /// Adds all values of an array; `place` says where the value of an index stands.
    fn push_all<'p>(
        &mut self,
        path: &Path,
        array: &ArrayRef,
        mut place: impl FnMut(usize) -> Place<'p>,
    ) -> Result<()> {
        macro_rules! integers {
            ($type:ty) => {
                for (index, value) in array.as_primitive::<$type>().iter().enumerate() {
                    let place = place(index);
                    let category = value
                        .map(|value| self.integer(place, value as i128))
                        .transpose()?;
                    let text;
                    let category = match category {
                        Some(number) if self.entry.kind == CategoryKind::Text => {
                            text = number.to_string();
                            Category::Text(&text)
                        }
                        Some(number) => Category::Number(number as u64),
                        None => Category::Missing,
                    };
                    self.push(place, category)?;
                }
            };
        }
        macro_rules! texts {
            ($texts:expr) => {
                for (index, value) in $texts.iter().enumerate() {
                    let place = place(index);
                    let parse = |text| self.entry.kind.parse(place, &self.entry.column, text);
                    let category = value.map(parse).transpose()?;
                    self.push(place, category.unwrap_or(Category::Missing))?;
                }
            };
        }
        match array.data_type() {
            DataType::Int8 => integers!(Int8Type),
            DataType::Int16 => integers!(Int16Type),
            DataType::Int32 => integers!(Int32Type),
            DataType::Int64 => integers!(Int64Type),
            DataType::UInt8 => integers!(UInt8Type),
            DataType::UInt16 => integers!(UInt16Type),
            DataType::UInt32 => integers!(UInt32Type),
            DataType::UInt64 => integers!(UInt64Type),
            DataType::Utf8 => texts!(array.as_string::<i32>()),
            DataType::LargeUtf8 => texts!(array.as_string::<i64>()),
            DataType::Utf8View => texts!(array.as_string_view()),
            DataType::Null => {
                for index in 0..array.len() {
                    self.push(place(index), Category::Missing)?;
                }
            }
            other => {
                let problem = format!(
                    "{other} are no categories (integers or texts); cast it when it is written"
                );
                return Err(wrong(path, &self.entry.column, &problem));
            }
        }
        Ok(())
    }

    /// An integer that fits the kind of the column.
    fn integer(&self, place: Place<'_>, value: i128) -> Result<i128> {
        if value >= 0 || self.entry.kind == CategoryKind::Text {
            return Ok(value);
        }
        Err(place.bad(
            &self.entry.column,
            value,
            "is below 0: map the column with type = \"text\"",
        ))
    }

    fn push(&mut self, place: Place<'_>, category: Category<'_>) -> Result<()> {
        self.files.push(place, self.table, category, self.bags)
    }
}
