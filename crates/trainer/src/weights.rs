//! Weights on disk: safetensors under the reference programs' names.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use candle_core::{Device, Tensor};
use embedding_store::EmbeddingStore;
use recsys_data::output_file::OutputFile;
use recsys_device::read_slice;

use crate::finite::check_weights;
use crate::parameters::distinct_parameters;
use crate::table_rows::{TableRows, check_rows, pieces, read_rows, rows_name};
use crate::tensor_file::{Entry, TensorReader, TensorWriter};
use crate::tensor_source::TensorSource;
use crate::torch_file::TorchFile;
use crate::{Error, Model, Result, RowMap, Trainer};

/// Writes all weights of model and store to one safetensors file: `bot_l.0.weight`,
/// `emb_l.0.weight` … Tables are streamed, so memory stays small; the file appears under its name
/// only when it is complete.
///
/// # Errors
/// Two parameters of one name, [`Error::WeightNotFinite`], a file that cannot be written, or a
/// failing tensor operation.
pub fn save_weights<M: Model, S: EmbeddingStore>(
    path: &Path,
    trainer: &Trainer<M, S>,
) -> Result<()> {
    save_weights_about(path, trainer, &BTreeMap::new())
}

/// [`save_weights`], with texts of the caller's own in the file's `__metadata__`, such as what the
/// rows of the tables stand for. [`weights_about`] reads them.
///
/// # Errors
/// As [`save_weights`].
pub fn save_weights_about<M: Model, S: EmbeddingStore>(
    path: &Path,
    trainer: &Trainer<M, S>,
    about: &BTreeMap<String, String>,
) -> Result<()> {
    // A model may name its weights in a way of its own, which need not look at this.
    distinct_parameters(trainer.model())?;
    let io = |source| Error::io("cannot write", path, source);
    let file = OutputFile::create(path).map_err(io)?;
    let dense = trainer.model().named_weights()?;
    let mut entries: Vec<Entry> = dense.iter().map(entry).collect();
    entries.extend(trainer.store().parts().iter().map(|part| {
        let shape = vec![part.rows, part.dim as u64];
        (rows_name(trainer, part), shape)
    }));
    let mut out = TensorWriter::new(path, file, &entries, about)?;
    write_dense(&mut out, &dense)?;
    for (index, part) in trainer.store().parts().iter().enumerate() {
        for rows in pieces(part) {
            let rows = trainer.store().export(index, rows)?.weights;
            check_weights(&rows_name(trainer, part), &rows)?;
            out.write(&rows)?;
        }
    }
    let (file, _) = out.finish();
    file.finish().map_err(io)
}

/// Name and shape of a dense weight.
pub(crate) fn entry((name, tensor): &(String, Tensor)) -> Entry {
    let shape = tensor.dims().iter().map(|&extent| extent as u64);
    (name.clone(), shape.collect())
}

/// Writes dense weights, in their order.
pub(crate) fn write_dense(
    out: &mut TensorWriter<impl Write>,
    dense: &[(String, Tensor)],
) -> Result<()> {
    for (name, tensor) in dense {
        let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
        read_slice(&tensor, |values| {
            check_weights(name, values).and_then(|()| out.write(values))
        })??;
    }
    Ok(())
}

/// The texts in the `__metadata__` of a safetensors file; none of a file that PyTorch saved.
///
/// # Errors
/// A file of neither kind.
pub fn weights_about(path: &Path) -> Result<BTreeMap<String, String>> {
    Ok(open(path)?.about())
}

/// Opens a file of weights of either kind; what it is says its beginning.
///
/// # Errors
/// A file of neither kind, or a damaged one.
pub(crate) fn open(path: &Path) -> Result<Box<dyn TensorSource>> {
    /// Enough to know a file by.
    const START: u64 = 512;
    let io = |source| Error::io("cannot read", path, source);
    let mut start = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(START).read_to_end(&mut start).map_err(io)?;
    let other = |problem: &str| {
        Err(Error::NotPickledWeights {
            path: path.into(),
            problem: format!("is {problem}"),
        })
    };
    match &start[..] {
        _ if TorchFile::looks_like_one(&start) => Ok(Box::new(TorchFile::open(path)?)),
        [] => other("empty"),
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] => {
            other("a pointer of Git LFS and not the file itself; fetch that with `git lfs pull`")
        }
        [0x1f, 0x8b, ..] => other("packed by gzip; unpack it"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => other("packed by zstd; unpack it"),
        start if start.get(257..262) == Some(b"ustar") => other(
            "a tar archive; unpack it, or, where PyTorch wrote it so, load it there and save it \
             again",
        ),
        _ => Ok(Box::new(TensorReader::open(path)?)),
    }
}

/// Reads all weights of model and store from a safetensors file, as [`save_weights`] writes it, or
/// from a file that PyTorch saved: a state dictionary, alone or where programs put it
/// (`state_dict`, `model_state_dict` …), or a whole module. Numbers of 16, 32 and 64 bits become
/// f32; names may have what wrappers put into them, such as `module.`. Nothing in a file is
/// executed. Tables are streamed. Optimizer state starts afresh. Weights in the file that neither
/// needs are ignored.
///
/// Every table must have as many rows in the file as in the store; [`load_weights_with`] takes
/// files from before the tables grew.
///
/// # Errors
/// A file of neither kind, a missing weight, one of another shape than the model's, or two
/// parameters of one name; all of that is found before anything is changed.
pub fn load_weights<M: Model, S: EmbeddingStore>(
    path: &Path,
    trainer: &mut Trainer<M, S>,
) -> Result<()> {
    load_weights_with(path, trainer, TableRows::Exact).map(|_| ())
}

/// [`load_weights`], where `rows` says whether tables may have fewer rows in the file than in the
/// store. Dense weights must be the model's. Returns how many rows of the store's matrices are not
/// in the file.
///
/// # Errors
/// As [`load_weights`], and [`Error::WeightRows`] for tables whose numbers of rows do not fit.
pub fn load_weights_with<M: Model, S: EmbeddingStore>(
    path: &Path,
    trainer: &mut Trainer<M, S>,
    rows: TableRows,
) -> Result<u64> {
    let mut file = open(path)?;
    check_dense(&*file, trainer.model())?;
    let counts = check_rows(&*file, trainer, rows, false)?;
    read_dense(&mut *file, trainer.model_mut())?;
    read_rows(&mut *file, trainer, &counts, false)
}

/// [`load_weights`] where the file's rows are under other ids; `maps` has one for each table. Rows
/// that are not in the file keep their weights; returns how many those are.
///
/// # Errors
/// As [`load_weights`], maps for other tables than the store's, or tables that do not have one row
/// for each id.
pub fn load_weights_by_category<M: Model, S: EmbeddingStore>(
    path: &Path,
    trainer: &mut Trainer<M, S>,
    maps: &[RowMap],
) -> Result<u64> {
    let mut file = open(path)?;
    check_dense(&*file, trainer.model())?;
    check_maps(&*file, trainer, maps)?;
    read_dense(&mut *file, trainer.model_mut())?;
    read_mapped(&mut *file, trainer, maps)
}

/// That maps are those of a file's tables and of the store's.
pub(crate) fn check_maps<M: Model, S: EmbeddingStore>(
    file: &dyn TensorSource,
    trainer: &Trainer<M, S>,
    maps: &[RowMap],
) -> Result<()> {
    let parts = trainer.store().parts();
    let mismatch = |what: String, model, data| Error::Mismatch {
        what,
        model,
        data,
        remedy: "give the vocabularies of this data set and of the one that the weights were \
                 trained on, and tables with one row for each id",
    };
    if parts.len() != maps.len() {
        let (model, data) = (parts.len() as u64, maps.len() as u64);
        return Err(mismatch("tables".into(), model, data));
    }
    for (part, map) in parts.iter().zip(maps) {
        let name = rows_name(trainer, part);
        if part.rows != map.from.len() as u64 {
            return Err(mismatch(name, part.rows, map.from.len() as u64));
        }
        file.check(&name, &[map.rows, part.dim as u64])?;
        let beyond = map.from.iter().flatten();
        if let Some(&id) = beyond.filter(|&&id| u64::from(id) >= map.rows).max() {
            return Err(Error::Mismatch {
                what: format!("ids of {name}"),
                model: u64::from(id),
                data: map.rows,
                remedy: "RowMap::from holds ids below RowMap::rows; make the map with RowMap::between",
            });
        }
    }
    Ok(())
}

/// Reads the rows of a file that was checked through maps that were; returns how many rows it does
/// not have.
pub(crate) fn read_mapped<M: Model, S: EmbeddingStore>(
    file: &mut dyn TensorSource,
    trainer: &mut Trainer<M, S>,
    maps: &[RowMap],
) -> Result<u64> {
    let parts = trainer.store().parts().to_vec();
    for (index, (part, map)) in parts.iter().zip(maps).enumerate() {
        let all = file.read(&rows_name(trainer, part), 0, map.rows as usize * part.dim)?;
        for rows in pieces(part) {
            let mut piece = trainer.store().export(index, rows.clone())?;
            let ids = &map.from[rows.start as usize..rows.end as usize];
            for (row, id) in piece.weights.chunks_exact_mut(part.dim).zip(ids) {
                if let Some(id) = *id {
                    row.copy_from_slice(&all[id as usize * part.dim..][..part.dim]);
                }
            }
            piece.state.clear();
            trainer.store_mut().import(index, rows.start, &piece)?;
        }
    }
    Ok(maps.iter().map(RowMap::absent).sum())
}

/// That a file has the model's dense weights, of parameters whose names differ.
pub(crate) fn check_dense<M: Model>(file: &dyn TensorSource, model: &M) -> Result<()> {
    distinct_parameters(model)?;
    for weight in model.named_weights()? {
        let (name, shape) = entry(&weight);
        file.check(&name, &shape)?;
    }
    Ok(())
}

/// Reads the model's dense weights from a file that was checked.
pub(crate) fn read_dense<M: Model>(file: &mut dyn TensorSource, model: &mut M) -> Result<()> {
    let mut dense = HashMap::new();
    for (name, tensor) in model.named_weights()? {
        let values = file.read(&name, 0, tensor.elem_count())?;
        let read = Tensor::from_vec(values, tensor.dims(), &Device::Cpu)?;
        dense.insert(name, read);
    }
    Ok(model.load_weights(&dense)?)
}
