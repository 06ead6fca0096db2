//! A model and a store, trained batch by batch.

use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use embedding_store::{EmbeddingStore, Ids, Optimizer, Plan, Planner};
use recsys_data::{Batch, Dataset, Loader, LoaderOptions, Order, Schema};
use recsys_device::{copy_between, read_slice, write_slice};
use recsys_model::{InputShape, Model};

use crate::crossing::{Asked, Crossing, Recorded, Sent};
use crate::error::{Error, Result};
use crate::finite::with_largest;
use crate::learning_rate::LearningRates;
use crate::loss::{Loss, built_in};
use crate::metrics::Scores;
use crate::optimizer::DenseOptimizer;
use crate::parameters::distinct_parameters;
use crate::report::StepTimes;

/// A model, the store of its embedding rows, and the state of their optimizers.
///
/// [`Trainer::step`] is one training step; [`fit`](crate::fit) runs whole epochs of them.
pub struct Trainer<M, S> {
    model: M,
    store: S,
    optimizer: DenseOptimizer,
    /// The dense parameters' optimizer, where it is another kind than the store's.
    dense_optimizer: Option<Optimizer>,
    device: Device,
    buffers: Vec<Buffers>,
    times: StepTimes,
    crossing: Crossing,
    recorded: Recorded,
}

/// The mean loss of a step that was begun, before its update. It may still be on its way from a
/// device.
#[must_use]
#[derive(Debug, Default)]
pub struct StepLoss {
    /// What the host has taken of it.
    known: f64,
    asked: Option<Asked>,
}

impl StepLoss {
    /// Whether nothing of it is on its way.
    pub(crate) fn is_here(&self) -> bool {
        self.asked.is_none()
    }
}

/// What a step works on.
struct Filled {
    /// The place of the buffers for this size of batch.
    at: usize,
    dense: Tensor,
    sent: Option<Sent>,
}

/// Tensors of one batch size, written in place at every step.
struct Buffers {
    batch: usize,
    dense: Tensor,
    rows: Tensor,
    rows_grad: Tensor,
    /// The loss' gradient `[batch]`, in host memory.
    slopes: Tensor,
    /// The memory of `rows` and `rows_grad` as the store sees them: every position of a sequence is
    /// a sample.
    store_rows: Tensor,
    store_rows_grad: Tensor,
}

/// Batch sizes whose buffers are kept: training's and evaluation's, full and last.
const KEPT_BUFFERS: usize = 4;

impl<M: Model, S: EmbeddingStore> Trainer<M, S> {
    /// Puts a model and a store together; the dense parameters use the store's kind of optimizer
    /// unless [`with_dense_optimizer`](Self::with_dense_optimizer) gives them another.
    ///
    /// The names of the parameters must differ. [`fit`](crate::fit), and whatever reads or writes
    /// weights, refuse a model with two of one name before anything moves.
    pub fn new(model: M, store: S, device: Device) -> Self {
        let optimizer =
            DenseOptimizer::new(store.optimizer().dense(), model.named_parameters().len());
        Self {
            model,
            store,
            optimizer,
            dense_optimizer: None,
            device,
            buffers: Vec::new(),
            times: StepTimes::default(),
            crossing: Crossing::default(),
            recorded: Recorded::default(),
        }
    }

    /// Gives the dense parameters an optimizer of their own, whose state starts afresh. Their
    /// learning rate is [`TrainOptions::dense_learning_rate`](crate::TrainOptions).
    ///
    /// # Errors
    /// An optimizer whose settings make no sense, or two parameters of one name.
    pub fn with_dense_optimizer(mut self, optimizer: Optimizer) -> Result<Self> {
        optimizer.validate()?;
        distinct_parameters(&self.model)?;
        let own = optimizer != self.store.optimizer().dense();
        self.dense_optimizer = own.then_some(optimizer);
        self.optimizer = DenseOptimizer::new(optimizer, self.model.named_parameters().len());
        self.forget();
        Ok(self)
    }

    /// The dense parameters' optimizer, where it is another kind than the store's.
    pub(crate) fn dense_optimizer(&self) -> Option<Optimizer> {
        self.dense_optimizer
    }

    /// Where the time of all steps so far went.
    pub fn times(&self) -> StepTimes {
        self.times
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model, to load weights.
    pub fn model_mut(&mut self) -> &mut M {
        self.forget();
        &mut self.model
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, to load rows.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// The optimizer of the dense parameters.
    pub fn optimizer(&self) -> &DenseOptimizer {
        &self.optimizer
    }

    pub(crate) fn optimizer_mut(&mut self) -> &mut DenseOptimizer {
        self.forget();
        &mut self.optimizer
    }

    /// Whoever changes model or optimizer may give them other memory.
    fn forget(&mut self) {
        self.recorded.clear();
    }

    /// Model and store.
    pub fn into_parts(self) -> (M, S) {
        (self.model, self.store)
    }

    /// Refuses a data set that model or store were not made for.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with both values.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        let length = schema.sequence_length.map(|length| length.get() as usize);
        if let Some(shape) = self.model.input_shape() {
            check_shape(shape, schema, self.store.dim())?;
        }
        if self.sequence_length() != length {
            return Err(Error::Mismatch {
                what: "positions of a sample".into(),
                model: self.sequence_length().unwrap_or(1) as u64,
                data: length.unwrap_or(1) as u64,
                remedy: "give the model the data set's sequence length, or a data set of sequences \
                         to a model of them",
            });
        }
        let tables = self.store.tables();
        if tables.len() != schema.tables.len() {
            return Err(Error::Mismatch {
                what: "embedding tables".into(),
                model: tables.len() as u64,
                data: schema.tables.len() as u64,
                remedy: "make the store from the data set's schema",
            });
        }
        for (table, column) in tables.iter().zip(&schema.tables) {
            if table.rows < column.rows {
                return Err(Error::Mismatch {
                    what: format!("rows of table {}", column.name),
                    model: table.rows,
                    data: column.rows,
                    remedy: "make the store from the data set's schema",
                });
            }
        }
        Ok(())
    }

    /// A loader whose batches come with their plan, made ahead on the loader's threads.
    ///
    /// # Errors
    /// Options that make no sense.
    pub fn loader(
        &self,
        dataset: Arc<dyn Dataset>,
        options: LoaderOptions,
    ) -> Result<Loader<Plan>> {
        let planner = self.store.planner();
        let positions = self.positions();
        Ok(Loader::new(
            dataset,
            options,
            move |batch, plan: &mut Plan| Ok(plan_batch(&planner, batch, positions, plan)?),
        )?)
    }

    /// Makes the plan of a batch, for [`Trainer::step`]. [`Trainer::loader`] makes plans ahead, on
    /// other threads.
    ///
    /// # Errors
    /// An id beyond its table, or bags that do not fit the tables and positions.
    pub fn plan(&self, batch: &Batch, into: &mut Plan) -> Result<()> {
        plan_batch(&self.store.planner(), batch, self.positions(), into)
    }

    /// One training step on a batch and its plan: gather, forward, loss, backward, update. Returns
    /// the mean loss before the update. A number for `rates` is the rate of rows and dense
    /// parameters alike.
    ///
    /// # Errors
    /// Rates that are not finite, shapes that do not fit, a failing loss, or a failing tensor
    /// operation.
    pub fn step(
        &mut self,
        batch: &Batch,
        plan: &Plan,
        loss: &dyn Loss,
        rates: impl Into<LearningRates>,
    ) -> Result<f64> {
        self.step_ahead(batch, plan, &[], loss, rates)
    }

    /// [`Trainer::step`], while the store is shown the plans of coming batches: it may fetch their
    /// rows on another thread of the current rayon pool while the model runs. Changes no number.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn step_ahead(
        &mut self,
        batch: &Batch,
        plan: &Plan,
        coming: &[&Plan],
        loss: &dyn Loss,
        rates: impl Into<LearningRates>,
    ) -> Result<f64> {
        let begun = self.begin_step(batch, plan, coming, loss, rates)?;
        self.loss_of(begun)
    }

    /// [`Trainer::step_ahead`], but a device is only asked for the work: the host can prepare the
    /// next batch, and ask for its step, while the device runs this one. [`Trainer::loss_of`] waits
    /// for the loss. A [`Loss`] that is not built in makes the host wait for the logits here.
    ///
    /// # Errors
    /// As [`Trainer::step`]; what fails on a device may be reported by a later call.
    pub fn begin_step(
        &mut self,
        batch: &Batch,
        plan: &Plan,
        coming: &[&Plan],
        loss: &dyn Loss,
        rates: impl Into<LearningRates>,
    ) -> Result<StepLoss> {
        let rates = rates.into();
        check_rates(rates)?;
        let start = Instant::now();
        let filled = self.fill(batch, plan)?;
        let lookup_seconds = start.elapsed().as_secs_f64();
        let Self {
            model,
            store,
            optimizer,
            device,
            buffers,
            crossing,
            recorded,
            ..
        } = self;
        let Buffers {
            rows,
            rows_grad,
            slopes,
            store_rows_grad,
            ..
        } = &buffers[filled.at];
        let (size, sent) = (batch.len(), filled.sent.as_ref());
        let memory = model.step_memory(size);
        let kernel = built_in(loss);
        let key = crossing.key(sent, [rows, rows_grad], memory, size, kernel, rates.dense)?;
        let mut begun = StepLoss::default();
        let mut fetched = Ok(());
        let mut model_step = || -> Result<()> {
            Ok(model.forward_backward(
                &filled.dense,
                rows,
                rows_grad,
                &mut |samples, logits| {
                    let mut slopes_of = || -> Result<Tensor> {
                        if let Some(slopes) =
                            crossing.loss(kernel, logits, sent, samples.clone(), size)?
                        {
                            return Ok(slopes);
                        }
                        let logits = logits.to_device(&Device::Cpu)?.contiguous()?;
                        let slopes = slopes.narrow(0, samples.start, samples.len())?;
                        let labels = batch.label.get(samples.clone()).unwrap_or_default();
                        check_logits(&logits, labels)?;
                        begun.known += read_slice(&logits, |logits| {
                            write_slice(&slopes, |slopes| {
                                evaluate(loss, logits, labels, size, slopes)
                            })
                        })???;
                        Ok(slopes.to_device(device)?)
                    };
                    slopes_of().map_err(recsys_model::Error::external)
                },
                &mut |index, parameter, gradient| {
                    // A rule at this rate would still add to its state, and make 0 of -0.
                    if rates.dense == 0.0 {
                        return Ok(());
                    }
                    let updated = optimizer.update(index, parameter, gradient, rates.dense);
                    updated.map_err(recsys_model::Error::external)
                },
            )?)
        };
        let mut fetch = || match store.tiers_mut() {
            Some(tiers) => coming.iter().try_for_each(|plan| tiers.prefetch(plan)),
            None => Ok(()),
        };
        if recorded.run(key.as_ref(), device, &mut model_step)? {
            // The device has its work: there is time on this thread.
            fetched = fetch();
        } else if coming.is_empty() {
            model_step()?;
        } else {
            rayon::in_place_scope(|scope| {
                scope.spawn(|_| fetched = fetch());
                model_step()
            })?;
        }
        fetched?;
        let computed = Instant::now();
        begun.asked = crossing.ask(key.is_some())?;
        store.update(plan, store_rows_grad, rates.rows)?;
        let update_seconds = computed.elapsed().as_secs_f64();
        crossing.release(filled.sent)?;
        self.times.add(StepTimes {
            lookup_seconds,
            model_seconds: (computed - start).as_secs_f64() - lookup_seconds,
            update_seconds,
        });
        Ok(begun)
    }

    /// The mean loss of a step that was begun, where it is on its way after a wait.
    ///
    /// # Errors
    /// A device that fails.
    pub fn loss_of(&mut self, begun: StepLoss) -> Result<f64> {
        Ok(begun.known + self.crossing.sum(begun.asked)?)
    }

    /// The logits of a batch.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn predict(&mut self, batch: &Batch, plan: &Plan) -> Result<Vec<f32>> {
        let filled = self.fill(batch, plan)?;
        let rows = &self.buffers[filled.at].rows;
        let logits = self.model.infer(&filled.dense, rows)?.to_vec1()?;
        self.crossing.release(filled.sent)?;
        Ok(logits)
    }

    /// The logits and labels of a whole data set, in file order.
    ///
    /// # Errors
    /// A data set that does not fit, damaged data, or [`Error::ScoreNotFinite`].
    pub fn score(&mut self, dataset: Arc<dyn Dataset>, batch_size: usize) -> Result<Scores> {
        let scores = self.score_all(dataset.clone(), batch_size);
        scores.map_err(|error| with_largest(error, &[dataset]))
    }

    fn score_all(&mut self, dataset: Arc<dyn Dataset>, batch_size: usize) -> Result<Scores> {
        self.check(dataset.schema())?;
        let options = LoaderOptions {
            batch_size,
            order: Order::File,
            ..LoaderOptions::default()
        };
        let loader = self.loader(dataset, options)?;
        let mut scores = Scores::default();
        for loaded in loader.epoch(0, 0) {
            let loaded = loaded?;
            let logits = self.predict(&loaded.batch, &loaded.extra)?;
            scores.extend(&logits, &loaded.batch.label)?;
        }
        Ok(scores)
    }

    /// Takes a batch's dense features and rows to where the model is.
    fn fill(&mut self, batch: &Batch, plan: &Plan) -> Result<Filled> {
        let at = self.buffers_for(batch)?;
        let Buffers {
            dense, store_rows, ..
        } = &self.buffers[at];
        let sent = self.crossing.send(batch, dense)?;
        let dense = match &sent {
            Some(sent) => sent.dense().clone(),
            None => {
                if batch.dense.is_empty() {
                    // Samples without dense features: candle writes no empty tensor.
                } else if dense.device().is_cpu() {
                    write_slice(dense, |into| into.copy_from_slice(&batch.dense))?;
                } else {
                    let values = Tensor::from_slice(&batch.dense, dense.shape(), &Device::Cpu)?;
                    copy_between(&values, dense)?;
                }
                dense.clone()
            }
        };
        self.store.lookup(plan, store_rows)?;
        Ok(Filled { at, dense, sent })
    }

    /// Positions of a sample, where the model takes sequences.
    fn sequence_length(&self) -> Option<usize> {
        self.model.input_shape()?.sequence_length
    }

    /// Samples of the store for each of the batch.
    fn positions(&self) -> usize {
        self.sequence_length().unwrap_or(1)
    }

    fn buffers_for(&mut self, batch: &Batch) -> Result<usize> {
        let size = batch.len();
        if let Some(at) = self
            .buffers
            .iter()
            .position(|buffers| buffers.batch == size)
        {
            let expected = self.buffers[at].dense.elem_count();
            return if expected == batch.dense.len() {
                Ok(at)
            } else {
                Err(Error::Mismatch {
                    what: "dense values of the batch".into(),
                    model: expected as u64,
                    data: batch.dense.len() as u64,
                    remedy: "give every batch the same dense features",
                })
            };
        }
        if size == 0 || !batch.dense.len().is_multiple_of(size) {
            return Err(Error::Option {
                option: "batch",
                value: format!("{size} samples with {} dense values", batch.dense.len()),
                remedy: "give at least one sample, and as many dense values for each",
            });
        }
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &self.device);
        let (tables, dim, positions) = (
            self.store.tables().len(),
            self.store.dim(),
            self.positions(),
        );
        let dense_values = batch.dense.len() / size;
        let (dense, rows) = match self.sequence_length() {
            // A device allocates nothing of no bytes: without dense features this is a view.
            None => (
                zeros(&[batch.dense.len().max(1)])?
                    .narrow(0, 0, batch.dense.len())?
                    .reshape((size, dense_values))?,
                zeros(&[size, tables, dim])?,
            ),
            Some(_) if !dense_values.is_multiple_of(positions) => {
                return Err(Error::Option {
                    option: "batch",
                    value: format!("{dense_values} dense values for {positions} positions"),
                    remedy: "give every position the same dense features",
                });
            }
            Some(_) => (
                zeros(&[size, positions, dense_values / positions])?,
                zeros(&[size, positions, tables, dim])?,
            ),
        };
        let rows_grad = rows.zeros_like()?;
        let items = [size * positions, tables, dim];
        let buffers = Buffers {
            batch: size,
            store_rows: rows.reshape(&items)?,
            store_rows_grad: rows_grad.reshape(&items)?,
            dense,
            rows,
            rows_grad,
            slopes: Tensor::zeros(size, DType::F32, &Device::Cpu)?,
        };
        if self.buffers.len() == KEPT_BUFFERS {
            self.buffers.remove(0);
        }
        self.buffers.push(buffers);
        Ok(self.buffers.len() - 1)
    }
}

/// Refuses rates that would make weights useless, before anything moves.
fn check_rates(rates: LearningRates) -> Result<()> {
    for (option, rate) in [
        ("learning rate of rows", rates.rows),
        ("learning rate of dense parameters", rates.dense),
    ] {
        // Weights move by f32.
        if !(rate as f32).is_finite() {
            return Err(Error::Option {
                option,
                value: rate.to_string(),
                remedy: "give a finite number",
            });
        }
    }
    Ok(())
}

/// The share of some samples in the loss of a batch. Where a derivative is not finite, neither is
/// the share: the update that follows makes the weights useless.
fn evaluate(
    loss: &dyn Loss,
    logits: &[f32],
    labels: &[f32],
    batch: usize,
    slopes: &mut [f32],
) -> Result<f64> {
    slopes.fill(0.0);
    let share = loss.evaluate(logits, labels, batch, slopes)?;
    match slopes.iter().all(|slope| slope.is_finite()) {
        true => Ok(share),
        false => Ok(f64::NAN),
    }
}

/// Refuses a model that does not answer one logit for each sample.
fn check_logits(logits: &Tensor, labels: &[f32]) -> Result<()> {
    if logits.elem_count() != labels.len() {
        return Err(Error::Mismatch {
            what: "logits of a batch".into(),
            model: logits.elem_count() as u64,
            data: labels.len() as u64,
            remedy: "let the model answer one logit for each sample",
        });
    }
    Ok(())
}

/// Refuses data of other widths than the model's.
fn check_shape(shape: InputShape, schema: &Schema, dim: usize) -> Result<()> {
    let InputShape {
        dense_features,
        tables,
        dim: width,
        ..
    } = shape;
    let pairs = [
        (
            "dense features",
            dense_features,
            schema.dense.len(),
            "set the bottom MLP's first width",
        ),
        (
            "categorical tables",
            tables,
            schema.tables.len(),
            "set the model's number of tables",
        ),
        (
            "embedding width",
            width,
            dim,
            "give model and store the same embedding width",
        ),
    ];
    for (what, model, data, remedy) in pairs {
        if model != data {
            return Err(Error::Mismatch {
                what: what.into(),
                model: model as u64,
                data: data as u64,
                remedy,
            });
        }
    }
    Ok(())
}

/// Plans the ids of a batch whose samples have `positions` positions: each of them is a sample for
/// the store, so that a row which a sequence names several times is one distinct row of the plan,
/// moved once.
///
/// # Errors
/// An id beyond its table.
fn plan_batch(planner: &Planner, batch: &Batch, positions: usize, plan: &mut Plan) -> Result<()> {
    let ids = Ids {
        batch: batch.len() * positions,
        ids: &batch.sparse.ids,
        offsets: &batch.sparse.offsets,
    };
    Ok(planner.plan(ids, plan)?)
}
