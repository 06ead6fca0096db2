//! Weights on disk: safetensors under the reference programs' names.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::{Device, Tensor};
use embedding_store::{EmbeddingStore, Rows};
use recsys_data::OutputFile;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value, json};

use crate::{Error, Model, Result, Trainer};

/// Rows of a table that are held in memory at once while they are written or read.
const ROWS_AT_ONCE: u64 = 1 << 16;

/// Writes all weights of model and store to one safetensors file: `bot_l.0.weight`, `emb_l.0.weight` … Tables are
/// streamed, so memory stays small; the file appears under its name only when it is complete.
///
/// # Errors
/// A file that cannot be written, or a failing tensor operation.
pub fn save_weights<M: Model, S: EmbeddingStore>(
    path: &Path,
    trainer: &Trainer<M, S>,
) -> Result<()> {
    let io = |source| Error::io("cannot write", path, source);
    let file = OutputFile::create(path).map_err(io)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let dense = trainer.model().named_weights()?;
    let mut header = Map::new();
    let mut offset = 0u64;
    let mut entry = |name: &str, shape: Vec<u64>| {
        let bytes = 4 * shape.iter().product::<u64>();
        header.insert(
            name.into(),
            json!({"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + bytes]}),
        );
        offset += bytes;
    };
    for (name, tensor) in &dense {
        entry(
            name,
            tensor.dims().iter().map(|&extent| extent as u64).collect(),
        );
    }
    let prefix = trainer.model().table_prefix();
    for part in trainer.store().parts() {
        entry(
            &format!("{prefix}{}", part.name),
            vec![part.rows, part.dim as u64],
        );
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())
        .map_err(io)?;
    out.write_all(&header).map_err(io)?;
    for (_, tensor) in &dense {
        for value in tensor.flatten_all()?.to_vec1::<f32>()? {
            out.write_all(&value.to_le_bytes()).map_err(io)?;
        }
    }
    for (index, part) in trainer.store().parts().iter().enumerate() {
        for first in (0..part.rows).step_by(ROWS_AT_ONCE as usize) {
            let rows = trainer
                .store()
                .export(index, first..(first + ROWS_AT_ONCE).min(part.rows))?;
            for value in rows.weights {
                out.write_all(&value.to_le_bytes()).map_err(io)?;
            }
        }
    }
    let file = out.into_inner().map_err(|error| io(error.into_error()))?;
    file.finish().map_err(io)
}

/// Reads all weights of model and store from a safetensors file, as [`save_weights`] writes it. Optimizer state starts
/// afresh. Weights in the file that neither needs are ignored.
///
/// # Errors
/// A file that is no safetensors file, a missing weight, or one of another shape than the model's; model and store may
/// then hold some of the new weights.
pub fn load_weights<M: Model, S: EmbeddingStore>(
    path: &Path,
    trainer: &mut Trainer<M, S>,
) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|source| Error::io("cannot read", path, source))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|source| Error::NotWeights {
        path: path.into(),
        source,
    })?;
    let find = |name: &str, shape: &[usize]| -> Result<TensorView<'_>> {
        let Ok(view) = file.tensor(name) else {
            return Err(Error::WeightMissing {
                path: path.into(),
                name: name.into(),
            });
        };
        if view.shape() != shape || view.dtype() != Dtype::F32 {
            return Err(Error::WeightShape {
                path: path.into(),
                name: name.into(),
                found: format!("{:?} {:?}", view.dtype(), view.shape()),
                expected: format!("F32 {shape:?}"),
            });
        }
        Ok(view)
    };
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    };
    let mut dense = HashMap::new();
    for (name, tensor) in trainer.model().named_weights()? {
        let view = find(&name, tensor.dims())?;
        dense.insert(
            name,
            Tensor::from_vec(floats(view.data()), tensor.dims(), &Device::Cpu)?,
        );
    }
    trainer.model_mut().load_weights(&dense)?;
    let prefix = trainer.model().table_prefix();
    let parts: Vec<_> = trainer
        .store()
        .parts()
        .iter()
        .map(|part| (format!("{prefix}{}", part.name), part.rows, part.dim))
        .collect();
    for (index, (name, rows, dim)) in parts.into_iter().enumerate() {
        let view = find(&name, &[rows as usize, dim])?;
        for (chunk, bytes) in view
            .data()
            .chunks((ROWS_AT_ONCE as usize) * dim * 4)
            .enumerate()
        {
            let rows = Rows {
                dim,
                weights: floats(bytes),
                state: Vec::new(),
            };
            trainer
                .store_mut()
                .import(index, chunk as u64 * ROWS_AT_ONCE, &rows)?;
        }
    }
    Ok(())
}
