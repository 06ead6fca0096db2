//! Rows of a table to samples, the same way for every format.

use super::super::foreign::{BadRow, Bags, Foreign, Place, Row, Values};
use super::cell::{Cell, Key, MissingTexts};
use super::files::TableFiles;
use super::mapping::{CategoryKind, DenseColumn, LabelColumn, Transform};
use crate::error::Result;
use crate::text::BadRows;
use crate::vocabulary::{Category, Texts};

/// The values of a row, by the number of their column among those of the mapping: the label, the
/// dense columns, the categorical ones.
pub(super) trait RowCells {
    /// The value of a column.
    fn cell(&self, column: usize) -> Row<Cell<'_>>;

    /// Shows all values of a column that is a list, whose parts stand between `separator` in text.
    fn for_each(
        &self,
        column: usize,
        separator: &str,
        show: &mut dyn FnMut(Cell<'_>) -> Row<()>,
    ) -> Row<()>;
}

impl TableFiles {
    /// No samples so far, with a place for every table.
    pub(super) fn no_samples(&self, unit: &'static str) -> Foreign {
        let bags = |kind| match kind {
            CategoryKind::Text => Bags::new(Values::Texts(Texts::default())),
            CategoryKind::Integer | CategoryKind::Hex => Bags::new(Values::Numbers(Vec::new())),
        };
        let columns = self.mapping.categorical.iter();
        Foreign {
            tables: columns.map(|column| bags(column.kind)).collect(),
            unit,
            ..Foreign::default()
        }
    }

    /// Adds a row. One that is bad leaves nothing behind.
    ///
    /// # Errors
    /// A bad row, unless those are skipped.
    pub(super) fn add(
        &self,
        place: Place<'_>,
        row: &impl RowCells,
        foreign: &mut Foreign,
    ) -> Result<()> {
        let samples = foreign.label.len();
        match self.add_values(row, foreign) {
            Ok(()) => foreign.numbers.push(place.number),
            Err(bad) => {
                foreign.truncate(samples, self.mapping.dense.len(), self.unscaled.len());
                self.refuse(place, *bad, foreign)?;
            }
        }
        Ok(())
    }

    /// A row is bad: an error, or one more that was skipped.
    ///
    /// # Errors
    /// The bad row, unless those are skipped.
    pub(super) fn refuse(
        &self,
        place: Place<'_>,
        bad: BadRow,
        foreign: &mut Foreign,
    ) -> Result<()> {
        if self.bad_rows == BadRows::Error {
            return Err(bad.at(place));
        }
        foreign.skip(place, bad);
        Ok(())
    }

    fn add_values(&self, row: &impl RowCells, foreign: &mut Foreign) -> Row<()> {
        let mapping = &self.mapping;
        let label = row.cell(0)?;
        foreign
            .label
            .push(mapping.label.value(&label, &self.missing)?);
        for (number, column) in mapping.dense.iter().enumerate() {
            let cell = row.cell(1 + number)?;
            let bad = |problem| BadRow::value("dense value", &column.column, cell.shown(), problem);
            let value = cell.number(&self.missing).map_err(bad)?;
            let single = match value {
                Some(value) => self.dense(number, column, value, foreign).map_err(bad)?,
                None => {
                    if self.unscaled.contains(&number) {
                        foreign.unscaled.push(f64::NAN);
                    }
                    0.0
                }
            };
            foreign.dense.push(single);
        }
        let first = 1 + mapping.dense.len();
        for (table, column) in mapping.categorical.iter().enumerate() {
            let bags = &mut foreign.tables[table];
            if column.list {
                row.for_each(first + table, &column.separator, &mut |cell| {
                    self.push(table, &cell, bags)
                })?;
            } else {
                self.push(table, &row.cell(first + table)?, bags)?;
            }
            if self.columns.multi_hot {
                bags.ends.push(bags.len());
            }
        }
        Ok(())
    }

    /// A dense value after its transformations. While what standardises it is not known, the value
    /// before that is noted.
    fn dense(
        &self,
        number: usize,
        column: &DenseColumn,
        mut value: f64,
        foreign: &mut Foreign,
    ) -> std::result::Result<f32, &'static str> {
        const NOT_FINITE: &str = "is no finite number in single precision: replace it, leave the \
            row out, or name it in \
             csv.missing where it stands for a missing value";
        let finite = |value: f64| (value as f32).is_finite();
        if !value.is_finite() {
            return Err(NOT_FINITE);
        }
        for transform in &column.transform {
            value = match *transform {
                Transform::None => value,
                // As `PrepareCriteo`, but for any number.
                Transform::Log1p => f64::from((value.max(0.0) as f32 + 1.0).ln()),
                Transform::Clip([least, most]) => value.clamp(least, most),
                Transform::Modulo(divisor) => value.rem_euclid(divisor),
                Transform::Hour => hour(value).ok_or(
                    "is no time as YYMMDDHH: leave the transformation \"hour\" out of the mapping",
                )?,
                Transform::Standardise if !finite(value) => return Err(NOT_FINITE),
                Transform::Standardise => match self.scales.get(number).copied().flatten() {
                    Some(scale) => scale.apply(value),
                    None => {
                        foreign.unscaled.push(value);
                        return Ok(0.0);
                    }
                },
            };
        }
        if finite(value) {
            return Ok(value as f32);
        }
        Err(NOT_FINITE)
    }

    /// Adds a category to a table.
    fn push(&self, table: usize, cell: &Cell<'_>, bags: &mut Bags) -> Row<()> {
        let column = &self.mapping.categorical[table];
        let bad = |problem| BadRow::value("category", &column.column, cell.shown(), problem);
        let key = cell.key(column, &self.missing).map_err(bad)?;
        let category = match &key {
            Key::Missing => Category::Missing,
            Key::Number(number) => Category::Number(*number),
            Key::Text(text) => Category::Text(text),
        };
        let is_id = matches!(category, Category::Number(number) if number <= u64::from(u32::MAX));
        if self.keep && !is_id {
            return Err(bad(
                "is no id of 32 bits that could stay: import with `ForeignIds::Rank`",
            ));
        }
        bags.push(category);
        Ok(())
    }
}

impl LabelColumn {
    /// The label of a sample.
    fn value(&self, cell: &Cell<'_>, missing: &MissingTexts) -> Row<f32> {
        let bad = |problem| BadRow::value("label", &self.column, cell.shown(), problem);
        let truth = |truth| Ok(f32::from(u8::from(truth)));
        let empty = matches!(cell, Cell::Missing);
        if !empty && !self.positive.is_empty() {
            if self.positive.iter().any(|name| cell.is(name)) {
                return truth(true);
            }
            if self.negative.is_empty() || self.negative.iter().any(|name| cell.is(name)) {
                return truth(false);
            }
            return Err(bad("is neither in label.positive nor in label.negative"));
        }
        let number = cell.number(missing).map_err(|_| {
            bad(
                "is no label: say in the mapping which values mean 1, as in label = { column, \
            positive = [\"yes\"] }",
            )
        })?;
        match (number, self.at_least) {
            (None, _) => Err(bad("is no label: leave the row out")),
            (Some(number), Some(least)) if !number.is_nan() => truth(number >= least),
            (Some(number), None) if (0.0..=1.0).contains(&number) => Ok(number as f32),
            _ => Err(bad(
                "is no label; labels are 0, 1 or between: say in the mapping which values mean 1, as in \
                 label = { column, at_least = 4 } or { column, positive = [1], negative = [-1] }",
            )),
        }
    }
}

/// The hour of a time that is written as the digits YYMMDDHH, perhaps with the century.
fn hour(value: f64) -> Option<f64> {
    let digits = value as u64;
    let (hour, day, month) = (digits % 100, digits / 100 % 100, digits / 10_000 % 100);
    let is_time = hour < 24 && (1..=31).contains(&day) && (1..=12).contains(&month);
    (digits as f64 == value && is_time).then_some(hour as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_those_of_times() {
        assert_eq!(hour(14_102_100.0), Some(0.0));
        assert_eq!(hour(2_014_102_123.0), Some(23.0));
        for value in [14_102_124.0, 14_103_200.0, 14_130_100.0, 0.5, -14_102_100.0] {
            assert_eq!(hour(value), None, "{value}");
        }
    }
}
