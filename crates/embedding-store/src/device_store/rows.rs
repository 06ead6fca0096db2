//! Rows in and out of the device.

use std::ops::Range;

use candle_core::{DType, Tensor};

use super::DeviceStore;
use super::index::numbers;
use super::matrix::{Matrix, kept_rows, select_rows, write_rows};
use crate::error::{Error, Result};
use crate::layout::{Part, PartKind};
use crate::rows::Rows;

impl DeviceStore {
    pub(super) fn export_range(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        let range = self.locate(part, rows)?;
        let mut out = Rows {
            dim: self.parts[part].dim,
            weights: Vec::new(),
            state: Vec::new(),
        };
        if range.is_empty() {
            return Ok(out);
        }
        let (matrix, transposed) = self.matrix(part)?;
        let read = |from: &Tensor| -> Result<Vec<f32>> {
            let some = if transposed {
                from.narrow(1, range.start, range.len())?
                    .t()?
                    .contiguous()?
            } else {
                from.narrow(0, range.start, range.len())?
            };
            Ok(some.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
        };
        out.weights = read(&matrix.weights)?;
        if let Some(state) = &matrix.state {
            out.state = read(state)?;
        }
        Ok(out)
    }

    pub(super) fn import_range(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        let count = rows.check(&self.parts, part)?;
        let range = self.locate(part, first_row..first_row.saturating_add(count as u64))?;
        if range.is_empty() {
            return Ok(());
        }
        let (matrix, transposed) = self.matrix(part)?;
        let write = |into: &Tensor, values: Tensor| -> Result<()> {
            if transposed {
                into.slice_set(&values.t()?.contiguous()?, 1, range.start)?;
            } else {
                into.slice_set(&values, 0, range.start)?;
            }
            Ok(())
        };
        let key = self.import_key(part).filter(|_| !transposed);
        // Stored rows are counted in 32 bits.
        let row = |index| (first_row + index as u64) as u32;
        let dim = self.parts[part].dim;
        let weights = kept_rows(&rows.weights, dim, row, key, &self.device)?;
        write(&matrix.weights, weights)?;
        if let Some(into) = &matrix.state {
            let shape = (count, self.parts[part].state_width);
            let state = if rows.state.is_empty() {
                let mut fresh = vec![0.0; shape.1];
                match transposed {
                    false => self.optimizer.fresh_state(&mut fresh),
                    true => fresh.fill(self.optimizer.dense().fresh_state()),
                }
                Tensor::from_vec(fresh.repeat(count), shape, &self.device)?
            } else {
                Tensor::from_slice(&rows.state, shape, &self.device)?
            };
            write(into, state)?;
        }
        Ok(())
    }

    /// Any rows of a part that lookups read, weights and state.
    pub(super) fn read_any(
        &self,
        part: usize,
        rows: &[u32],
        weights: &mut Vec<f32>,
        state: &mut Vec<f32>,
    ) -> Result<()> {
        weights.clear();
        state.clear();
        let Some(rows) = self.locate_any(part, rows)? else {
            return Ok(());
        };
        let (matrix, _) = self.matrix(part)?;
        let read = |from: &Tensor, into: &mut Vec<f32>| -> Result<()> {
            let some = select_rows(from, &rows)?;
            into.extend(some.flatten_all()?.to_vec1::<f32>()?);
            Ok(())
        };
        read(&matrix.weights, weights)?;
        match &matrix.state {
            Some(from) => read(from, state),
            None => Ok(()),
        }
    }

    pub(super) fn write_any(
        &mut self,
        part: usize,
        rows: &[u32],
        weights: &[f32],
        state: &[f32],
    ) -> Result<()> {
        let Some(places) = self.locate_any(part, rows)? else {
            return Ok(());
        };
        let (matrix, _) = self.matrix(part)?;
        let Part {
            dim, state_width, ..
        } = self.parts[part];
        let (row, key) = (|index: usize| rows[index], self.import_key(part));
        let weights = kept_rows(weights, dim, row, key, &self.device)?;
        write_rows(&matrix.weights, &places, &weights)?;
        if let Some(into) = &matrix.state {
            let state = Tensor::from_slice(state, (rows.len(), state_width), &self.device)?;
            write_rows(into, &places, &state)?;
        }
        Ok(())
    }

    /// By which rows of a part from host memory are rounded.
    fn import_key(&self, part: usize) -> Option<u64> {
        Some(self.rounding?.import_key(self.updates, part))
    }

    /// Where a part's rows are, and whether they are stored transposed.
    fn matrix(&self, part: usize) -> Result<(&Matrix, bool)> {
        if let Some(projection) = &self.projections[part] {
            return Ok((projection, true));
        }
        let class = self
            .layout
            .classes
            .iter()
            .position(|class| class.parts.contains(&part));
        match class {
            Some(class) => Ok((&self.classes[class], false)),
            None => Err(self.elsewhere(part, 0)),
        }
    }

    /// Where rows of a part lie in their matrix.
    fn locate(&self, part: usize, rows: Range<u64>) -> Result<Range<usize>> {
        let Some(described) = self.parts.get(part) else {
            return Err(Error::PartOutOfRange {
                part,
                parts: self.parts.len(),
            });
        };
        if rows.start > rows.end || rows.end > described.rows {
            return Err(Error::RowsOutOfRange {
                name: described.name.clone(),
                start: rows.start,
                end: rows.end,
                rows: described.rows,
            });
        }
        if rows.is_empty() {
            return Ok(0..0);
        }
        if rows.end > self.held[part].end {
            return Err(self.elsewhere(part, rows.end - 1));
        }
        // The tensors exist, so their rows can be counted in usize.
        let first = match self.layout.parts[part].kind {
            PartKind::Projection => 0,
            PartKind::Rows(_) => self.first_rows[part] as usize,
        };
        Ok(first + rows.start as usize..first + rows.end as usize)
    }

    /// The numbers of rows in the part's class; none for none.
    fn locate_any(&self, part: usize, rows: &[u32]) -> Result<Option<Tensor>> {
        if let Some(&beyond) = rows
            .iter()
            .find(|&&row| u64::from(row) >= self.held[part].end)
        {
            return Err(self.elsewhere(part, u64::from(beyond)));
        }
        let first = self.first_rows[part];
        numbers(rows.iter().map(|row| first + row).collect(), &self.device)
    }

    fn elsewhere(&self, part: usize, row: u64) -> Error {
        let Range { start, end } = self.held[part];
        Error::RowNotHeld {
            name: self.parts[part].name.clone(),
            row,
            start,
            end,
        }
    }
}
