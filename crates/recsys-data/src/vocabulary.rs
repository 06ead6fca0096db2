//! What the ids of a table stand for.

use std::fmt;

use safetensors::{Dtype, SafeTensors};

use crate::packed::{TensorEntry, encode_header};
use crate::{Error, Result, TableSchema};

/// The raw categories of a table, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// The raw category of every id. Criteo: the value of its eight hexadecimal digits. 0 at `missing` and `other`, which
    /// stand for no single category.
    pub categories: Vec<u32>,
    /// How often every id was seen.
    pub counts: Vec<u64>,
    /// The id of samples that have no category.
    pub missing: Option<u32>,
    /// The id that rare categories share.
    pub other: Option<u32>,
}

/// How the categories of a data set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// Eight hexadecimal digits, as in Criteo's text.
    Hexadecimal,
    /// Whole numbers, as in Taobao's.
    Decimal,
}

impl Notation {
    /// That of a data set, by its name in the manifest.
    pub fn of(dataset: &str) -> Self {
        if dataset.starts_with("criteo") {
            Self::Hexadecimal
        } else {
            Self::Decimal
        }
    }
}

/// What an id stands for. Displayed as in the raw text: missing values as `-`, rare categories together as `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawCategory {
    /// No category.
    Missing,
    /// Any of the rare categories.
    Other,
    /// One category.
    Number(u32, Notation),
}

impl fmt::Display for RawCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.pad("-"),
            Self::Other => f.pad("other"),
            Self::Number(value, Notation::Hexadecimal) => f.pad(&format!("{value:08x}")),
            Self::Number(value, Notation::Decimal) => f.pad(&value.to_string()),
        }
    }
}

impl Vocabulary {
    /// What an id stands for; `None` beyond the table.
    pub fn raw(&self, id: u32, notation: Notation) -> Option<RawCategory> {
        let category = *self.categories.get(id as usize)?;
        Some(if self.missing == Some(id) {
            RawCategory::Missing
        } else if self.other == Some(id) {
            RawCategory::Other
        } else {
            RawCategory::Number(category, notation)
        })
    }

    /// Checks that there is one category and one count for every row of a table.
    pub(crate) fn check(&self, table: &TableSchema) -> Result<()> {
        let check = |what, found: u64, expected: u64| {
            if found == expected {
                return Ok(());
            }
            Err(Error::VocabularyShape {
                table: table.name.clone(),
                what,
                found,
                expected,
            })
        };
        check("categories", self.categories.len() as u64, table.rows)?;
        check("counts", self.counts.len() as u64, table.rows)?;
        for id in [self.missing, self.other].into_iter().flatten() {
            if u64::from(id) >= table.rows {
                check(
                    "rows, to hold the id of missing or rare categories",
                    table.rows,
                    u64::from(id) + 1,
                )?;
            }
        }
        Ok(())
    }

    /// A safetensors file with `count` (U64), `category` (U32) and the special ids in its metadata.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vocabulary_header(self.counts.len() as u64, self.missing, self.other);
        bytes.extend(self.counts.iter().flat_map(|count| count.to_le_bytes()));
        bytes.extend(
            self.categories
                .iter()
                .flat_map(|category| category.to_le_bytes()),
        );
        bytes
    }

    /// Reads what [`Vocabulary::to_bytes`] wrote; `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
        let file = SafeTensors::deserialize(bytes).ok()?;
        let tensor = |name, dtype| {
            file.tensor(name)
                .ok()
                .filter(|tensor| tensor.dtype() == dtype && tensor.shape().len() == 1)
        };
        let (counts, categories) = (
            tensor("count", Dtype::U64)?,
            tensor("category", Dtype::U32)?,
        );
        let special = |name| {
            header
                .metadata()
                .as_ref()
                .and_then(|metadata| metadata.get(name))
                .map(|id| id.parse())
        };
        Some(Self {
            categories: categories
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|bytes| u32::from_le_bytes(*bytes))
                .collect(),
            counts: counts
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|bytes| u64::from_le_bytes(*bytes))
                .collect(),
            missing: special("missing").transpose().ok()?,
            other: special("other").transpose().ok()?,
        })
    }
}

/// The header of the file of a vocabulary: `count`, then `category`.
pub(crate) fn vocabulary_header(rows: u64, missing: Option<u32>, other: Option<u32>) -> Vec<u8> {
    let special = [("missing", missing), ("other", other)];
    let metadata: Vec<_> = special
        .iter()
        .filter_map(|(key, id)| Some((*key, (*id)?.to_string())))
        .collect();
    let tensors = [("count", "U64"), ("category", "U32")].map(|(name, dtype)| TensorEntry {
        name,
        dtype,
        shape: vec![rows],
    });
    encode_header(&metadata, &tensors, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let full = Vocabulary {
            categories: vec![7, 0, u32::MAX],
            counts: vec![9, 5, 1],
            missing: Some(1),
            other: None,
        };
        for vocabulary in [full, Vocabulary::default()] {
            assert_eq!(
                Vocabulary::from_bytes(&vocabulary.to_bytes()),
                Some(vocabulary)
            );
        }
    }

    #[test]
    fn ids_are_shown_as_the_raw_text_has_them() {
        let vocabulary = Vocabulary {
            categories: vec![0x68f, 0, 0],
            counts: vec![9, 5, 1],
            missing: Some(1),
            other: Some(2),
        };
        let shown = |id, notation| {
            let raw = vocabulary.raw(id, notation);
            raw.map(|raw| format!("{raw:>9}"))
        };
        let hexadecimal = [0, 1, 2, 3].map(|id| shown(id, Notation::of("criteo-kaggle")));
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(
            hexadecimal,
            [of(" 0000068f"), of("        -"), of("    other"), None]
        );
        assert_eq!(
            shown(0, Notation::of("taobao-userbehavior")),
            of("     1679")
        );
    }
}
