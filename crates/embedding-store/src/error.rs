//! The errors of this crate.

use std::path::{Path, PathBuf};

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with tables, ids and tensors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A store without tables.
    #[error("a store needs at least one table, none were given")]
    NoTables,
    /// Rows of width 0.
    #[error("the embedding dimension is 0; choose 1 or more")]
    ZeroDim,
    /// A table that cannot be made as described.
    #[error("table {table} of {rows} rows: {problem}")]
    InvalidTable {
        /// Table number.
        table: usize,
        /// Its rows.
        rows: u64,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// An optimizer with a setting that is negative or not a number.
    #[error("optimizer setting {name} is {value}; it must be finite and at least 0")]
    InvalidOptimizer {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A [`RowRule`](crate::RowRule) that says that it cannot be used.
    #[error("row rule {name}: {problem}")]
    InvalidRule {
        /// The rule.
        name: String,
        /// What it says.
        problem: String,
    },
    /// A rule from outside for rows on a device that moves rows by kernels.
    #[error(
        "row rule {name} has no kernel for {device}; keep the rows in host memory (CpuStore, or \
         OnDevice for a model on the device), or use a built-in Optimizer"
    )]
    RuleWithoutKernel {
        /// The rule.
        name: String,
        /// The device.
        device: String,
    },
    /// Factors on the learning rate for another number of tables.
    #[error("{got} factors on the learning rate for {tables} tables; give one for each, or none")]
    FactorCount {
        /// Factors given.
        got: usize,
        /// Tables.
        tables: usize,
    },
    /// A factor on the learning rate that is negative or not finite.
    #[error(
        "table {table}: the factor on its learning rate is {value}; it must be finite and at least \
         0, which freezes the table"
    )]
    InvalidFactor {
        /// Table number.
        table: usize,
        /// The factor.
        value: f32,
    },
    /// Floats of a row, or of a dense parameter, that do not fit what they are to move.
    #[error("{what} has {got} floats, {expected} are needed")]
    RowLength {
        /// Which slice.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length needed.
        expected: usize,
    },
    /// Rows in host memory in another format than f32.
    #[error(
        "rows in host memory are f32, not {format}: keep them in a DeviceStore, or use \
         StoreOptions::in_host_memory"
    )]
    DeviceRowsInHostMemory {
        /// The format.
        format: &'static str,
    },
    /// A row that a plan does not list.
    #[error("the plan lists no row in place {place} of part {part}")]
    RowNotPlanned {
        /// The part.
        part: usize,
        /// The place among its distinct rows.
        place: usize,
    },
    /// A part whose gradient passes through a product or a projection.
    #[error(
        "the gradient of the looked-up rows does not contain that of part {part}: its table multiplies \
         or projects; compute it from the pooled rows"
    )]
    IndirectGradient {
        /// The part.
        part: usize,
    },
    /// A store whose rows cannot become those of a larger one.
    #[error("the store cannot grow: {problem}")]
    Growth {
        /// Why.
        problem: String,
    },
    /// What went wrong in a store that was written outside of this crate.
    #[error(transparent)]
    External(Box<dyn std::error::Error + Send + Sync>),
    /// A name of no [`RowFormat`](crate::RowFormat).
    #[error("rows are kept as f32 or bf16, not as `{text}`")]
    UnknownRowFormat {
        /// What was given.
        text: String,
    },
    /// The operating system has no memory for a part.
    #[error(
        "cannot allocate {bytes} bytes for {name}; use fewer rows, a smaller dimension or a quotient-remainder table"
    )]
    Allocation {
        /// The part, for example `emb_l.3.weight`.
        name: String,
        /// Bytes requested.
        bytes: u64,
    },
    /// More bytes than the address space has.
    #[error("{name} of {rows} rows of {dim} floats does not fit the address space")]
    SizeOverflow {
        /// The part, for example `emb_l.3.weight`.
        name: String,
        /// Its rows.
        rows: u64,
        /// Floats a row.
        dim: usize,
    },
    /// An id beyond its table.
    #[error(
        "sample {sample}, table {table}: id {id} is not below the table's {rows} rows; was the data set made for other tables?"
    )]
    IdOutOfRange {
        /// Sample number in the batch.
        sample: usize,
        /// Table number.
        table: usize,
        /// The id.
        id: u32,
        /// Rows of the table.
        rows: u64,
    },
    /// Single-hot ids of another number than samples times tables.
    #[error(
        "{ids} ids for {batch} samples of {tables} tables; single-hot data has one id per sample and table, multi-hot data needs offsets"
    )]
    IdCount {
        /// Ids given.
        ids: usize,
        /// Samples.
        batch: usize,
        /// Tables.
        tables: usize,
    },
    /// Offsets of another number than bags plus one.
    #[error(
        "{offsets} offsets for {batch} samples of {tables} tables; samples times tables plus one are needed"
    )]
    OffsetCount {
        /// Offsets given.
        offsets: usize,
        /// Samples.
        batch: usize,
        /// Tables.
        tables: usize,
    },
    /// Offsets that do not cover the ids from first to last in ascending order.
    #[error(
        "sample {sample}, table {table}: its bag runs from offset {start} to {end} of {ids} ids; offsets start at 0, never fall and end at the number of ids"
    )]
    InvalidOffsets {
        /// Sample number in the batch.
        sample: usize,
        /// Table number.
        table: usize,
        /// Where the bag starts.
        start: u32,
        /// Where it ends.
        end: u32,
        /// Ids given.
        ids: usize,
    },
    /// A batch whose ids or bags cannot be numbered with 32 bits.
    #[error(
        "a batch of {count} {what} is too large, at most 4294967295 are possible; use smaller batches"
    )]
    BatchTooLarge {
        /// What was counted: ids or bags.
        what: &'static str,
        /// How many there are.
        count: u128,
    },
    /// A plan that no planner has filled.
    #[error("the plan is empty; fill it with Planner::plan first")]
    EmptyPlan,
    /// A plan made for other tables.
    #[error("the plan was made for other tables; fill it with the planner of this store")]
    ForeignPlan,
    /// A plan without what a store on another device or in two places needs.
    #[error(
        "the plan does not say which distinct row a lookup means; fill it with the planner of this store"
    )]
    PlanWithoutSlots,
    /// A plan that touches rows that the store does not hold.
    #[error("the plan touches row {row} of {name}, of which the store holds {start}..{end} only")]
    RowNotHeld {
        /// The part.
        name: String,
        /// The row.
        row: u64,
        /// First row held.
        start: u64,
        /// One past the last row held.
        end: u64,
    },
    /// Hot rows for another number of tables.
    #[error("{got} numbers of hot rows for {tables} tables; give one for each table")]
    HotRowsCount {
        /// Numbers given.
        got: usize,
        /// Tables.
        tables: usize,
    },
    /// More hot rows than a table has.
    #[error(
        "table {table}: {hot} hot rows, the table has {rows}; was the hot set made for another data set?"
    )]
    HotRowsBeyondTable {
        /// Table number.
        table: usize,
        /// Hot rows requested.
        hot: u64,
        /// Rows of the table.
        rows: u64,
    },
    /// Row ranges for another number of parts.
    #[error("{got} row ranges for {parts} parts; give one for each part")]
    RangesCount {
        /// Ranges given.
        got: usize,
        /// Parts.
        parts: usize,
    },
    /// Two stores that cannot be the two sides of one.
    #[error("the two sides do not make one store: {problem}")]
    SidesMismatch {
        /// What does not fit.
        problem: String,
    },
    /// A slice of the wrong length.
    #[error(
        "{what} has {got} floats, [batch {batch}, tables {tables}, dim {dim}] needs {expected}"
    )]
    SliceLength {
        /// Which slice.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length needed.
        expected: usize,
        /// Samples.
        batch: usize,
        /// Tables.
        tables: usize,
        /// Floats a row.
        dim: usize,
    },
    /// A tensor of the wrong shape.
    #[error("{what} has shape {got:?}, {expected:?} ([batch, tables, dim]) is needed")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// The shape needed.
        expected: [usize; 3],
    },
    /// A learning rate that is infinite or not a number.
    #[error("the learning rate is {value}; it must be a finite number")]
    LearningRate {
        /// The value.
        value: f64,
    },
    /// A part number that the store does not have.
    #[error("the store has {parts} parts, no part {part}")]
    PartOutOfRange {
        /// The number requested.
        part: usize,
        /// Parts of the store.
        parts: usize,
    },
    /// Rows beyond a part.
    #[error("{name} has {rows} rows, which rows {start}..{end} are not within")]
    RowsOutOfRange {
        /// The part.
        name: String,
        /// First row.
        start: u64,
        /// One past the last row.
        end: u64,
        /// Rows of the part.
        rows: u64,
    },
    /// Rows to import whose width or state does not fit the part.
    #[error("rows for {name}: {what} is {got}, {expected} expected")]
    RowsMismatch {
        /// The part.
        name: String,
        /// What does not fit.
        what: &'static str,
        /// What was given.
        got: u64,
        /// What fits.
        expected: u64,
    },
    /// A tensor on another device than the store's.
    #[error(
        "the tensor is on {got}, the store's rows go to {expected}; make it there, or the store for {got}"
    )]
    WrongDevice {
        /// Where it is.
        got: String,
        /// Where it belongs.
        expected: String,
    },
    /// A device failed, or a tensor is not laid out as its memory is used.
    #[error(transparent)]
    Device(#[from] recsys_device::Error),
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Rows that do not fit a device.
    #[error(
        "rows and optimizer state of {bytes} bytes do not fit the device, which has {free} bytes free; a budget of {} would \
         leave a fifth for the model and its batches", free / 5 * 4
    )]
    DeviceMemory {
        /// Bytes requested.
        bytes: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The operating system refused something about the files of mapped rows.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done: "cannot create", "cannot map" …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Mapped rows that do not fit the disk.
    #[error(
        "{}: the rows need {needed} bytes of disk space, {available} are free; choose a folder on a larger disk, or keep \
         more rows in memory", folder.display()
    )]
    DiskSpace {
        /// The folder of the files.
        folder: PathBuf,
        /// Bytes of all files.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// A folder for a new store that holds something.
    #[error("{} holds {what}: {remedy}", folder.display())]
    FolderTaken {
        /// The folder.
        folder: PathBuf,
        /// What is there.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A folder that another store, mostly of another process, has open.
    #[error(
        "the rows in {} are in use by another store or process; choose another folder or wait for its end", folder.display()
    )]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A store that was not closed: its process was killed, or dropped it.
    #[error(
        "the rows in {} were left in the middle of training and cannot be trusted; make the store anew and import the rows of a \
         checkpoint", folder.display()
    )]
    NotClosed {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder that is no store, or whose description is damaged or of another version.
    #[error("{} does not describe a store that this version can open: {problem}", path.display())]
    NotAStore {
        /// The file that describes the store.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A store in files that was made for other tables or with another optimizer.
    #[error("the rows in {} have {what} {found}, {expected} is needed", folder.display())]
    OtherStore {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the folder has.
        found: String,
        /// What is needed.
        expected: String,
    },
    /// A file of rows of another size than it was made with.
    #[error("{} has {found} bytes, {expected} expected: it was truncated or replaced", path.display())]
    RowFileSize {
        /// The file.
        path: PathBuf,
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
}

impl Error {
    /// The error of a store that was written outside of this crate.
    pub fn external(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::External(error.into())
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
