//! All rows in host memory, and the hot ones on every device as well.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use candle_core::{Device, Tensor};
use half::bf16;
use recsys_device::{Mirror, connect_devices, copy_between};

use crate::cpu_store::CpuStore;
use crate::device_store::DeviceStore;
use crate::dirty_rows::DirtyRows;
use crate::encoding::TableSpec;
use crate::error::{Error, Result};
use crate::hot_cold::HotCold;
use crate::layout::{Layout, Part, PartKind};
use crate::on_device::{OnDevice, check_device, check_shape};
use crate::plan::Plan;
use crate::planner::Planner;
use crate::rounding::Rounding;
use crate::row_format::RowFormat;
use crate::rows::Rows;
use crate::rule::{RowOptimizer, Step};
use crate::sides::HotSide;
use crate::split::HotOperations;
use crate::store::{EmbeddingStore, Side, StoreOptions, Tiered};
use crate::traffic::{Counters, Traffic};

/// Rows of a part that a sync moves together: few enough that they stay in the cache on their way.
const ROWS_AT_ONCE: usize = 8192;

/// The store of FAE (Adnan et al., PVLDB 15(1), 2021): whole tables in host memory, and replicas of
/// their hot rows on one or more devices.
///
/// On [`Side::Hot`], batches that touch hot rows only run on the replicas: each looks up its share
/// of the samples, and all take the same update, so that they stay equal bit for bit. On
/// [`Side::Cold`], where the store starts, any batch runs on the whole tables, as on those of a
/// [`HotCold`] whose device has no hot rows: the batch's distinct rows cross to the first device,
/// ahead of time where the batch is shown, are moved there, and come back while the next steps run.
/// Where the first replica cannot move them (it is in host memory, or tables are not plain), pooled
/// rows cross, and their gradients. [`enter`](crate::Tiered::enter) copies the hot rows that have
/// changed on the side that is left, with their optimizer state. Where replicas are
/// [bf16](RowFormat::Bf16), a row is rounded when it enters them, in host memory too: on both sides
/// it has one value, which cold batches move in f32.
#[derive(Debug)]
pub struct HotReplicas<Hot: HotSide> {
    full: Whole,
    replicas: Vec<Hot>,
    layout: Arc<Layout>,
    /// The rows of every part that the replicas hold.
    held: Vec<Range<u64>>,
    side: Side,
    /// Hot rows that have changed on the side that the store is on.
    dirty: DirtyRows,
    counters: Counters,
    buffers: SyncBuffers,
    /// Of each replica that is on another device than the first: what crosses between the two.
    crossing: Vec<Crossing>,
    /// Updates made.
    updates: u64,
}

/// The whole tables, beside the first device.
#[derive(Debug)]
enum Whole {
    /// Pooled rows cross.
    Pooled(Box<OnDevice>),
    /// Distinct rows cross; none is hot.
    Staged(Box<HotCold<DeviceStore, CpuStore>>),
}

impl Whole {
    fn new(full: CpuStore, first: &impl HotSide) -> Result<Self> {
        let device = first.device();
        if !first.moves_staged() {
            return Ok(Self::Pooled(Box::new(OnDevice::new(full, device))));
        }
        let options = StoreOptions {
            dim: full.dim(),
            optimizer: full.optimizer().clone(),
            ..StoreOptions::default()
        };
        let tables = full.tables().to_vec();
        let none = DeviceStore::hot(tables, options, &vec![0; full.tables().len()], &device)?;
        Ok(Self::Staged(Box::new(HotCold::new(none, full)?)))
    }

    fn store(&self) -> &dyn EmbeddingStore {
        match self {
            Self::Pooled(store) => &**store,
            Self::Staged(store) => &**store,
        }
    }

    fn store_mut(&mut self) -> &mut dyn EmbeddingStore {
        match self {
            Self::Pooled(store) => &mut **store,
            Self::Staged(store) => &mut **store,
        }
    }

    fn tiers(&self) -> &dyn Tiered {
        match self {
            Self::Pooled(store) => &**store,
            Self::Staged(store) => &**store,
        }
    }

    fn tiers_mut(&mut self) -> &mut dyn Tiered {
        match self {
            Self::Pooled(store) => &mut **store,
            Self::Staged(store) => &mut **store,
        }
    }

    /// The tables alone, with all that batches have moved, to change them.
    fn host(&mut self) -> Result<&mut CpuStore> {
        match self {
            Self::Pooled(store) => Ok(store.store_mut()),
            Self::Staged(store) => store.cold_mut(),
        }
    }
}

#[derive(Debug, Default)]
struct Crossing {
    /// Rows that it has looked up.
    rows: Mutex<Mirror>,
    gradient: Mirror,
}

#[derive(Debug, Default)]
struct SyncBuffers {
    rows: Vec<u32>,
    weights: Vec<f32>,
    state: Vec<f32>,
}

impl HotReplicas<CpuStore> {
    /// Replicas in host memory: the device is `Device::Cpu`. `hot_rows` has one number for each
    /// table.
    ///
    /// # Errors
    /// Impossible tables or options, hot rows that do not fit the tables, or no replica.
    pub fn on_cpu(
        tables: Vec<TableSpec>,
        options: StoreOptions,
        hot_rows: &[u64],
        replicas: usize,
    ) -> Result<Self> {
        let replicas = (0..replicas)
            .map(|_| CpuStore::hot(tables.clone(), options.clone(), hot_rows))
            .collect::<Result<_>>()?;
        Self::new(CpuStore::new(tables, options)?, replicas)
    }
}

impl HotReplicas<DeviceStore> {
    /// One replica on each of the devices; the model runs on the first. `hot_rows` has one number
    /// for each table.
    ///
    /// # Errors
    /// As [`on_cpu`](HotReplicas::on_cpu), and a device that fails.
    pub fn on_devices(
        tables: Vec<TableSpec>,
        options: StoreOptions,
        hot_rows: &[u64],
        devices: &[Device],
    ) -> Result<Self> {
        let replicas = devices
            .iter()
            .map(|device| DeviceStore::hot(tables.clone(), options.clone(), hot_rows, device))
            .collect::<Result<_>>()?;
        Self::new(CpuStore::new(tables, options.in_host_memory())?, replicas)
    }
}

impl<Hot: HotSide> HotReplicas<Hot> {
    /// Puts whole tables and replicas of their first rows together; the replicas' rows are
    /// overwritten by those of the tables.
    ///
    /// # Errors
    /// No replica, tables that are not whole, replicas of other tables or optimizers, or of
    /// different rows.
    pub fn new(full: CpuStore, replicas: Vec<Hot>) -> Result<Self> {
        let mismatch = |problem: String| Err(Error::SidesMismatch { problem });
        let Some(first) = replicas.first() else {
            return mismatch("at least one replica is needed".into());
        };
        let layout = full.planner().layout();
        let parts = full.parts();
        if (0..parts.len()).any(|part| full.held[part] != (0..parts[part].rows)) {
            return mismatch("the tables in host memory are not whole".into());
        }
        for replica in &replicas {
            if replica.planner().layout() != layout || replica.dim() != full.dim() {
                return mismatch("a replica is of other tables".into());
            }
            if replica.optimizer() != full.optimizer() {
                return mismatch("a replica has another optimizer".into());
            }
            if replica.rounding() != first.rounding() {
                return mismatch(
                    "replicas keep their rows in different formats, or round by different seeds"
                        .into(),
                );
            }
            for (part, described) in parts.iter().enumerate() {
                let held = replica.held(part);
                if held != first.held(part) || (!held.is_empty() && held.start != 0) {
                    return mismatch(format!(
                        "a replica holds rows {held:?} of {}, the first replica {:?}",
                        described.name,
                        first.held(part)
                    ));
                }
            }
        }
        let held: Vec<_> = (0..parts.len()).map(|part| first.held(part)).collect();
        let mut dirty = DirtyRows::new(held.iter().map(|held| held.end));
        for part in 0..parts.len() {
            dirty.mark_all(part);
        }
        let full = Whole::new(full, first)?;
        let devices: Vec<_> = replicas.iter().map(EmbeddingStore::device).collect();
        connect_devices(&devices);
        let mut store = Self {
            full,
            crossing: replicas.iter().map(|_| Crossing::default()).collect(),
            replicas,
            layout,
            held,
            side: Side::Cold,
            dirty,
            counters: Counters::default(),
            buffers: SyncBuffers::default(),
            updates: 0,
        };
        // They round by it, and must do so alike.
        store.continue_from(0);
        store.copy_marked(Side::Hot)?;
        Ok(store)
    }

    /// The side that the store is on.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The replicas; their rows are the current ones on [`Side::Hot`].
    pub fn replicas(&self) -> &[Hot] {
        &self.replicas
    }

    /// How the replicas round their rows; as f32 they do not.
    fn rounding(&self) -> Option<Rounding> {
        self.replicas.first().and_then(HotOperations::rounding)
    }

    fn check(&self, plan: &Plan, what: &'static str, tensor: &Tensor) -> Result<()> {
        plan.grouping.check(&self.layout)?;
        check_shape(plan, self.tables().len(), self.dim(), what, tensor)?;
        check_device(&self.device(), tensor)?;
        if self.side == Side::Hot {
            plan.grouping.check_rows(self.parts(), &self.held)?;
        }
        Ok(())
    }

    /// Notes that the plan's rows change.
    fn mark(&mut self, plan: &Plan) {
        for (part, placed) in self.layout.parts.iter().enumerate() {
            match placed.kind {
                PartKind::Rows(_) => self.dirty.mark(part, plan.rows_of(part)),
                PartKind::Projection if plan.grouping.needs_projection(part) => {
                    self.dirty.mark_all(part)
                }
                PartKind::Projection => {}
            }
        }
    }

    /// Copies the marked rows from the tables to every replica, or back from the first one. Returns
    /// their bytes.
    fn copy_marked(&mut self, to: Side) -> Result<u64> {
        let Self {
            full,
            replicas,
            layout,
            held,
            dirty,
            buffers,
            updates,
            ..
        } = self;
        let SyncBuffers {
            rows,
            weights,
            state,
        } = buffers;
        let full = full.host()?;
        // Weights cross as the replicas keep them, and come back as f32; so do projections and
        // state, both ways.
        let (mut floats, mut halves) = (0, 0);
        let rounding = replicas.first().and_then(|first| first.rounding());
        let updates = *updates;
        let mut kept = Vec::new();
        for (part, held) in held.iter().enumerate() {
            if held.is_empty() || !dirty.any(part) {
                continue;
            }
            dirty.take(part, held.end, rows);
            if layout.parts[part].kind == PartKind::Projection {
                let from: &dyn EmbeddingStore = match (to, replicas.first()) {
                    (Side::Cold, Some(replica)) => replica,
                    _ => full,
                };
                let all = from.export(part, held.clone())?;
                floats += all.weights.len() + all.state.len();
                match to {
                    Side::Cold => full.import(part, 0, &all)?,
                    Side::Hot => {
                        for replica in replicas.iter_mut() {
                            replica.import(part, 0, &all)?;
                        }
                    }
                }
                continue;
            }
            for rows in rows.chunks(ROWS_AT_ONCE) {
                match (to, replicas.first()) {
                    (Side::Cold, Some(replica)) => {
                        replica.read_rows(part, rows, weights, state)?;
                        full.write_rows(part, rows, weights, state)?;
                    }
                    _ => {
                        full.read_rows(part, rows, weights, state)?;
                        if let Some(rounding) = rounding {
                            // A row has one value: that of the replicas, which it keeps there.
                            let key = rounding.import_key(updates, part);
                            round_rows(key, rows, weights, &mut kept);
                            full.write_rows(part, rows, weights, state)?;
                        }
                        for replica in replicas.iter_mut() {
                            replica.write_rows(part, rows, weights, state)?;
                        }
                    }
                }
                match (to, rounding) {
                    (Side::Hot, Some(_)) => halves += weights.len(),
                    _ => floats += weights.len(),
                }
                floats += state.len();
            }
        }
        Ok((floats * size_of::<f32>() + halves * RowFormat::Bf16.bytes()) as u64)
    }

    /// Every replica looks up its share of the samples.
    fn lookup_hot(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        let (batch, count) = (plan.batch(), self.replicas.len());
        for (number, (replica, crossing)) in self.replicas.iter().zip(&self.crossing).enumerate() {
            let samples = number * batch / count..(number + 1) * batch / count;
            if samples.is_empty() {
                continue;
            }
            let share = into.narrow(0, samples.start, samples.len())?;
            if replica.device().same_device(into.device()) {
                replica.lookup_samples(plan, samples, &share)?;
                continue;
            }
            let mut mirror = crossing
                .rows
                .lock()
                .unwrap_or_else(|lock| lock.into_inner());
            let rows = mirror.room(share.dims(), &replica.device())?;
            replica.lookup_samples(plan, samples, &rows)?;
            copy_between(&rows, &share)?;
        }
        Ok(())
    }

    /// Bytes of the numbers that tell the replicas which rows a batch's lookups mean.
    fn id_bytes(&self, plan: &Plan) -> usize {
        (plan.grouping.samples.len() + plan.grouping.rows.len())
            * size_of::<u32>()
            * self.replicas.len()
    }
}

impl<Hot: HotSide> EmbeddingStore for HotReplicas<Hot> {
    fn dim(&self) -> usize {
        self.full.store().dim()
    }

    fn tables(&self) -> &[TableSpec] {
        self.full.store().tables()
    }

    fn optimizer(&self) -> &RowOptimizer {
        self.full.store().optimizer()
    }

    fn planner(&self) -> Planner {
        let Some(replica) = self.replicas.first() else {
            return self.full.store().planner();
        };
        match &self.full {
            Whole::Pooled(_) => replica.planner(),
            // Batches that touch other rows are listed for a device that has none.
            Whole::Staged(_) => {
                let none = vec![0; self.layout.parts.len()];
                replica.planner().with_lists_otherwise(none.into())
            }
        }
    }

    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        self.check(plan, "the output", into)?;
        match self.side {
            Side::Hot => {
                self.lookup_hot(plan, into)?;
                self.counters.to_device(self.id_bytes(plan));
                Ok(())
            }
            Side::Cold => self.full.store().lookup(plan, into),
        }
    }

    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()> {
        self.check(plan, "the gradient", grad)?;
        let step = Step::new(learning_rate, self.updates)?;
        self.mark(plan);
        match self.side {
            Side::Hot => {
                for (replica, crossing) in self.replicas.iter_mut().zip(&mut self.crossing) {
                    let grad = crossing.gradient.of(grad, &replica.device())?;
                    replica.update(plan, &grad, learning_rate)?;
                }
            }
            Side::Cold => self.full.store_mut().update(plan, grad, learning_rate)?,
        }
        // The side that was not asked counts it too: rules and rounding go by the number of all
        // updates.
        self.continue_from(step.next(plan.batch()));
        Ok(())
    }

    fn parts(&self) -> &[Part] {
        self.full.store().parts()
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        let mut out = self.full.store().export(part, rows.clone())?;
        if let (Side::Hot, Some(replica)) = (self.side, self.replicas.first()) {
            let hot = rows.start..self.held[part].end.clamp(rows.start, rows.end);
            let current = replica.export(part, hot)?;
            out.weights[..current.weights.len()].copy_from_slice(&current.weights);
            out.state[..current.state.len()].copy_from_slice(&current.state);
        }
        Ok(out)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        self.full.store_mut().import(part, first_row, rows)?;
        let count = rows.check(self.parts(), part)?;
        let hot = self.held[part]
            .end
            .saturating_sub(first_row)
            .min(count as u64);
        if hot > 0 {
            if self.side == Side::Hot {
                let rows = rows.slice(0..hot as usize);
                for replica in &mut self.replicas {
                    replica.import(part, first_row, &rows)?;
                }
            }
            self.dirty.mark_range(part, first_row..first_row + hot);
        }
        Ok(())
    }

    fn memory_bytes(&self) -> u64 {
        let replicas = self.replicas.iter().map(EmbeddingStore::memory_bytes);
        self.full.store().memory_bytes() + replicas.sum::<u64>()
    }

    fn device(&self) -> Device {
        self.full.store().device()
    }

    fn updates(&self) -> u64 {
        match self.rounding().is_some() || self.optimizer().counts_steps() {
            true => self.updates,
            false => 0,
        }
    }

    fn continue_from(&mut self, updates: u64) {
        self.updates = updates;
        self.full.store_mut().continue_from(updates);
        for replica in &mut self.replicas {
            replica.continue_from(updates);
        }
    }

    fn tiers(&self) -> Option<&dyn Tiered> {
        Some(self)
    }

    fn tiers_mut(&mut self) -> Option<&mut dyn Tiered> {
        Some(self)
    }
}

impl<Hot: HotSide> Tiered for HotReplicas<Hot> {
    fn prefetch(&mut self, plan: &Plan) -> Result<()> {
        plan.grouping.check(&self.layout)?;
        match self.side {
            // It will run on the other side.
            Side::Hot if plan.grouping.check_rows(self.parts(), &self.held).is_err() => Ok(()),
            Side::Hot => {
                let mut replicas = self.replicas.iter_mut();
                replicas.try_for_each(|replica| match replica.tiers_mut() {
                    Some(tiers) => tiers.prefetch(plan),
                    None => Ok(()),
                })
            }
            Side::Cold => self.full.tiers_mut().prefetch(plan),
        }
    }

    fn lookahead(&self) -> usize {
        let of = |store: &dyn EmbeddingStore| store.tiers().map_or(0, Tiered::lookahead);
        let replicas = self.replicas.iter().map(|replica| of(replica));
        replicas.fold(of(self.full.store()), usize::max)
    }

    fn enter(&mut self, side: Side) -> Result<()> {
        if side == self.side {
            return Ok(());
        }
        let start = Instant::now();
        let bytes = self.copy_marked(side)?;
        match side {
            Side::Hot => {
                let bytes = bytes * self.replicas.len() as u64;
                self.counters.synced(bytes, 0, start.elapsed());
            }
            Side::Cold => self.counters.synced(0, bytes, start.elapsed()),
        }
        self.side = side;
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        let (own, crossed) = (self.counters.read(), self.full.tiers().traffic());
        Traffic {
            host_to_device: own.host_to_device + crossed.host_to_device,
            device_to_host: own.device_to_host + crossed.device_to_host,
            ..own
        }
    }

    fn mapped_bytes(&self) -> u64 {
        self.full.tiers().mapped_bytes()
    }
}

/// Rounds rows, `[rows, width]`; `kept` is memory for one.
fn round_rows(key: u64, rows: &[u32], weights: &mut [f32], kept: &mut Vec<bf16>) {
    let width = weights.len() / rows.len().max(1);
    if width == 0 {
        return;
    }
    kept.resize(width, bf16::ZERO);
    for (&row, weights) in rows.iter().zip(weights.chunks_exact_mut(width)) {
        Rounding::round(key, row, weights, kept);
        for (into, kept) in weights.iter_mut().zip(&*kept) {
            *into = kept.to_f32();
        }
    }
}
