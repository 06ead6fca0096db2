//! Where samples come from.

use crate::{Batch, Result, Schema};

/// A collection of samples with random access.
///
/// Implementations are shared between loader threads, so reading takes `&self`.
pub trait Dataset: Send + Sync {
    /// The columns.
    fn schema(&self) -> &Schema;

    /// Number of samples.
    fn len(&self) -> u64;

    /// Whether there is no sample.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces the contents of `into` by the given samples, in the given order; its memory is reused.
    ///
    /// # Errors
    /// A sample number at or beyond [`Dataset::len`], or data found damaged.
    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()>;
}
