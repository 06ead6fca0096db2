//! The store in host memory.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;
use recsys_device::{read_slice, write_slice};

use crate::arena::Shape;
use crate::backing::{Backing, OpenBacking};
use crate::encoding::TableSpec;
use crate::error::{Error, Result};
use crate::hot_rows::Held;
use crate::initialization::{Initialization, RowGenerator};
use crate::kernel::Level;
use crate::layout::{Layout, Part};
use crate::lookup::{RowSource, gather};
use crate::mapped::refused;
use crate::memory::memory_limit;
use crate::part_storage::{PartStorage, RowsOf, stored};
use crate::plan::Plan;
use crate::planner::Planner;
use crate::row_folder::{RowFolder, StoreDescription};
use crate::rows::Rows;
use crate::rule::{RowOptimizer, Step};
use crate::store::{EmbeddingStore, Side, StoreOptions, Tiered};
use crate::traffic::Traffic;

/// Embedding tables in host memory, or in memory-mapped files.
///
/// Lookup and update run on the current rayon pool; results do not depend on the number of its
/// threads.
#[derive(Debug)]
pub struct CpuStore {
    pub(crate) dim: usize,
    pub(crate) initialization: Initialization,
    pub(crate) seed: u64,
    pub(crate) optimizer: RowOptimizer,
    pub(crate) level: Level,
    pub(crate) layout: Arc<Layout>,
    pub(crate) parts: Vec<Part>,
    /// The rows of every part that are here.
    pub(crate) held: Vec<Range<u64>>,
    /// Whether those are all.
    whole: bool,
    pub(crate) storage: Vec<PartStorage>,
    place: OpenBacking,
    /// Intermediate gradients of an update, `[batch, workspace width]`.
    pub(crate) workspace: Vec<f32>,
    /// Updates made.
    pub(crate) updates: u64,
}

impl CpuStore {
    /// Makes the tables with their initial rows.
    ///
    /// # Errors
    /// No tables, a dimension of 0, a table or optimizer with impossible settings, or more memory
    /// than there is.
    pub fn new(tables: Vec<TableSpec>, options: StoreOptions) -> Result<Self> {
        Self::with_backing(tables, options, Held::All, &Backing::Memory)
    }

    /// Makes some rows of every part, with the values that they have in the whole tables; of a
    /// projection, all rows or none. Plans are those of the whole tables, and one that touches
    /// another row is refused.
    ///
    /// # Errors
    /// As [`new`](Self::new), and ranges of another number than parts, beyond their part, or with a
    /// part of a projection.
    pub fn with_rows(
        tables: Vec<TableSpec>,
        options: StoreOptions,
        ranges: &[Range<u64>],
    ) -> Result<Self> {
        Self::with_backing(tables, options, Held::Ranges(ranges), &Backing::Memory)
    }

    /// Makes the rows that lookups of ids below `hot_rows` touch, one number for each table.
    ///
    /// # Errors
    /// As [`new`](Self::new), and hot rows that do not fit the tables.
    pub fn hot(tables: Vec<TableSpec>, options: StoreOptions, hot_rows: &[u64]) -> Result<Self> {
        Self::with_backing(tables, options, Held::Hot(hot_rows), &Backing::Memory)
    }

    /// Makes the rows that [`hot`](Self::hot) leaves out.
    ///
    /// # Errors
    /// As [`hot`](Self::hot).
    pub fn cold(tables: Vec<TableSpec>, options: StoreOptions, hot_rows: &[u64]) -> Result<Self> {
        Self::with_backing(tables, options, Held::Cold(hot_rows), &Backing::Memory)
    }

    /// Makes all or some rows, in memory or in files.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`with_rows`](Self::with_rows), and a folder that cannot be used,
    /// that holds something, or whose disk has too little space; nothing is left behind then.
    pub fn with_backing(
        tables: Vec<TableSpec>,
        options: StoreOptions,
        held: Held<'_>,
        backing: &Backing,
    ) -> Result<Self> {
        options.check_host_memory()?;
        let (layout, parts) = Layout::new(tables, options.dim, &options.optimizer)?;
        let held = held.ranges(&layout, &parts, &options)?;
        let bytes = file_bytes(&layout, &parts, &held)?;
        if *backing == Backing::Memory && memory_limit().is_some_and(|limit| bytes > limit) {
            let name = "all tables".into();
            return Err(Error::Allocation { name, bytes });
        }
        let place = OpenBacking::prepare(backing, bytes)?;
        let make = |(part, held): (usize, &Range<u64>)| {
            let generator = RowGenerator::new(
                options.initialization,
                options.seed,
                &layout,
                &parts,
                part,
                options.dim,
            );
            PartStorage::new(
                &place,
                &parts[part],
                &layout.parts[part],
                held,
                generator,
                &options.optimizer,
            )
        };
        match held.iter().enumerate().map(make).collect() {
            Ok(storage) => Ok(Self::assemble(layout, parts, options, held, storage, place)),
            Err(error) => {
                place.discard();
                Err(error)
            }
        }
    }

    /// Opens the store that [`close`](Self::close) left in a folder, with the rows that it held.
    /// Until it is closed again, the folder counts as one that cannot be trusted.
    ///
    /// Sizes of files are checked, contents are not: a row that was altered on the disk is not
    /// found out. Nobody else may change the files meanwhile; the system may end a process that
    /// uses a mapped file which was truncated.
    ///
    /// # Errors
    /// A folder that holds no closed store of these tables and this optimizer, that is in use, or
    /// that cannot be written.
    pub fn open(
        folder: impl AsRef<Path>,
        tables: Vec<TableSpec>,
        options: StoreOptions,
    ) -> Result<Self> {
        options.check_host_memory()?;
        let (layout, parts) = Layout::new(tables, options.dim, &options.optimizer)?;
        let (folder, held) = RowFolder::open(folder.as_ref(), &layout.specs, &options)?;
        let held = Held::Ranges(&held).ranges(&layout, &parts, &options)?;
        let map = |(part, held): (usize, &Range<u64>)| {
            PartStorage::open(&folder, &parts[part], &layout.parts[part], held)
        };
        let storage = held.iter().enumerate().map(map).collect::<Result<_>>()?;
        folder.begin()?;
        let place = OpenBacking::Folder(folder);
        Ok(Self::assemble(layout, parts, options, held, storage, place))
    }

    /// Ends the work with a store: with [`Backing::Folder`], waits until all rows are on the disk
    /// and marks them as complete, so that the folder can be opened again. Other stores are just
    /// dropped.
    ///
    /// # Errors
    /// A disk that fails; the folder cannot be opened then.
    pub fn close(self) -> Result<()> {
        let OpenBacking::Folder(folder) = &self.place else {
            return Ok(());
        };
        for (storage, part) in self.storage.iter().zip(&self.parts) {
            for (arena, floats) in storage.arenas() {
                let path = || folder.path().join(floats.file_name(part));
                arena
                    .sync()
                    .map_err(|source| Error::io("cannot write", &path())(source))?;
            }
        }
        let specs = &self.layout.specs;
        folder.finish(StoreDescription::new(
            specs,
            self.dim,
            &self.optimizer,
            &self.held,
        ))
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(crate) fn backing(&self) -> Backing {
        self.place.backing()
    }

    fn assemble(
        layout: Layout,
        parts: Vec<Part>,
        options: StoreOptions,
        held: Vec<Range<u64>>,
        storage: Vec<PartStorage>,
        place: OpenBacking,
    ) -> Self {
        Self {
            whole: held
                .iter()
                .zip(&parts)
                .all(|(held, part)| *held == (0..part.rows)),
            held,
            dim: options.dim,
            initialization: options.initialization,
            seed: options.seed,
            optimizer: options.optimizer,
            level: Level::detect(),
            layout: Arc::new(layout),
            parts,
            storage,
            place,
            workspace: Vec::new(),
            updates: 0,
        }
    }

    /// Writes the batch's rows, sum-pooled per bag, into `into`, `[batch, tables, dim]` row-major.
    ///
    /// # Errors
    /// A plan for other tables, or a slice of another length.
    pub fn lookup_slice(&self, plan: &Plan, into: &mut [f32]) -> Result<()> {
        self.check(plan, "the output", into.len())?;
        gather(
            self.level,
            &self.layout,
            self.dim,
            self,
            &plan.grouping,
            0..plan.batch(),
            into,
        );
        Ok(())
    }

    /// Moves the rows that the plan touches along `grad`, `[batch, tables, dim]` row-major.
    ///
    /// # Errors
    /// A plan for other tables, a slice of another length, or a learning rate that is not finite.
    /// The store is unchanged then.
    pub fn update_slice(&mut self, plan: &Plan, grad: &[f32], learning_rate: f64) -> Result<()> {
        self.check(plan, "the gradient", grad.len())?;
        let step = Step::new(learning_rate, self.updates)?;
        self.scatter(&plan.grouping, grad, step, None);
        Ok(())
    }

    /// That the plan is one of these tables, and touches no rows that are elsewhere.
    pub(crate) fn check_plan(&self, plan: &Plan) -> Result<()> {
        plan.grouping.check(&self.layout)?;
        if self.whole {
            return Ok(());
        }
        plan.grouping.check_rows(&self.parts, &self.held)
    }

    fn check(&self, plan: &Plan, what: &'static str, got: usize) -> Result<()> {
        self.check_plan(plan)?;
        let (batch, tables, dim) = (plan.batch(), self.layout.specs.len(), self.dim);
        let expected = batch.saturating_mul(tables).saturating_mul(dim);
        if got != expected {
            return Err(Error::SliceLength {
                what,
                got,
                expected,
                batch,
                tables,
                dim,
            });
        }
        Ok(())
    }

    fn check_shape(&self, plan: &Plan, what: &'static str, tensor: &Tensor) -> Result<()> {
        plan.grouping.check(&self.layout)?;
        let expected = [plan.batch(), self.layout.specs.len(), self.dim];
        if tensor.dims() != expected {
            return Err(Error::Shape {
                what,
                got: tensor.dims().to_vec(),
                expected,
            });
        }
        Ok(())
    }
}

/// Bytes of all rows and their state.
fn file_bytes(layout: &Layout, parts: &[Part], held: &[Range<u64>]) -> Result<u64> {
    let mut bytes = 0u64;
    for ((part, placed), held) in parts.iter().zip(&layout.parts).zip(held) {
        let (rows, widths) = stored(part, placed, held);
        for width in widths {
            let shape = Shape::new(rows, width).map_err(|error| refused(part, error))?;
            bytes = bytes.saturating_add(shape.bytes as u64);
        }
    }
    Ok(bytes)
}

impl EmbeddingStore for CpuStore {
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
        Planner::of(Arc::clone(&self.layout))
    }

    fn lookup(&self, plan: &Plan, into: &Tensor) -> Result<()> {
        self.check_shape(plan, "the output", into)?;
        write_slice(into, |into| self.lookup_slice(plan, into))?
    }

    fn update(&mut self, plan: &Plan, grad: &Tensor, learning_rate: f64) -> Result<()> {
        self.check_shape(plan, "the gradient", grad)?;
        read_slice(grad, |grad| self.update_slice(plan, grad, learning_rate))?
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

    fn updates(&self) -> u64 {
        match self.optimizer.counts_steps() {
            true => self.updates,
            false => 0,
        }
    }

    fn continue_from(&mut self, updates: u64) {
        self.updates = updates;
    }

    fn memory_bytes(&self) -> u64 {
        self.storage.iter().map(|part| part.bytes(false)).sum()
    }

    fn tiers(&self) -> Option<&dyn Tiered> {
        Some(self)
    }

    fn tiers_mut(&mut self) -> Option<&mut dyn Tiered> {
        Some(self)
    }
}

impl Tiered for CpuStore {
    fn lookahead(&self) -> usize {
        usize::from(self.mapped_bytes() > 0)
    }

    /// Lets the system read the rows of a coming batch from their files, if they are in files and
    /// not in memory.
    fn prefetch(&mut self, plan: &Plan) -> Result<()> {
        self.check_plan(plan)?;
        self.read_ahead(&plan.grouping);
        Ok(())
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
        self.storage.iter().map(|part| part.bytes(true)).sum()
    }
}

impl<'a> RowSource<'a> for &'a CpuStore {
    type Rows = RowsOf;

    #[inline(always)]
    fn rows(self, part: usize) -> RowsOf {
        self.storage[part].rows()
    }

    #[inline(always)]
    fn projection(self, part: usize, row: usize) -> &'a [f32] {
        self.storage[part].weights.row(row)
    }
}
