//! Rows on a CUDA device: launches of the kernels in `rows.cu`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::cuda::WrapErr;
use candle_core::cuda::cudarc::driver::{CudaView, CudaViewMut, LaunchConfig, PushKernelArg};
use candle_core::{CudaDevice, DType, Device, Tensor};
use recsys_device::launch::{address, device_of, read, write};
use recsys_device::transfer::{CudaQueues, Downloading, Downloads, Uploaded, Uploads};

use super::batch_lists::{BatchLists, ClassLists, blocks, gather_blocks};
use super::matrix::Matrix;
use crate::error::{Error, Result};
use crate::rule::Rule;

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/rows.ptx"));
/// The name of the module among those of the device.
const MODULE: &str = "embedding-store/rows";
/// Threads of a block; the kernels take no more.
const THREADS: u32 = 256;
/// An argument for a pointer that the kernel does not follow.
const NULL: u64 = 0;

/// Copies beside the device's work: lists of batches to it, sums of cold rows' gradients from it.
pub(super) struct Transfers {
    lists: Uploads<u32, CudaQueues>,
    rows: Uploads<f32, CudaQueues>,
    sums: Downloads<f32, CudaQueues>,
}

impl Transfers {
    pub(super) fn new(device: &Device) -> Result<Arc<Mutex<Self>>> {
        let queues = CudaQueues::new(device)?;
        Ok(Arc::new(Mutex::new(Self {
            lists: Uploads::new(queues.clone()),
            rows: Uploads::new(queues.clone()),
            sums: Downloads::new(queues),
        })))
    }
}

impl fmt::Debug for Transfers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfers").finish_non_exhaustive()
    }
}

fn lock(transfers: &Mutex<Transfers>) -> MutexGuard<'_, Transfers> {
    transfers.lock().unwrap_or_else(|lock| lock.into_inner())
}

/// Cold rows of a batch, on the device until this is dropped.
#[derive(Debug)]
pub(super) struct UploadedRows {
    transfers: Arc<Mutex<Transfers>>,
    uploaded: Option<Uploaded>,
    /// The rows, and behind them their state, flat.
    pub(super) rows: Tensor,
}

impl UploadedRows {
    /// Submits the copy of rows and their state to the device.
    pub(super) fn new(
        transfers: &Arc<Mutex<Transfers>>,
        weights: &[f32],
        state: &[f32],
    ) -> Result<Self> {
        let count = weights.len() + state.len();
        let mut rings = lock(transfers);
        let uploaded = rings.rows.upload(count, |into| {
            let (first, second) = into.split_at_mut(weights.len());
            first.copy_from_slice(weights);
            second.copy_from_slice(state);
        })?;
        let rows = rings.rows.read(&uploaded)?.narrow(0, 0, count)?;
        drop(rings);
        Ok(Self {
            transfers: Arc::clone(transfers),
            uploaded: Some(uploaded),
            rows,
        })
    }
}

impl Drop for UploadedRows {
    fn drop(&mut self) {
        if let Some(uploaded) = self.uploaded.take() {
            // As for lists.
            let _ = lock(&self.transfers).rows.release(uploaded);
        }
    }
}

/// Cold rows that a batch has moved, on their way to the host.
#[derive(Debug)]
pub(super) struct Returning {
    transfers: Arc<Mutex<Transfers>>,
    asked: Option<Downloading>,
}

impl Returning {
    /// Submits the copy of rows and their state to the host.
    pub(super) fn new(
        UploadedRows {
            transfers, rows, ..
        }: &UploadedRows,
    ) -> Result<Self> {
        let asked = lock(transfers)
            .sums
            .download_from(rows, rows.elem_count())?;
        Ok(Self {
            transfers: Arc::clone(transfers),
            asked: Some(asked),
        })
    }

    /// Waits for them.
    pub(super) fn take(mut self, weights: &mut [f32], state: &mut [f32]) -> Result<()> {
        let Some(asked) = self.asked.take() else {
            return Ok(());
        };
        lock(&self.transfers).sums.take(asked, |rows| {
            let (first, second) = rows.split_at(weights.len());
            weights.copy_from_slice(first);
            state.copy_from_slice(&second[..state.len()]);
        })?;
        Ok(())
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        if let Some(asked) = self.asked.take() {
            // As for lists.
            let _ = lock(&self.transfers).sums.take(asked, |_| ());
        }
    }
}

/// Copies rows of matrices over rows of others: `pairs` names the ones, and behind them as many of
/// the others.
pub(super) fn copy_pairs<'a>(
    transfers: &Mutex<Transfers>,
    pairs: &[u32],
    matrices: impl IntoIterator<Item = Option<(&'a Tensor, &'a Tensor)>>,
) -> Result<()> {
    if pairs.is_empty() {
        return Ok(());
    }
    let lists = &mut lock(transfers).lists;
    let uploaded = lists.upload(pairs.len(), |into| into.copy_from_slice(pairs))?;
    let numbers = lists.read(&uploaded)?.narrow(0, 0, pairs.len())?;
    for (from, into) in matrices.into_iter().flatten() {
        copy_rows(from, into, &numbers)?;
    }
    Ok(lists.release(uploaded)?)
}

/// A batch's lists, on the device until they are dropped.
#[derive(Debug)]
pub(super) struct DeviceLists {
    device: CudaDevice,
    classes: Vec<ClassLists>,
    transfers: Arc<Mutex<Transfers>>,
    uploaded: Option<Uploaded>,
}

impl DeviceLists {
    /// Asks for the copy of lists to the device.
    pub(super) fn upload(
        device: &CudaDevice,
        transfers: &Arc<Mutex<Transfers>>,
        lists: &BatchLists,
    ) -> Result<Self> {
        let numbers = lists.numbers();
        // CUDA has no empty memory.
        let uploaded = lock(transfers).lists.upload(numbers.len().max(1), |into| {
            into[..numbers.len()].copy_from_slice(numbers);
        })?;
        Ok(Self {
            device: device.clone(),
            classes: lists.classes().to_vec(),
            transfers: Arc::clone(transfers),
            uploaded: Some(uploaded),
        })
    }

    /// The numbers on the device, for work that is requested from now on.
    fn numbers(&self) -> Result<Tensor> {
        match &self.uploaded {
            Some(uploaded) => Ok(lock(&self.transfers).lists.read(uploaded)?.clone()),
            None => Err(Error::EmptyPlan),
        }
    }

    /// Writes the pooled rows of a class's bags, `[bags, width]`.
    pub(super) fn gather(
        &self,
        class: usize,
        weights: &Tensor,
        cold: Option<&Tensor>,
        into: &Tensor,
    ) -> Result<()> {
        let lists = &self.classes[class];
        let width = lists.width;
        let vector = vector(width, [Some(weights), cold, Some(into)]);
        read::<u32, _, _>(&self.numbers()?, |numbers| {
            let gather = GatherLaunch {
                device: &self.device,
                addresses: numbers.slice(lists.addresses.clone()),
                offsets: Some(numbers.slice(lists.offsets.clone()))
                    .filter(|_| !lists.offsets.is_empty()),
                hot_rows: lists.hot_rows as u32,
                bags: lists.bags as u32,
                width: width as u32,
                vector,
            };
            match cold {
                Some(cold) => read(cold, |cold| {
                    write(into, |into| gather.launch(weights, Some(cold), into))
                }),
                None => write(into, |into| gather.launch(weights, None, into)),
            }
        })
    }

    /// Moves a class's rows along the gradients of its bags, `[bags, width]`, and rounds bf16 rows
    /// by `key`. `piece_sums` is memory for sums.
    pub(super) fn update(
        &self,
        class: usize,
        matrix: &Matrix,
        gradients: &Tensor,
        rule: Rule<'_>,
        key: Option<u64>,
        cold: Cold<'_>,
        piece_sums: &mut Option<Tensor>,
    ) -> Result<()> {
        let lists = &self.classes[class];
        if lists.rows.is_empty() {
            return Ok(());
        }
        let sums = (lists.pieces() * lists.width).max(1);
        let piece_sums = match piece_sums {
            Some(kept) if kept.elem_count() >= sums => kept,
            none => none.insert(Tensor::zeros(
                sums.next_power_of_two(),
                DType::F32,
                gradients.device(),
            )?),
        };
        let numbers = self.numbers()?;
        let state = |matrix: &Matrix| matrix.state.as_ref().map_or(Ok(NULL), address);
        let launch = |cold: [u64; 3]| {
            let floats = [
                Some(gradients),
                Some(&matrix.weights),
                matrix.state.as_ref(),
            ];
            read::<u32, _, _>(&numbers, |numbers| {
                let update = Update {
                    device: &self.device,
                    lists,
                    numbers,
                    gradients: address(gradients)?,
                    rule,
                    key,
                    vector: vector(lists.width, floats),
                };
                let sums = address(piece_sums)?;
                update.sum_pieces(sums)?;
                let matrix = [address(&matrix.weights)?, state(matrix)?];
                update.launch(matrix, sums, cold)
            })
        };
        match cold {
            Cold::Moved(copies) if lists.cold_rows > 0 => {
                launch([NULL, address(&copies.weights)?, state(copies)?])
            }
            Cold::ToHost(into) if !into.is_empty() => {
                let mut transfers = lock(&self.transfers);
                let asked = transfers
                    .sums
                    .download(into.len(), |sums| launch([address(sums)?, NULL, NULL]))?;
                transfers
                    .sums
                    .take(asked, |sums| into.copy_from_slice(sums))?;
                Ok(())
            }
            _ => launch([NULL; 3]),
        }
    }
}

/// What becomes of the cold rows of a batch.
pub(super) enum Cold<'a> {
    /// The sums of their gradients go to the host; none for none.
    ToHost(&'a mut [f32]),
    /// Copies of them are moved.
    Moved(&'a Matrix),
}

impl Drop for DeviceLists {
    fn drop(&mut self) {
        if let Some(uploaded) = self.uploaded.take() {
            // What fails here fails again where the memory is used next, and is reported there.
            let _ = lock(&self.transfers).lists.release(uploaded);
        }
    }
}

/// The launches of an update.
struct Update<'a> {
    device: &'a CudaDevice,
    lists: &'a ClassLists,
    numbers: &'a CudaView<'a, u32>,
    gradients: u64,
    rule: Rule<'a>,
    /// By which bf16 rows are rounded; none for f32.
    key: Option<u64>,
    vector: bool,
}

impl Update<'_> {
    /// Sums the pieces of rows of many bags, then those of the rows that have most of them.
    fn sum_pieces(&self, sums: u64) -> Result<()> {
        let Self { lists, .. } = *self;
        let [bags, starts, row_pieces] = [&lists.row_bags, &lists.piece_starts, &lists.row_pieces]
            .map(|range| self.numbers.slice(range.clone()));
        let (width, vector) = (lists.width as u32, u32::from(self.vector));
        for (from, bags, starts, pieces) in [
            (self.gradients, Some(&bags), &starts, lists.pieces()),
            (sums, None, &row_pieces, lists.summed_rows),
        ] {
            if pieces == 0 {
                continue;
            }
            let kernel = self
                .device
                .get_or_load_custom_func("rows_sum_pieces", MODULE, PTX)?;
            let mut launch = kernel.builder();
            launch.arg(&from);
            match bags {
                Some(bags) => launch.arg(bags),
                None => launch.arg(&NULL),
            };
            launch.arg(starts).arg(&sums).arg(&width).arg(&vector);
            // SAFETY: the arguments are those of the kernel. Lists name bags of the gradients,
            // every piece has its own sums, and so has every row.
            unsafe { launch.launch(grid(lists.piece_blocks(pieces))) }.w()?;
        }
        Ok(())
    }

    /// `cold` are where gradients of cold rows go, and else copies of these and of their state.
    fn launch(&self, [weights, state]: [u64; 2], piece_sums: u64, cold: [u64; 3]) -> Result<()> {
        let Self { lists, vector, .. } = *self;
        let (name, rate, epsilon) = match self.rule {
            Rule::Sgd { rate } => (["rows_update_sgd", "rows_update_sgd_bf16"], rate, 0.0),
            Rule::Adagrad { rate, epsilon } => (
                ["rows_update_adagrad", "rows_update_adagrad_bf16"],
                rate,
                epsilon,
            ),
            Rule::Rowwise { rate, epsilon } => (
                ["rows_update_rowwise", "rows_update_rowwise_bf16"],
                rate,
                epsilon,
            ),
            // A store of such rows on a CUDA device is refused when it is made.
            Rule::External { rule, .. } => {
                return Err(Error::RuleWithoutKernel {
                    name: rule.name().into(),
                    device: "a CUDA device".into(),
                });
            }
        };
        let name = name[usize::from(self.key.is_some())];
        let kernel = self.device.get_or_load_custom_func(name, MODULE, PTX)?;
        let [addresses, offsets, bags, pieces] = [
            &lists.rows,
            &lists.row_offsets,
            &lists.row_bags,
            &lists.row_pieces,
        ]
        .map(|range| self.numbers.slice(range.clone()));
        let (hot_rows, width) = (lists.hot_rows as u32, lists.width as u32);
        let [rows, long_rows, summed_rows] =
            [lists.rows.len(), lists.long_rows, lists.summed_rows].map(|count| count as u32);
        let (vectorised, key) = (u32::from(vector), self.key.unwrap_or_default());
        let mut launch = kernel.builder();
        launch.arg(&weights).arg(&state).arg(&hot_rows);
        launch.arg(&self.gradients);
        launch.arg(&addresses).arg(&offsets).arg(&bags);
        launch.arg(&rows).arg(&long_rows).arg(&summed_rows);
        launch.arg(&pieces).arg(&piece_sums);
        cold.iter().for_each(|cold| {
            launch.arg(cold);
        });
        launch.arg(&width).arg(&vectorised);
        launch.arg(&rate).arg(&epsilon).arg(&key);
        // SAFETY: the arguments are those of the kernel. Lists name rows of the matrix, of the cold
        // ones and bags of the gradients, and every row once, so that no two threads write the same
        // floats.
        unsafe { launch.launch(grid(lists.update_blocks(THREADS, vector))) }.w()?;
        Ok(())
    }
}

/// Copies rows, `[rows]`, of a matrix, `[rows, width]`, as f32.
pub(super) fn read_rows(from: &Tensor, rows: &Tensor) -> Result<Tensor> {
    let (count, (hot_rows, width)) = (rows.dim(0)?, from.dims2()?);
    let into = Tensor::zeros((count, width), DType::F32, from.device())?;
    let device = device_of(from)?;
    read::<u32, _, _>(rows, |addresses| {
        let gather = GatherLaunch {
            device,
            addresses: addresses.slice(..),
            offsets: None,
            hot_rows: hot_rows as u32,
            bags: count as u32,
            width: width as u32,
            vector: vector(width, [Some(from), Some(&into)]),
        };
        write(&into, |into| gather.launch(from, None, into))
    })?;
    Ok(into)
}

/// The same for one of each.
fn copy_rows(from: &Tensor, into: &Tensor, pairs: &Tensor) -> Result<()> {
    let (count, width) = (pairs.dim(0)? / 2, into.dim(1)?);
    let device = device_of(into)?;
    let kernel = device.get_or_load_custom_func("rows_copy", MODULE, PTX)?;
    let grid = grid(blocks(count, width, THREADS, false));
    let [from, into, from_rows] = [address(from)?, address(into)?, address(pairs)?];
    let into_rows = from_rows + (count * size_of::<u32>()) as u64;
    let (count, width) = (count as u32, width as u32);
    let mut launch = kernel.builder();
    launch.arg(&from).arg(&from_rows).arg(&into).arg(&into_rows);
    launch.arg(&count).arg(&width);
    // SAFETY: the arguments are those of the kernel; the pairs are of rows of the two matrices.
    unsafe { launch.launch(grid) }.w()?;
    Ok(())
}

/// Overwrites rows, `[rows]`, of a matrix, each named once, by values of its own type.
pub(super) fn write_rows(matrix: &Tensor, rows: &Tensor, values: &Tensor) -> Result<()> {
    let (count, width) = values.dims2()?;
    let device = device_of(matrix)?;
    if matrix.dtype() != values.dtype() {
        return Err(recsys_device::Error::WrongDType {
            dtype: values.dtype(),
        }
        .into());
    }
    let name = name_for(matrix, ["rows_write", "rows_write_bf16"]);
    let kernel = device.get_or_load_custom_func(name, MODULE, PTX)?;
    let grid = grid(blocks(count, width, THREADS, false));
    let (count, width) = (count as u32, width as u32);
    let [matrix, rows, values] = [address(matrix)?, address(rows)?, address(values)?];
    let mut launch = kernel.builder();
    launch.arg(&matrix).arg(&rows).arg(&values);
    launch.arg(&count).arg(&width);
    // SAFETY: the arguments are those of the kernel; the rows are the matrix's.
    unsafe { launch.launch(grid) }.w()?;
    Ok(())
}

/// Of the names of a kernel for f32 and one for bf16, that for a matrix.
fn name_for(matrix: &Tensor, [f32, bf16]: [&'static str; 2]) -> &'static str {
    match matrix.dtype() {
        DType::BF16 => bf16,
        _ => f32,
    }
}

/// A launch of `rows_gather`, or `rows_gather_bf16`.
struct GatherLaunch<'a> {
    device: &'a CudaDevice,
    addresses: CudaView<'a, u32>,
    offsets: Option<CudaView<'a, u32>>,
    hot_rows: u32,
    bags: u32,
    width: u32,
    vector: bool,
}

impl GatherLaunch<'_> {
    fn launch(
        &self,
        weights: &Tensor,
        cold: Option<&CudaView<'_, f32>>,
        into: &mut CudaViewMut<'_, f32>,
    ) -> Result<()> {
        if self.bags == 0 {
            return Ok(());
        }
        let name = name_for(weights, ["rows_gather", "rows_gather_bf16"]);
        let kernel = self.device.get_or_load_custom_func(name, MODULE, PTX)?;
        let weights = address(weights)?;
        let single_hot = u32::from(self.offsets.is_none());
        let vector = u32::from(self.vector);
        let mut launch = kernel.builder();
        launch.arg(&weights).arg(&self.hot_rows);
        match cold {
            Some(cold) => launch.arg(cold),
            None => launch.arg(&NULL),
        };
        launch.arg(&self.addresses);
        match &self.offsets {
            Some(offsets) => launch.arg(offsets),
            None => launch.arg(&NULL),
        };
        launch.arg(&single_hot).arg(into);
        launch.arg(&self.bags).arg(&self.width).arg(&vector);
        let (bags, width) = (self.bags as usize, self.width as usize);
        let blocks = gather_blocks(bags, width, THREADS, self.vector);
        // SAFETY: the arguments are those of the kernel; addresses name rows of the matrix and,
        // where there are any, the cold ones, offsets name addresses, and the output has a row for
        // every bag.
        unsafe { launch.launch(grid(blocks)) }.w()?;
        Ok(())
    }
}

fn grid(blocks: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    }
}

/// Whether rows can be moved four floats at a time; memory of its own starts at a multiple of 256
/// bytes.
fn vector<const N: usize>(width: usize, tensors: [Option<&Tensor>; N]) -> bool {
    let aligned = |tensor: &Tensor| tensor.layout().start_offset().is_multiple_of(4);
    width.is_multiple_of(4) && tensors.into_iter().flatten().all(aligned)
}
