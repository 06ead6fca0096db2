//! Ids renumbered by frequency.

use std::cmp::{Ordering, Reverse};

/// A renumbering of the ids of a table: new id 0 is the most frequent one, 1 the next, and so on.
///
/// ```
/// let ranking = recsys_data::exchange::Ranking::by_count(&[3, 9, 0, 9]);
/// assert_eq!(ranking.new_ids(), [2, 0, 3, 1]);
/// assert_eq!(ranking.old_ids(), [1, 3, 0, 2]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    new_ids: Vec<u32>,
    old_ids: Vec<u32>,
}

impl Ranking {
    /// Ranks ids `0..counts.len()`, at most 2^32 of them, by how often they occur; ties by id.
    pub fn by_count(counts: &[u64]) -> Self {
        Self::by_count_then(counts, |a, b| a.cmp(&b))
    }

    /// As [`Ranking::by_count`]; ties in the order of `tie`.
    pub(crate) fn by_count_then(counts: &[u64], tie: impl Fn(u32, u32) -> Ordering + Sync) -> Self {
        use rayon::slice::ParallelSliceMut;
        let mut old_ids: Vec<u32> = (0u32..).take(counts.len()).collect();
        let count = |id: u32| Reverse(counts[id as usize]);
        // No two compare as equal, so that the order is the same on any number of threads.
        old_ids.par_sort_unstable_by(|&a, &b| count(a).cmp(&count(b)).then_with(|| tie(a, b)));
        let mut new_ids = vec![0; old_ids.len()];
        for (new, &old) in (0u32..).zip(&old_ids) {
            new_ids[old as usize] = new;
        }
        Self { new_ids, old_ids }
    }

    /// The new id of every old one.
    pub fn new_ids(&self) -> &[u32] {
        &self.new_ids
    }

    /// The old id of every new one.
    pub fn old_ids(&self) -> &[u32] {
        &self.old_ids
    }

    /// Whether nothing changes.
    pub fn is_identity(&self) -> bool {
        (0u32..).zip(&self.old_ids).all(|(new, &old)| new == old)
    }

    /// `values`, one for each old id, in the order of the new ids.
    pub(crate) fn reordered<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let values = self.old_ids.iter().map(|&old| values[old as usize]);
        values.collect()
    }
}
