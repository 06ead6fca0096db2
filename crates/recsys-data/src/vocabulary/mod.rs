//! What the ids of a table stand for.

mod categories;

use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};
use crate::packed::Error as PackedError;
use crate::packed::{TensorEntry, encode_header};
use crate::schema::TableSchema;

pub use categories::{Category, Notation, Texts, WideCategories};

/// The raw categories of a table, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// The raw category of every id; empty where `wide` holds them. Criteo: the value of its eight hexadecimal digits. 0 at
    /// `missing` and `other`, which stand for no single category.
    pub categories: Vec<u32>,
    /// Raw categories that 32 bits cannot hold; 0 or an empty text at `missing` and `other`.
    pub wide: Option<WideCategories>,
    /// How often every id was seen.
    pub counts: Vec<u64>,
    /// The id of samples that have no category.
    pub missing: Option<u32>,
    /// The id that rare categories share.
    pub other: Option<u32>,
}

impl Vocabulary {
    /// Number of ids.
    pub fn rows(&self) -> usize {
        let narrow = self.categories.len();
        self.wide.as_ref().map_or(narrow, WideCategories::len)
    }

    /// What an id stands for, if the table has such an id.
    pub fn category(&self, id: u32) -> Option<Category<'_>> {
        let index = id as usize;
        let raw = match &self.wide {
            None => Category::Number(u64::from(*self.categories.get(index)?)),
            Some(WideCategories::Numbers(numbers)) => Category::Number(*numbers.get(index)?),
            Some(WideCategories::Texts(texts)) => Category::Text(texts.get(index)?),
        };
        Some(match Some(id) {
            id if id == self.missing => Category::Missing,
            id if id == self.other => Category::Other,
            _ => raw,
        })
    }

    /// Checks that there is one category and one count for every row of a table.
    pub(crate) fn check(&self, table: &TableSchema) -> Result<()> {
        let check = |what, found: u64, expected: u64| {
            if found == expected {
                return Ok(());
            }
            Err(Error::Packed(PackedError::VocabularyShape {
                table: table.name.clone(),
                what,
                found,
                expected,
            }))
        };
        check("categories", self.rows() as u64, table.rows)?;
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

    /// A safetensors file with `count` (U64), the categories and the special ids in its metadata. Categories are `category`
    /// (U32), `category64` (U64), or `text` (U8) with `text_offsets` (U64).
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let longs = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let tensor = |name, dtype, len: usize| TensorEntry {
            name,
            dtype,
            shape: vec![len as u64],
        };
        let mut tensors = vec![tensor("count", "U64", self.counts.len())];
        let mut content: Vec<u8> = longs(&self.counts);
        match &self.wide {
            None => {
                tensors.push(tensor("category", "U32", self.categories.len()));
                content.extend(self.categories.iter().flat_map(|n| n.to_le_bytes()));
            }
            Some(WideCategories::Numbers(numbers)) => {
                tensors.push(tensor("category64", "U64", numbers.len()));
                content.extend(longs(numbers));
            }
            Some(WideCategories::Texts(texts)) => {
                let (text, offsets) = texts.parts();
                tensors.push(tensor("text_offsets", "U64", offsets.len()));
                tensors.push(tensor("text", "U8", text.len()));
                content.extend(longs(offsets));
                content.extend(text.as_bytes());
            }
        }
        let mut bytes = header(self.missing, self.other, &tensors);
        bytes.append(&mut content);
        bytes
    }

    /// Reads what [`Vocabulary::to_bytes`] wrote; `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
        let file = SafeTensors::deserialize(bytes).ok()?;
        let tensor = |name, dtype| {
            let tensor = file.tensor(name).ok()?;
            (tensor.dtype() == dtype && tensor.shape().len() == 1).then(|| tensor.data())
        };
        let longs = |name| -> Option<Vec<u64>> {
            let numbers = tensor(name, Dtype::U64)?.as_chunks().0.iter();
            Some(numbers.map(|bytes| u64::from_le_bytes(*bytes)).collect())
        };
        let (categories, wide) = if let Some(narrow) = tensor("category", Dtype::U32) {
            let numbers = narrow.as_chunks().0.iter();
            let numbers = numbers.map(|bytes| u32::from_le_bytes(*bytes));
            (numbers.collect(), None)
        } else if let Some(numbers) = longs("category64") {
            (Vec::new(), Some(WideCategories::Numbers(numbers)))
        } else {
            let text = std::str::from_utf8(tensor("text", Dtype::U8)?).ok()?;
            let texts = Texts::from_parts(text.to_owned(), longs("text_offsets")?)?;
            (Vec::new(), Some(WideCategories::Texts(texts)))
        };
        let special = |name| {
            header
                .metadata()
                .as_ref()
                .and_then(|metadata| metadata.get(name))
                .map(|id| id.parse())
        };
        Some(Self {
            categories,
            wide,
            counts: longs("count")?,
            missing: special("missing").transpose().ok()?,
            other: special("other").transpose().ok()?,
        })
    }
}

/// The header of the file of a vocabulary whose categories have 32 bits: `count`, then `category`.
pub(crate) fn vocabulary_header(rows: u64, missing: Option<u32>, other: Option<u32>) -> Vec<u8> {
    let tensors = [("count", "U64"), ("category", "U32")].map(|(name, dtype)| TensorEntry {
        name,
        dtype,
        shape: vec![rows],
    });
    header(missing, other, &tensors)
}

fn header(missing: Option<u32>, other: Option<u32>, tensors: &[TensorEntry]) -> Vec<u8> {
    let special = [("missing", missing), ("other", other)];
    let metadata: Vec<_> = special
        .iter()
        .filter_map(|(key, id)| Some((*key, (*id)?.to_string())))
        .collect();
    encode_header(&metadata, tensors, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let full = Vocabulary {
            categories: vec![7, 0, u32::MAX],
            wide: None,
            counts: vec![9, 5, 1],
            missing: Some(1),
            other: None,
        };
        let numbers = vec![1 << 40, 0, u64::MAX];
        let texts = ["a", "", "ß"].into_iter().collect();
        let wide = [
            WideCategories::Numbers(numbers),
            WideCategories::Texts(texts),
        ];
        let wide = wide.map(|wide| Vocabulary {
            categories: Vec::new(),
            wide: Some(wide),
            ..full.clone()
        });
        let seen = wide.each_ref().map(|vocabulary| vocabulary.category(2));
        let expected = [Category::Number(u64::MAX), Category::Text("ß")].map(Some);
        assert_eq!(seen, expected);
        assert_eq!(full.category(0), Some(Category::Number(7)));
        assert_eq!(full.category(1), Some(Category::Missing));
        assert_eq!((full.rows(), full.category(3)), (3, None));
        for vocabulary in wide.into_iter().chain([full, Vocabulary::default()]) {
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
            wide: None,
        };
        let shown = |id, notation| {
            let category = vocabulary.category(id);
            category.map(|category| category.written(notation))
        };
        let hexadecimal = [0, 1, 2, 3].map(|id| shown(id, Notation::of("criteo-kaggle")));
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(hexadecimal, [of("0000068f"), of("-"), of("other"), None]);
        assert_eq!(shown(0, Notation::of("taobao-userbehavior")), of("1679"));
    }
}
