//! The device's side of a store in two places.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;

use super::DeviceStore;
use super::index::numbers;
use super::matrix::{Matrix, write_rows};
use super::staged::Staged;
use crate::cold_rows::ColdRows;
use crate::error::{Error, Result};
use crate::layout::PartKind;
use crate::plan::Plan;
use crate::rounding::Rounding;
use crate::rule::Step;
use crate::split::HotOperations;

impl DeviceStore {
    /// Rows that lie behind each other in host memory, on the device; none for none.
    fn upload(&self, floats: &[f32], width: usize) -> Result<Option<Tensor>> {
        if floats.is_empty() {
            return Ok(None);
        }
        let shape = (floats.len() / width, width);
        Ok(Some(Tensor::from_slice(floats, shape, &self.device)?))
    }

    /// All cold rows, flat, on the device, and behind them their state, where it goes along; none
    /// for none.
    fn upload_all(&self, cold: &ColdRows, into: &mut Staged) -> Result<Option<Tensor>> {
        let (weights, state) = (cold.weights.as_slice(), cold.state.as_slice());
        if weights.is_empty() {
            return Ok(None);
        }
        #[cfg(feature = "cuda")]
        if let Some(transfers) = &self.transfers {
            let uploaded = super::cuda::UploadedRows::new(transfers, weights, state)?;
            let rows = uploaded.rows.clone();
            into.uploaded = Some(uploaded);
            return Ok(Some(rows));
        }
        let _ = into;
        let all = [weights, state].concat();
        let count = all.len();
        Ok(Some(Tensor::from_vec(all, count, &self.device)?))
    }

    /// All cold rows with their state, of which `all` is the memory.
    fn copies(&self, cold: &ColdRows, all: &Tensor) -> Result<Option<Matrix>> {
        let rows = cold.rows.len();
        let (weights, state) = (cold.weights.as_slice().len(), cold.state.as_slice().len());
        let matrix = |start, floats| some_rows(Some(all), start..start + floats, floats / rows);
        let Some(weights_here) = matrix(0, weights)? else {
            return Ok(None);
        };
        Ok(Some(Matrix {
            weights: weights_here,
            state: matrix(weights, state)?,
        }))
    }
}

/// Some of the rows that lie behind each other, `[rows, width]`; none for none.
fn some_rows(all: Option<&Tensor>, floats: Range<usize>, width: usize) -> Result<Option<Tensor>> {
    match all {
        Some(all) if !floats.is_empty() => {
            let rows = all.narrow(0, floats.start, floats.len())?;
            Ok(Some(rows.reshape((floats.len() / width, width))?))
        }
        _ => Ok(None),
    }
}

impl HotOperations for DeviceStore {
    type Staged = Staged;

    fn held(&self, part: usize) -> Range<u64> {
        self.held.get(part).cloned().unwrap_or_default()
    }

    fn rounding(&self) -> Option<Rounding> {
        self.rounding
    }

    fn stage(&self, plan: &Plan, cold: &ColdRows, into: &mut Staged) -> Result<()> {
        into.clear();
        let all = self.upload_all(cold, into)?;
        for class in &self.layout.classes {
            let rows = some_rows(all.as_ref(), cold.class(&class.parts), class.width)?;
            into.classes.push(rows);
        }
        for (part, placed) in self.layout.parts.iter().enumerate() {
            into.projections.push(match placed.kind {
                PartKind::Projection => {
                    some_rows(all.as_ref(), cold.floats_of(part), placed.width)?
                }
                PartKind::Rows(_) => None,
            });
        }
        if let (Some(all), true) = (&all, self.moves_staged()) {
            into.copies = self.copies(cold, all)?;
        }
        if self.device.is_cuda() {
            let index = self.index_samples(plan, cold, 0..plan.batch())?;
            into.index = Some(Arc::new(index));
        }
        Ok(())
    }

    /// Tables of other encodings have parts of several widths, and projections.
    fn moves_staged(&self) -> bool {
        self.layout.is_one_class()
    }

    fn move_staged(
        &mut self,
        plan: &Plan,
        cold: &ColdRows,
        staged: &mut Staged,
        grad: &Tensor,
        step: Step,
    ) -> Result<()> {
        self.scatter_staged(plan, cold, staged, grad, step)?;
        #[cfg(feature = "cuda")]
        if let (Some(_), Some(uploaded)) = (&staged.copies, &staged.uploaded) {
            staged.returning = Some(super::cuda::Returning::new(uploaded)?);
        }
        Ok(())
    }

    fn copy_staged(&self, from: &Staged, into: &mut Staged, pairs: &[u32]) -> Result<()> {
        let (Some(from), Some(into)) = (&from.copies, &into.copies) else {
            return Ok(());
        };
        let matrices = [
            Some((&from.weights, &into.weights)),
            from.state.as_ref().zip(into.state.as_ref()),
        ];
        #[cfg(feature = "cuda")]
        if let Some(transfers) = &self.transfers {
            return super::cuda::copy_pairs(transfers, pairs, matrices);
        }
        let (theirs, here) = pairs.split_at(pairs.len() / 2);
        let [theirs, here] = [theirs, here].map(|rows| numbers(rows.to_vec(), &self.device));
        if let (Some(theirs), Some(here)) = (theirs?, here?) {
            for (from, into) in matrices.into_iter().flatten() {
                write_rows(into, &here, &from.index_select(&theirs, 0)?)?;
            }
        }
        Ok(())
    }

    fn take_staged(&self, staged: &mut Staged, cold: &mut ColdRows) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(returning) = staged.returning.take() {
            return returning.take(cold.weights.as_mut_slice(), cold.state.as_mut_slice());
        }
        if let Some(copies) = &staged.copies {
            let read = |from: &Tensor, into: &mut [f32]| -> Result<()> {
                into.copy_from_slice(&from.flatten_all()?.to_vec1::<f32>()?);
                Ok(())
            };
            read(&copies.weights, cold.weights.as_mut_slice())?;
            if let Some(state) = &copies.state {
                read(state, cold.state.as_mut_slice())?;
            }
        }
        Ok(())
    }

    fn stage_changed(&self, cold: &ColdRows, into: &mut Staged) -> Result<()> {
        let floats = cold.weights.as_slice();
        for (number, class) in self.layout.classes.iter().enumerate() {
            let (first, width) = (cold.class(&class.parts).start, class.width);
            let (mut rows, mut values) = (Vec::new(), Vec::new());
            for &(part, place) in &cold.changed {
                if class.parts.contains(&(part as usize)) {
                    let start = cold.at(part as usize, place as usize);
                    rows.push(((start - first) / width) as u32);
                    values.extend_from_slice(&floats[start..start + width]);
                }
            }
            if let (Some(rows), Some(Some(staged)), Some(values)) = (
                numbers(rows, &self.device)?,
                into.classes.get(number),
                self.upload(&values, width)?,
            ) {
                write_rows(staged, &rows, &values)?;
            }
        }
        // A projection changes as a whole.
        for (part, staged) in into.projections.iter_mut().enumerate() {
            let changed = |&(changed, _): &(u32, u32)| changed as usize == part;
            if staged.is_some() && cold.changed.iter().any(changed) {
                let width = self.layout.parts[part].width;
                *staged = self.upload(&floats[cold.floats_of(part)], width)?;
            }
        }
        Ok(())
    }

    fn lookup_with(
        &self,
        plan: &Plan,
        cold: &ColdRows,
        staged: &Staged,
        into: &Tensor,
    ) -> Result<()> {
        self.gather(plan, cold, staged, into)
    }

    fn update_with(
        &mut self,
        plan: &Plan,
        cold: &mut ColdRows,
        staged: &Staged,
        grad: &Tensor,
        step: Step,
    ) -> Result<()> {
        self.scatter(plan, cold, staged, grad, step)
    }

    fn lookup_samples(&self, plan: &Plan, samples: Range<usize>, into: &Tensor) -> Result<()> {
        self.check_plan(plan)?;
        let expected = [samples.len(), self.layout.specs.len(), self.dim];
        if into.dims() != expected || samples.end > plan.batch() {
            return Err(Error::Shape {
                what: "the output",
                got: into.dims().to_vec(),
                expected,
            });
        }
        self.gather_some(plan, samples, into)
    }

    fn read_rows(
        &self,
        part: usize,
        rows: &[u32],
        weights: &mut Vec<f32>,
        state: &mut Vec<f32>,
    ) -> Result<()> {
        self.read_any(part, rows, weights, state)
    }

    fn write_rows(
        &mut self,
        part: usize,
        rows: &[u32],
        weights: &[f32],
        state: &[f32],
    ) -> Result<()> {
        self.write_any(part, rows, weights, state)
    }
}
