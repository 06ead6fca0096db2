//! One store of two: hot rows on the device of the model, cold rows in host memory.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::{Device, Tensor};

use crate::cold_rows::ColdRows;
use crate::cpu_store::CpuStore;
use crate::device_store::DeviceStore;
use crate::encoding::TableSpec;
use crate::error::{Error, Result};
use crate::layout::{Layout, Part, PartKind};
use crate::on_device::{check_device, check_shape};
use crate::plan::Plan;
use crate::planner::Planner;
use crate::rows::Rows;
use crate::rule::{RowOptimizer, Step};
use crate::sides::{ColdSide, HotSide};
use crate::store::{EmbeddingStore, Side, StoreOptions, Tiered};
use crate::traffic::{Counters, Traffic};

/// Batches whose cold rows a [`HotCold`] lets be fetched ahead, unless told otherwise. Showing it
/// more is work for nothing: a further one takes the place of the next one to run.
pub const PREFETCHED_BATCHES: usize = 4;

/// A store whose first rows of every table lie on the device of the model and the others in host
/// memory.
///
/// Every batch is split by lookup: hot rows are read where they are, the batch's distinct cold rows
/// cross to the device, and the sums of their gradients cross back.
/// [`prefetch`](crate::Tiered::prefetch) fetches the cold rows of coming batches; whatever of them
/// an update moves in between is fetched again. Every number is that of the unsplit store, bit for
/// bit, unless hot rows are [bf16](crate::RowFormat::Bf16), which cold ones never are.
///
/// A device moves the cold rows of plain tables itself, where it has their copies, and they come
/// back some steps later: the host waits for no step. Batches that were fetched meanwhile take what
/// has not come back from the device.
#[derive(Debug)]
pub struct HotCold<Hot: HotSide, Cold: ColdSide> {
    hot: Hot,
    cold: Cold,
    layout: Arc<Layout>,
    /// Stored rows of every part on the hot side.
    hot_rows: Vec<u32>,
    /// Fetched ahead, oldest first.
    staged: VecDeque<StagedBatch<Hot::Staged>>,
    /// Moved on the device and on their way back, oldest first. Until they are here, the cold side
    /// is behind.
    returning: Mutex<VecDeque<StagedBatch<Hot::Staged>>>,
    /// Sets whose buffers are free.
    spare: Vec<StagedBatch<Hot::Staged>>,
    prefetched_batches: usize,
    /// The cold rows of the last plan that came unannounced.
    direct: Mutex<StagedBatch<Hot::Staged>>,
    counters: Counters,
    /// Updates made.
    updates: u64,
}

/// The cold rows of one plan, on both sides.
#[derive(Debug, Default)]
struct StagedBatch<S> {
    rows: ColdRows,
    on_device: S,
    /// Whether a lookup has read it.
    used: AtomicBool,
    /// Whether the rows that it has moved are here.
    is_back: bool,
}

/// Batches whose moved rows may be on their way when another one is fetched: the last step's, which
/// may be running.
const RETURNING: usize = 1;
/// Those of which there are never more: plans may come unannounced.
const MOST_RETURNING: usize = 3;

impl HotCold<CpuStore, CpuStore> {
    /// Both sides in host memory: the device is `Device::Cpu`. `hot_rows` has one number for each
    /// table.
    ///
    /// # Errors
    /// Impossible tables or options, or hot rows that do not fit the tables.
    pub fn on_cpu(tables: Vec<TableSpec>, options: StoreOptions, hot_rows: &[u64]) -> Result<Self> {
        Self::new(
            CpuStore::hot(tables.clone(), options.clone(), hot_rows)?,
            CpuStore::cold(tables, options, hot_rows)?,
        )
    }
}

impl HotCold<DeviceStore, CpuStore> {
    /// Hot rows on any candle device. `hot_rows` has one number for each table.
    ///
    /// # Errors
    /// As [`on_cpu`](HotCold::on_cpu), and a device that fails.
    pub fn on_device(
        tables: Vec<TableSpec>,
        options: StoreOptions,
        hot_rows: &[u64],
        device: &Device,
    ) -> Result<Self> {
        Self::new(
            DeviceStore::hot(tables.clone(), options.clone(), hot_rows, device)?,
            CpuStore::cold(tables, options.in_host_memory(), hot_rows)?,
        )
    }
}

impl<Hot: HotSide, Cold: ColdSide> HotCold<Hot, Cold> {
    /// Puts two sides together: what `hot` holds of every part, from its first row on, `cold` holds
    /// no more.
    ///
    /// # Errors
    /// Sides of other tables or optimizers, or whose rows do not make whole parts.
    pub fn new(hot: Hot, cold: Cold) -> Result<Self> {
        let mismatch = |problem: String| Err(Error::SidesMismatch { problem });
        let layout = hot.planner().layout();
        if layout != cold.planner().layout() || hot.dim() != cold.dim() {
            return mismatch("they are of other tables".into());
        }
        if hot.optimizer() != cold.optimizer() {
            return mismatch("their optimizers differ".into());
        }
        let mut hot_rows = Vec::with_capacity(layout.parts.len());
        for (index, (part, placed)) in hot.parts().iter().zip(&layout.parts).enumerate() {
            let (first, second) = (hot.held(index), cold.held(index));
            let hot = if first.is_empty() { 0 } else { first.end };
            let rest = if second.is_empty() {
                part.rows
            } else {
                second.start
            };
            let whole = second.is_empty() || second.end == part.rows;
            if (!first.is_empty() && first.start != 0) || rest != hot || !whole {
                return mismatch(format!(
                    "of {} rows of {}, one has {first:?} and the other {second:?}",
                    part.rows, part.name
                ));
            }
            // Fits: a part has at most as many rows as its table has ids, and a remainder part as
            // many as fit 32 bits.
            hot_rows.push(match placed.kind {
                PartKind::Projection if hot > 0 => placed.rows as u32,
                _ => hot as u32,
            });
        }
        // A projection works where its rows are.
        for (index, placed) in layout.parts.iter().enumerate() {
            if placed.kind == PartKind::Projection
                && (hot_rows[index] > 0) != (hot_rows[index - 1] > 0)
            {
                return mismatch(format!(
                    "{} lies on the other side than the first rows of its table",
                    hot.parts()[index].name
                ));
            }
        }
        Ok(Self {
            hot,
            cold,
            layout,
            hot_rows,
            staged: VecDeque::new(),
            returning: Mutex::default(),
            spare: Vec::new(),
            prefetched_batches: PREFETCHED_BATCHES,
            direct: Mutex::default(),
            counters: Counters::default(),
            updates: 0,
        })
    }

    /// Lets the cold rows of that many batches be fetched ahead; a further one takes the place of
    /// one that was looked up already, or else of the oldest. 4 if not set.
    pub fn with_prefetched_batches(mut self, batches: usize) -> Self {
        self.prefetched_batches = batches;
        self
    }

    /// The side on the device.
    pub fn hot(&self) -> &Hot {
        &self.hot
    }

    /// The side in host memory. Rows that the last steps have moved may be on their way to it;
    /// [`export`](EmbeddingStore::export) waits for them.
    pub fn cold(&self) -> &Cold {
        &self.cold
    }

    /// The side in host memory with all rows that batches have moved, to change it: what was
    /// fetched of it is forgotten.
    pub(crate) fn cold_mut(&mut self) -> Result<&mut Cold> {
        self.settle(0)?;
        self.forget();
        Ok(&mut self.cold)
    }

    /// Batches whose cold rows are at hand.
    pub fn staged_batches(&self) -> usize {
        self.staged.len()
    }

    fn check(&self, plan: &Plan, what: &'static str, tensor: &Tensor) -> Result<()> {
        self.check_plan(plan)?;
        check_shape(plan, self.layout.specs.len(), self.hot.dim(), what, tensor)?;
        check_device(&self.hot.device(), tensor)
    }

    fn check_plan(&self, plan: &Plan) -> Result<()> {
        plan.grouping.check(&self.layout)?;
        plan.grouping.check_slots()
    }

    /// Lists a plan's cold rows, copies them, and takes them to the device.
    fn fetch(&self, plan: &Plan, into: &mut StagedBatch<Hot::Staged>) -> Result<()> {
        into.rows.list(&plan.grouping, &self.layout, &self.hot_rows);
        if self.hot.moves_staged() {
            let width = self.hot.parts().first().map_or(0, |part| part.state_width);
            into.rows.add_state(width);
        }
        // Until all is there, it is nobody's.
        into.rows.serial = 0;
        *into.used.get_mut() = false;
        into.is_back = false;
        self.cold.read(&mut into.rows);
        self.hot.stage(plan, &into.rows, &mut into.on_device)?;
        for moved in &*self.returning() {
            let pairs = into.rows.pairs(&moved.rows);
            self.hot
                .copy_staged(&moved.on_device, &mut into.on_device, &pairs)?;
        }
        into.rows.serial = plan.grouping.serial;
        self.counters.to_device(into.rows.bytes());
        Ok(())
    }

    fn returning(&self) -> MutexGuard<'_, VecDeque<StagedBatch<Hot::Staged>>> {
        self.returning
            .lock()
            .unwrap_or_else(|lock| lock.into_inner())
    }

    /// Waits until no more than that many batches' rows are on their way back.
    fn settle(&mut self, most: usize) -> Result<()> {
        loop {
            let batch = {
                let mut returning = self.returning();
                if returning.len() <= most {
                    return Ok(());
                }
                returning.pop_front()
            };
            if let Some(mut batch) = batch {
                bring_back(&self.hot, &mut batch)?;
                self.cold.write(&batch.rows);
                self.free(batch);
            }
        }
    }

    fn staged(&self, plan: &Plan) -> Option<usize> {
        self.staged
            .iter()
            .position(|batch| batch.rows.serial == plan.grouping.serial)
    }

    fn direct(&self) -> MutexGuard<'_, StagedBatch<Hot::Staged>> {
        self.direct.lock().unwrap_or_else(|lock| lock.into_inner())
    }

    /// Bytes of the numbers that tell the device which rows a batch's lookups mean.
    fn id_bytes(&self, plan: &Plan, cold: &ColdRows) -> usize {
        let hot: usize = cold.parts.iter().map(|part| part.first_slot).sum();
        (plan.grouping.samples.len() + hot) * size_of::<u32>()
    }

    /// Moves both sides, with the plan's cold rows at hand.
    fn update_both(
        &mut self,
        plan: &Plan,
        batch: &mut StagedBatch<Hot::Staged>,
        grad: &Tensor,
        step: Step,
    ) -> Result<()> {
        let StagedBatch {
            rows, on_device, ..
        } = batch;
        if self.hot.moves_staged() {
            self.hot.move_staged(plan, rows, on_device, grad, step)?;
            self.counters.to_host(rows.bytes());
            for other in &mut self.staged {
                let pairs = other.rows.pairs(rows);
                self.hot
                    .copy_staged(on_device, &mut other.on_device, &pairs)?;
            }
            return Ok(());
        }
        self.hot.update_with(plan, rows, on_device, grad, step)?;
        self.counters.to_host(rows.bytes());
        self.cold.apply(rows, step);
        let Self {
            hot,
            cold,
            staged,
            counters,
            ..
        } = self;
        for other in staged {
            other.rows.find_changed(rows);
            if other.rows.changed.is_empty() {
                continue;
            }
            cold.read_changed(&mut other.rows);
            hot.stage_changed(&other.rows, &mut other.on_device)?;
            counters.to_device(other.rows.changed_bytes());
        }
        Ok(())
    }

    /// Keeps a batch until what it has moved is here, or frees it where that is so.
    fn put_away(&mut self, batch: StagedBatch<Hot::Staged>) -> Result<()> {
        if !self.hot.moves_staged() {
            self.free(batch);
            return Ok(());
        }
        self.returning().push_back(batch);
        self.settle(MOST_RETURNING)
    }

    /// Frees the buffers of a set.
    fn free(&mut self, mut batch: StagedBatch<Hot::Staged>) {
        batch.rows.serial = 0;
        self.spare.push(batch);
    }

    /// Forgets what was fetched: rows have changed in another way than by updates.
    fn forget(&mut self) {
        while let Some(batch) = self.staged.pop_front() {
            self.free(batch);
        }
        self.direct().rows.serial = 0;
    }
}

impl<Hot: HotSide, Cold: ColdSide> EmbeddingStore for HotCold<Hot, Cold> {
    fn dim(&self) -> usize {
        self.hot.dim()
    }

    fn tables(&self) -> &[TableSpec] {
        self.hot.tables()
    }

    fn optimizer(&self) -> &RowOptimizer {
        self.hot.optimizer()
    }

    fn planner(&self) -> Planner {
        let planner = self.hot.planner().with_slots();
        planner.with_lists_otherwise(self.hot_rows.as_slice().into())
    }

    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        self.check(plan, "the output", into)?;
        let direct;
        let batch = match self.staged(plan) {
            Some(at) => &self.staged[at],
            None => {
                let mut guard = self.direct();
                if guard.rows.serial != plan.grouping.serial {
                    self.fetch(plan, &mut guard)?;
                }
                direct = guard;
                &*direct
            }
        };
        batch.used.store(true, Ordering::Relaxed);
        self.counters.to_device(self.id_bytes(plan, &batch.rows));
        self.hot
            .lookup_with(plan, &batch.rows, &batch.on_device, into)
    }

    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()> {
        self.check(plan, "the gradient", grad)?;
        let step = Step::new(learning_rate, self.updates)?;
        self.updates = step.next(plan.batch());
        if let Some(mut batch) = self.staged(plan).and_then(|at| self.staged.remove(at)) {
            self.update_both(plan, &mut batch, grad, step)?;
            self.direct().rows.serial = 0;
            return self.put_away(batch);
        }
        let mut batch = std::mem::take(&mut *self.direct());
        if batch.rows.serial != plan.grouping.serial {
            self.fetch(plan, &mut batch)?;
        }
        self.update_both(plan, &mut batch, grad, step)?;
        if self.hot.moves_staged() {
            return self.put_away(batch);
        }
        batch.rows.serial = 0;
        *self.direct() = batch;
        Ok(())
    }

    fn parts(&self) -> &[Part] {
        self.hot.parts()
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        let boundary = self.boundary(part, &rows)?;
        let mut out = self.hot.export(part, rows.start..boundary)?;
        let mut cold = self.cold.export(part, boundary..rows.end)?;
        for moved in &mut *self.returning() {
            bring_back(&self.hot, moved)?;
            moved.rows.overlay(part, boundary..rows.end, &mut cold);
        }
        out.weights.extend_from_slice(&cold.weights);
        out.state.extend_from_slice(&cold.state);
        Ok(out)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        let count = rows.check(self.parts(), part)?;
        let all = first_row..first_row.saturating_add(count as u64);
        let boundary = self.boundary(part, &all)?;
        let cold = self.cold_mut()?;
        let hot = (boundary - first_row) as usize;
        if hot < count {
            cold.import(part, boundary, &rows.slice(hot..count))?;
        }
        if hot > 0 {
            self.hot.import(part, first_row, &rows.slice(0..hot))?;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> u64 {
        self.hot.memory_bytes() + self.cold.memory_bytes()
    }

    fn device(&self) -> Device {
        self.hot.device()
    }

    fn updates(&self) -> u64 {
        match self.hot.rounding().is_some() || self.optimizer().counts_steps() {
            true => self.updates,
            false => 0,
        }
    }

    fn continue_from(&mut self, updates: u64) {
        self.updates = updates;
        self.hot.continue_from(updates);
    }

    fn tiers(&self) -> Option<&dyn Tiered> {
        Some(self)
    }

    fn tiers_mut(&mut self) -> Option<&mut dyn Tiered> {
        Some(self)
    }
}

impl<Hot: HotSide, Cold: ColdSide> Tiered for HotCold<Hot, Cold> {
    fn lookahead(&self) -> usize {
        self.prefetched_batches.min(1)
    }

    fn prefetch(&mut self, plan: &Plan) -> Result<()> {
        self.check_plan(plan)?;
        if self.prefetched_batches == 0 || self.staged(plan).is_some() {
            return Ok(());
        }
        if self.staged.len() >= self.prefetched_batches {
            let used = self
                .staged
                .iter_mut()
                .position(|batch| *batch.used.get_mut());
            if let Some(batch) = self.staged.remove(used.unwrap_or(0)) {
                self.free(batch);
            }
        }
        self.settle(RETURNING)?;
        let mut batch = self.spare.pop().unwrap_or_default();
        let fetched = self.fetch(plan, &mut batch);
        match fetched {
            Ok(()) => self.staged.push_back(batch),
            Err(_) => self.free(batch),
        }
        fetched
    }

    /// There is one side.
    fn enter(&mut self, _: Side) -> Result<()> {
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    fn mapped_bytes(&self) -> u64 {
        self.cold.tiers().map_or(0, Tiered::mapped_bytes)
    }
}

/// Waits for the rows that a batch has moved.
fn bring_back<Hot: HotSide>(hot: &Hot, batch: &mut StagedBatch<Hot::Staged>) -> Result<()> {
    if !batch.is_back {
        hot.take_staged(&mut batch.on_device, &mut batch.rows)?;
        batch.is_back = true;
    }
    Ok(())
}

impl<Hot: HotSide, Cold: ColdSide> HotCold<Hot, Cold> {
    /// The first of the rows that is on the cold side, or the end of the rows, which are in the
    /// part.
    fn boundary(&self, part: usize, rows: &Range<u64>) -> Result<u64> {
        let parts = self.parts();
        let Some(described) = parts.get(part) else {
            return Err(Error::PartOutOfRange {
                part,
                parts: parts.len(),
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
        Ok(self.hot.held(part).end.clamp(rows.start, rows.end))
    }
}
