//! Rows in and out of stores.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::layout::Part;

/// Some rows of a part, with their optimizer state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Floats a row.
    pub dim: usize,
    /// `[rows, dim]`.
    pub weights: Vec<f32>,
    /// `[rows, state width of the part]`; may be empty for an import.
    pub state: Vec<f32>,
}

impl Rows {
    /// That the rows are some of that part; how many they are.
    pub(crate) fn check(&self, parts: &[Part], part: usize) -> Result<usize> {
        let Some(described) = parts.get(part) else {
            return Err(Error::PartOutOfRange {
                part,
                parts: parts.len(),
            });
        };
        let mismatch = |what, got: usize, expected: usize| {
            Err(Error::RowsMismatch {
                name: described.name.clone(),
                what,
                got: got as u64,
                expected: expected as u64,
            })
        };
        let (dim, state_width) = (described.dim, described.state_width);
        if self.dim != dim {
            return mismatch("the number of floats a row", self.dim, dim);
        }
        let Some(count) = self.weights.len().checked_div(dim) else {
            return mismatch("the number of floats a row", dim, 1);
        };
        if self.weights.len() != count * dim {
            return mismatch("the number of weights", self.weights.len(), count * dim);
        }
        if !self.state.is_empty() && self.state.len() != count * state_width {
            return mismatch(
                "the number of state values",
                self.state.len(),
                count * state_width,
            );
        }
        Ok(count)
    }

    /// Some of the rows, which [`check`](Self::check) has counted.
    pub(crate) fn slice(&self, rows: Range<usize>) -> Self {
        let count = self.weights.len() / self.dim;
        let state_width = self.state.len() / count.max(1);
        let some = |width: usize| rows.start * width..rows.end * width;
        Self {
            dim: self.dim,
            weights: self.weights[some(self.dim)].to_vec(),
            state: self.state[some(state_width)].to_vec(),
        }
    }
}
