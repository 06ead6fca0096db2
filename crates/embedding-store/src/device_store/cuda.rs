//! Rows on a CUDA device: launches of the kernels in `rows.cu`.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::cuda::cudarc::driver::{
    CudaView, CudaViewMut, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda::{CudaDType, WrapErr};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, Device, InplaceOp1, Layout, Storage, Tensor,
};

use super::Matrix;
use super::batch_lists::{BatchLists, ClassLists, blocks};
use crate::transfer::{CudaQueues, Downloads, Uploaded, Uploads};
use crate::update::Rule;
use crate::{Error, Result};

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
    sums: Downloads<f32, CudaQueues>,
}

impl Transfers {
    pub(super) fn new(device: &Device) -> Result<Arc<Mutex<Self>>> {
        let queues = CudaQueues::new(device)?;
        Ok(Arc::new(Mutex::new(Self {
            lists: Uploads::new(queues.clone()),
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

/// A batch's lists, on the device until they are dropped.
#[derive(Debug)]
pub(super) struct DeviceLists {
    device: CudaDevice,
    lists: BatchLists,
    transfers: Arc<Mutex<Transfers>>,
    uploaded: Option<Uploaded>,
}

impl DeviceLists {
    /// Asks for the copy of lists to the device.
    pub(super) fn upload(
        device: &CudaDevice,
        transfers: &Arc<Mutex<Transfers>>,
        lists: BatchLists,
    ) -> Result<Self> {
        let numbers = lists.numbers();
        // CUDA has no empty memory.
        let uploaded = lock(transfers).lists.upload(numbers.len().max(1), |into| {
            into[..numbers.len()].copy_from_slice(numbers);
        })?;
        Ok(Self {
            device: device.clone(),
            lists,
            transfers: Arc::clone(transfers),
            uploaded: Some(uploaded),
        })
    }

    /// The host's memory of the lists, for another batch.
    pub(super) fn take_lists(&mut self) -> BatchLists {
        std::mem::take(&mut self.lists)
    }

    /// The numbers on the device, for work that is asked for from now on.
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
        let lists = &self.lists.classes()[class];
        let width = lists.width;
        let vector = vector(width, [Some(weights), cold, Some(into)]);
        read::<u32, _>(&self.numbers()?, |numbers| {
            let gather = Gather {
                device: &self.device,
                addresses: numbers.slice(lists.addresses.clone()),
                offsets: Some(numbers.slice(lists.offsets.clone()))
                    .filter(|_| !lists.offsets.is_empty()),
                hot_rows: lists.hot_rows as u32,
                bags: lists.bags as u32,
                width: width as u32,
                vector,
            };
            read(weights, |weights| match cold {
                Some(cold) => read(cold, |cold| {
                    write(into, |into| gather.launch(weights, Some(cold), into))
                }),
                None => write(into, |into| gather.launch(weights, None, into)),
            })
        })
    }

    /// Moves a class's rows along the gradients of its bags, `[bags, width]`, and copies the sums of those of cold rows to the
    /// host, into `cold`.
    pub(super) fn update(
        &self,
        class: usize,
        matrix: &Matrix,
        gradients: &Tensor,
        rule: Rule,
        cold: &mut [f32],
    ) -> Result<()> {
        let lists = &self.lists.classes()[class];
        if lists.rows.is_empty() {
            return Ok(());
        }
        let numbers = self.numbers()?;
        let launch = |sums: Option<&mut CudaViewMut<'_, f32>>| {
            let state = matrix.state.as_ref();
            let vector = vector(lists.width, [Some(gradients), Some(&matrix.weights), state]);
            read(&numbers, |numbers| {
                read(gradients, |gradients| {
                    let update = Update {
                        device: &self.device,
                        lists,
                        numbers,
                        gradients,
                        rule,
                        vector,
                    };
                    write(&matrix.weights, |weights| match state {
                        Some(state) => {
                            write(state, |state| update.launch(weights, Some(state), sums))
                        }
                        None => update.launch(weights, None, sums),
                    })
                })
            })
        };
        if cold.is_empty() {
            return launch(None);
        }
        let mut transfers = lock(&self.transfers);
        let asked = transfers
            .sums
            .download(cold.len(), |sums| write(sums, |sums| launch(Some(sums))))?;
        transfers
            .sums
            .take(asked, |sums| cold.copy_from_slice(sums))
    }
}

impl Drop for DeviceLists {
    fn drop(&mut self) {
        if let Some(uploaded) = self.uploaded.take() {
            // What fails here fails again where the memory is used next, and is reported there.
            let _ = lock(&self.transfers).lists.release(uploaded);
        }
    }
}

/// A launch of an update.
struct Update<'a> {
    device: &'a CudaDevice,
    lists: &'a ClassLists,
    numbers: &'a CudaView<'a, u32>,
    gradients: &'a CudaView<'a, f32>,
    rule: Rule,
    vector: bool,
}

impl Update<'_> {
    /// `sums` are those of the batch's cold rows, if it has any.
    fn launch(
        &self,
        weights: &mut CudaViewMut<'_, f32>,
        mut state: Option<&mut CudaViewMut<'_, f32>>,
        mut sums: Option<&mut CudaViewMut<'_, f32>>,
    ) -> Result<()> {
        let Self { lists, vector, .. } = *self;
        let (name, rate, epsilon) = match self.rule {
            Rule::Sgd { rate } => ("rows_update_sgd", rate, 0.0),
            Rule::Adagrad { rate, epsilon } => ("rows_update_adagrad", rate, epsilon),
            Rule::Rowwise { rate, epsilon } => ("rows_update_rowwise", rate, epsilon),
        };
        let kernel = self.device.get_or_load_custom_func(name, MODULE, PTX)?;
        let [addresses, offsets, bags] = [&lists.rows, &lists.row_offsets, &lists.row_bags]
            .map(|range| self.numbers.slice(range.clone()));
        let (hot_rows, width) = (lists.hot_rows as u32, lists.width as u32);
        let (rows, long_rows) = (lists.rows.len() as u32, lists.long_rows as u32);
        let (vectorised, key) = (u32::from(vector), 0u64);
        let mut launch = kernel.builder();
        launch.arg(weights);
        match &mut state {
            Some(state) => launch.arg(&mut **state),
            None => launch.arg(&NULL),
        };
        launch.arg(&hot_rows).arg(self.gradients);
        launch.arg(&addresses).arg(&offsets).arg(&bags);
        launch.arg(&rows).arg(&long_rows);
        match &mut sums {
            Some(sums) => launch.arg(&mut **sums),
            None => launch.arg(&NULL),
        };
        launch.arg(&width).arg(&vectorised);
        launch.arg(&rate).arg(&epsilon).arg(&key);
        // SAFETY: the arguments are those of the kernel. Lists name rows of the matrix, of the cold sums and bags of the gradients,
        // and every row once, so that no two threads write the same floats.
        unsafe { launch.launch(grid(lists.update_blocks(THREADS, vector))) }.w()?;
        Ok(())
    }
}

/// Copies rows, `[rows]`, of a matrix, `[rows, width]`.
pub(super) fn read_rows(from: &Tensor, rows: &Tensor) -> Result<Tensor> {
    let (count, (hot_rows, width)) = (rows.dim(0)?, from.dims2()?);
    let into = Tensor::zeros((count, width), from.dtype(), from.device())?;
    let Device::Cuda(device) = from.device() else {
        return Err(no_cuda(from));
    };
    read::<u32, _>(rows, |addresses| {
        let gather = Gather {
            device,
            addresses: addresses.slice(..),
            offsets: None,
            hot_rows: hot_rows as u32,
            bags: count as u32,
            width: width as u32,
            vector: vector(width, [Some(from), Some(&into)]),
        };
        read(from, |from| {
            write(&into, |into| gather.launch(from, None, into))
        })
    })?;
    Ok(into)
}

/// Overwrites rows, `[rows]`, of a matrix, each named once.
pub(super) fn write_rows(matrix: &Tensor, rows: &Tensor, values: &Tensor) -> Result<()> {
    let (count, width) = values.dims2()?;
    let Device::Cuda(device) = matrix.device() else {
        return Err(no_cuda(matrix));
    };
    let kernel = device.get_or_load_custom_func("rows_write", MODULE, PTX)?;
    let grid = grid(blocks(count, width, THREADS, false));
    let (count, width) = (count as u32, width as u32);
    read::<u32, _>(rows, |rows| {
        read::<f32, _>(values, |values| {
            write(matrix, |matrix| {
                let mut launch = kernel.builder();
                launch.arg(matrix).arg(rows).arg(values);
                launch.arg(&count).arg(&width);
                // SAFETY: the arguments are those of the kernel; the rows are the matrix's.
                unsafe { launch.launch(grid) }.w()?;
                Ok(())
            })
        })
    })
}

/// A launch of `rows_gather`.
struct Gather<'a> {
    device: &'a CudaDevice,
    addresses: CudaView<'a, u32>,
    offsets: Option<CudaView<'a, u32>>,
    hot_rows: u32,
    bags: u32,
    width: u32,
    vector: bool,
}

impl Gather<'_> {
    fn launch(
        &self,
        weights: &CudaView<'_, f32>,
        cold: Option<&CudaView<'_, f32>>,
        into: &mut CudaViewMut<'_, f32>,
    ) -> Result<()> {
        if self.bags == 0 {
            return Ok(());
        }
        let kernel = self
            .device
            .get_or_load_custom_func("rows_gather", MODULE, PTX)?;
        let single_hot = u32::from(self.offsets.is_none());
        let vector = u32::from(self.vector);
        let mut launch = kernel.builder();
        launch.arg(weights).arg(&self.hot_rows);
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
        let blocks = blocks(
            self.bags as usize,
            self.width as usize,
            THREADS,
            self.vector,
        );
        // SAFETY: the arguments are those of the kernel; addresses name rows of the matrix and, where there are any, the cold
        // ones, offsets name addresses, and the output has a row for every bag.
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

/// Whether rows can be moved four floats at a time; memory of its own starts at a multiple of 256 bytes.
fn vector<const N: usize>(width: usize, tensors: [Option<&Tensor>; N]) -> bool {
    let aligned = |tensor: &Tensor| tensor.layout().start_offset().is_multiple_of(4);
    width.is_multiple_of(4) && tensors.into_iter().flatten().all(aligned)
}

/// Calls `f` with the elements of a contiguous tensor on a CUDA device.
fn read<T: CudaDType + DeviceRepr, R>(
    tensor: &Tensor,
    f: impl FnOnce(&CudaView<'_, T>) -> Result<R>,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(no_cuda(tensor));
    };
    let (start, end) = offsets(layout)?;
    f(&storage.as_cuda_slice::<T>()?.slice(start..end))
}

/// The same, to be changed in place.
fn write<R>(tensor: &Tensor, f: impl FnOnce(&mut CudaViewMut<'_, f32>) -> Result<R>) -> Result<R> {
    let write = Write {
        f: Cell::new(Some(f)),
        result: Cell::new(None),
    };
    tensor.inplace_op1(&write)?;
    write
        .result
        .into_inner()
        .unwrap_or_else(|| Err(no_cuda(tensor)))
}

struct Write<F, R> {
    f: Cell<Option<F>>,
    result: Cell<Option<Result<R>>>,
}

impl<R, F: FnOnce(&mut CudaViewMut<'_, f32>) -> Result<R>> InplaceOp1 for Write<F, R> {
    fn name(&self) -> &'static str {
        "write-rows"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        Ok(())
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> candle_core::Result<()> {
        let slice = storage.as_cuda_slice_mut::<f32>()?;
        let Some(f) = self.f.take() else {
            return Ok(());
        };
        let result = offsets(layout).and_then(|(start, end)| f(&mut slice.slice_mut(start..end)));
        self.result.set(Some(result));
        Ok(())
    }
}

fn offsets(layout: &Layout) -> Result<(usize, usize)> {
    layout
        .contiguous_offsets()
        .ok_or_else(|| Error::NotContiguous {
            shape: layout.dims().to_vec(),
        })
}

fn no_cuda(tensor: &Tensor) -> Error {
    Error::WrongDevice {
        got: format!("{:?}", tensor.device().location()),
        expected: "a CUDA device".into(),
    }
}
