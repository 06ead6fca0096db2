//! One value of a table, whatever the format of its file, and what it means in a column.

use std::borrow::Cow;

use super::mapping::{CategoricalColumn, CategoryKind};
use crate::text::shorten;

/// A value as it stands in a file.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    not(feature = "parquet"),
    allow(dead_code, reason = "CSV holds texts alone")
)]
pub(super) enum Cell<'a> {
    Missing,
    Unsigned(u64),
    /// Below 0.
    Negative(i64),
    Real {
        value: f64,
        /// Whole numbers below this are exact in the type that it came in.
        exact: f64,
    },
    Truth(bool),
    Text(Cow<'a, str>),
}

/// What a value is in a categorical column.
#[derive(Debug, PartialEq)]
pub(super) enum Key<'a> {
    Missing,
    Number(u64),
    Text(Cow<'a, str>),
}

/// Whole numbers below this are exact in 64 bits.
pub(super) const EXACT: f64 = (1_u64 << 53) as f64;

const FRACTION: &str =
    "is no whole number that its type holds exactly: write the column as integers or texts";
const NEGATIVE: &str = "is below 0: map the column with type = \"text\"";
const NO_INTEGER: &str = "is no integer from 0 to 2^64 - 1: map the column with type = \"text\", \
    or \"hex\"; name it in \
     csv.missing where it stands for a missing value";
const NO_HEX: &str = "is no hexadecimal number of at most 16 digits: map the column with type = \
                      \"text\"; name it in csv.missing where it stands for a missing value";

/// Texts that stand for a missing value.
#[derive(Debug, Clone)]
pub(super) struct MissingTexts {
    texts: Vec<String>,
    /// Whether numbers that are NaN are missing, too.
    nan: bool,
}

impl MissingTexts {
    pub(super) fn new(texts: &[String]) -> Self {
        Self {
            texts: texts.to_vec(),
            nan: texts.iter().any(|text| text.eq_ignore_ascii_case("nan")),
        }
    }

    pub(super) fn contain(&self, text: &[u8]) -> bool {
        self.texts.iter().any(|missing| missing.as_bytes() == text)
    }
}

impl Cell<'_> {
    #[cfg(feature = "parquet")]
    pub(super) fn signed(value: i64) -> Self {
        u64::try_from(value).map_or(Self::Negative(value), Self::Unsigned)
    }

    /// The same value, borrowed.
    #[cfg(feature = "parquet")]
    pub(super) fn borrowed(&self) -> Cell<'_> {
        match self {
            Self::Text(text) => Cell::Text(Cow::Borrowed(text)),
            Self::Missing => Cell::Missing,
            Self::Unsigned(value) => Cell::Unsigned(*value),
            Self::Negative(value) => Cell::Negative(*value),
            Self::Truth(value) => Cell::Truth(*value),
            &Self::Real { value, exact } => Cell::Real { value, exact },
        }
    }

    /// As a message shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Missing => "a missing value".to_owned(),
            Self::Unsigned(value) => value.to_string(),
            Self::Negative(value) => value.to_string(),
            Self::Real { value, .. } => value.to_string(),
            Self::Truth(value) => value.to_string(),
            Self::Text(text) => format!("\"{}\"", shorten(text.as_bytes())),
        }
    }

    /// The number that it is, or `None` inside where it is missing.
    ///
    /// # Errors
    /// What is wrong with a text that is no number.
    pub(super) fn number(&self, missing: &MissingTexts) -> Result<Option<f64>, &'static str> {
        Ok(Some(match self {
            Self::Missing => return Ok(None),
            Self::Unsigned(value) => *value as f64,
            Self::Negative(value) => *value as f64,
            Self::Real { value, .. } if value.is_nan() && missing.nan => return Ok(None),
            Self::Real { value, .. } => *value,
            Self::Truth(value) => f64::from(u8::from(*value)),
            Self::Text(text) => {
                let text = text.trim();
                if missing.contain(text.as_bytes()) {
                    return Ok(None);
                }
                let truth = || truth(text).map(|truth| f64::from(u8::from(truth)));
                text.parse().ok().or_else(truth).ok_or(
                    "is no number: mend the file, or name it in csv.missing where it stands for a \
                     missing value",
                )?
            }
        }))
    }

    /// The category that it is.
    ///
    /// # Errors
    /// What is wrong with a value that is none of the column's kind.
    pub(super) fn key(
        &self,
        column: &CategoricalColumn,
        missing: &MissingTexts,
    ) -> Result<Key<'_>, &'static str> {
        if column.kind == CategoryKind::Text {
            return self.text_key(column);
        }
        Ok(Key::Number(match self {
            Self::Missing => return Ok(Key::Missing),
            Self::Real { value, .. } if value.is_nan() => return Ok(Key::Missing),
            Self::Unsigned(value) => *value,
            Self::Negative(_) => return Err(NEGATIVE),
            &Self::Real { value, exact } => {
                u64::try_from(whole(value, exact).ok_or(FRACTION)?).map_err(|_| NEGATIVE)?
            }
            Self::Truth(value) => u64::from(*value),
            Self::Text(text) => {
                let text = text.trim();
                if missing.contain(text.as_bytes()) {
                    return Ok(Key::Missing);
                }
                match column.kind {
                    CategoryKind::Hex => hexadecimal(text).ok_or(NO_HEX)?,
                    _ => integer(text).ok_or(NO_INTEGER)?,
                }
            }
        }))
    }

    fn text_key(&self, column: &CategoricalColumn) -> Result<Key<'_>, &'static str> {
        Ok(Key::Text(match self {
            Self::Missing => return Ok(Key::Missing),
            Self::Real { value, .. } if value.is_nan() => return Ok(Key::Missing),
            &Self::Real { value, exact } => whole(value, exact).ok_or(FRACTION)?.to_string().into(),
            Self::Unsigned(value) => value.to_string().into(),
            Self::Negative(value) => value.to_string().into(),
            Self::Truth(value) => value.to_string().into(),
            Self::Text(text) => {
                let merged = column.merge_numbers == Some(true);
                let number = merged.then(|| whole_part(text)).flatten();
                Cow::Borrowed(number.unwrap_or(text))
            }
        }))
    }

    /// Whether it is what a mapping names: the same number, the same truth value or the same text.
    pub(super) fn is(&self, name: &str) -> bool {
        match self {
            Self::Text(text) if text.trim() == name => true,
            Self::Truth(value) if truth(name) == Some(*value) => true,
            _ => {
                let same = |value: f64| name.parse() == Ok(value);
                match self {
                    Self::Text(text) => text.trim().parse().is_ok_and(same),
                    _ => {
                        matches!(self.number(&MissingTexts::new(&[])), Ok(Some(value)) if same(value))
                    }
                }
            }
        }
    }
}

/// The truth value that a text names in CSV of R, pandas, PostgreSQL and others.
fn truth(text: &str) -> Option<bool> {
    let one_of = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if one_of(["true", "t", "yes", "y"]) {
        return Some(true);
    }
    one_of(["false", "f", "no", "n"]).then_some(false)
}

fn whole(value: f64, exact: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < exact).then_some(value as i64)
}

/// An integer, also as pandas writes it where a column has missing values: `3.0`.
fn integer(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return truth(text).map(u64::from);
    }
    u64::try_from(whole(text.parse().ok()?, EXACT)?).ok()
}

fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| digits)
}

/// `3` of `3.0`: what stands before the point of a whole number that is written with one.
pub(in crate::exchange) fn whole_part(text: &str) -> Option<&str> {
    let (whole, fraction) = text.split_once('.')?;
    let zeros = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    (zeros && is_integer(whole)).then_some(whole)
}

/// Whether a text is nothing but digits, perhaps with a sign.
pub(in crate::exchange) fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: CategoryKind) -> CategoricalColumn {
        CategoricalColumn {
            kind,
            ..CategoricalColumn::from("c")
        }
    }

    #[test]
    fn integers_are_the_same_however_they_are_written() {
        let (integer, missing) = (column(CategoryKind::Integer), MissingTexts::new(&[]));
        let text = |text: &'static str| Cell::Text(text.into());
        let real = |value| Cell::Real {
            value,
            exact: EXACT,
        };
        for cell in [text("3"), text("3.0"), text(" 3."), text("3e0"), real(3.0)] {
            assert_eq!(cell.key(&integer, &missing), Ok(Key::Number(3)), "{cell:?}");
        }
        let largest = text("18446744073709551615");
        assert_eq!(largest.key(&integer, &missing), Ok(Key::Number(u64::MAX)));
        for cell in [
            text("3.5"),
            text("1e+16"),
            text("-3"),
            text("0x3"),
            text(""),
            real(2.5),
            real(1e16),
        ] {
            assert!(cell.key(&integer, &missing).is_err(), "{cell:?}");
        }
        assert_eq!(real(f64::NAN).key(&integer, &missing), Ok(Key::Missing));
        // Beyond 2^24 single precision skips integers.
        let single = Cell::Real {
            value: 16_777_218.0,
            exact: 16_777_216.0,
        };
        assert_eq!(single.key(&integer, &missing), Err(FRACTION));
    }

    #[test]
    fn texts_of_numbers_are_merged_where_the_mapping_says_so() {
        let apart = column(CategoryKind::Text);
        let merged = CategoricalColumn {
            merge_numbers: Some(true),
            ..apart.clone()
        };
        let missing = MissingTexts::new(&[]);
        for (text, expected) in [
            ("3.0", "3"),
            ("-7.00", "-7"),
            ("3.5", "3.5"),
            ("v1.0", "v1.0"),
        ] {
            let cell = Cell::Text(text.into());
            assert_eq!(cell.key(&apart, &missing), Ok(Key::Text(text.into())));
            assert_eq!(cell.key(&merged, &missing), Ok(Key::Text(expected.into())));
        }
    }

    #[test]
    fn names_in_mappings_stand_for_numbers_truth_values_and_texts() {
        let text = |text: &'static str| Cell::Text(text.into());
        for (cell, name) in [
            (text("buy "), "buy"),
            (text("1.0"), "1"),
            (Cell::Unsigned(5), "5"),
            (Cell::Negative(-1), "-1"),
            (Cell::Truth(true), "True"),
        ] {
            assert!(cell.is(name), "{cell:?}");
            assert!(!cell.is("other") && !cell.is("7"), "{cell:?}");
        }
    }
}
