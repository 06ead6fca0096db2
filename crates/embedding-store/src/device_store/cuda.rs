//! Rows on a CUDA device: launches of the kernels in `rows.cu`.

use std::cell::Cell;

use candle_core::cuda::cudarc::driver::{
    CudaSlice, CudaView, CudaViewMut, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda::{CudaDType, WrapErr};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, Device, InplaceOp1, Layout, Storage, Tensor,
};

use super::Matrix;
use super::batch_lists::{BatchLists, ClassLists, blocks};
use crate::update::Rule;
use crate::{Error, Result};

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/rows.ptx"));
/// The name of the module among those of the device.
const MODULE: &str = "embedding-store/rows";
/// Threads of a block; the kernels take no more.
const THREADS: u32 = 256;
/// An argument for a pointer that the kernel does not follow.
const NULL: u64 = 0;

/// A batch's lists on the device.
#[derive(Debug)]
pub(super) struct DeviceLists {
    device: CudaDevice,
    lists: BatchLists,
    numbers: CudaSlice<u32>,
}

impl DeviceLists {
    /// Copies lists to the device, into memory that served others if there is enough of it: what still reads those comes before
    /// the copy in the stream.
    pub(super) fn upload(
        device: &CudaDevice,
        lists: BatchLists,
        spare: Option<CudaSlice<u32>>,
    ) -> Result<Self> {
        let count = lists.numbers().len();
        let mut numbers = match spare {
            Some(spare) if spare.len() >= count => spare,
            // Some more, so that most batches to come fit.
            // SAFETY: what is read was written before: kernels read the ranges of these lists.
            _ => unsafe { device.alloc::<u32>(count.next_power_of_two())? },
        };
        if count > 0 {
            device.memcpy_htod(lists.numbers(), &mut numbers)?;
        }
        Ok(Self {
            device: device.clone(),
            lists,
            numbers,
        })
    }

    /// The memory, for the lists of another batch.
    pub(super) fn into_memory(self) -> (BatchLists, CudaSlice<u32>) {
        (self.lists, self.numbers)
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
        let gather = Gather {
            device: &self.device,
            addresses: self.numbers.slice(lists.addresses.clone()),
            offsets: Some(self.numbers.slice(lists.offsets.clone()))
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
    }

    /// Moves a class's rows along the gradients of its bags, `[bags, width]`, and copies the sums of those of cold rows to the host.
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
        let mut sums = match lists.cold_rows * lists.width {
            0 => None,
            // SAFETY: the kernel writes the sum of every cold row of the batch.
            floats => Some(unsafe { self.device.alloc::<f32>(floats)? }),
        };
        let state = matrix.state.as_ref();
        let vector = vector(lists.width, [Some(gradients), Some(&matrix.weights), state]);
        read(gradients, |gradients| {
            write(&matrix.weights, |weights| match state {
                Some(state) => write(state, |state| {
                    self.launch_update(
                        lists,
                        rule,
                        weights,
                        Some(state),
                        gradients,
                        sums.as_mut(),
                        vector,
                    )
                }),
                None => {
                    self.launch_update(lists, rule, weights, None, gradients, sums.as_mut(), vector)
                }
            })
        })?;
        if let Some(sums) = &sums {
            // Waits for the copy: the host's memory is pageable.
            self.device.cuda_stream().memcpy_dtoh(sums, cold).w()?;
        }
        Ok(())
    }

    fn launch_update(
        &self,
        lists: &ClassLists,
        rule: Rule,
        weights: &mut CudaViewMut<'_, f32>,
        mut state: Option<&mut CudaViewMut<'_, f32>>,
        gradients: &CudaView<'_, f32>,
        mut cold_gradients: Option<&mut CudaSlice<f32>>,
        vector: bool,
    ) -> Result<()> {
        let (name, rate, epsilon) = match rule {
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
        launch.arg(&hot_rows).arg(gradients);
        launch.arg(&addresses).arg(&offsets).arg(&bags);
        launch.arg(&rows).arg(&long_rows);
        match &mut cold_gradients {
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
