//! Which rows have changed since the last sync.

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

    /// Marks all rows of a part.
    pub(crate) fn mark_all(&mut self, part: usize) {
        self.parts[part].fill(u64::MAX);
    }

    /// Whether any row of the part is marked.
    pub(crate) fn any(&self, part: usize) -> bool {
        self.parts[part].iter().any(|&word| word != 0)
    }

    /// Whether a row is marked.
    pub(crate) fn has(&self, part: usize, row: u64) -> bool {
        let word = self.parts[part].get((row / 64) as usize);
        word.is_some_and(|word| word >> (row % 64) & 1 == 1)
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
        let marked = (0..10_000).filter(|&row| dirty.has(0, row));
        assert_eq!(marked.collect::<Vec<_>>(), [0, 63, 64, 99, 100, 127]);
        dirty.take(0, 100, &mut rows);
        assert_eq!(rows, [0, 63, 64, 99]);
        dirty.take(0, 100, &mut rows);
        assert!(rows.is_empty());
        dirty.mark_all(1);
        dirty.take(1, 3, &mut rows);
        assert_eq!(rows, [0, 1, 2]);
    }
}
