//! Gathering rows by tensor operations.

use std::ops::Range;

use candle_core::{DType, Tensor};

use super::DeviceStore;
use super::index::Index;
use super::matrix::select_rows;
use super::staged::Staged;
use crate::cold_rows::ColdRows;
use crate::encoding::Combine;
use crate::error::Result;
use crate::layout::Composition;
use crate::plan::Plan;

impl DeviceStore {
    /// The pooled rows of the whole batch; plan and tensor are checked.
    pub(super) fn gather(
        &self,
        plan: &Plan,
        cold: &ColdRows,
        staged: &Staged,
        into: &Tensor,
    ) -> Result<()> {
        let index = self.index_for(plan, cold, staged)?;
        self.gather_samples(&index, plan.batch(), staged, into)
    }

    pub(super) fn gather_some(
        &self,
        plan: &Plan,
        samples: Range<usize>,
        into: &Tensor,
    ) -> Result<()> {
        let cold = self.no_cold_rows(plan);
        if samples == (0..plan.batch()) {
            return self.gather(plan, &cold, &Staged::default(), into);
        }
        let count = samples.len();
        let index = self.index_samples(plan, &cold, samples)?;
        self.gather_samples(&index, count, &Staged::default(), into)
    }

    fn gather_samples(
        &self,
        index: &Index,
        samples: usize,
        staged: &Staged,
        into: &Tensor,
    ) -> Result<()> {
        if samples == 0 {
            return Ok(());
        }
        #[cfg(feature = "cuda")]
        if let (Some(lists), true) = (&index.lists, self.layout.is_one_class()) {
            // Pooled rows of plain tables are the output itself, in its order.
            return lists.gather(0, &self.classes[0].weights, staged.class(0), into);
        }
        let pooled = self.pooled(index, samples, staged)?;
        let tables = self
            .layout
            .tables
            .iter()
            .zip(&index.filled)
            .map(|(table, filled)| {
                let first = pooled.part(table.first)?;
                match table.composition {
                    Composition::Plain => Ok(first),
                    Composition::QuotientRemainder(combine) => {
                        let second = pooled.part(table.first + 1)?;
                        Ok(match combine {
                            Combine::Multiply => (first * second)?,
                            Combine::Add => (first + second)?,
                            Combine::Concatenate => Tensor::cat(&[first, second], 1)?,
                        })
                    }
                    Composition::Projected { .. } => {
                        match self.projection(table.first + 1, staged) {
                            Some(projection) => self.project(&first, projection, filled.as_ref()),
                            None => self.zeros(samples, self.dim),
                        }
                    }
                }
            })
            .collect::<Result<Vec<_>>>()?;
        into.slice_set(&Tensor::stack(&tables, 1)?.contiguous()?, 0, 0)?;
        Ok(())
    }

    /// The sums of all parts' rows over the samples' bags, in the order of the bags.
    pub(super) fn pooled(&self, index: &Index, samples: usize, staged: &Staged) -> Result<Pooled> {
        let mut parts = vec![None; self.parts.len()];
        for (number, class) in self.layout.classes.iter().enumerate() {
            let pooled = self.pooled_class(number, index, samples, staged)?;
            for (position, &part) in class.parts.iter().enumerate() {
                parts[part] = Some(pooled.narrow(0, position * samples, samples)?);
            }
        }
        Ok(Pooled { parts })
    }

    /// `[parts · samples, width]`.
    fn pooled_class(
        &self,
        class: usize,
        index: &Index,
        samples: usize,
        staged: &Staged,
    ) -> Result<Tensor> {
        let placed = &self.layout.classes[class];
        let bags = placed.parts.len() * samples;
        #[cfg(feature = "cuda")]
        if let Some(lists) = &index.lists {
            let pooled = self.zeros(bags, placed.width)?;
            lists.gather(
                class,
                &self.classes[class].weights,
                staged.class(class),
                &pooled,
            )?;
            return Ok(pooled);
        }
        let index = &index.classes[class];
        let Some(working) = &index.working else {
            return self.zeros(bags, placed.width);
        };
        let hot = match &index.hot {
            Some(hot) => Some(select_rows(&self.classes[class].weights, hot)?),
            None => None,
        };
        let rows = match (hot, staged.class(class)) {
            (Some(hot), Some(cold)) => Tensor::cat(&[&hot, cold], 0)?,
            (Some(hot), None) => hot,
            (None, Some(cold)) => cold.clone(),
            (None, None) => return self.zeros(bags, placed.width),
        };
        let looked_up = rows.index_select(working, 0)?;
        match &index.bags {
            None => Ok(looked_up),
            Some(numbers) => Ok(self
                .zeros(bags, placed.width)?
                .index_add(numbers, &looked_up, 0)?),
        }
    }

    /// The projection of a table, `[dim_i, dim]`, from where it is.
    pub(super) fn projection<'a>(&'a self, part: usize, staged: &'a Staged) -> Option<&'a Tensor> {
        match &self.projections[part] {
            Some(own) => Some(&own.weights),
            None => staged.projection(part),
        }
    }

    /// `P x` for every sample, one column of the projection after the other: the order of the sums
    /// on the CPU. A sample whose bag is empty gets zeros, whatever the projection has come to.
    fn project(
        &self,
        pooled: &Tensor,
        projection: &Tensor,
        filled: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (samples, narrow) = pooled.dims2()?;
        let mut sum = self.zeros(samples, self.dim)?;
        for column in 0..narrow {
            let factors = pooled.narrow(1, column, 1)?;
            sum = (sum + factors.broadcast_mul(&projection.narrow(0, column, 1)?)?)?;
        }
        match filled {
            Some(filled) => {
                let filled = filled.broadcast_as(sum.shape())?;
                Ok(filled.where_cond(&sum, &self.zeros(samples, self.dim)?)?)
            }
            None => Ok(sum),
        }
    }
}

/// Pooled rows, `[samples, width]` for each part that lookups read.
#[derive(Debug)]
pub(super) struct Pooled {
    parts: Vec<Option<Tensor>>,
}

impl Pooled {
    pub(super) fn part(&self, part: usize) -> Result<Tensor> {
        match self.parts.get(part) {
            Some(Some(pooled)) => Ok(pooled.clone()),
            _ => Ok(Tensor::zeros(
                (0, 0),
                DType::F32,
                &candle_core::Device::Cpu,
            )?),
        }
    }
}
