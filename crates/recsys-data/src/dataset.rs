//! Where samples come from.

use crate::batch::Batch;
use crate::error::Result;
use crate::schema::Schema;

/// The categorical ids of some samples, borrowed from wherever they lie.
#[derive(Debug, Clone, Copy)]
pub struct IdBlock<'a> {
    /// Number of samples.
    pub samples: usize,
    /// Ids, bag by bag, as in [`SparseIds::ids`](crate::SparseIds::ids).
    pub ids: &'a [u32],
    /// Where each bag starts in `ids`, one more than there are bags; empty where every bag holds exactly one id.
    pub offsets: &'a [u32],
}

/// A collection of samples with random access.
///
/// Implementations are shared between loader threads, so reading takes `&self`.
///
/// # Ids
/// An id should be the rank of its category by frequency in the training split, 0 for the most frequent. Packed data sets
/// are prepared so. Everything that tells hot rows from cold ones takes the first rows of a table as the hot ones: under
/// other ids results are right all the same, but a hot set of the same size serves fewer lookups, down to its share of all
/// rows. [`Rerank`](crate::exchange::Rerank) renumbers a packed data set.
///
/// # Errors from outside
/// A data set that reads from elsewhere passes its own errors on with [`Error::external`](crate::Error::external).
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

    /// Says that these samples will be read soon, so that a slow medium can begin to fetch them. Best effort: changes no
    /// result, waits for nothing, and ignores samples that do not exist.
    ///
    /// By default nothing happens.
    fn read_ahead(&self, samples: &[u64]) {
        let _ = samples;
    }

    /// Shows the categorical ids of the given samples to `visit`, in the given order, block by block, for those who need
    /// nothing else. `scratch` is memory to work in; its contents afterwards mean nothing.
    ///
    /// By default the samples are read. Data sets whose ids lie in memory show them where they are, consecutive samples
    /// as one block.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    fn visit_ids(
        &self,
        samples: &[u64],
        scratch: &mut Batch,
        visit: &mut dyn FnMut(IdBlock<'_>),
    ) -> Result<()> {
        self.read(samples, scratch)?;
        visit(IdBlock {
            samples: samples.len(),
            ids: &scratch.sparse.ids,
            offsets: &scratch.sparse.offsets,
        });
        Ok(())
    }
}
