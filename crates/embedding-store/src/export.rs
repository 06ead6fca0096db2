//! Rows in and out.

use std::ops::Range;

use crate::arena::Arena;
use crate::layout::PartKind;
use crate::{CpuStore, Error, Part, Result, Rows};

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
        let count = self.weights.len() / dim;
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

impl CpuStore {
    pub(crate) fn export_rows(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        let (described, rows) = self.locate(part, rows)?;
        let storage = &self.storage[part];
        let mut out = Rows {
            dim: described.dim,
            weights: Vec::new(),
            state: Vec::new(),
        };
        read(
            &storage.weights,
            storage.kind,
            described.dim,
            rows.clone(),
            &mut out.weights,
        );
        if let Some(state) = &storage.state {
            read(
                state,
                storage.kind,
                described.state_width,
                rows,
                &mut out.state,
            );
        }
        Ok(out)
    }

    pub(crate) fn import_rows(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        let count = rows.check(&self.parts, part)?;
        let Part {
            dim, state_width, ..
        } = self.parts[part];
        let (_, range) = self.locate(part, first_row..first_row.saturating_add(count as u64))?;
        let fresh = self.optimizer.fresh_state();
        let storage = &mut self.storage[part];
        write(
            &mut storage.weights,
            storage.kind,
            dim,
            range.clone(),
            |index| rows.weights[index],
        );
        if let Some(state) = &mut storage.state {
            let value = |index: usize| rows.state.get(index).copied().unwrap_or(fresh);
            write(state, storage.kind, state_width, range, value);
        }
        Ok(())
    }

    /// The part's description, and where rows that it has lie in its arena.
    fn locate(&self, part: usize, rows: Range<u64>) -> Result<(&Part, Range<usize>)> {
        let Some(described) = self.parts.get(part) else {
            return Err(Error::PartOutOfRange {
                part,
                parts: self.parts.len(),
            });
        };
        let held = &self.held[part];
        let elsewhere = !rows.is_empty() && (rows.start < held.start || rows.end > held.end);
        if rows.start > rows.end || rows.end > described.rows {
            let Range { start, end } = rows;
            return Err(Error::RowsOutOfRange {
                name: described.name.clone(),
                start,
                end,
                rows: described.rows,
            });
        }
        if elsewhere {
            return Err(Error::RowNotHeld {
                name: described.name.clone(),
                row: if rows.start < held.start {
                    rows.start
                } else {
                    rows.end - 1
                },
                start: held.start,
                end: held.end,
            });
        }
        if rows.is_empty() {
            return Ok((described, 0..0));
        }
        // The arena exists, so its rows can be counted in usize.
        let first = self.storage[part].first;
        Ok((
            described,
            rows.start as usize - first..rows.end as usize - first,
        ))
    }
}

fn read(arena: &Arena, kind: PartKind, width: usize, rows: Range<usize>, into: &mut Vec<f32>) {
    into.reserve_exact(rows.len() * width);
    for row in rows {
        match kind {
            PartKind::Rows(_) => into.extend_from_slice(arena.row(row)),
            PartKind::Projection => into.extend((0..width).map(|column| arena.row(column)[row])),
        }
    }
}

fn write(
    arena: &mut Arena,
    kind: PartKind,
    width: usize,
    rows: Range<usize>,
    value: impl Fn(usize) -> f32,
) {
    for (index, row) in rows.enumerate() {
        for column in 0..width {
            let value = value(index * width + column);
            match kind {
                PartKind::Rows(_) => arena.row_mut(row)[column] = value,
                PartKind::Projection => arena.row_mut(column)[row] = value,
            }
        }
    }
}
