//! Which columns of a table become what.

use serde::{Deserialize, Serialize};

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
    /// Column of the label: 0, 1 or between, `true` or `false`.
    pub label: String,
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

/// A dense feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "DenseEntry")]
pub struct DenseColumn {
    /// Name in the file.
    pub column: String,
    /// Name in the data set.
    pub name: String,
    /// What is done with its values.
    pub transform: Transform,
}

/// What is done with dense values. A missing value becomes 0 in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Transform {
    /// Nothing.
    #[default]
    None,
    /// `ln(max(x, 0) + 1)`.
    Log1p,
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
    /// What stands between the values of a list in CSV.
    pub separator: String,
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
    /// What stands between two fields: one ASCII character; `,` by default, a TAB in `.tsv` files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// What encloses a field that holds the separator; none where it is empty.
    pub quote: String,
    /// Names of all columns where the files have no line with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Fields that stand for a missing value.
    pub missing: Vec<String>,
}

impl Default for CsvForm {
    fn default() -> Self {
        Self {
            separator: None,
            quote: "\"".to_owned(),
            columns: None,
            missing: vec![String::new()],
        }
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a column's name, or { column, name, transform = \"none\" or \"log1p\" }"
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
    transform: Transform,
}

impl From<DenseEntry> for DenseColumn {
    fn from(entry: DenseEntry) -> Self {
        let (column, name, transform) = match entry {
            DenseEntry::Name(column) => (column, None, Transform::None),
            DenseEntry::Full(entry) => (entry.column, entry.name, entry.transform),
        };
        Self {
            name: name.unwrap_or_else(|| column.clone()),
            column,
            transform,
        }
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a column's name, or { column, name, type = \"integer\", \"hex\" or \"text\", list, separator }"
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
        let invalid = |option, value: &str, allowed| {
            Err(Error::InvalidOption {
                option,
                value: format!("{value:?}"),
                allowed,
            })
        };
        let CsvForm {
            separator, quote, ..
        } = &mapping.csv;
        if separator.is_some_and(|separator| !separator.is_ascii()) {
            let value = separator.map(String::from).unwrap_or_default();
            return invalid("csv.separator", &value, "one ASCII character");
        }
        if quote.len() > 1 || !quote.is_ascii() {
            return invalid("csv.quote", quote, "one ASCII character, or nothing");
        }
        if mapping
            .categorical
            .iter()
            .any(|column| column.list && column.separator.is_empty())
        {
            return invalid("categorical.separator", "", "one character or more");
        }
        Ok(mapping)
    }
}
