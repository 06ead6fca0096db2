//! Rows in host memory for a model on another device.

use std::ops::Range;
use std::sync::Mutex;

use candle_core::{DType, Device, Tensor};

use crate::cpu_store::CpuStore;
use crate::encoding::TableSpec;
use crate::error::{Error, Result};
use crate::layout::Part;
use crate::plan::Plan;
use crate::planner::Planner;
use crate::rows::Rows;
use crate::rule::RowOptimizer;
use crate::store::{EmbeddingStore, Side, Tiered};
use crate::traffic::{Counters, Traffic};

/// A store in host memory whose pooled rows cross to the device of the model, and whose gradients
/// cross back.
///
/// Where the device is `Device::Cpu` nothing is copied, and the crossing is still counted.
#[derive(Debug)]
pub struct OnDevice {
    store: CpuStore,
    device: Device,
    counters: Counters,
    /// Host memory for what crosses; none is needed where the device is the host.
    host: Mutex<Host>,
}

#[derive(Debug, Default)]
struct Host {
    rows: Option<Tensor>,
    #[cfg(feature = "cuda")]
    pinned: Option<pinned::PinnedBuffers>,
}

impl OnDevice {
    /// Puts the store beside a device.
    pub fn new(store: CpuStore, device: Device) -> Self {
        Self {
            store,
            device,
            counters: Counters::default(),
            host: Mutex::default(),
        }
    }

    /// The store in host memory.
    pub fn store(&self) -> &CpuStore {
        &self.store
    }

    /// The store in host memory, to load rows.
    pub fn store_mut(&mut self) -> &mut CpuStore {
        &mut self.store
    }

    /// The store in host memory alone.
    pub fn into_store(self) -> CpuStore {
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
        return Err(recsys_device::Error::WrongDType {
            dtype: tensor.dtype(),
        }
        .into());
    }
    if !tensor.is_contiguous() {
        return Err(recsys_device::Error::NotContiguous {
            shape: tensor.dims().to_vec(),
        }
        .into());
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

impl EmbeddingStore for OnDevice {
    fn dim(&self) -> usize {
        self.store.dim()
    }

    fn tables(&self) -> &[TableSpec] {
        self.store.tables()
    }

    fn optimizer(&self) -> &RowOptimizer {
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
            let mut host = self.host.lock().unwrap_or_else(|lock| lock.into_inner());
            #[cfg(feature = "cuda")]
            if self.device.is_cuda() {
                host.pinned(&self.device)?.lookup(&self.store, plan, into)?;
                self.counters
                    .to_device(size_of::<f32>() * into.elem_count());
                return Ok(());
            }
            let rows = match host.rows.take() {
                Some(rows) if rows.shape() == into.shape() => rows,
                _ => Tensor::zeros(into.shape(), DType::F32, &Device::Cpu)?,
            };
            self.store.lookup(plan, &rows)?;
            into.slice_set(&rows.to_device(&self.device)?, 0, 0)?;
            host.rows = Some(rows);
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
            #[cfg(feature = "cuda")]
            if self.device.is_cuda() && grad.elem_count() > 0 {
                let host = self.host.get_mut().unwrap_or_else(|lock| lock.into_inner());
                let pinned = host.pinned(&self.device)?;
                pinned.update(&mut self.store, plan, grad, learning_rate)?;
                self.counters.to_host(size_of::<f32>() * grad.elem_count());
                return Ok(());
            }
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

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn updates(&self) -> u64 {
        self.store.updates()
    }

    fn continue_from(&mut self, updates: u64) {
        self.store.continue_from(updates);
    }

    fn tiers(&self) -> Option<&dyn Tiered> {
        Some(self)
    }

    fn tiers_mut(&mut self) -> Option<&mut dyn Tiered> {
        Some(self)
    }
}

impl Tiered for OnDevice {
    fn prefetch(&mut self, plan: &Plan) -> Result<()> {
        self.store.prefetch(plan)
    }

    fn lookahead(&self) -> usize {
        self.store.lookahead()
    }

    fn enter(&mut self, side: Side) -> Result<()> {
        self.store.enter(side)
    }

    fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    fn mapped_bytes(&self) -> u64 {
        self.store.mapped_bytes()
    }
}

#[cfg(feature = "cuda")]
mod pinned {
    use std::fmt;

    use candle_core::{Device, Tensor};
    use recsys_device::transfer::{CudaQueues, Downloads, Uploads};

    use super::Host;
    use crate::{CpuStore, Plan, Result};

    /// Memory that a CUDA device copies by itself: rows are gathered into it, and gradients
    /// scattered from it.
    pub(super) struct PinnedBuffers {
        rows: Uploads<f32, CudaQueues>,
        grads: Downloads<f32, CudaQueues>,
    }

    impl fmt::Debug for PinnedBuffers {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("PinnedBuffers").finish_non_exhaustive()
        }
    }

    impl Host {
        pub(super) fn pinned(&mut self, device: &Device) -> Result<&mut PinnedBuffers> {
            match &mut self.pinned {
                Some(pinned) => Ok(pinned),
                none => {
                    let queues = CudaQueues::new(device)?;
                    Ok(none.insert(PinnedBuffers {
                        rows: Uploads::new(queues.clone()),
                        grads: Downloads::new(queues),
                    }))
                }
            }
        }
    }

    impl PinnedBuffers {
        pub(super) fn lookup(
            &mut self,
            store: &CpuStore,
            plan: &Plan,
            into: &Tensor,
        ) -> Result<()> {
            let mut looked_up = Ok(());
            let count = into.elem_count();
            let uploaded = self.rows.upload(count, |rows| {
                looked_up = store.lookup_slice(plan, rows);
            })?;
            let rows = self.rows.read(&uploaded)?.narrow(0, 0, count)?;
            recsys_device::launch::copy(&rows, into)?;
            self.rows.release(uploaded)?;
            looked_up
        }

        pub(super) fn update(
            &mut self,
            store: &mut CpuStore,
            plan: &Plan,
            grad: &Tensor,
            learning_rate: f64,
        ) -> Result<()> {
            let count = grad.elem_count();
            let asked = self.grads.download_from(grad, count)?;
            self.grads
                .take(asked, |grad| store.update_slice(plan, grad, learning_rate))?
        }
    }
}
