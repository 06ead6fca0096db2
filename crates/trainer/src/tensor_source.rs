//! What files of tensors have in common.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::float::Float;
use crate::text::list_of;

/// The type of a tensor's numbers in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dtype {
    Float(Float),
    /// No floats, or none that are read, under their name.
    Other(String),
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// Type and shape of a tensor in a file.
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
}

impl Stored {
    /// Its rows, where it is a matrix of floats of that width.
    pub(crate) fn rows_of(&self, width: usize) -> Option<u64> {
        match (&self.dtype, &self.shape[..]) {
            (Dtype::Float(_), &[rows, found]) if found == width as u64 => Some(rows),
            _ => None,
        }
    }
}

/// A file of named tensors, whose floats are read as f32.
pub(crate) trait TensorSource {
    /// The file, for messages.
    fn path(&self) -> &Path;

    /// Texts that the file holds besides; none where its form has no place for them.
    fn about(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The names of all tensors.
    fn names(&self) -> Vec<String>;

    /// The error that there is no tensor of a name.
    fn missing(&self, name: &str) -> Error {
        let names = self.names();
        Error::WeightMissing {
            path: self.path().into(),
            name: name.into(),
            known: list_of(names.iter().map(String::as_str)),
        }
    }

    /// What the file says of a tensor; `None` where it has none of that name.
    fn find(&self, name: &str) -> Option<Stored>;

    /// That there is such a tensor of such a shape.
    fn check(&self, name: &str, shape: &[u64]) -> Result<()> {
        let Some(found) = self.find(name) else {
            return Err(self.missing(name));
        };
        let is_float = matches!(found.dtype, Dtype::Float(_));
        if is_float && found.shape == shape {
            return Ok(());
        }
        let floats = match is_float {
            true => "",
            false => "floats (F16, BF16, F32 or F64) ",
        };
        Err(Error::WeightShape {
            path: self.path().into(),
            name: name.into(),
            found: format!("{} {:?}", found.dtype, found.shape),
            expected: format!("{floats}{shape:?}"),
        })
    }

    /// Reads `count` values of a tensor that was [checked](Self::check), from its value number
    /// `first` on.
    fn read(&mut self, name: &str, first: u64, count: usize) -> Result<Vec<f32>>;
}
