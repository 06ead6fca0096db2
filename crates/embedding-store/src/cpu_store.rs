//! The store in host memory.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;

use crate::arena::{Arena, Shape};
use crate::backing::{Floats, Place, refused};
use crate::initialization::RowGenerator;
use crate::kernel::Level;
use crate::layout::{Layout, PartKind, PartLayout, RowOf};
use crate::lookup::gather;
use crate::row_folder::{RowFolder, StoreDescription};
use crate::{
    Backing, EmbeddingStore, Error, Held, Optimizer, Part, Plan, Planner, Result, Rows,
    StoreOptions, TableSpec, read_slice, write_slice,
};

/// Embedding tables in host memory, or in memory-mapped files.
///
/// Lookup and update run on the current rayon pool; results do not depend on the number of its threads.
#[derive(Debug)]
pub struct CpuStore {
    pub(crate) dim: usize,
    pub(crate) optimizer: Optimizer,
    pub(crate) level: Level,
    pub(crate) layout: Arc<Layout>,
    pub(crate) parts: Vec<Part>,
    /// The rows of every part that are here.
    pub(crate) held: Vec<Range<u64>>,
    /// Whether those are all.
    whole: bool,
    pub(crate) storage: Vec<PartStorage>,
    place: Place,
    /// Intermediate gradients of an update, `[batch, workspace width]`.
    pub(crate) workspace: Vec<f32>,
}

/// Memory of a part. That of a projection is transposed, `[dim_i, dim]`: all that is done with it runs along `dim`.
#[derive(Debug)]
pub(crate) struct PartStorage {
    pub(crate) kind: PartKind,
    pub(crate) row_of: RowOf,
    /// The first row held.
    pub(crate) first: usize,
    pub(crate) weights: Arena,
    pub(crate) state: Option<Arena>,
}

impl CpuStore {
    /// Makes the tables with their initial rows.
    ///
    /// # Errors
    /// No tables, a dimension of 0, a table or optimizer with impossible settings, or more memory than there is.
    pub fn new(tables: Vec<TableSpec>, options: StoreOptions) -> Result<Self> {
        Self::with_backing(tables, options, Held::All, &Backing::Memory)
    }

    /// Makes some rows of every part, with the values that they have in the whole tables; of a projection, all rows or
    /// none. Plans are those of the whole tables, and one that touches another row is refused.
    ///
    /// # Errors
    /// As [`new`](Self::new), and ranges of another number than parts, beyond their part, or with a part of a projection.
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
    /// As [`new`](Self::new) and [`with_rows`](Self::with_rows), and a folder that cannot be used, that holds something, or
    /// whose disk has too little space; nothing is left behind then.
    pub fn with_backing(
        tables: Vec<TableSpec>,
        options: StoreOptions,
        held: Held<'_>,
        backing: &Backing,
    ) -> Result<Self> {
        let (layout, parts) = Layout::new(tables, options.dim, options.optimizer)?;
        let held = held.ranges(&layout, &parts, options)?;
        let place = Place::prepare(backing, file_bytes(&layout, &parts, &held)?)?;
        let make = |(part, held): (usize, &Range<u64>)| {
            let generator = RowGenerator::new(
                options.initialization,
                options.seed,
                &layout,
                &parts,
                part,
                options.dim,
            );
            let fresh = options.optimizer.fresh_state();
            PartStorage::new(
                &place,
                &parts[part],
                &layout.parts[part],
                held,
                generator,
                fresh,
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

    /// Opens the store that [`close`](Self::close) left in a folder, with the rows that it held. Until it is closed again, the
    /// folder counts as one that cannot be trusted.
    ///
    /// Sizes of files are checked, contents are not: a row that was altered on the disk is not found out. Nobody else may
    /// change the files meanwhile; the system may end a process that uses a mapped file which was truncated.
    ///
    /// # Errors
    /// A folder that holds no closed store of these tables and this optimizer, that is in use, or that cannot be written.
    pub fn open(
        folder: impl AsRef<Path>,
        tables: Vec<TableSpec>,
        options: StoreOptions,
    ) -> Result<Self> {
        let (layout, parts) = Layout::new(tables, options.dim, options.optimizer)?;
        let (folder, held) = RowFolder::open(folder.as_ref(), &layout.specs, options)?;
        let held = Held::Ranges(&held).ranges(&layout, &parts, options)?;
        let map = |(part, held): (usize, &Range<u64>)| {
            PartStorage::open(&folder, &parts[part], &layout.parts[part], held)
        };
        let storage = held.iter().enumerate().map(map).collect::<Result<_>>()?;
        folder.begin()?;
        let place = Place::Folder(folder);
        Ok(Self::assemble(layout, parts, options, held, storage, place))
    }

    /// Ends the work with a store: with [`Backing::Folder`], waits until all rows are on the disk and marks them as complete, so
    /// that the folder can be opened again. Other stores are just dropped.
    ///
    /// # Errors
    /// A disk that fails; the folder cannot be opened then.
    pub fn close(self) -> Result<()> {
        let Place::Folder(folder) = &self.place else {
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
        let options = StoreOptions {
            dim: self.dim,
            optimizer: self.optimizer,
            ..StoreOptions::default()
        };
        folder.finish(StoreDescription::new(
            &self.layout.specs,
            options,
            &self.held,
        ))
    }

    fn assemble(
        layout: Layout,
        parts: Vec<Part>,
        options: StoreOptions,
        held: Vec<Range<u64>>,
        storage: Vec<PartStorage>,
        place: Place,
    ) -> Self {
        Self {
            whole: held
                .iter()
                .zip(&parts)
                .all(|(held, part)| *held == (0..part.rows)),
            held,
            dim: options.dim,
            optimizer: options.optimizer,
            level: Level::detect(),
            layout: Arc::new(layout),
            parts,
            storage,
            place,
            workspace: Vec::new(),
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
            plan,
            0..plan.batch,
            into,
        );
        Ok(())
    }

    /// Moves the rows that the plan touches along `grad`, `[batch, tables, dim]` row-major.
    ///
    /// # Errors
    /// A plan for other tables, a slice of another length, or a learning rate that is not finite. The store is unchanged
    /// then.
    pub fn update_slice(&mut self, plan: &Plan, grad: &[f32], learning_rate: f64) -> Result<()> {
        self.check(plan, "the gradient", grad.len())?;
        if !(learning_rate as f32).is_finite() {
            return Err(Error::LearningRate {
                value: learning_rate,
            });
        }
        self.scatter(plan, grad, learning_rate, None);
        Ok(())
    }

    /// That the plan is one of these tables, and touches no rows that are elsewhere.
    pub(crate) fn check_plan(&self, plan: &Plan) -> Result<()> {
        plan.check(&self.layout)?;
        if self.whole {
            return Ok(());
        }
        plan.check_rows(&self.parts, &self.held)
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
        plan.check(&self.layout)?;
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

/// Rows of a part as they are stored, and the floats of a row's weights and of its state: a projection lies transposed, and
/// is there wholly or not at all.
fn stored(part: &Part, placed: &PartLayout, held: &Range<u64>) -> (u64, [usize; 2]) {
    match placed.kind {
        PartKind::Rows(_) => (held.end - held.start, [part.dim, part.state_width]),
        PartKind::Projection => {
            let columns = if held.is_empty() { 0 } else { placed.rows };
            let state = if part.state_width > 0 {
                placed.width
            } else {
                0
            };
            (columns, [placed.width, state])
        }
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

impl PartStorage {
    fn new(
        place: &Place,
        part: &Part,
        placed: &PartLayout,
        held: &Range<u64>,
        generator: RowGenerator,
        fresh: f32,
    ) -> Result<Self> {
        let (rows, [width, state_width]) = stored(part, placed, held);
        let weights = match placed.kind {
            PartKind::Rows(_) => {
                let write = |row, into: &mut [f32]| generator.write(held.start + row, into);
                place.arena(part, Floats::Weights, (rows, width), write)?
            }
            PartKind::Projection => {
                let mut matrix = vec![0.0; width * part.dim];
                for (row, into) in matrix.chunks_exact_mut(part.dim).enumerate() {
                    generator.write(row as u64, into);
                }
                let write = |column: u64, into: &mut [f32]| {
                    for (row, into) in into.iter_mut().enumerate() {
                        *into = matrix[row * part.dim + column as usize];
                    }
                };
                place.arena(part, Floats::Weights, (rows, width), write)?
            }
        };
        let state = match state_width {
            0 => None,
            width => Some(place.arena(part, Floats::State, (rows, width), |_, state| {
                state.fill(fresh)
            })?),
        };
        Ok(Self::of(placed, held, weights, state))
    }

    fn open(
        folder: &RowFolder,
        part: &Part,
        placed: &PartLayout,
        held: &Range<u64>,
    ) -> Result<Self> {
        let (rows, [width, state_width]) = stored(part, placed, held);
        let weights = folder.map(part, Floats::Weights, (rows, width))?;
        let state = match state_width {
            0 => None,
            width => Some(folder.map(part, Floats::State, (rows, width))?),
        };
        Ok(Self::of(placed, held, weights, state))
    }

    fn of(placed: &PartLayout, held: &Range<u64>, weights: Arena, state: Option<Arena>) -> Self {
        let (row_of, first) = match placed.kind {
            // A range of rows that cannot be counted in usize cannot be kept either.
            PartKind::Rows(row_of) => (row_of, held.start as usize),
            PartKind::Projection => (RowOf::Id, 0),
        };
        Self {
            kind: placed.kind,
            row_of,
            first,
            weights,
            state,
        }
    }

    pub(crate) fn arenas(&self) -> impl Iterator<Item = (&Arena, Floats)> {
        let weights = (&self.weights, Floats::Weights);
        let state = self.state.iter().map(|state| (state, Floats::State));
        std::iter::once(weights).chain(state)
    }

    /// Bytes of rows and state, of those in files or of all.
    fn bytes(&self, mapped: bool) -> u64 {
        let counted = self
            .arenas()
            .filter(|(arena, _)| !mapped || arena.map().is_some());
        counted.map(|(arena, _)| arena.bytes()).sum()
    }
}

impl EmbeddingStore for CpuStore {
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
        Planner::new(Arc::clone(&self.layout))
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
        self.export_rows(part, rows)
    }

    fn import(&mut self, part: usize, first_row: u64, rows: &Rows) -> Result<()> {
        self.import_rows(part, first_row, rows)
    }

    /// Lets the system read the rows of a coming batch from their files, if they are in files and not in memory.
    fn prefetch(&mut self, plan: &Plan) -> Result<()> {
        self.check_plan(plan)?;
        self.read_ahead(plan);
        Ok(())
    }

    fn lookahead(&self) -> usize {
        usize::from(self.mapped_bytes() > 0)
    }

    fn memory_bytes(&self) -> u64 {
        self.storage.iter().map(|part| part.bytes(false)).sum()
    }

    fn mapped_bytes(&self) -> u64 {
        self.storage.iter().map(|part| part.bytes(true)).sum()
    }
}
