//! What the columns of a data set are.

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
}

impl Schema {
    /// Number of rows of every table, in order.
    pub fn table_rows(&self) -> Vec<u64> {
        self.tables.iter().map(|table| table.rows).collect()
    }
}
