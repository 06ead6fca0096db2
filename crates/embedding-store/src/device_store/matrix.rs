//! Rows and their state on the device, and rows as a matrix keeps them.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use half::bf16;
use rayon::prelude::*;

use crate::arena::{ArenaError, zeros};
use crate::error::{Error, Result};
use crate::initialization::RowGenerator;
use crate::rounding::Rounding;

/// Memory for rows on their way to a device, or why there is none.
pub(super) fn in_memory<T>(memory: std::result::Result<Vec<T>, ArenaError>) -> Result<Vec<T>> {
    memory.map_err(|error| {
        let name = "rows of one width on one device".into();
        match error {
            ArenaError::OutOfMemory { bytes } => Error::Allocation { name, bytes },
            ArenaError::Overflow => Error::Allocation {
                name,
                bytes: u64::MAX,
            },
        }
    })
}

/// Rows and their state on the device.
#[derive(Debug)]
pub(super) struct Matrix {
    /// `[rows, width]`, f32 or bf16.
    pub(super) weights: Tensor,
    /// f32.
    pub(super) state: Option<Tensor>,
}

impl Matrix {
    /// The state of every row is `fresh`.
    pub(super) fn new(weights: Tensor, fresh: &[f32]) -> Result<Self> {
        let rows = weights.dim(0)?;
        let state = match fresh.len() {
            0 => None,
            width => {
                let floats = rows.checked_mul(width).ok_or(ArenaError::Overflow);
                let mut state: Vec<f32> = in_memory(floats.and_then(zeros))?;
                for state in state.chunks_exact_mut(width) {
                    state.copy_from_slice(fresh);
                }
                Some(Tensor::from_vec(state, (rows, width), weights.device())?)
            }
        };
        Ok(Self { weights, state })
    }

    pub(super) fn bytes(&self) -> u64 {
        let bytes = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        (bytes(&self.weights) + self.state.as_ref().map_or(0, bytes)) as u64
    }
}

/// The initial rows of some parts behind each other, `[rows, width]`, as they are kept. On CUDA,
/// which has no empty memory, there is one where there are none; nothing names it.
pub(super) fn initial_rows(
    parts: &[(usize, Range<u64>, RowGenerator)],
    width: usize,
    rounding: Option<Rounding>,
    device: &Device,
) -> Result<Tensor> {
    let rows: u64 = parts.iter().map(|(_, held, _)| held.end - held.start).sum();
    let shape = ((rows as usize).max(usize::from(device.is_cuda())), width);
    let floats = shape.0 * width;
    Ok(match rounding {
        None => {
            let mut all: Vec<f32> = in_memory(zeros(floats))?;
            fill(&mut all, parts, width, |generator, _, row, into, _| {
                generator.write(row, into);
            });
            Tensor::from_vec(all, shape, device)?
        }
        Some(rounding) => {
            let mut all: Vec<bf16> = in_memory(zeros(floats))?;
            fill(
                &mut all,
                parts,
                width,
                |generator, part, row, into, exact| {
                    generator.write(row, exact);
                    Rounding::round(rounding.import_key(0, part), row as u32, exact, into);
                },
            );
            Tensor::from_vec(all, shape, device)?
        }
    })
}

/// Writes every row of the parts; `write` has memory for a row of floats.
fn fill<T: Send>(
    all: &mut [T],
    parts: &[(usize, Range<u64>, RowGenerator)],
    width: usize,
    write: impl Fn(&RowGenerator, usize, u64, &mut [T], &mut [f32]) + Sync,
) {
    let mut unwritten = all;
    for (part, held, generator) in parts {
        let floats = (held.end - held.start) as usize * width;
        let (here, rest) = unwritten.split_at_mut(floats);
        unwritten = rest;
        here.par_chunks_exact_mut(width).enumerate().for_each_init(
            || vec![0.0; width],
            |floats, (index, into)| {
                write(generator, *part, held.start + index as u64, into, floats)
            },
        );
    }
}

/// Rows of a part from host memory, `[rows, width]`, as they are kept: rounded where there is a
/// key. `row` numbers them.
pub(super) fn kept_rows(
    values: &[f32],
    width: usize,
    row: impl Fn(usize) -> u32 + Sync,
    key: Option<u64>,
    device: &Device,
) -> Result<Tensor> {
    let shape = (values.len() / width, width);
    let Some(key) = key else {
        return Ok(Tensor::from_slice(values, shape, device)?);
    };
    let mut rounded = vec![bf16::ZERO; values.len()];
    rounded
        .par_chunks_exact_mut(width)
        .zip(values.par_chunks_exact(width))
        .enumerate()
        .for_each(|(index, (into, exact))| {
            Rounding::round(key, row(index), exact, into);
        });
    Ok(Tensor::from_vec(rounded, shape, device)?)
}

/// Rows that an update has moved, `[rows, width]`, as they are kept: rounded by way of the host,
/// which kernels do where they are.
pub(super) fn moved_rows(values: &Tensor, rows: &Tensor, key: u64) -> Result<Tensor> {
    let (_, width) = values.dims2()?;
    let numbers = rows.to_vec1::<u32>()?;
    let exact = values.flatten_all()?.to_vec1::<f32>()?;
    let mut rounded = vec![bf16::ZERO; exact.len()];
    rounded
        .par_chunks_exact_mut(width)
        .zip(exact.par_chunks_exact(width))
        .zip(&numbers)
        .for_each(|((into, exact), &row)| Rounding::round(key, row, exact, into));
    Ok(Tensor::from_vec(rounded, values.shape(), values.device())?)
}

/// Copies of some rows, `[rows]`, of a matrix, as f32.
pub(super) fn select_rows(from: &Tensor, rows: &Tensor) -> Result<Tensor> {
    // candle's own operation counts the elements of a table in 32 bits there.
    #[cfg(feature = "cuda")]
    if from.device().is_cuda() {
        return super::cuda::read_rows(from, rows);
    }
    Ok(from.index_select(rows, 0)?.to_dtype(DType::F32)?)
}

/// Overwrites rows of a matrix, in place, by values of its own type.
pub(super) fn write_rows(into: &Tensor, rows: &Tensor, values: &Tensor) -> Result<()> {
    #[cfg(feature = "cuda")]
    if into.device().is_cuda() {
        return super::cuda::write_rows(into, rows, values);
    }
    let rows = rows
        .unsqueeze(1)?
        .broadcast_as(values.shape())?
        .contiguous()?;
    into.scatter_set(&rows, &values.contiguous()?, 0)?;
    Ok(())
}
