//! What files of tensors have in common.

use crate::error::Result;

/// A file of named f32 tensors.
pub(crate) trait TensorSource {
    /// That there is such a tensor of such a shape.
    fn check(&self, name: &str, shape: &[u64]) -> Result<()>;

    /// Reads `count` values of a tensor that was [checked](Self::check), from its value number
    /// `first` on.
    fn read(&mut self, name: &str, first: u64, count: usize) -> Result<Vec<f32>>;
}
