//! The CPU baseline: TBSM with its rows and its network on the CPU.
//!
//! 1. Open a packed data set that `fae prepare` made, or make samples.
//! 2. Put the tables into host memory, and make a model in the shape of the data.
//! 3. Train an epoch, and evaluate.
//!
//! All options, presets and checkpoints: `fae train --model tbsm --placement cpu`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use candle_core::Device;
use clap::Parser;
use embedding_store::{CpuStore, Optimizer, StoreOptions, TableSpec};
use examples::print_run;
use fae_cli::Console;
use fae_cli::process::exit_on_error;
use fae_run::evaluations;
use recsys_data::generate::{PlantedSequences, PlantedSequencesOptions, write_packed};
use recsys_data::packed::PackedDataset;
use recsys_data::{Split, SplitRows};
use tbsm::{FusedTbsm, Tbsm, TbsmConfig};
use trainer::{TrainOptions, Trainer, fit};

/// Train TBSM on the CPU. No arguments needed.
#[derive(Parser)]
struct Arguments {
    /// A packed data set of sequences [default: made samples].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit_on_error(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = match &arguments.data {
        Some(path) => PackedDataset::open(path)?,
        None => made(&folder.path().join("data"))?,
    };
    let schema = data.schema();
    let tables: Vec<_> = schema
        .table_rows()
        .into_iter()
        .map(TableSpec::full)
        .collect();
    let rows = StoreOptions {
        dim: 16,
        optimizer: Optimizer::adagrad().into(),
        ..StoreOptions::default()
    };
    let store = CpuStore::new(tables, rows)?;
    let shape = TbsmConfig {
        history: schema.positions() - 1,
        ..TbsmConfig::default()
    };
    let model = FusedTbsm::new(Tbsm::new(shape, 1, &Device::Cpu)?);
    let mut trainer = Trainer::new(model, store, Device::Cpu);
    let options = TrainOptions {
        batch_size: 256,
        learning_rate: 0.05,
        ..TrainOptions::default()
    };
    let inputs = Arc::new(data.split(Split::Train));
    let (sets, mut console) = (evaluations(&data), Console::new());
    let report = fit(&mut trainer, inputs, &sets, &options, &mut console)?;
    print_run("the CPU", &report);
    Ok(())
}

/// Sequences of a hidden model.
fn made(folder: &Path) -> recsys_data::Result<PackedDataset> {
    let options = PlantedSequencesOptions {
        samples: 60_000,
        ..PlantedSequencesOptions::default()
    };
    let planted = PlantedSequences::new(options.with_scale(0.02))?;
    let rows = SplitRows::time_ordered(60_000);
    write_packed(&planted, planted.options(), rows, folder, false, &())
}
