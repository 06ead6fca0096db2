//! Moving rows by tensor operations.

use candle_core::{DType, Tensor};

use super::DeviceStore;
use super::index::ClassIndex;
use super::lookup::Pooled;
use super::matrix::{Matrix, moved_rows, select_rows, write_rows};
use super::staged::Staged;
use crate::cold_rows::ColdRows;
use crate::error::Result;
use crate::kernel::LANES;
use crate::layout::{Composition, GradientOf, PartKind};
use crate::plan::Plan;
use crate::rule::{DenseRule, Rule, Step, step_row};

/// Samples whose products for a projection's gradient are held together.
const SAMPLES_AT_ONCE: usize = 256;

impl DeviceStore {
    /// Updates all touched rows that are here and writes the gradients of the others into `cold`;
    /// plan and tensor are checked.
    pub(super) fn scatter(
        &mut self,
        plan: &Plan,
        cold: &mut ColdRows,
        staged: &Staged,
        grad: &Tensor,
        step: Step,
    ) -> Result<()> {
        let samples = plan.batch();
        if samples == 0 {
            return Ok(());
        }
        let index = self.index_for(plan, cold, staged)?;
        // Whatever reads rows or projections comes before the first write.
        let pooled = if self.layout.workspace_width > 0 {
            Some(self.pooled(&index, samples, staged)?)
        } else {
            None
        };
        let mut gradients = Vec::with_capacity(self.classes.len());
        for number in 0..self.classes.len() {
            // Nobody needs the gradients of frozen tables.
            gradients.push(match self.layout.classes[number].factor {
                0.0 => None,
                _ => Some(self.bag_gradients(number, pooled.as_ref(), staged, grad)?),
            });
        }
        let mut projections = Vec::new();
        for (part, placed) in self.layout.parts.iter().enumerate() {
            if let (PartKind::Projection, true, Some(pooled), Some(rule)) = (
                placed.kind,
                plan.grouping.needs_projection(part),
                &pooled,
                self.optimizer.projection_rule(placed.table, step),
            ) {
                let grad = self.table_gradient(grad, placed.table)?;
                let gradient = projection_gradient(&pooled.part(part - 1)?, &grad)?;
                projections.push((part, gradient, rule));
            }
        }

        let key = self.count_update(step);
        for (number, bags) in gradients.into_iter().enumerate() {
            let table = self.table_of(number);
            let (Some(bags), Some(rule)) = (bags, self.optimizer.rule(table, step)) else {
                continue;
            };
            #[cfg(feature = "cuda")]
            if let Some(lists) = &index.lists {
                let floats = cold.class(&self.layout.classes[number].parts);
                let cold = super::cuda::Cold::ToHost(&mut cold.grads.as_mut_slice()[floats]);
                let (matrix, sums) = (&self.classes[number], &mut self.piece_sums);
                lists.update(number, matrix, &bags, rule, key(number), cold, sums)?;
                continue;
            }
            let class = &index.classes[number];
            let Some(gradient) = self.class_gradient(number, class, &bags)? else {
                continue;
            };
            if let Some(hot) = &class.hot {
                let hot_gradient = gradient.narrow(0, 0, class.hot_rows)?;
                self.classes[number].step_rows(hot, &hot_gradient, rule, key(number))?;
            }
            if class.cold_rows > 0 {
                let floats = cold.class(&self.layout.classes[number].parts);
                let rows = gradient.narrow(0, class.hot_rows, class.cold_rows)?;
                let host = rows.flatten_all()?.to_vec1::<f32>()?;
                cold.grads.as_mut_slice()[floats].copy_from_slice(&host);
            }
        }
        for (part, gradient, rule) in projections {
            match &self.projections[part] {
                Some(own) => own.step_elements(&gradient, rule)?,
                None => {
                    let floats = cold.floats_of(part);
                    let host = gradient.flatten_all()?.to_vec1::<f32>()?;
                    cold.grads.as_mut_slice()[floats].copy_from_slice(&host);
                }
            }
        }
        Ok(())
    }

    /// Updates all touched rows of plain tables, those that are elsewhere in the copies that are
    /// staged here.
    pub(super) fn scatter_staged(
        &mut self,
        plan: &Plan,
        cold: &ColdRows,
        staged: &Staged,
        grad: &Tensor,
        step: Step,
    ) -> Result<()> {
        if plan.batch() == 0 {
            return Ok(());
        }
        // Plain tables are all of one class.
        let key = self.count_update(step)(0);
        let Some(rule) = self.optimizer.rule(0, step) else {
            return Ok(());
        };
        let index = self.index_for(plan, cold, staged)?;
        let bags = self.bag_gradients(0, None, staged, grad)?;
        #[cfg(feature = "cuda")]
        if let Some(lists) = &index.lists {
            let cold = match staged.copies() {
                Some(copies) => super::cuda::Cold::Moved(copies),
                None => super::cuda::Cold::ToHost(&mut []),
            };
            let (matrix, sums) = (&self.classes[0], &mut self.piece_sums);
            return lists.update(0, matrix, &bags, rule, key, cold, sums);
        }
        let class = &index.classes[0];
        let Some(gradient) = self.class_gradient(0, class, &bags)? else {
            return Ok(());
        };
        if let Some(hot) = &class.hot {
            let hot_gradient = gradient.narrow(0, 0, class.hot_rows)?;
            self.classes[0].step_rows(hot, &hot_gradient, rule, key)?;
        }
        match staged.copies() {
            Some(copies) => {
                let cold_gradient = gradient.narrow(0, class.hot_rows, class.cold_rows)?;
                copies.step_all(&cold_gradient, rule)
            }
            None => Ok(()),
        }
    }

    /// A table of a class, all of whose tables move at one rate.
    fn table_of(&self, number: usize) -> usize {
        let part = self.layout.classes[number].parts.first();
        part.map_or(0, |&part| self.layout.parts[part].table)
    }

    /// The gradients of a class's bags, `[bags, width]`, as the index counts them.
    fn bag_gradients(
        &self,
        number: usize,
        pooled: Option<&Pooled>,
        staged: &Staged,
        grad: &Tensor,
    ) -> Result<Tensor> {
        if self.layout.is_one_class() {
            let (samples, tables, dim) = grad.dims3()?;
            let bags = (tables * samples, dim);
            // Kernels count bags sample by sample, tensor operations part by part.
            return Ok(if grad.device().is_cuda() {
                grad.reshape(bags)?
            } else {
                grad.transpose(0, 1)?.contiguous()?.reshape(bags)?
            });
        }
        let parts = self.layout.classes[number]
            .parts
            .iter()
            .map(|&part| self.part_gradient(part, pooled, staged, grad))
            .collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// The gradients of a class's working rows, each the sum over its lookups in the order of the
    /// samples.
    fn class_gradient(
        &self,
        number: usize,
        index: &ClassIndex,
        bags: &Tensor,
    ) -> Result<Option<Tensor>> {
        let Some(working) = &index.working else {
            return Ok(None);
        };
        let class = &self.layout.classes[number];
        let lookups = match &index.bags {
            None => bags.clone(),
            Some(numbers) => bags.index_select(numbers, 0)?,
        };
        let zeros = |rows| self.zeros(rows, class.width);
        let rows = zeros(index.hot_rows + index.cold_rows)?;
        Ok(Some(match &index.pieces {
            None => rows.index_add(working, &lookups, 0)?,
            Some(pieces) => {
                let sums = zeros(pieces.rows.dim(0)?)?;
                let sums = sums.index_add(&pieces.of_lookup, &lookups, 0)?;
                rows.index_add(&pieces.rows, &sums, 0)?
            }
        }))
    }

    /// The gradient of a table's looked-up rows, `[samples, dim]`.
    fn table_gradient(&self, grad: &Tensor, table: usize) -> Result<Tensor> {
        Ok(grad.narrow(1, table, 1)?.squeeze(1)?.contiguous()?)
    }

    /// The gradient of a part's pooled rows, `[samples, width]`.
    fn part_gradient(
        &self,
        part: usize,
        pooled: Option<&Pooled>,
        staged: &Staged,
        grad: &Tensor,
    ) -> Result<Tensor> {
        let placed = &self.layout.parts[part];
        let table = self.layout.tables[placed.table];
        let of_table = self.table_gradient(grad, placed.table)?;
        match (placed.gradient, table.composition, pooled) {
            (GradientOf::Workspace(_), Composition::QuotientRemainder(_), Some(pooled)) => {
                let other = if part == table.first {
                    part + 1
                } else {
                    part - 1
                };
                Ok((pooled.part(other)? * of_table)?)
            }
            (GradientOf::Workspace(_), Composition::Projected { .. }, _) => {
                match self.projection(part + 1, staged) {
                    Some(projection) => dots(&of_table, projection),
                    None => self.zeros(of_table.dim(0)?, placed.width),
                }
            }
            (GradientOf::Rows(column) | GradientOf::Workspace(column), ..) => Ok(of_table
                .narrow(1, column % self.dim, placed.width)?
                .contiguous()?),
        }
    }
}

impl Matrix {
    /// Moves some rows, `[rows]`, along their gradients, `[rows, width]`, and rounds them where
    /// there is a key.
    fn step_rows(
        &self,
        rows: &Tensor,
        gradient: &Tensor,
        rule: Rule<'_>,
        key: Option<u64>,
    ) -> Result<()> {
        let weights = select_rows(&self.weights, rows)?;
        let state = match &self.state {
            Some(state) => Some(state.index_select(rows, 0)?),
            None => None,
        };
        let (weights, state) = step_rows(rule, gradient, &weights, state.as_ref())?;
        let weights = match key {
            Some(key) => moved_rows(&weights, rows, key)?,
            None => weights,
        };
        write_rows(&self.weights, rows, &weights)?;
        if let (Some(into), Some(state)) = (&self.state, state) {
            write_rows(into, rows, &state)?;
        }
        Ok(())
    }

    /// Moves all rows.
    fn step_all(&self, gradient: &Tensor, rule: Rule<'_>) -> Result<()> {
        self.set(step_rows(
            rule,
            gradient,
            &self.weights,
            self.state.as_ref(),
        )?)
    }

    /// Moves a dense parameter.
    fn step_elements(&self, gradient: &Tensor, rule: DenseRule) -> Result<()> {
        let (weights, state) = (&self.weights, self.state.as_ref());
        self.set(match rule {
            DenseRule::Sgd { rate } => step_sgd(rate, gradient, weights)?,
            DenseRule::Adagrad { rate, epsilon } => {
                step_adagrad(rate, epsilon, gradient, weights, state, Ok)?
            }
        })
    }

    fn set(&self, (weights, state): (Tensor, Option<Tensor>)) -> Result<()> {
        self.weights.slice_set(&weights, 0, 0)?;
        if let (Some(into), Some(state)) = (&self.state, state) {
            into.slice_set(&state, 0, 0)?;
        }
        Ok(())
    }
}

/// One step of some rows: the new weights and the new state. Rounded as on the CPU, operation by
/// operation.
fn step_rows(
    rule: Rule<'_>,
    gradient: &Tensor,
    weights: &Tensor,
    state: Option<&Tensor>,
) -> Result<(Tensor, Option<Tensor>)> {
    match rule {
        Rule::Sgd { rate } => step_sgd(rate, gradient, weights),
        Rule::Adagrad { rate, epsilon } => {
            step_adagrad(rate, epsilon, gradient, weights, state, Ok)
        }
        Rule::Rowwise { rate, epsilon } => {
            let mean = |squares| mean_of_rows(&squares);
            step_adagrad(rate, epsilon, gradient, weights, state, mean)
        }
        Rule::External { .. } => step_by_host(rule, gradient, weights, state),
    }
}

fn step_sgd(rate: f32, gradient: &Tensor, weights: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
    Ok(((weights - (gradient * f64::from(rate))?)?, None))
}

/// `added` is what is added to the state, of the squares of the gradient.
fn step_adagrad(
    rate: f32,
    epsilon: f32,
    gradient: &Tensor,
    weights: &Tensor,
    state: Option<&Tensor>,
    added: impl Fn(Tensor) -> Result<Tensor>,
) -> Result<(Tensor, Option<Tensor>)> {
    let added = added(gradient.sqr()?)?;
    let state = match state {
        Some(state) => (state + added)?,
        None => added,
    };
    let denominator = (state.sqrt()? + f64::from(epsilon))?;
    let moved = (gradient.broadcast_div(&denominator)? * f64::from(rate))?;
    Ok(((weights - moved)?, Some(state)))
}

/// A rule that knows no tensors, row by row in host memory.
fn step_by_host(
    rule: Rule<'_>,
    gradient: &Tensor,
    weights: &Tensor,
    state: Option<&Tensor>,
) -> Result<(Tensor, Option<Tensor>)> {
    let floats = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    let (gradients, mut new) = (floats(gradient)?, floats(weights)?);
    let mut states = match state {
        Some(state) => floats(state)?,
        None => Vec::new(),
    };
    let (rows, width) = weights.dims2()?;
    let state_width = states.len() / rows.max(1);
    for (row, (gradient, weights)) in gradients
        .chunks_exact(width)
        .zip(new.chunks_exact_mut(width))
        .enumerate()
    {
        let state = &mut states[row * state_width..][..state_width];
        step_row(rule, gradient, weights, state);
    }
    let state = match state {
        Some(state) => Some(Tensor::from_vec(states, state.shape(), state.device())?),
        None => None,
    };
    let weights = Tensor::from_vec(new, weights.shape(), weights.device())?;
    Ok((weights, state))
}

/// The mean of every row, `[rows, 1]`, in the order of the CPU's kernels.
fn mean_of_rows(x: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let mut lanes = Tensor::zeros((rows, LANES), DType::F32, x.device())?;
    for start in (0..width).step_by(LANES) {
        let some = x.narrow(1, start, LANES.min(width - start))?;
        lanes = (lanes + padded(&some)?)?;
    }
    let width = Tensor::new(&[[width as f32]], x.device())?;
    Ok(reduce(&lanes)?.broadcast_div(&width)?)
}

/// `x · y` for every row of `x`, `[rows, dim]`, and every row of `y`, `[others, dim]`, in the order
/// of the CPU's kernels.
fn dots(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let ((rows, dim), others) = (x.dims2()?, y.dim(0)?);
    let mut lanes = Tensor::zeros((rows * others, LANES), DType::F32, x.device())?;
    for start in (0..dim).step_by(LANES) {
        let count = LANES.min(dim - start);
        let (x, y) = (x.narrow(1, start, count)?, y.narrow(1, start, count)?);
        let products = x.unsqueeze(1)?.broadcast_mul(&y.unsqueeze(0)?)?;
        lanes = (lanes + padded(&products.reshape((rows * others, count))?)?)?;
    }
    Ok(reduce(&lanes)?.reshape((rows, others))?)
}

/// Adds columns of zeros up to the number of lanes.
fn padded(x: &Tensor) -> Result<Tensor> {
    let (_, width) = x.dims2()?;
    Ok(x.pad_with_zeros(1, 0, LANES - width)?)
}

/// Adds the lanes pairwise, as `kernel::reduce` does.
fn reduce(lanes: &Tensor) -> Result<Tensor> {
    let mut sums = lanes.clone();
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        sums = (sums.narrow(1, 0, width)? + sums.narrow(1, width, width)?)?;
    }
    Ok(sums)
}

/// `Σ x gᵀ` over the samples, one after the other, `[dim_i, dim]`.
fn projection_gradient(pooled: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let ((samples, narrow), dim) = (pooled.dims2()?, grad.dim(1)?);
    let mut sum = Tensor::zeros((1, narrow * dim), DType::F32, grad.device())?;
    for start in (0..samples).step_by(SAMPLES_AT_ONCE) {
        let count = SAMPLES_AT_ONCE.min(samples - start);
        let (x, g) = (
            pooled.narrow(0, start, count)?,
            grad.narrow(0, start, count)?,
        );
        let products = x.unsqueeze(2)?.broadcast_mul(&g.unsqueeze(1)?)?;
        let into = Tensor::zeros(count, DType::U32, grad.device())?;
        sum = sum.index_add(&into, &products.reshape((count, narrow * dim))?, 0)?;
    }
    Ok(sum.reshape((narrow, dim))?)
}
