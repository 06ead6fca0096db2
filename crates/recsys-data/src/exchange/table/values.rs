//! The values of a table's columns while samples are read.

use super::super::foreign::{Bags, Foreign, Place, Values};
use super::files::TableFiles;
use super::mapping::{CategoricalColumn, CategoryKind, Transform};
use crate::error::Result;
use crate::vocabulary::{Category, Texts};

impl Transform {
    /// The value in the data set.
    ///
    /// # Errors
    /// A value that is no finite number.
    #[inline]
    pub(super) fn apply(self, place: Place<'_>, column: &str, value: f64) -> Result<f32> {
        let single = match self {
            Self::None => value as f32,
            // As `PrepareCriteo`, but for any number. `max` would turn what is no number into 0.
            Self::Log1p if value < 0.0 && value.is_finite() => 0.0,
            Self::Log1p => (value as f32 + 1.0).ln(),
        };
        if single.is_finite() {
            return Ok(single);
        }
        Err(place.bad(
            column,
            value,
            "is no finite number in single precision: replace it, or leave the row out",
        ))
    }
}

impl TableFiles {
    /// No samples so far, with a place for every table.
    pub(super) fn no_samples(&self) -> Foreign {
        let bags = |column: &CategoricalColumn| match column.kind {
            CategoryKind::Text => Bags::new(Values::Texts(Texts::default())),
            CategoryKind::Integer | CategoryKind::Hex => Bags::new(Values::Numbers(Vec::new())),
        };
        Foreign {
            tables: self.mapping.categorical.iter().map(bags).collect(),
            ..Foreign::default()
        }
    }

    /// Adds a category to a table.
    ///
    /// # Errors
    /// Where ids stay: one that is missing or no id.
    pub(super) fn push(
        &self,
        place: Place<'_>,
        table: usize,
        category: Category<'_>,
        bags: &mut Bags,
    ) -> Result<()> {
        let missing = category == Category::Missing;
        let no_id = match category {
            Category::Number(number) => number > u64::from(u32::MAX),
            _ => true,
        };
        if self.keep && no_id {
            let column = &self.columns.tables[table].name;
            let problem = "is no id of 32 bits that could stay: import with `ForeignIds::Rank`";
            return Err(place.bad(column, category, problem));
        }
        if missing || !bags.missing.is_empty() {
            bags.missing.resize(bags.len(), false);
            bags.missing.push(missing);
        }
        match (&mut bags.values, category) {
            (Values::Numbers(numbers), Category::Number(number)) => numbers.push(number),
            (Values::Numbers(numbers), _) => numbers.push(0),
            (Values::Texts(texts), Category::Text(text)) => texts.push(text),
            (Values::Texts(texts), _) => texts.push(""),
        }
        Ok(())
    }

    /// Ends the bags of a sample, where samples have bags.
    pub(super) fn end_sample(&self, foreign: &mut Foreign) {
        if self.columns.multi_hot {
            for bags in &mut foreign.tables {
                bags.ends.push(bags.len());
            }
        }
    }
}

impl CategoryKind {
    /// Reads a category from text.
    ///
    /// # Errors
    /// Text that is no category of this kind.
    pub(super) fn parse<'a>(
        self,
        place: Place<'_>,
        column: &str,
        text: &'a str,
    ) -> Result<Category<'a>> {
        let (number, problem) = match self {
            Self::Text => return Ok(Category::Text(text)),
            Self::Integer => (
                text.parse().ok(),
                "is no integer from 0 to 2^64 - 1: map the column with type = \"text\", or \"hex\"",
            ),
            Self::Hex => {
                let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let number = u64::from_str_radix(text, 16).ok();
                (
                    number.filter(|_| digits),
                    "is no hexadecimal number of at most 16 digits: map the column with type = \"text\"",
                )
            }
        };
        let number = number.ok_or_else(|| place.bad(column, format!("{text:?}"), problem))?;
        Ok(Category::Number(number))
    }
}
