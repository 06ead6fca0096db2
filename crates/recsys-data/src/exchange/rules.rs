//! What becomes of the values and the ids of another program.

use serde::Serialize;

/// What dense values are in files of another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DenseValues {
    /// Integers of 32 bits there, `ln(max(x, 0) + 1)` here.
    Log,
    /// The same numbers here and there.
    AsIs,
}

/// What becomes of the ids of another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ForeignIds {
    /// They are renumbered by frequency, see [`RankOn`](crate::RankOn), ties by the original id,
    /// which the vocabulary keeps.
    Rank,
    /// They stay. Tables have the rows that the counts say, or as many as the largest id needs;
    /// there is no vocabulary.
    Keep,
}
