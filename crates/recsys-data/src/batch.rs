//! A mini-batch in host memory: plain vectors, reused from one batch to the next.

use crate::error::{Error, Result};
use crate::schema::Schema;

/// The categorical ids of a batch, single-hot or multi-hot.
///
/// Every sample has one *bag* of ids per table; in a sequence every position has. Bags are numbered sample by sample and
/// position by position: bag `(sample * positions + position) * tables + table`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SparseIds {
    /// Ids, bag by bag. Single-hot: `[batch, tables]`, in sequences `[batch, positions, tables]`, row-major.
    pub ids: Vec<u32>,
    /// Where each bag starts in `ids`, one more than there are bags; empty where every bag holds exactly one id.
    pub offsets: Vec<u32>,
}

impl SparseIds {
    /// Whether every bag holds exactly one id, so that `offsets` is not needed.
    pub fn is_single_hot(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Forgets the contents and keeps the memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.offsets.clear();
    }

    /// The ids of one bag.
    ///
    /// # Panics
    /// Panics if the batch has no such bag.
    pub fn bag(&self, bag: usize) -> &[u32] {
        if self.offsets.is_empty() {
            std::slice::from_ref(&self.ids[bag])
        } else {
            &self.ids[self.offsets[bag] as usize..self.offsets[bag + 1] as usize]
        }
    }
}

/// A mini-batch: labels, dense features and categorical ids of some samples.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Click or no click, `[batch]`, 0 or 1.
    pub label: Vec<f32>,
    /// Dense features after preprocessing, `[batch, dense features]`, in sequences `[batch, positions, dense features]`,
    /// row-major.
    pub dense: Vec<f32>,
    /// Categorical ids, one bag per sample, position and table.
    pub sparse: SparseIds,
}

impl Batch {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.label.len()
    }

    /// Whether the batch holds no sample.
    pub fn is_empty(&self) -> bool {
        self.label.is_empty()
    }

    /// Checks that the batch has all values and ids that a schema asks for, and that its offsets ascend. Ids are not compared
    /// with the rows of their tables.
    ///
    /// # Errors
    /// [`Error::BatchShape`].
    pub fn check(&self, schema: &Schema) -> Result<()> {
        let check = |what, found: usize, expected: usize| {
            if found == expected {
                Ok(())
            } else {
                Err(Error::BatchShape {
                    what,
                    found,
                    expected,
                })
            }
        };
        let (samples, sparse) = (self.len(), &self.sparse);
        check(
            "dense values",
            self.dense.len(),
            samples.saturating_mul(schema.dense_values()),
        )?;
        let bags = samples.saturating_mul(schema.bags());
        if sparse.is_single_hot() || !schema.multi_hot {
            check("ids", sparse.ids.len(), bags)?;
            return check(
                "offsets (the schema is single-hot)",
                sparse.offsets.len(),
                0,
            );
        }
        check("offsets", sparse.offsets.len(), bags.saturating_add(1))?;
        check("first offset", sparse.offsets[0] as usize, 0)?;
        check("ids", sparse.ids.len(), sparse.offsets[bags] as usize)?;
        match sparse.offsets.windows(2).find(|pair| pair[1] < pair[0]) {
            Some(pair) => check(
                "an offset that follows a larger one",
                pair[1] as usize,
                pair[0] as usize,
            ),
            None => Ok(()),
        }
    }

    /// Forgets the samples and keeps the memory.
    pub fn clear(&mut self) {
        self.label.clear();
        self.dense.clear();
        self.sparse.clear();
    }
}
