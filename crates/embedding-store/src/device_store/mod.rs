//! The store on any candle device.

pub(crate) mod batch_lists;
#[cfg(feature = "cuda")]
mod cuda;
mod index;
mod lookup;
mod matrix;
mod rows;
mod side;
mod staged;
mod update;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor};

use crate::arena::{ArenaError, zeros};
use crate::cold_rows::ColdRows;
use crate::encoding::TableSpec;
use crate::error::{Error, Result};
use crate::hot_rows::hot_ranges;
use crate::initialization::RowGenerator;
use crate::layout::{Layout, Part, PartKind};
use crate::on_device::{check_device, check_shape};
use crate::plan::Plan;
use crate::planner::Planner;
use crate::rounding::Rounding;
use crate::row_format::RowFormat;
use crate::rows::Rows;
use crate::rule::{RowOptimizer, Step};
use crate::store::{EmbeddingStore, Side, StoreOptions, Tiered};
use crate::traffic::Traffic;
use index::Index;
use matrix::{Matrix, in_memory, initial_rows};
use staged::Staged;

/// Embedding tables, or the first rows of them, as tensors on any candle device.
///
/// Lookup and update are tensor operations on the rows of the batch, never on a whole table; on a
/// CUDA device (feature `cuda`), kernels for all tables together. On `Device::Cpu` the results are
/// those of [`CpuStore`](crate::CpuStore), bit for bit, except that a sum of nothing but negative
/// zeros is a positive one; and on a CUDA device those of `Device::Cpu`. Rows that are [kept as
/// bf16](RowFormat::Bf16) are looked up as they are and moved in f32, and what is written is
/// rounded; exports give what is kept.
#[derive(Debug)]
pub struct DeviceStore {
    device: Device,
    dim: usize,
    optimizer: RowOptimizer,
    layout: Arc<Layout>,
    parts: Vec<Part>,
    /// The first rows of every part, as far as they are here.
    held: Vec<Range<u64>>,
    /// The same in stored rows.
    hot_rows: Arc<[u32]>,
    /// One for each of the layout's classes: its parts' rows behind each other.
    classes: Vec<Matrix>,
    /// Where a part's rows start in its class.
    first_rows: Vec<u32>,
    /// One for each part: a projection that is here.
    projections: Vec<Option<Matrix>>,
    /// How rows, projections apart, are rounded to bf16; as f32 they are not.
    rounding: Option<Rounding>,
    /// Updates made.
    updates: u64,
    /// What the last plan means: lookup and update of a step need the same.
    index: Mutex<Option<Arc<Index>>>,
    /// What coming plans mean, oldest first.
    coming: VecDeque<Arc<Index>>,
    /// On a CUDA device.
    #[cfg(feature = "cuda")]
    transfers: Option<Arc<Mutex<cuda::Transfers>>>,
    /// Memory for sums there.
    #[cfg(feature = "cuda")]
    piece_sums: Option<Tensor>,
}

impl DeviceStore {
    /// Makes whole tables with their initial rows, which are those of a
    /// [`CpuStore`](crate::CpuStore) of the same options.
    ///
    /// # Errors
    /// As [`CpuStore::new`](crate::CpuStore::new), and a device that fails.
    pub fn new(tables: Vec<TableSpec>, options: StoreOptions, device: &Device) -> Result<Self> {
        let (layout, parts) = Layout::new(tables, options.dim, &options.optimizer)?;
        let held = parts.iter().map(|part| 0..part.rows).collect();
        Self::make(layout, parts, held, options, device)
    }

    /// Makes the rows that lookups of ids below `hot_rows` touch, one number for each table. Plans
    /// are those of the whole tables, and one that touches another row is refused.
    ///
    /// # Errors
    /// As [`new`](Self::new), and hot rows that do not fit the tables.
    pub fn hot(
        tables: Vec<TableSpec>,
        options: StoreOptions,
        hot_rows: &[u64],
        device: &Device,
    ) -> Result<Self> {
        let held = hot_ranges(&tables, &options, hot_rows)?;
        let (layout, parts) = Layout::new(tables, options.dim, &options.optimizer)?;
        Self::make(layout, parts, held, options, device)
    }

    fn make(
        layout: Layout,
        parts: Vec<Part>,
        held: Vec<Range<u64>>,
        options: StoreOptions,
        device: &Device,
    ) -> Result<Self> {
        if device.is_cuda() && options.optimizer.built_in().is_none() {
            return Err(Error::RuleWithoutKernel {
                name: options.optimizer.name().into(),
                device: format!("{:?}", device.location()),
            });
        }
        let held_rows = |part: usize| held[part].end - held[part].start;
        let row_bytes = |number: usize, part: &Part| {
            let weight = match layout.parts[number].kind {
                PartKind::Projection => RowFormat::F32,
                PartKind::Rows(_) => options.device_rows,
            };
            let bytes = |values: usize, each: usize| (values as u64).saturating_mul(each as u64);
            bytes(part.dim, weight.bytes())
                .saturating_add(bytes(part.state_width, size_of::<f32>()))
        };
        let bytes = parts
            .iter()
            .enumerate()
            .map(|(number, part)| held_rows(number).saturating_mul(row_bytes(number, part)));
        let bytes = bytes.fold(0, u64::saturating_add);
        if let Some(free) = recsys_device::free_memory(device)?
            && bytes > free
        {
            return Err(Error::DeviceMemory { bytes, free });
        }
        let rounding = match options.device_rows {
            RowFormat::F32 => None,
            RowFormat::Bf16 => Some(Rounding::new(options.seed)),
        };
        let generator = |part| {
            let StoreOptions {
                dim,
                initialization,
                seed,
                ..
            } = &options;
            RowGenerator::new(*initialization, *seed, &layout, &parts, part, *dim)
        };
        let mut first_rows = vec![0; parts.len()];
        let mut classes = Vec::with_capacity(layout.classes.len());
        for class in &layout.classes {
            let mut rows = 0u64;
            for &part in &class.parts {
                first_rows[part] = rows as u32;
                rows += held[part].end;
            }
            let overflow = || Error::SizeOverflow {
                name: format!("rows of width {} on one device", class.width),
                rows,
                dim: class.width,
            };
            if rows > u64::from(u32::MAX) {
                return Err(overflow());
            }
            if (rows as usize).checked_mul(class.width).is_none() {
                return Err(overflow());
            }
            let made = class.parts.iter();
            let made = made.map(|&part| (part, held[part].clone(), generator(part)));
            let made: Vec<_> = made.collect();
            let weights = initial_rows(&made, class.width, rounding, device)?;
            let state_width = class
                .parts
                .first()
                .map_or(0, |&part| parts[part].state_width);
            let mut fresh = in_memory(zeros(state_width))?;
            options.optimizer.fresh_state(&mut fresh);
            classes.push(Matrix::new(weights, &fresh)?);
        }
        let mut projections = Vec::with_capacity(parts.len());
        for (part, placed) in layout.parts.iter().enumerate() {
            if placed.kind != PartKind::Projection || held[part].is_empty() {
                projections.push(None);
                continue;
            }
            let (narrow, wide) = (parts[part].dim, placed.width);
            let generator = generator(part);
            let floats = narrow.checked_mul(wide).ok_or(ArenaError::Overflow);
            let mut weights: Vec<f32> = in_memory(floats.and_then(zeros))?;
            let mut row = vec![0.0; narrow];
            for column in 0..wide {
                generator.write(column as u64, &mut row);
                for (index, &weight) in row.iter().enumerate() {
                    weights[index * wide + column] = weight;
                }
            }
            let state_width = if parts[part].state_width == 0 {
                0
            } else {
                wide
            };
            let weights = Tensor::from_vec(weights, (narrow, wide), device)?;
            let fresh = vec![options.optimizer.dense().fresh_state(); state_width];
            projections.push(Some(Matrix::new(weights, &fresh)?));
        }
        let hot_rows = layout
            .parts
            .iter()
            .zip(&held)
            .map(|(placed, held)| match placed.kind {
                PartKind::Projection if !held.is_empty() => placed.rows as u32,
                _ => held.end as u32,
            })
            .collect();
        Ok(Self {
            device: device.clone(),
            dim: options.dim,
            optimizer: options.optimizer,
            layout: Arc::new(layout),
            parts,
            held,
            hot_rows,
            classes,
            first_rows,
            projections,
            rounding,
            updates: 0,
            index: Mutex::new(None),
            coming: VecDeque::new(),
            #[cfg(feature = "cuda")]
            transfers: match device {
                Device::Cuda(_) => Some(cuda::Transfers::new(device)?),
                _ => None,
            },
            #[cfg(feature = "cuda")]
            piece_sums: None,
        })
    }

    fn check(&self, plan: &Plan, what: &'static str, tensor: &Tensor) -> Result<()> {
        self.check_plan(plan)?;
        check_shape(plan, self.layout.specs.len(), self.dim, what, tensor)?;
        check_device(&self.device, tensor)
    }

    fn check_plan(&self, plan: &Plan) -> Result<()> {
        plan.grouping.check(&self.layout)?;
        plan.grouping.check_slots()?;
        plan.grouping.check_rows(&self.parts, &self.held)
    }

    /// The cold rows of a plan that touches none.
    fn no_cold_rows(&self, plan: &Plan) -> ColdRows {
        let mut none = ColdRows::default();
        none.list(&plan.grouping, &self.layout, &self.hot_rows);
        none
    }

    /// Counts an update; the key by which it rounds the rows of a class, where they are rounded.
    fn count_update(&mut self, step: Step) -> impl Fn(usize) -> Option<u64> + use<> {
        let rounding = self.rounding;
        // A batch without samples does not come here.
        self.updates = step.next(1);
        move |class| Some(rounding?.update_key(step.number, class))
    }

    fn zeros(&self, rows: usize, width: usize) -> Result<Tensor> {
        Ok(Tensor::zeros((rows, width), DType::F32, &self.device)?)
    }
}

impl EmbeddingStore for DeviceStore {
    fn dim(&self) -> usize {
        self.dim
    }

    fn tables(&self) -> &[TableSpec] {
        &self.layout.specs
    }

    fn optimizer(&self) -> &RowOptimizer {
        &self.optimizer
    }

    fn planner(&self) -> Planner {
        let planner = Planner::of(Arc::clone(&self.layout)).with_slots();
        if self.device.is_cuda() {
            planner.with_lists(Arc::clone(&self.hot_rows))
        } else {
            planner
        }
    }

    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        self.check(plan, "the output", into)?;
        let cold = self.no_cold_rows(plan);
        self.gather(plan, &cold, &Staged::default(), into)
    }

    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()> {
        self.check(plan, "the gradient", grad)?;
        let step = Step::new(learning_rate, self.updates)?;
        let mut cold = self.no_cold_rows(plan);
        self.scatter(plan, &mut cold, &Staged::default(), grad, step)
    }

    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        self.export_range(part, rows)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        self.import_range(part, first_row, rows)
    }

    fn memory_bytes(&self) -> u64 {
        let projections = self.projections.iter().flatten();
        self.classes
            .iter()
            .chain(projections)
            .map(Matrix::bytes)
            .sum()
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn updates(&self) -> u64 {
        match self.rounding.is_some() || self.optimizer.counts_steps() {
            true => self.updates,
            false => 0,
        }
    }

    fn continue_from(&mut self, updates: u64) {
        self.updates = updates;
    }

    fn tiers(&self) -> Option<&dyn Tiered> {
        Some(self)
    }

    fn tiers_mut(&mut self) -> Option<&mut dyn Tiered> {
        Some(self)
    }
}

impl Tiered for DeviceStore {
    /// Takes the plan's lists to a CUDA device.
    fn prefetch(&mut self, plan: &Plan) -> Result<()> {
        if !self.device.is_cuda() {
            return Ok(());
        }
        self.check_plan(plan)?;
        self.index_ahead(plan)
    }

    /// There is one side.
    fn enter(&mut self, _: Side) -> Result<()> {
        Ok(())
    }

    /// Nothing crosses.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    fn mapped_bytes(&self) -> u64 {
        0
    }

    fn lookahead(&self) -> usize {
        usize::from(self.device.is_cuda())
    }
}
