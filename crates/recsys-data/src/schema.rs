//! What the columns of a data set are.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// One categorical column and the embedding table that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// Column name, unique in its schema.
    pub name: String,
    /// Number of distinct ids; every id is below it.
    pub rows: u64,
}

/// The columns of a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Names of the dense features, in column order.
    pub dense: Vec<String>,
    /// The categorical columns, in order.
    pub tables: Vec<TableSchema>,
    /// Whether a sample may have any number of ids in a table, instead of exactly one.
    #[serde(default)]
    pub multi_hot: bool,
    /// Positions of a sample where samples are sequences, the last one being the candidate; every position has all dense
    /// features and an id of every table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence_length: Option<NonZeroU32>,
}

impl Schema {
    /// Number of rows of every table, in order.
    pub fn table_rows(&self) -> Vec<u64> {
        self.tables.iter().map(|table| table.rows).collect()
    }

    /// Positions of a sample: the sequence length, or 1.
    pub fn positions(&self) -> usize {
        self.sequence_length
            .map_or(1, |length| length.get() as usize)
    }

    /// Dense values of a sample, over all positions.
    pub fn dense_values(&self) -> usize {
        self.positions().saturating_mul(self.dense.len())
    }

    /// Bags of a sample: one for every position and table.
    pub fn bags(&self) -> usize {
        self.positions().saturating_mul(self.tables.len())
    }
}
