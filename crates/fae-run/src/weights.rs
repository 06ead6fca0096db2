//! Weights from checkpoints and from files, for scoring and to start from.

use std::path::Path;

use candle_core::Device;
use embedding_store::{CpuStore, EmbeddingStore, StoreOptions, TableSpec};
use recsys_data::packed::PackedDataset;
use serde::Deserialize;
use trainer::{
    Checkpoint, Model, RowMap, Trainer, load_weights, load_weights_by_category, save_weights_about,
    weights_about,
};

use crate::card::{Card, CardModel, ModelKind};
use crate::error::{Context, Result, refuse, require};
use crate::memory::check_memory;
use crate::model::ModelConfig;
use crate::row_ids::{RowIds, SameIds};

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

/// A trainer of any model with its tables in host memory.
pub type Scorer = Trainer<Box<dyn Model>, CpuStore>;

/// A model of that shape with these tables in host memory, for scoring.
///
/// # Errors
/// A model of sequences and data that are not, or the other way round, and too little memory.
pub fn scorer(
    config: &ModelConfig,
    tables: Vec<TableSpec>,
    data: &PackedDataset,
) -> Result<Scorer> {
    require!(
        config.kind() == ModelKind::default_for(data.schema()),
        "the model and the data set do not fit: one is of sequences, the other is not"
    );
    check_memory(config, data.schema(), 1)?;
    let store = CpuStore::new(
        tables,
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

/// What became of the rows of weights that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadedRows {
    /// Rows whose categories the weights do not know; these keep their first weights.
    pub absent: u64,
    /// Whether the weights say which categories their rows are of. Where they do not, nobody can
    /// tell that ids mean the same there and here.
    pub ids_known: bool,
}

/// The model and the rows of a checkpoint, for scoring a data set; under the ids of another data
/// set where one is given.
///
/// # Errors
/// A checkpoint of no model that a card can name, one that does not fit the data or whose rows are
/// of other categories, a damaged file.
pub fn scorer_of(
    checkpoint: &Checkpoint,
    ids_of: Option<&PackedDataset>,
    data: &PackedDataset,
) -> Result<(Scorer, LoadedRows)> {
    let path = checkpoint.path();
    let config = ModelConfig::deserialize(&checkpoint.settings()["model"]).context(|| {
        format!(
            "{} names neither DLRM nor TBSM as its model",
            path.display()
        )
    })?;
    // Absent where all rows are whole.
    let smaller = Option::<CardModel>::deserialize(&checkpoint.settings()["smaller_tables"]);
    let smaller =
        smaller.context(|| format!("{} does not say how rows are stored", path.display()))?;
    let card = Card {
        model: CardModel {
            dim: Some(config.dim()),
            ..smaller.unwrap_or_default()
        },
        ..Card::default()
    };
    let tables = card.table_specs(data.schema())?;
    let ids = RowIds::of_checkpoint(checkpoint);
    let ids_known = check_ids(ids.as_ref(), path, ids_of, data)?;
    let mut trainer = scorer(&config, tables, data)?;
    let absent = match ids_of {
        None => {
            checkpoint.load_weights(&mut trainer)?;
            0
        }
        Some(there) => {
            checkpoint.load_weights_by_category(&mut trainer, &row_maps(there, data)?)?
        }
    };
    Ok((trainer, LoadedRows { absent, ids_known }))
}

/// Reads weights from a file, under the ids of another data set where one is given.
///
/// # Errors
/// A file that does not fit the model, or whose rows are of other categories than the data's; data
/// sets without vocabularies.
pub fn load_weights_file<M: Model, S: EmbeddingStore>(
    file: &Path,
    ids_of: Option<&PackedDataset>,
    data: &PackedDataset,
    trainer: &mut Trainer<M, S>,
) -> Result<LoadedRows> {
    let ids = RowIds::of_about(&weights_about(file)?);
    let ids_known = check_ids(ids.as_ref(), file, ids_of, data)?;
    let absent = match ids_of {
        None => {
            load_weights(file, trainer)?;
            0
        }
        Some(there) => load_weights_by_category(file, trainer, &row_maps(there, data)?)?,
    };
    Ok(LoadedRows { absent, ids_known })
}

/// Writes weights, with the identity of the ids that their rows are under, so that no data set with
/// other ids is ever scored with them unnoticed.
///
/// # Errors
/// As [`trainer::save_weights`].
pub fn save_weights_file<M: Model, S: EmbeddingStore>(
    file: &Path,
    trainer: &Trainer<M, S>,
    data: &PackedDataset,
) -> Result<()> {
    Ok(save_weights_about(
        file,
        trainer,
        &RowIds::of(data).about(),
    )?)
}

/// Where every category is in weights of another data set.
fn row_maps(there: &PackedDataset, data: &PackedDataset) -> Result<Vec<RowMap>> {
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
    let map = |table| {
        let (from, to) = (vocabulary(there, table)?, vocabulary(data, table)?);
        Ok(RowMap::between(&from, &to))
    };
    (0..tables).map(map).collect()
}

/// That the rows of weights are under the ids of `ids_of`, or of the data where that is not given;
/// whether the weights say so.
fn check_ids(
    ids: Option<&RowIds>,
    weights: &Path,
    ids_of: Option<&PackedDataset>,
    data: &PackedDataset,
) -> Result<bool> {
    let there = ids_of.unwrap_or(data);
    let other = match ids.map_or(SameIds::Unknown, |ids| ids.compare(there)) {
        SameIds::Yes => return Ok(true),
        SameIds::Unknown => return Ok(false),
        SameIds::No(other) => other,
    };
    let (weights, there) = (weights.display(), there.folder().display());
    match ids_of {
        None => refuse!(
            "the rows of {weights} are under other ids than those of {there} ({other}): its \
             scores would mean nothing; give the data set that the weights were trained on as \
             `ids_of`, or encode the raw data with that one's vocabulary"
        ),
        Some(_) => refuse!(
            "the rows of {weights} are not under the ids of {there} ({other}): `ids_of` is the \
             data set that the weights were trained on"
        ),
    }
}
