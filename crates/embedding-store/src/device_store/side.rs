//! The device's side of a store in two places.

use std::ops::Range;

use candle_core::Tensor;

use super::DeviceStore;
use super::index::numbers;
use super::update::write_rows;
use crate::cold_rows::ColdRows;
use crate::layout::PartKind;
use crate::split::HotSide;
use crate::{Error, Plan, Result};

/// A batch's cold rows on the device.
#[derive(Debug, Default)]
pub struct Staged {
    /// One for each class, `[cold rows, width]`.
    classes: Vec<Option<Tensor>>,
    /// One for each part, `[dim_i, dim]`.
    projections: Vec<Option<Tensor>>,
}

impl Staged {
    pub(super) fn class(&self, class: usize) -> Option<&Tensor> {
        self.classes.get(class)?.as_ref()
    }

    pub(super) fn projection(&self, part: usize) -> Option<&Tensor> {
        self.projections.get(part)?.as_ref()
    }
}

impl DeviceStore {
    /// Rows that lie behind each other in host memory, on the device; none for none.
    fn upload(&self, floats: &[f32], width: usize) -> Result<Option<Tensor>> {
        if floats.is_empty() {
            return Ok(None);
        }
        let shape = (floats.len() / width, width);
        Ok(Some(Tensor::from_slice(floats, shape, &self.device)?))
    }
}

impl HotSide for DeviceStore {
    type Staged = Staged;

    fn held(&self, part: usize) -> Range<u64> {
        self.held.get(part).cloned().unwrap_or_default()
    }

    fn stage(&self, cold: &ColdRows, into: &mut Staged) -> Result<()> {
        let floats = cold.weights.as_slice();
        into.classes.clear();
        for class in &self.layout.classes {
            let rows = self.upload(&floats[cold.class(&class.parts)], class.width)?;
            into.classes.push(rows);
        }
        into.projections.clear();
        for (part, placed) in self.layout.parts.iter().enumerate() {
            into.projections.push(match placed.kind {
                PartKind::Projection => self.upload(&floats[cold.floats_of(part)], placed.width)?,
                PartKind::Rows(_) => None,
            });
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
        learning_rate: f64,
    ) -> Result<()> {
        self.scatter(plan, cold, staged, grad, learning_rate)
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
