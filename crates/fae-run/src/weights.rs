//! Weights from checkpoints and from files, for scoring and to start from.

use std::path::Path;

use candle_core::Device;
use embedding_store::{CpuStore, EmbeddingStore, StoreOptions, TableSpec};
use recsys_data::packed::PackedDataset;
use serde::Deserialize;
use trainer::{Checkpoint, Model, RowMap, Trainer, load_weights, load_weights_by_category};

use crate::card::ModelKind;
use crate::error::{Context, Result, require};
use crate::memory::check_memory;
use crate::model::ModelConfig;

/// The newest usable checkpoint in a folder, or the one that the folder is. `damaged` hears of those
/// that cannot be used.
///
/// # Errors
/// No usable checkpoint there.
pub fn newest_checkpoint(
    folder: &Path,
    damaged: &mut dyn FnMut(&Path, &trainer::Error),
) -> Result<Checkpoint> {
    if folder.join("checkpoint.json").exists() {
        return Ok(Checkpoint::open(folder)?);
    }
    let newest = Checkpoint::newest(folder, &mut |path, error| {
        damaged(path, error);
        Ok(())
    })?;
    newest.context(|| format!("there is no checkpoint in {}", folder.display()))
}

/// A model of that shape with its tables in host memory, for scoring.
///
/// # Errors
/// A model of sequences and data that are not, or the other way round, and too little memory.
pub fn scorer(
    config: &ModelConfig,
    data: &PackedDataset,
) -> Result<Trainer<Box<dyn Model>, CpuStore>> {
    require!(
        config.kind() == ModelKind::default_for(data.schema()),
        "the model and the data set do not fit: one is of sequences, the other is not"
    );
    check_memory(config, data.schema(), 1)?;
    let tables = data.schema().tables.iter();
    let store = CpuStore::new(
        tables.map(|table| TableSpec::full(table.rows)).collect(),
        StoreOptions {
            dim: config.dim(),
            ..StoreOptions::default()
        },
    )
    .context(|| "cannot make the embedding tables".into())?;
    Ok(Trainer::new(
        config.build(0, &Device::Cpu)?,
        store,
        Device::Cpu,
    ))
}

/// The model and the rows of a checkpoint, for scoring a data set.
///
/// # Errors
/// A checkpoint of no model that a card can name, one that does not fit the data, a damaged file.
pub fn scorer_of(
    checkpoint: &Checkpoint,
    data: &PackedDataset,
) -> Result<Trainer<Box<dyn Model>, CpuStore>> {
    let config = ModelConfig::deserialize(&checkpoint.settings()["model"]).context(|| {
        format!(
            "{} names neither DLRM nor TBSM as its model",
            checkpoint.path().display()
        )
    })?;
    let mut trainer = scorer(&config, data)?;
    checkpoint.load_weights(&mut trainer)?;
    Ok(trainer)
}

/// Reads weights from a file, under the ids of another data set where one is given. Returns the number
/// of rows whose categories the weights do not know; these keep their first weights.
///
/// # Errors
/// A file that does not fit the model, or data sets without vocabularies.
pub fn load_weights_file<M: Model, S: EmbeddingStore>(
    file: &Path,
    ids_of: Option<&PackedDataset>,
    data: &PackedDataset,
    trainer: &mut Trainer<M, S>,
) -> Result<u64> {
    let Some(there) = ids_of else {
        load_weights(file, trainer)?;
        return Ok(0);
    };
    let tables = data.schema().tables.len();
    require!(
        there.schema().tables.len() == tables,
        "the weights' data set has {} tables, this one has {tables}; prepare both from the same \
         raw data",
        there.schema().tables.len()
    );
    let vocabulary = |data: &PackedDataset, table| {
        data.vocabulary(table)?.context(|| {
            format!(
                "{} has no vocabulary; prepare it from raw data",
                data.folder().display()
            )
        })
    };
    let maps: Vec<RowMap> = (0..tables)
        .map(|table| {
            let (from, to) = (vocabulary(there, table)?, vocabulary(data, table)?);
            Ok(RowMap::between(&from, &to))
        })
        .collect::<Result<_>>()?;
    Ok(load_weights_by_category(file, trainer, &maps)?)
}
