//! Rows by the vocabulary of a data set that was prepared before.

use std::fmt;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::encode::{Categories, Encoder};
use super::unseen::{Unseen, UnseenCategory};
use super::{DENSE_FEATURES, Numbering, RawRow, TABLES, field_name};
use crate::category_counts::CategoryCounts;
use crate::criteo::error::Error as CriteoError;
use crate::error::{Error, Result};
use crate::packed::PackedDataset;
use crate::vocabulary::{Category, Vocabulary};

/// A row as a model takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct EncodedRow {
    /// Ids of the 26 tables.
    pub ids: [u32; TABLES],
    /// `ln(max(x, 0) + 1)` of the 13 integers.
    pub dense: [f32; DENSE_FEATURES],
    /// Bit `t` is set where the category of table `t` is not in the vocabulary.
    pub unseen: u32,
}

/// Encodes rows one by one, for serving, by the vocabulary and the options of a prepared data set.
///
/// Memory is 20 to 35 bytes for each category. Encoding allocates nothing and takes `&self`, so that threads can share an encoder.
///
/// ```
/// use recsys_data::criteo::{
///     PrepareCriteo, PrepareOptions, RawRow, RowEncoder, Unseen, parse_row,
/// };
/// use recsys_data::generate::{Planted, PlantedOptions};
/// use recsys_data::packed::PackedDataset;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let (raw, out) = (folder.path().join("train.txt"), folder.path().join("packed"));
/// # Planted::new(PlantedOptions::default())?.write_criteo_text(0..700, std::fs::File::create(&raw)?)?;
/// # PrepareCriteo::new(PrepareOptions { raw: vec![raw.clone()], out: out.clone(), ..PrepareOptions::default() }).run(&())?;
/// // Once: read the vocabulary that the model was trained with.
/// let encoder = RowEncoder::new(&PackedDataset::open(&out)?, Unseen::Hash)?;
///
/// // For each request: the text of a row, or its numbers.
/// let mut row = RawRow::default();
/// parse_row(&std::fs::read(&raw)?, &mut row).ok_or("no row")?;
/// let encoded = encoder.encode(&row)?;
/// assert_eq!(encoded.unseen, 0);
/// assert_eq!(encoded.dense[0], (row.dense[0].max(0) as f32 + 1.0).ln());
/// # Ok(())
/// # }
/// ```
pub struct RowEncoder {
    encoder: Encoder,
    rows: [u64; TABLES],
    /// The id that stands in for unseen categories.
    unknown: [Option<u32>; TABLES],
    unseen: Unseen,
}

impl fmt::Debug for RowEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowEncoder")
            .field("rows", &self.rows)
            .field("unseen", &self.unseen)
            .finish_non_exhaustive()
    }
}

impl RowEncoder {
    /// Reads the vocabularies of a data set that was prepared from Criteo's rows.
    ///
    /// # Errors
    /// A data set of another kind or without vocabularies, or one whose dense values or categories
    /// are not what raw rows give; a vocabulary that is damaged or has a category twice.
    pub fn new(data: &PackedDataset, unseen: Unseen) -> Result<Self> {
        let refuse = |reason: String| {
            Error::Criteo(CriteoError::NotEncodable {
                path: data.folder().to_path_buf(),
                reason,
            })
        };
        let (schema, provenance) = (data.schema(), &data.manifest().provenance);
        let names = |first: usize, count: usize| (first..first + count).map(field_name);
        let tables = schema.tables.iter().map(|table| table.name.clone());
        if schema.multi_hot
            || schema.sequence_length.is_some()
            || !schema.dense.iter().cloned().eq(names(1, DENSE_FEATURES))
            || !tables.eq(names(1 + DENSE_FEATURES, TABLES))
        {
            return Err(refuse(format!(
                "its columns are not those of Criteo's rows (it is \"{}\"); behaviour sequences need whole histories: prepare \
                 those anew",
                provenance.dataset
            )));
        }
        let options = provenance.first_options();
        if let Some(reason) = foreign_values(options) {
            return Err(refuse(reason));
        }
        let option = |name: &str| options[name].clone();
        let numbering: Numbering = serde_json::from_value(option("ids")).map_err(|_| {
            refuse(
                "its manifest does not say how ids were numbered; prepare it with `PrepareCriteo`"
                    .into(),
            )
        })?;
        let max_ind_range: Option<u64> = serde_json::from_value(option("max_ind_range"))
            .ok()
            .filter(|range| *range != Some(0))
            .ok_or_else(|| refuse("its manifest has no valid max_ind_range".into()))?;

        let mut unknown = [None; TABLES];
        let mut rows = [0; TABLES];
        let mut indices = Vec::with_capacity(TABLES);
        for (table, column) in schema.tables.iter().enumerate() {
            let Some(vocabulary) = data.vocabulary(table)? else {
                return Err(refuse(format!("table {} has none", column.name)));
            };
            if vocabulary.wide.is_some() {
                return Err(refuse(format!(
                    "the categories of table {} are not numbers of 32 bits, as Criteo's are",
                    column.name
                )));
            }
            let index = index_of(&vocabulary, numbering)
                .ok_or_else(|| refuse(format!("table {} has a category twice", column.name)))?;
            indices.push(index);
            unknown[table] = vocabulary.other.or(vocabulary.missing);
            rows[table] = column.rows;
        }
        let categories = Categories::new(max_ind_range, numbering);
        Ok(Self {
            encoder: Encoder::new(categories, indices),
            rows,
            unknown,
            unseen,
        })
    }

    /// Encodes a row.
    ///
    /// # Errors
    /// [`Error::Unseen`](crate::criteo::Error::Unseen), where the policy says so.
    #[inline]
    pub fn encode(&self, row: &RawRow) -> Result<EncodedRow> {
        self.try_encode(row)
            .map_err(|unseen| Error::Criteo(CriteoError::Unseen { unseen }))
    }

    #[inline]
    pub(super) fn try_encode(
        &self,
        row: &RawRow,
    ) -> std::result::Result<EncodedRow, UnseenCategory> {
        let mut row = *row;
        self.encoder.categories.apply(&mut row);
        let mut encoded = EncodedRow {
            ids: [0; TABLES],
            dense: row.dense.map(|value| self.encoder.dense(value)),
            unseen: 0,
        };
        for (table, id) in encoded.ids.iter_mut().enumerate() {
            *id = match self.encoder.id(&row, table) {
                Some(id) => id,
                None => {
                    encoded.unseen |= 1 << table;
                    self.stand_in(&row, table)?
                }
            };
        }
        Ok(encoded)
    }

    /// The id of a category that the vocabulary does not have.
    #[cold]
    fn stand_in(&self, row: &RawRow, table: usize) -> std::result::Result<u32, UnseenCategory> {
        let missing = row.missing >> table & 1 == 1;
        let category = row.categories[table];
        let id = match self.unseen {
            Unseen::Unknown => self.unknown[table],
            Unseen::Hash => {
                let bytes = category.to_le_bytes();
                let hash = xxh3_64(if missing { &[] } else { &bytes });
                // Below the rows, and so within 32 bits; a table without rows has no id.
                hash.checked_rem(self.rows[table]).map(|id| id as u32)
            }
            Unseen::Error => None,
        };
        id.ok_or_else(|| UnseenCategory {
            table: field_name(1 + DENSE_FEATURES + table),
            category: if missing {
                Category::Missing
            } else {
                Category::Number(category.into())
            },
            policy: self.unseen,
        })
    }
}

/// Leads from categories to their ids; `None` where one has two.
fn index_of(vocabulary: &Vocabulary, numbering: Numbering) -> Option<CategoryCounts> {
    let mut index = CategoryCounts::new();
    let mut ids = Vec::with_capacity(vocabulary.categories.len());
    for (id, &category) in (0u32..).zip(&vocabulary.categories) {
        if vocabulary.other == Some(id) {
            // Stands for no category of its own.
            continue;
        }
        // In the original's numbering a missing value is the category 0 like any other.
        if vocabulary.missing == Some(id) && numbering == Numbering::Rank {
            index.add_missing();
        } else if index.add(category) as usize != ids.len() {
            return None;
        }
        ids.push(id);
    }
    index.renumber(&ids);
    Some(index)
}

/// Why raw rows do not become samples like those that an import made; `None` where they do.
fn foreign_values(options: &Value) -> Option<String> {
    let format = options["format"].as_str()?;
    let columns = |key: &str| options["mapping"][key].as_array().into_iter().flatten();
    let logarithms = match format {
        "table" => columns("dense").all(|column| column["transform"] == "log1p"),
        _ => options["dense"] == "log",
    };
    if !logarithms {
        return Some(
            "its dense values are not ln(max(x, 0) + 1) of Criteo's integers, which encoded rows \
            would have; prepare \
             the new rows as it was prepared"
                .into(),
        );
    }
    let hashes = match format {
        "table" => columns("categorical").all(|column| column["type"] == "hex"),
        format => format == "torchrec",
    };
    (!hashes).then(|| {
        "its categories are not Criteo's hexadecimal ones, so that all of a raw row would be \
        unseen; prepare the new \
         rows as it was prepared"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_vocabulary_are_found_by_category() {
        let vocabulary = Vocabulary {
            categories: vec![0xc, 0, 0, 0xb],
            counts: vec![4, 3, 2, 1],
            wide: None,
            missing: Some(1),
            other: Some(2),
        };
        let ids = |numbering| {
            let index = index_of(&vocabulary, numbering).unwrap();
            let of = |value| index.entry(value);
            (of(0xc), of(0xb), of(0), of(7), index.missing())
        };
        assert_eq!(
            ids(Numbering::Rank),
            (Some(0), Some(3), None, None, Some(1))
        );
        assert_eq!(
            ids(Numbering::Reference),
            (Some(0), Some(3), Some(1), None, None)
        );
        let twice = Vocabulary {
            categories: vec![5, 5],
            counts: vec![1, 1],
            ..Vocabulary::default()
        };
        assert!(index_of(&twice, Numbering::Rank).is_none());
    }
}
