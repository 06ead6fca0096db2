//! Rows in host memory for a model on another device.

use std::ops::Range;
use std::sync::Mutex;

use candle_core::{DType, Device, Tensor};

use crate::traffic::Counters;
use crate::{
    EmbeddingStore, Error, Optimizer, Part, Plan, Planner, Result, Rows, Side, TableSpec, Traffic,
};

/// A store in host memory whose pooled rows cross to the device of the model, and whose gradients cross back.
///
/// Where the device is `Device::Cpu` nothing is copied, and the crossing is still counted.
#[derive(Debug)]
pub struct OnDevice<S> {
    store: S,
    device: Device,
    counters: Counters,
    /// Host memory for what crosses; none is needed where the device is the host.
    host: Mutex<Option<Tensor>>,
}

impl<S: EmbeddingStore> OnDevice<S> {
    /// Puts the store beside a device.
    pub fn new(store: S, device: Device) -> Self {
        Self {
            store,
            device,
            counters: Counters::default(),
            host: Mutex::new(None),
        }
    }

    /// The store in host memory.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store in host memory, to load rows.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// The store in host memory alone.
    pub fn into_store(self) -> S {
        self.store
    }

    fn check(&self, plan: &Plan, what: &'static str, tensor: &Tensor) -> Result<()> {
        check_shape(
            plan,
            self.store.tables().len(),
            self.store.dim(),
            what,
            tensor,
        )?;
        check_device(&self.device, tensor)
    }
}

/// That a tensor is `[batch, tables, dim]`.
pub(crate) fn check_shape(
    plan: &Plan,
    tables: usize,
    dim: usize,
    what: &'static str,
    tensor: &Tensor,
) -> Result<()> {
    let expected = [plan.batch(), tables, dim];
    if tensor.dims() != expected {
        return Err(Error::Shape {
            what,
            got: tensor.dims().to_vec(),
            expected,
        });
    }
    if tensor.dtype() != DType::F32 {
        return Err(Error::WrongDType {
            dtype: tensor.dtype(),
        });
    }
    if !tensor.is_contiguous() {
        return Err(Error::NotContiguous {
            shape: tensor.dims().to_vec(),
        });
    }
    Ok(())
}

pub(crate) fn check_device(device: &Device, tensor: &Tensor) -> Result<()> {
    if tensor.device().same_device(device) {
        return Ok(());
    }
    Err(Error::WrongDevice {
        got: format!("{:?}", tensor.device().location()),
        expected: format!("{:?}", device.location()),
    })
}

impl<S: EmbeddingStore> EmbeddingStore for OnDevice<S> {
    fn dim(&self) -> usize {
        self.store.dim()
    }

    fn tables(&self) -> &[TableSpec] {
        self.store.tables()
    }

    fn optimizer(&self) -> Optimizer {
        self.store.optimizer()
    }

    fn planner(&self) -> Planner {
        self.store.planner()
    }

    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        self.check(plan, "the output", into)?;
        if self.device.is_cpu() {
            self.store.lookup(plan, into)?;
        } else if into.elem_count() > 0 {
            let mut kept = self.host.lock().unwrap_or_else(|lock| lock.into_inner());
            let host = match kept.take() {
                Some(host) if host.shape() == into.shape() => host,
                _ => Tensor::zeros(into.shape(), DType::F32, &Device::Cpu)?,
            };
            self.store.lookup(plan, &host)?;
            into.slice_set(&host.to_device(&self.device)?, 0, 0)?;
            *kept = Some(host);
        }
        self.counters
            .to_device(size_of::<f32>() * into.elem_count());
        Ok(())
    }

    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()> {
        self.check(plan, "the gradient", grad)?;
        if self.device.is_cpu() {
            self.store.update(plan, grad, learning_rate)?;
        } else {
            let grad = grad.to_device(&Device::Cpu)?;
            self.store.update(plan, &grad, learning_rate)?;
        }
        self.counters.to_host(size_of::<f32>() * grad.elem_count());
        Ok(())
    }

    fn parts(&self) -> &[Part] {
        self.store.parts()
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        self.store.export(part, rows)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        self.store.import(part, first_row, rows)
    }

    fn memory_bytes(&self) -> u64 {
        self.store.memory_bytes()
    }

    fn mapped_bytes(&self) -> u64 {
        self.store.mapped_bytes()
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn prefetch(&mut self, plan: &Plan) -> Result<()> {
        self.store.prefetch(plan)
    }

    fn enter(&mut self, side: Side) -> Result<()> {
        self.store.enter(side)
    }

    fn traffic(&self) -> Traffic {
        self.counters.read()
    }
}
