//! A model and a store, trained batch by batch.

use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use embedding_store::{EmbeddingStore, Ids, Plan, Planner, read_slice, write_slice};
use recsys_data::{Batch, Dataset, Loader, LoaderOptions, Order, Schema};

use crate::model::copy_into;
use crate::{DenseOptimizer, Error, Loss, Model, Result, Scores, StepTimes};

/// A model, the store of its embedding rows, and the state of their optimizers.
///
/// [`Trainer::step`] is one training step; [`fit`](crate::fit) runs whole epochs of them.
pub struct Trainer<M, S> {
    model: M,
    store: S,
    optimizer: DenseOptimizer,
    device: Device,
    buffers: Vec<Buffers>,
    slopes: Vec<f32>,
    times: StepTimes,
}

/// Tensors of one batch size, written in place at every step.
struct Buffers {
    batch: usize,
    dense: Tensor,
    rows: Tensor,
    rows_grad: Tensor,
}

/// Batch sizes whose buffers are kept: training's and evaluation's, full and last.
const KEPT_BUFFERS: usize = 4;

impl<M: Model, S: EmbeddingStore> Trainer<M, S> {
    /// Puts a model and a store together; the dense parameters use the store's kind of optimizer.
    pub fn new(model: M, store: S, device: Device) -> Self {
        let optimizer = DenseOptimizer::new(store.optimizer(), model.parameters().len());
        Self {
            model,
            store,
            optimizer,
            device,
            buffers: Vec::new(),
            slopes: Vec::new(),
            times: StepTimes::default(),
        }
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

    /// Model and store.
    pub fn into_parts(self) -> (M, S) {
        (self.model, self.store)
    }

    /// Refuses a data set that model or store were not made for.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with both values.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        self.model
            .check(schema.dense.len(), schema.tables.len(), self.store.dim())?;
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
        Ok(Loader::new(
            dataset,
            options,
            move |batch, plan: &mut Plan| Ok(plan_batch(&planner, batch, plan)?),
        )?)
    }

    /// One training step on a batch and its plan: gather, forward, loss, backward, update. Returns the mean loss before
    /// the update.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failing tensor operation.
    pub fn step(
        &mut self,
        batch: &Batch,
        plan: &Plan,
        loss: &Loss,
        learning_rate: f64,
    ) -> Result<f64> {
        self.step_ahead(batch, plan, &[], loss, learning_rate)
    }

    /// [`Trainer::step`], while the store is shown the plans of coming batches: it may fetch their rows on another thread of the
    /// current rayon pool while the model runs. Changes no number.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn step_ahead(
        &mut self,
        batch: &Batch,
        plan: &Plan,
        coming: &[&Plan],
        loss: &Loss,
        learning_rate: f64,
    ) -> Result<f64> {
        let start = Instant::now();
        let at = self.fill(batch, plan)?;
        let filled = Instant::now();
        let Self {
            model,
            store,
            optimizer,
            device,
            buffers,
            slopes,
            ..
        } = self;
        let Buffers {
            dense,
            rows,
            rows_grad,
            ..
        } = &buffers[at];
        let mut mean = 0.0;
        let mut fetched = Ok(());
        let mut model_step = || {
            model.forward_backward(
                dense,
                rows,
                rows_grad,
                &mut |samples, logits| {
                    let logits = logits.to_device(&Device::Cpu)?.contiguous()?;
                    let labels = &batch.label[samples];
                    slopes.resize(labels.len(), 0.0);
                    mean += read_slice(&logits, |logits| {
                        loss.evaluate(logits, labels, batch.len(), slopes)
                    })?;
                    Ok(Tensor::from_slice(slopes, slopes.len(), device)?)
                },
                &mut |index, parameter, gradient| {
                    optimizer.update(index, parameter, gradient, learning_rate)
                },
            )
        };
        if coming.is_empty() {
            model_step()?;
        } else {
            rayon::in_place_scope(|scope| {
                scope.spawn(|_| fetched = coming.iter().try_for_each(|plan| store.prefetch(plan)));
                model_step()
            })?;
        }
        fetched?;
        let computed = Instant::now();
        store.update(plan, rows_grad, learning_rate)?;
        self.times.add(StepTimes {
            lookup_seconds: (filled - start).as_secs_f64(),
            model_seconds: (computed - filled).as_secs_f64(),
            update_seconds: computed.elapsed().as_secs_f64(),
        });
        Ok(mean)
    }

    /// The logits of a batch.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn predict(&mut self, batch: &Batch, plan: &Plan) -> Result<Vec<f32>> {
        let at = self.fill(batch, plan)?;
        let Buffers { dense, rows, .. } = &self.buffers[at];
        Ok(self.model.forward(dense, rows)?.to_vec1()?)
    }

    /// The logits and labels of a whole data set, in file order.
    ///
    /// # Errors
    /// A data set that does not fit, or damaged data.
    pub fn score(&mut self, dataset: Arc<dyn Dataset>, batch_size: usize) -> Result<Scores> {
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
            scores.extend(&logits, &loaded.batch.label);
        }
        Ok(scores)
    }

    /// Writes a batch's dense features and rows into the buffers of its size; returns their place.
    fn fill(&mut self, batch: &Batch, plan: &Plan) -> Result<usize> {
        let at = self.buffers_for(batch)?;
        let Buffers { dense, rows, .. } = &self.buffers[at];
        if dense.device().is_cpu() {
            write_slice(dense, |into| into.copy_from_slice(&batch.dense))?;
        } else {
            copy_into(
                &Tensor::from_slice(&batch.dense, dense.shape(), &self.device)?,
                dense,
            )?;
        }
        self.store.lookup(plan, rows)?;
        Ok(at)
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
        let rows = [size, self.store.tables().len(), self.store.dim()];
        let buffers = Buffers {
            batch: size,
            dense: zeros(&[size, batch.dense.len() / size])?,
            rows: zeros(&rows)?,
            rows_grad: zeros(&rows)?,
        };
        if self.buffers.len() == KEPT_BUFFERS {
            self.buffers.remove(0);
        }
        self.buffers.push(buffers);
        Ok(self.buffers.len() - 1)
    }
}

/// Plans the ids of a batch.
///
/// # Errors
/// An id beyond its table.
pub(crate) fn plan_batch(planner: &Planner, batch: &Batch, plan: &mut Plan) -> Result<()> {
    let ids = Ids {
        batch: batch.len(),
        ids: &batch.sparse.ids,
        offsets: &batch.sparse.offsets,
    };
    Ok(planner.plan(ids, plan)?)
}
