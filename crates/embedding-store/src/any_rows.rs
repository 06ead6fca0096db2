//! Any rows in and out, many at a time: what a sync moves.

use std::ops::Range;

use candle_core::Tensor;
use rayon::prelude::*;

use crate::arena::{Arena, RowPointers, SendPointer};
use crate::cpu_store::CpuStore;
use crate::error::{Error, Result};
use crate::kernel::prefetch;
use crate::plan::Plan;

/// Rows of one task.
const ROWS_A_TASK: usize = 1024;
/// Rows between the one that is copied and the one that is prefetched.
const PREFETCH_ROWS: usize = 16;

impl CpuStore {
    pub(crate) fn read_any(
        &self,
        part: usize,
        rows: &[u32],
        weights: &mut Vec<f32>,
        state: &mut Vec<f32>,
    ) -> Result<()> {
        self.check_any(part, rows)?;
        let storage = &self.storage[part];
        read(&storage.weights, storage.first, rows, weights);
        match &storage.state {
            Some(from) => read(from, storage.first, rows, state),
            None => state.clear(),
        }
        Ok(())
    }

    /// `rows` ascend.
    pub(crate) fn write_any(
        &mut self,
        part: usize,
        rows: &[u32],
        weights: &[f32],
        state: &[f32],
    ) -> Result<()> {
        self.check_any(part, rows)?;
        let described = &self.parts[part];
        for (what, got, width) in [
            ("the number of weights", weights.len(), described.dim),
            (
                "the number of state values",
                state.len(),
                described.state_width,
            ),
        ] {
            if got != rows.len() * width {
                return Err(Error::RowsMismatch {
                    name: described.name.clone(),
                    what,
                    got: got as u64,
                    expected: (rows.len() * width) as u64,
                });
            }
        }
        let storage = &mut self.storage[part];
        write(&mut storage.weights, storage.first, rows, weights);
        if let Some(into) = &mut storage.state {
            write(into, storage.first, rows, state);
        }
        Ok(())
    }

    /// That the rows ascend strictly and are here.
    fn check_any(&self, part: usize, rows: &[u32]) -> Result<()> {
        let ascending = rows.is_sorted_by(|a, b| a < b);
        let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else {
            return Ok(());
        };
        let held = &self.held[part];
        if !ascending || u64::from(first) < held.start || u64::from(last) >= held.end {
            return Err(Error::RowNotHeld {
                name: self.parts[part].name.clone(),
                row: u64::from(last),
                start: held.start,
                end: held.end,
            });
        }
        Ok(())
    }

    /// That plan and tensor fit a lookup of some samples.
    pub(crate) fn check_samples(
        &self,
        plan: &Plan,
        samples: &Range<usize>,
        into: &Tensor,
    ) -> Result<()> {
        self.check_plan(plan)?;
        let expected = [samples.len(), self.layout.specs.len(), self.dim];
        if into.dims() != expected || samples.end > plan.batch() {
            return Err(Error::Shape {
                what: "the output",
                got: into.dims().to_vec(),
                expected,
            });
        }
        Ok(())
    }
}

/// Copies rows of the arena behind each other; they are in it.
fn read(from: &Arena, first: usize, rows: &[u32], into: &mut Vec<f32>) {
    let width = from.width();
    into.resize(rows.len() * width, 0.0);
    into.par_chunks_mut(ROWS_A_TASK * width)
        .zip(rows.par_chunks(ROWS_A_TASK))
        .for_each(|(into, rows)| {
            for (index, (into, &row)) in into.chunks_exact_mut(width).zip(rows).enumerate() {
                if let Some(&ahead) = rows.get(index + PREFETCH_ROWS) {
                    prefetch(from.row(ahead as usize - first).as_ptr(), width);
                }
                into.copy_from_slice(from.row(row as usize - first));
            }
        });
}

/// Overwrites rows of the arena, which are in it and ascend strictly.
fn write(into: &mut Arena, first: usize, rows: &[u32], from: &[f32]) {
    let width = into.width();
    let floats = RowPointers::new(into, first);
    let base = SendPointer(floats.at(0));
    let stride = into.stride();
    from.par_chunks(ROWS_A_TASK * width)
        .zip(rows.par_chunks(ROWS_A_TASK))
        .for_each(|(from, rows)| {
            let at = |row: u32| base.get().wrapping_add(row as usize * stride);
            for (index, (from, &row)) in from.chunks_exact(width).zip(rows).enumerate() {
                if let Some(&ahead) = rows.get(index + PREFETCH_ROWS) {
                    prefetch(at(ahead), width);
                }
                // SAFETY: the rows are in the arena, which is borrowed exclusively, and no two are
                // the same.
                let into = unsafe { std::slice::from_raw_parts_mut(at(row), width) };
                into.copy_from_slice(from);
            }
        });
}
