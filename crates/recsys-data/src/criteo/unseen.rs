//! Categories that a vocabulary does not have.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::vocabulary::{Category, Notation};

/// What becomes of a category that the vocabulary does not have, and of a missing one where the
/// data that the vocabulary was made of missed none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Unseen {
    /// The id of rare categories, where the table has one, else that of missing ones; a table with
    /// neither is an error.
    #[default]
    Unknown,
    /// A row that others use as well: xxh3 (64 bits) of the category's four bytes, little-endian
    /// and after `max_ind_range`, modulo the table's rows. A missing category is no byte.
    Hash,
    /// An error.
    Error,
}

/// A category that is not in a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnseenCategory {
    /// Name of the column.
    pub table: String,
    /// The category, after `max_ind_range`.
    pub category: Category<'static>,
    /// What was to be done with it.
    pub policy: Unseen,
}

impl fmt::Display for UnseenCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table, category, ..
        } = self;
        match category {
            Category::Missing => write!(
                f,
                "{table} is missing, which it never was in the data of the vocabulary"
            )?,
            _ => {
                let category = category.written(Notation::Hexadecimal);
                write!(f, "category {category} of {table} is not in the vocabulary")?;
            }
        }
        match self.policy {
            Unseen::Unknown => f.write_str(
                ", and this table has an id neither for rare nor for missing categories: choose \
                 `Unseen::Hash`, or prepare the first data with a `min_count` of 2 or more",
            ),
            _ => f.write_str(": choose `Unseen::Unknown` or `Unseen::Hash` to go on"),
        }
    }
}
