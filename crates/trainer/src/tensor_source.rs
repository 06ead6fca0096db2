//! What files of tensors have in common.

use std::path::Path;

use crate::error::{Error, Result};

/// The type that all weights have, as files of both kinds spell it.
const TYPE: &str = "F32";

/// Type and shape of a tensor in a file.
pub(crate) struct Stored {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
}

impl Stored {
    /// Its rows, where it is an f32 matrix of that width.
    pub(crate) fn rows_of(&self, width: usize) -> Option<u64> {
        match self.shape[..] {
            [rows, found] if self.dtype == TYPE && found == width as u64 => Some(rows),
            _ => None,
        }
    }
}

/// A file of named f32 tensors.
pub(crate) trait TensorSource {
    /// The file, for messages.
    fn path(&self) -> &Path;

    /// What the file says of a tensor; `None` where it has none of that name.
    fn find(&self, name: &str) -> Option<Stored>;

    /// That there is such a tensor of such a shape.
    fn check(&self, name: &str, shape: &[u64]) -> Result<()> {
        let Some(found) = self.find(name) else {
            return Err(Error::WeightMissing {
                path: self.path().into(),
                name: name.into(),
            });
        };
        if found.dtype != TYPE || found.shape != shape {
            return Err(Error::WeightShape {
                path: self.path().into(),
                name: name.into(),
                found: format!("{} {:?}", found.dtype, found.shape),
                expected: format!("{TYPE} {shape:?}"),
            });
        }
        Ok(())
    }

    /// Reads `count` values of a tensor that was [checked](Self::check), from its value number
    /// `first` on.
    fn read(&mut self, name: &str, first: u64, count: usize) -> Result<Vec<f32>>;
}
