//! Which rows have changed since the last sync.

use std::ops::Range;

/// One bit for each hot row of each part.
#[derive(Debug, Default)]
pub(crate) struct DirtyRows {
    parts: Vec<Vec<u64>>,
}

impl DirtyRows {
    /// Nothing has changed in parts of that many rows.
    pub(crate) fn new(rows: impl Iterator<Item = u64>) -> Self {
        let words = |rows: u64| vec![0; rows.div_ceil(64) as usize];
        Self {
            parts: rows.map(words).collect(),
        }
    }

    /// Marks rows, ascending, as far as they are among those of the part.
    pub(crate) fn mark(&mut self, part: usize, rows: &[u32]) {
        let words = &mut self.parts[part];
        for &row in rows {
            match words.get_mut(row as usize / 64) {
                Some(word) => *word |= 1 << (row % 64),
                None => break,
            }
        }
    }

    /// Marks rows that follow each other and are among those of the part.
    pub(crate) fn mark_range(&mut self, part: usize, rows: Range<u64>) {
        for row in rows {
            self.parts[part][(row / 64) as usize] |= 1 << (row % 64);
        }
    }

    /// Marks all rows of a part.
    pub(crate) fn mark_all(&mut self, part: usize) {
        self.parts[part].fill(u64::MAX);
    }

    /// Whether any row of the part is marked.
    pub(crate) fn any(&self, part: usize) -> bool {
        self.parts[part].iter().any(|&word| word != 0)
    }

    /// Lists a part's marked rows below `rows`, ascending, and forgets them.
    pub(crate) fn take(&mut self, part: usize, rows: u64, into: &mut Vec<u32>) {
        into.clear();
        for (index, word) in self.parts[part].iter_mut().enumerate() {
            let mut left = std::mem::take(word);
            while left != 0 {
                let row = index as u32 * 64 + left.trailing_zeros();
                left &= left - 1;
                if u64::from(row) < rows {
                    into.push(row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_rows_are_taken_once() {
        let mut dirty = DirtyRows::new([100, 3].into_iter());
        let mut rows = Vec::new();
        dirty.mark(0, &[0, 63, 64, 99, 100, 127, 128, 5000]);
        dirty.mark(0, &[64]);
        assert!(dirty.any(0) && !dirty.any(1));
        dirty.take(0, 100, &mut rows);
        assert_eq!(rows, [0, 63, 64, 99]);
        dirty.take(0, 100, &mut rows);
        assert!(rows.is_empty());
        dirty.mark_all(1);
        dirty.take(1, 3, &mut rows);
        assert_eq!(rows, [0, 1, 2]);
        dirty.mark_range(0, 62..66);
        dirty.take(0, 100, &mut rows);
        assert_eq!(rows, [62, 63, 64, 65]);
    }
}
