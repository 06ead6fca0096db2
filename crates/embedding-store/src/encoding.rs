//! How a feature's rows are stored.

use serde::{Deserialize, Serialize};

/// How the two parts of a quotient–remainder table become one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// Element by element product (the reference's `mult`).
    Multiply,
    /// Element by element sum (`add`).
    Add,
    /// One behind the other, each half as wide as the row (`concat`).
    Concatenate,
}

/// How the rows of a feature are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// One row per id.
    Full,
    /// The compositional embedding of Shi et al., "Compositional Embeddings Using Complementary
    /// Partitions" (KDD 2020): row `id / collisions` of one part and row `id % collisions` of
    /// another, each sum-pooled over the bag, then combined.
    QuotientRemainder {
        /// Rows of the remainder part; the quotient part has `ceil(rows / collisions)`.
        collisions: u64,
        /// How the two pooled rows become one.
        combine: Combine,
    },
    /// The mixed-dimension embedding of Ginart et al. (2019): narrower rows, and after pooling a
    /// projection without bias to the full width. With `dim` equal to the store's there is no
    /// projection.
    MixedDimension {
        /// Floats of a stored row, at most the store's.
        dim: usize,
    },
}

/// One categorical feature's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableSpec {
    /// Number of ids, `0..rows`.
    pub rows: u64,
    /// How they are stored.
    pub encoding: Encoding,
}

impl TableSpec {
    /// A table with one full row per id.
    pub fn full(rows: u64) -> Self {
        Self {
            rows,
            encoding: Encoding::Full,
        }
    }
}
