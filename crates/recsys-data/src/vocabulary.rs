//! What the ids of a table stand for.

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

impl Vocabulary {
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
}
