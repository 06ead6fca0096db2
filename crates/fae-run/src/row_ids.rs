//! Which categories the rows of weights are of.

use std::collections::BTreeMap;

use recsys_data::packed::PackedDataset;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trainer::Checkpoint;

/// What weights and checkpoints keep it under.
const KEY: &str = "ids";

/// For every table the hash of what its ids stand for; `None` where they are what they were in the
/// files that the data set was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RowIds(Vec<Option<String>>);

impl RowIds {
    /// Those of a data set.
    pub(crate) fn of(data: &PackedDataset) -> Self {
        Self(data.ids_xxh3())
    }

    /// Those that a file of weights keeps.
    pub(crate) fn of_about(about: &BTreeMap<String, String>) -> Option<Self> {
        serde_json::from_str(about.get(KEY)?).ok()
    }

    /// Those that a checkpoint keeps.
    pub(crate) fn of_checkpoint(checkpoint: &Checkpoint) -> Option<Self> {
        Self::deserialize(&checkpoint.about()[KEY]).ok()
    }

    /// For a file of weights.
    pub(crate) fn about(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(KEY.to_owned(), json!(self.0).to_string())])
    }

    /// For checkpoints.
    pub(crate) fn to_json(&self) -> Value {
        json!({ KEY: self.0 })
    }

    /// Whether ids mean the same in a data set.
    pub(crate) fn compare(&self, data: &PackedDataset) -> SameIds {
        let here = data.ids_xxh3();
        if here.len() != self.0.len() {
            let what = format!("{} tables there, {} here", self.0.len(), here.len());
            return SameIds::No(what);
        }
        let pairs = self.0.iter().zip(&here);
        let other = pairs.clone().position(|pair| match pair {
            (Some(there), Some(here)) => there != here,
            _ => false,
        });
        match other {
            Some(table) => SameIds::No(format!("table {}", data.schema().tables[table].name)),
            None if self.0 == here => SameIds::Yes,
            None => SameIds::Unknown,
        }
    }
}

/// Whether ids of two data sets are of the same categories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SameIds {
    Yes,
    /// One of them has no vocabulary of a table, so there is nothing to compare.
    Unknown,
    /// Where they differ.
    No(String),
}
