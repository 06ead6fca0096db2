//! Rows in and out.

use std::ops::Range;

use crate::arena::Arena;
use crate::layout::PartKind;
use crate::{CpuStore, Error, Part, Result, Rows};

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
        let (described, _) = self.locate(part, 0..0)?;
        let (dim, state_width) = (described.dim, described.state_width);
        let mismatch = |what, got: usize, expected: usize| {
            Err(Error::RowsMismatch {
                name: described.name.clone(),
                what,
                got: got as u64,
                expected: expected as u64,
            })
        };
        if rows.dim != dim {
            return mismatch("the number of floats a row", rows.dim, dim);
        }
        let count = rows.weights.len() / dim;
        if rows.weights.len() != count * dim {
            return mismatch("the number of weights", rows.weights.len(), count * dim);
        }
        if !rows.state.is_empty() && rows.state.len() != count * state_width {
            return mismatch(
                "the number of state values",
                rows.state.len(),
                count * state_width,
            );
        }
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

    /// The part's description, and rows that it has.
    fn locate(&self, part: usize, rows: Range<u64>) -> Result<(&Part, Range<usize>)> {
        let Some(described) = self.parts.get(part) else {
            return Err(Error::PartOutOfRange {
                part,
                parts: self.parts.len(),
            });
        };
        if rows.start > rows.end || rows.end > described.rows {
            let Range { start, end } = rows;
            return Err(Error::RowsOutOfRange {
                name: described.name.clone(),
                start,
                end,
                rows: described.rows,
            });
        }
        // The arena exists, so its rows can be counted in usize.
        Ok((described, rows.start as usize..rows.end as usize))
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
