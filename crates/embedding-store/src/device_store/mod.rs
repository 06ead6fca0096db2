//! The store on any candle device.

pub(crate) mod batch_lists;
#[cfg(feature = "cuda")]
mod cuda;
mod index;
mod lookup;
mod rows;
mod side;
mod update;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::cold_rows::ColdRows;
use crate::cuda::check_device_memory;
use crate::hot_rows::hot_ranges;
use crate::initialization::RowGenerator;
use crate::layout::{Layout, PartKind};
use crate::on_device::{check_device, check_shape};
use crate::{
    EmbeddingStore, Error, Optimizer, Part, Plan, Planner, Result, Rows, StoreOptions, TableSpec,
};
pub use batch_lists::{BatchLists, ClassLists};
use index::Index;
use side::Staged;

/// Embedding tables, or the first rows of them, as tensors on any candle device.
///
/// Lookup and update are tensor operations on the rows of the batch, never on a whole table; on a CUDA device (feature `cuda`),
/// kernels for all tables at once. On `Device::Cpu` the results
/// are those of [`CpuStore`](crate::CpuStore), bit for bit, except that a sum of nothing but negative zeros is a positive one.
#[derive(Debug)]
pub struct DeviceStore {
    device: Device,
    dim: usize,
    optimizer: Optimizer,
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

/// Rows and their state on the device.
#[derive(Debug)]
struct Matrix {
    weights: Tensor,
    state: Option<Tensor>,
}

impl Matrix {
    fn floats(&self) -> usize {
        self.weights.elem_count() + self.state.as_ref().map_or(0, Tensor::elem_count)
    }

    fn bytes(&self) -> u64 {
        (self.floats() * size_of::<f32>()) as u64
    }
}

impl DeviceStore {
    /// Makes whole tables with their initial rows, which are those of a [`CpuStore`](crate::CpuStore) of the same options.
    ///
    /// # Errors
    /// As [`CpuStore::new`](crate::CpuStore::new), and a device that fails.
    pub fn new(tables: Vec<TableSpec>, options: StoreOptions, device: &Device) -> Result<Self> {
        let (layout, parts) = Layout::new(tables, options.dim, options.optimizer)?;
        let held = parts.iter().map(|part| 0..part.rows).collect();
        Self::make(layout, parts, held, options, device)
    }

    /// Makes the rows that lookups of ids below `hot_rows` touch, one number for each table. Plans are those of the whole
    /// tables, and one that touches another row is refused.
    ///
    /// # Errors
    /// As [`new`](Self::new), and hot rows that do not fit the tables.
    pub fn hot(
        tables: Vec<TableSpec>,
        options: StoreOptions,
        hot_rows: &[u64],
        device: &Device,
    ) -> Result<Self> {
        let held = hot_ranges(&tables, options, hot_rows)?;
        let (layout, parts) = Layout::new(tables, options.dim, options.optimizer)?;
        Self::make(layout, parts, held, options, device)
    }

    fn make(
        layout: Layout,
        parts: Vec<Part>,
        held: Vec<Range<u64>>,
        options: StoreOptions,
        device: &Device,
    ) -> Result<Self> {
        let held_rows = |part: usize| held[part].end - held[part].start;
        let row_bytes = |part: &Part| (size_of::<f32>() * (part.dim + part.state_width)) as u64;
        let bytes = parts
            .iter()
            .enumerate()
            .map(|(number, part)| held_rows(number).saturating_mul(row_bytes(part)));
        check_device_memory(device, bytes.fold(0, u64::saturating_add))?;
        let fresh = options.optimizer.fresh_state();
        let matrix = |weights: Vec<f32>, width: usize, state_width: usize| -> Result<Matrix> {
            let mut weights = weights;
            if weights.is_empty() && device.is_cuda() {
                // CUDA has no empty memory; nothing names this row.
                weights.resize(width, 0.0);
            }
            let rows = weights.len() / width;
            let state = match state_width {
                0 => None,
                width => Some(Tensor::from_vec(
                    vec![fresh; rows * width],
                    (rows, width),
                    device,
                )?),
            };
            let weights = Tensor::from_vec(weights, (rows, width), device)?;
            Ok(Matrix { weights, state })
        };
        let generator = |part| {
            let StoreOptions {
                dim,
                initialization,
                seed,
                ..
            } = options;
            RowGenerator::new(initialization, seed, &layout, &parts, part, dim)
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
            let floats = (rows as usize)
                .checked_mul(class.width)
                .ok_or_else(overflow)?;
            let mut weights = vec![0.0; floats];
            let mut unwritten = weights.as_mut_slice();
            for &part in &class.parts {
                let generator = generator(part);
                let Range { start, end } = held[part];
                let (here, rest) = unwritten.split_at_mut((end - start) as usize * class.width);
                unwritten = rest;
                let rows = here.par_chunks_exact_mut(class.width).enumerate();
                rows.for_each(|(row, into)| generator.write(start + row as u64, into));
            }
            let state_width = class
                .parts
                .first()
                .map_or(0, |&part| parts[part].state_width);
            classes.push(matrix(weights, class.width, state_width)?);
        }
        let mut projections = Vec::with_capacity(parts.len());
        for (part, placed) in layout.parts.iter().enumerate() {
            if placed.kind != PartKind::Projection || held[part].is_empty() {
                projections.push(None);
                continue;
            }
            let (narrow, wide) = (parts[part].dim, placed.width);
            let generator = generator(part);
            let mut weights = vec![0.0; narrow * wide];
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
            projections.push(Some(matrix(weights, wide, state_width)?));
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
        plan.check(&self.layout)?;
        plan.check_slots()?;
        plan.check_rows(&self.parts, &self.held)
    }

    /// The cold rows of a plan that touches none.
    fn no_cold_rows(&self, plan: &Plan) -> ColdRows {
        let mut none = ColdRows::default();
        none.list(plan, &self.layout, &self.hot_rows);
        none
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

    fn optimizer(&self) -> Optimizer {
        self.optimizer
    }

    fn planner(&self) -> Planner {
        let planner = Planner::new(Arc::clone(&self.layout)).with_slots();
        if self.device.is_cuda() {
            planner.with_lists(Arc::clone(&self.hot_rows), false)
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
        if !(learning_rate as f32).is_finite() {
            return Err(Error::LearningRate {
                value: learning_rate,
            });
        }
        let mut cold = self.no_cold_rows(plan);
        self.scatter(plan, &mut cold, &Staged::default(), grad, learning_rate)
    }

    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn export(&self, part: usize, rows: Range<u64>) -> Result<Rows> {
        self.export_rows(part, rows)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        self.import_rows(part, first_row, rows)
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

    /// Takes the plan's lists to a CUDA device.
    fn prefetch(&mut self, plan: &Plan) -> Result<()> {
        if !self.device.is_cuda() {
            return Ok(());
        }
        self.check_plan(plan)?;
        self.index_ahead(plan)
    }
}
