//! Rows in and out.

use std::ops::Range;

use crate::arena::Arena;
use crate::cpu_store::CpuStore;
use crate::error::{Error, Result};
use crate::layout::{Part, PartKind};
use crate::rows::Rows;

impl CpuStore {
    pub(crate) fn export_range(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
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

    pub(crate) fn import_range(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        let count = rows.check(&self.parts, part)?;
        let Part {
            dim, state_width, ..
        } = self.parts[part];
        let (_, range) = self.locate(part, first_row..first_row.saturating_add(count as u64))?;
        let mut fresh = vec![0.0; state_width];
        self.fresh_state(part, &mut fresh);
        let storage = &mut self.storage[part];
        write(
            &mut storage.weights,
            storage.kind,
            dim,
            range.clone(),
            |index| rows.weights[index],
        );
        if let Some(state) = &mut storage.state {
            let value = |index: usize| match rows.state.is_empty() {
                true => fresh[index % state_width],
                false => rows.state[index],
            };
            write(state, storage.kind, state_width, range, value);
        }
        Ok(())
    }

    /// The state of one row of a part that was never updated.
    fn fresh_state(&self, part: usize, state: &mut [f32]) {
        match self.layout.parts[part].kind {
            PartKind::Rows(_) => self.optimizer.fresh_state(state),
            PartKind::Projection => state.fill(self.optimizer.dense().fresh_state()),
        }
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
