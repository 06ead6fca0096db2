//! Which columns of a table become what.

use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;

/// Which columns of a table become what, as a TOML file says it.
///
/// ```
/// let mapping = recsys_data::exchange::TableMapping::parse(
///     r#"
///         label = "clicked"
///         dense = ["age", { column = "price", transform = "log1p" }]
///         categorical = [
///             "user",
///             { column = "shop", type = "text" },
///             { column = "tags", type = "text", list = true, separator = "|" },
///         ]
///         [csv]
///         separator = ";"
///     "#,
///     "mapping.toml",
/// )?;
/// assert_eq!(mapping.categorical.len(), 3);
/// # Ok::<(), recsys_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableMapping {
    /// The label.
    pub label: LabelColumn,
    /// The dense features, in order.
    #[serde(default)]
    pub dense: Vec<DenseColumn>,
    /// The categorical features, in order.
    #[serde(default)]
    pub categorical: Vec<CategoricalColumn>,
    /// How CSV is written; files of other formats take no notice.
    #[serde(default)]
    pub csv: CsvForm,
}

/// Where the label stands, and which values mean 1. By default a label is 0, 1 or between, or a
/// truth value (`true`, `t`, `yes`, `y` and their opposites, in any case).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "LabelEntry", into = "LabelEntry")]
pub struct LabelColumn {
    /// Name in the file.
    pub column: String,
    /// Numbers from here on mean 1, smaller ones 0.
    pub at_least: Option<f64>,
    /// Values that mean 1: texts, or numbers and truth values as texts.
    pub positive: Vec<String>,
    /// Values that mean 0: all others where this is empty and `positive` is not.
    pub negative: Vec<String>,
}

/// A dense feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "DenseEntry")]
pub struct DenseColumn {
    /// Name in the file.
    pub column: String,
    /// Name in the data set.
    pub name: String,
    /// What is done with its values, one after the other.
    #[serde(serialize_with = "one_or_list")]
    pub transform: Vec<Transform>,
}

/// What is done with dense values. A missing value becomes 0 in the end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Transform {
    /// Nothing.
    None,
    /// `ln(max(x, 0) + 1)`.
    Log1p,
    /// Values outside of these bounds become the nearer one.
    Clip([f64; 2]),
    /// What is left after division, from 0 to below the divisor.
    Modulo(f64),
    /// The hour, 0 to 23, of a time written YYMMDDHH or YYYYMMDDHH.
    Hour,
    /// Mean 0 and deviation 1 over the training rows.
    #[serde(alias = "standardize")]
    Standardise,
}

/// A categorical feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "CategoricalEntry")]
pub struct CategoricalColumn {
    /// Name in the file.
    pub column: String,
    /// Name of the table in the data set.
    pub name: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub kind: CategoryKind,
    /// Whether a sample has any number of values.
    pub list: bool,
    /// What stands between the values of a list in text.
    pub separator: String,
    /// Texts only. `true`: the text `3.0` is `3`; `false`: they are two categories. An error where
    /// both stand and this is not said: pandas writes integers so where one is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge_numbers: Option<bool>,
}

/// What the values of a categorical column are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CategoryKind {
    /// Integers from 0 to 2^64 - 1.
    #[default]
    Integer,
    /// Integers in hexadecimal, at most 16 digits.
    Hex,
    /// Texts.
    Text,
}

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvForm {
    /// What stands between two fields: `,` by default, a TAB in `.tsv` files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// What encloses a field that holds the separator; none where it is empty.
    pub quote: String,
    /// Whether a quoted field may reach over several lines. Where it may not, one that does is a
    /// quote that was never closed, and an error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub multiline: bool,
    /// Names of all columns where the files have no line with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Fields that stand for a missing value; in other formats texts in the place of numbers, and
    /// `nan` for floats that are NaN.
    pub missing: Vec<String>,
}

impl Default for CsvForm {
    fn default() -> Self {
        Self {
            separator: None,
            quote: "\"".to_owned(),
            multiline: false,
            columns: None,
            missing: vec![String::new()],
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a column's name, or { column, at_least = 4 }, or { column, positive = \
    [\"yes\"], negative = [\"no\"] }"
)]
enum LabelEntry {
    Name(String),
    Full(FullLabel),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullLabel {
    column: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    positive: Vec<Name>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    negative: Vec<Name>,
}

/// A value that a mapping names.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a text, a number, true or false")]
enum Name {
    Text(String),
    Truth(bool),
    Integer(i64),
    Real(f64),
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        match name {
            Name::Text(text) => text,
            Name::Truth(truth) => truth.to_string(),
            Name::Integer(number) => number.to_string(),
            Name::Real(number) => number.to_string(),
        }
    }
}

impl From<&str> for LabelColumn {
    fn from(column: &str) -> Self {
        LabelEntry::Name(column.to_owned()).into()
    }
}

impl From<LabelEntry> for LabelColumn {
    fn from(entry: LabelEntry) -> Self {
        let entry = match entry {
            LabelEntry::Full(entry) => entry,
            LabelEntry::Name(column) => FullLabel {
                column,
                at_least: None,
                positive: Vec::new(),
                negative: Vec::new(),
            },
        };
        let texts = |names: Vec<Name>| names.into_iter().map(String::from).collect();
        Self {
            column: entry.column,
            at_least: entry.at_least,
            positive: texts(entry.positive),
            negative: texts(entry.negative),
        }
    }
}

impl From<LabelColumn> for LabelEntry {
    fn from(label: LabelColumn) -> Self {
        if label.at_least.is_none() && label.positive.is_empty() {
            return Self::Name(label.column);
        }
        let names = |texts: Vec<String>| texts.into_iter().map(Name::Text).collect();
        Self::Full(FullLabel {
            column: label.column,
            at_least: label.at_least,
            positive: names(label.positive),
            negative: names(label.negative),
        })
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a column's name, or { column, name, transform = \"none\", \"log1p\", \
    \"hour\", \"standardise\", { clip = [0, 9] }, { modulo = 24 } or a list of those }"
)]
enum DenseEntry {
    Name(String),
    Full(FullDense),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FullDense {
    column: String,
    name: Option<String>,
    #[serde(default)]
    transform: Transforms,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Transforms {
    One(Transform),
    List(Vec<Transform>),
}

impl Default for Transforms {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl From<DenseEntry> for DenseColumn {
    fn from(entry: DenseEntry) -> Self {
        let (column, name, transform) = match entry {
            DenseEntry::Name(column) => (column, None, Transforms::default()),
            DenseEntry::Full(entry) => (entry.column, entry.name, entry.transform),
        };
        let transform = match transform {
            Transforms::One(Transform::None) => Vec::new(),
            Transforms::One(transform) => vec![transform],
            Transforms::List(list) => list,
        };
        Self {
            name: name.unwrap_or_else(|| column.clone()),
            column,
            transform,
        }
    }
}

/// As mappings write transformations: none and one without a list.
fn one_or_list<S: Serializer>(list: &[Transform], to: S) -> std::result::Result<S::Ok, S::Error> {
    match list {
        [] => Transform::None.serialize(to),
        [one] => one.serialize(to),
        _ => list.serialize(to),
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a column's name, or { column, name, type = \"integer\", \"hex\" or \
    \"text\", list, separator, merge_numbers }"
)]
enum CategoricalEntry {
    Name(String),
    Full(FullCategorical),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullCategorical {
    column: String,
    name: Option<String>,
    #[serde(default, rename = "type")]
    kind: CategoryKind,
    #[serde(default)]
    list: bool,
    separator: Option<String>,
    merge_numbers: Option<bool>,
}

impl From<&str> for CategoricalColumn {
    fn from(column: &str) -> Self {
        CategoricalEntry::Name(column.to_owned()).into()
    }
}

impl From<CategoricalEntry> for CategoricalColumn {
    fn from(entry: CategoricalEntry) -> Self {
        let entry = match entry {
            CategoricalEntry::Full(entry) => entry,
            CategoricalEntry::Name(column) => FullCategorical {
                column,
                ..FullCategorical::default()
            },
        };
        Self {
            name: entry.name.unwrap_or_else(|| entry.column.clone()),
            column: entry.column,
            kind: entry.kind,
            list: entry.list,
            separator: entry.separator.unwrap_or_else(|| " ".to_owned()),
            merge_numbers: entry.merge_numbers,
        }
    }
}

impl TableMapping {
    /// The mapping as a TOML file.
    #[cfg(feature = "parquet")]
    pub(crate) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| {
            Error::Exchange(ExchangeError::NotExportable {
                format: "parquet",
                problem: format!("a column's name has no form in TOML ({error})"),
            })
        })
    }

    /// Reads a mapping. `origin` is what errors call it: its path.
    ///
    /// # Errors
    /// [`Error::Mapping`](crate::exchange::Error::Mapping) with the line, the key and what is allowed there; a mapping without meaning.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let mapping: Self = toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or(text);
            let line = before.matches('\n').count();
            Error::Exchange(ExchangeError::Mapping {
                origin: origin.to_owned(),
                line: line + 1,
                text: text.lines().nth(line).unwrap_or("").trim().to_owned(),
                message: error.message().to_owned(),
            })
        })?;
        mapping.check()?;
        Ok(mapping)
    }

    /// # Errors
    /// A value without meaning, or the same name twice.
    fn check(&self) -> Result<()> {
        let invalid = |option, value: String, allowed| {
            Err(Error::InvalidOption {
                option,
                value,
                allowed,
            })
        };
        let CsvForm {
            separator, quote, ..
        } = &self.csv;
        let breaks = |text: &str| text.contains(['\n', '\r']);
        if let Some(separator) = separator.as_ref().filter(|text| {
            text.is_empty() || breaks(text) || (!quote.is_empty() && text.contains(quote.as_str()))
        }) {
            let allowed = "one character or more, no line end and not the quote";
            return invalid("csv.separator", format!("{separator:?}"), allowed);
        }
        if quote.len() > 1 || !quote.is_ascii() || breaks(quote) {
            let allowed = "one ASCII character, or nothing";
            return invalid("csv.quote", format!("{quote:?}"), allowed);
        }
        let label = &self.label;
        if label.at_least.is_some_and(f64::is_nan) {
            return invalid("label.at_least", "NaN".to_owned(), "a number");
        }
        if label.at_least.is_some() && !(label.positive.is_empty() && label.negative.is_empty()) {
            let value = "given beside positive or negative".to_owned();
            return invalid("label.at_least", value, "one of the two ways to say it");
        }
        if label.positive.is_empty() && !label.negative.is_empty() {
            let allowed = "the values that mean 1, too";
            return invalid("label.positive", "empty".to_owned(), allowed);
        }
        if let Some(name) = label
            .positive
            .iter()
            .find(|name| label.negative.contains(name))
        {
            let value = format!("{name:?}, which label.negative has too");
            return invalid("label.positive", value, "values that mean 1");
        }
        for column in &self.dense {
            let bad = column.transform.iter().find(|transform| match transform {
                Transform::Clip([least, most]) => {
                    !(least <= most && least.is_finite() && most.is_finite())
                }
                Transform::Modulo(divisor) => !(divisor.is_finite() && *divisor > 0.0),
                _ => false,
            });
            if let Some(bad) = bad {
                let value = format!("{bad:?} of column {:?}", column.column);
                let allowed = "clip = [least, most] and modulo above 0, finite";
                return invalid("dense.transform", value, allowed);
            }
            let standardised = |transform: &&Transform| **transform == Transform::Standardise;
            if column.transform.iter().filter(standardised).count() > 1 {
                let value = format!("\"standardise\" twice for column {:?}", column.column);
                return invalid("dense.transform", value, "it once");
            }
        }
        let categorical = &self.categorical;
        if let Some(column) = categorical
            .iter()
            .find(|column| column.list && column.separator.is_empty())
        {
            let value = format!("empty for column {:?}", column.column);
            return invalid("categorical.separator", value, "one character or more");
        }
        let numbers = |column: &&CategoricalColumn| {
            column.kind != CategoryKind::Text && column.merge_numbers.is_some()
        };
        if let Some(column) = categorical.iter().find(numbers) {
            let value = format!("given for column {:?}", column.column);
            return invalid("categorical.merge_numbers", value, "type = \"text\"");
        }
        let dense = self.dense.iter().map(|column| &column.name);
        let names: Vec<&String> = dense
            .chain(categorical.iter().map(|column| &column.name))
            .collect();
        if let Some((_, name)) = names
            .iter()
            .enumerate()
            .find(|(at, name)| names[..*at].contains(name))
        {
            let allowed = "every name once: give one of the two another with `name`";
            return invalid("mapping", format!("two features named {name:?}"), allowed);
        }
        Ok(())
    }

    /// The columns that are read: the label, the dense ones, the categorical ones.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        let dense = self.dense.iter().map(|column| column.column.as_str());
        let categorical = self.categorical.iter().map(|column| column.column.as_str());
        std::iter::once(self.label.column.as_str())
            .chain(dense)
            .chain(categorical)
    }
}
