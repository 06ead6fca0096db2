//! Checkpoints of the training programs: their options, what decides a run's numbers, and how a signal ends one.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use embedding_store::{EmbeddingStore, RowFormat};
use recsys_data::packed::PackedDataset;
use serde_json::{Value, json};
use trainer::{
    Checkpoint, CheckpointEvery, Checkpoints, Model, RowMap, Trainer, load_weights,
    load_weights_by_category,
};

use crate::placing::{Hot, Placing, ScheduleName};
use crate::training::Settings;

/// Where and when checkpoints are written.
#[derive(Debug, Clone, Default, Args)]
pub struct CheckpointArguments {
    /// Write checkpoints into this folder, also at the best evaluations, at the end, and at Ctrl-C or SIGTERM.
    #[arg(long, value_name = "DIR", help_heading = "Checkpoints")]
    pub checkpoint: Option<PathBuf>,
    /// How often: after so many steps (1000) or minutes (10min) [default: 10min].
    #[arg(long, value_name = "STEPS|MINUTES", value_parser = every, requires = "checkpoint", help_heading = "Checkpoints")]
    pub checkpoint_every: Option<CheckpointEvery>,
    /// So many of the last ones stay, besides the best [default: 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), requires = "checkpoint", help_heading = "Checkpoints")]
    pub keep_checkpoints: Option<u16>,
    /// Go on from the newest checkpoint, as if the run had never ended; start afresh where there is none.
    #[arg(long, requires = "checkpoint", help_heading = "Checkpoints")]
    pub resume: bool,
}

/// Reads `1000`, `1000steps` or `10min`.
fn every(text: &str) -> Result<CheckpointEvery> {
    let (number, minutes) = match (text.strip_suffix("min"), text.strip_suffix("steps")) {
        (Some(number), _) => (number, true),
        (_, Some(number)) => (number, false),
        _ => (text, false),
    };
    let number: u64 = number.trim().parse().ok().filter(|&number| number > 0).with_context(|| {
        format!("`{text}`: give a number of steps or minutes above 0, such as 1000, 1000steps or 10min")
    })?;
    Ok(match minutes {
        true => CheckpointEvery::Time(Duration::from_secs(number.saturating_mul(60))),
        false => CheckpointEvery::Steps(number),
    })
}

impl CheckpointArguments {
    /// The checkpoints of a run; `None` where none are asked for.
    ///
    /// # Errors
    /// A data set whose manifest cannot be read any more.
    pub fn checkpoints(
        &self,
        dataset: &PackedDataset,
        settings: &Settings,
        placing: &Placing,
        hot: Option<&Hot>,
    ) -> Result<Option<Checkpoints>> {
        let Some(folder) = &self.checkpoint else {
            return Ok(None);
        };
        let defaults = Checkpoints::new(folder);
        Ok(Some(Checkpoints {
            every: self.checkpoint_every.unwrap_or(defaults.every),
            keep: self.keep_checkpoints.map_or(defaults.keep, usize::from),
            resume: self.resume,
            settings: run_settings(dataset, settings, placing, hot)?,
            order: order(placing, hot),
            ..defaults
        }))
    }
}

/// What decides the numbers of a run.
fn run_settings(
    dataset: &PackedDataset,
    settings: &Settings,
    placing: &Placing,
    hot: Option<&Hot>,
) -> Result<Value> {
    let mut all = json!({
        "model": settings.model,
        "data": dataset.manifest_xxh3()?,
        "tables": dataset.schema().table_rows(),
    });
    // As f32, rows may go on anywhere; rounded, it matters which of them are, and when.
    if placing.device_rows != RowFormat::F32 {
        all["device_rows"] = json!({
            "format": placing.device_rows,
            "placement": placing.placement,
            "hot_rows": hot.map(|hot| hot.set.hot_rows()),
        });
    }
    Ok(all)
}

/// What decides the order of the batches in an epoch.
fn order(placing: &Placing, hot: Option<&Hot>) -> Value {
    match (placing.schedule, hot) {
        (ScheduleName::Original, _) | (_, None) => json!({"schedule": ScheduleName::Original}),
        (schedule, Some(hot)) => json!({
            "schedule": schedule,
            "rules": placing.shuffle,
            "hot_rows": hot.set.hot_rows(),
        }),
    }
}

/// Lets Ctrl-C and SIGTERM end the run with a checkpoint; a second one ends the program at once.
///
/// # Errors
/// A system that does not let signals be handled.
pub fn stop_on_signals(checkpoints: &Checkpoints) -> Result<()> {
    let stop = checkpoints.stop.clone();
    let handler = move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping after this step, with a checkpoint; once more ends at once");
    };
    match ctrlc::set_handler(handler) {
        Err(error) => bail!("cannot handle Ctrl-C: {error}"),
        Ok(()) => Ok(()),
    }
}

/// The newest usable checkpoint in a folder, or the one that the folder is. Says which are damaged.
///
/// # Errors
/// No usable checkpoint there.
pub fn newest_checkpoint(folder: &Path) -> Result<Checkpoint> {
    if folder.join("checkpoint.json").exists() {
        return Ok(Checkpoint::open(folder)?);
    }
    let newest = Checkpoint::newest(folder, &mut |path, error| {
        eprintln!(
            "checkpoint {} cannot be used, the one before it is tried: {error}",
            path.display()
        );
        Ok(())
    })?;
    newest.with_context(|| format!("there is no checkpoint in {}", folder.display()))
}

/// Reads weights from a file, under the ids of another data set where one is given.
///
/// # Errors
/// A file that does not fit the model, or data sets without vocabularies.
pub fn load_weights_file<M: Model, S: EmbeddingStore>(
    file: &Path,
    ids_of: Option<&Path>,
    data: &PackedDataset,
    trainer: &mut Trainer<M, S>,
) -> Result<()> {
    let Some(there) = ids_of else {
        return Ok(load_weights(file, trainer)?);
    };
    let there = PackedDataset::open(there)?;
    ensure!(
        there.schema().tables.len() == data.schema().tables.len(),
        "--ids-of has {} tables, --data has {}; prepare both from the same raw data",
        there.schema().tables.len(),
        data.schema().tables.len()
    );
    let vocabulary = |data: &PackedDataset, option, table| {
        data.vocabulary(table)?.with_context(|| {
            format!("the data set of {option} has no vocabulary; prepare it from raw data")
        })
    };
    let maps: Vec<RowMap> = (0..data.schema().tables.len())
        .map(|table| {
            let (from, to) = (
                vocabulary(&there, "--ids-of", table)?,
                vocabulary(data, "--data", table)?,
            );
            Ok(RowMap::between(&from, &to))
        })
        .collect::<Result<_>>()?;
    let absent = load_weights_by_category(file, trainer, &maps)?;
    let all: u64 = data.schema().table_rows().iter().sum();
    eprintln!(
        "{absent} of {all} rows are of categories that the weights do not know; they keep their first weights"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_minutes_are_told_apart() {
        let ten = CheckpointEvery::Time(Duration::from_secs(600));
        assert_eq!(every("10min").unwrap(), ten);
        assert_eq!(every("1000").unwrap(), CheckpointEvery::Steps(1000));
        assert_eq!(every("1000steps").unwrap(), CheckpointEvery::Steps(1000));
        for text in ["0", "min", "-1", "ten", "10hours"] {
            assert!(every(text).unwrap_err().to_string().contains(text));
        }
    }
}
