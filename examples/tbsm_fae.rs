//! FAE: TBSM with hot rows on the device, and inputs that touch no others trained wholly there.
//!
//! 1. Open a packed data set that `fae prepare` made, or make samples.
//! 2. Choose hot rows under a budget, and tell hot inputs from cold ones.
//! 3. Put all rows into host memory, hot ones on the device too, and the model on the device.
//! 4. Train hot and cold batches as the schedule says, and evaluate.
//!
//! All options, presets and checkpoints: `fae train --model tbsm --placement fae`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Parser;
use embedding_store::{Optimizer, StoreOptions, TableSpec, device_row_bytes};
use examples::print_run;
use fae_cli::Console;
use fae_cli::process::exit_on_error;
use fae_profiler::{HotSet, Partition, SelectOptions};
use fae_run::{Budget, evaluations, one_device};
use recsys_data::generate::{PlantedSequences, PlantedSequencesOptions, write_packed};
use recsys_data::packed::PackedDataset;
use recsys_data::{Dataset, Split, SplitRows};
use tbsm::{FusedTbsm, Tbsm, TbsmConfig};
use trainer::{Inputs, Placement, ShuffleOptions, ShuffleScheduler, TrainOptions, Trainer, fit};

/// Train TBSM with hot rows on a device. No arguments needed.
#[derive(Parser)]
struct Arguments {
    /// A packed data set of sequences [default: made samples].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The device: cpu, standing in for one, or cuda in a build with the feature `cuda`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// What hot rows may take on the device, in bytes or as a share of all rows.
    #[arg(long, default_value = "60%")]
    budget: Budget,
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
    let device = one_device(&arguments.device)?;
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
    let bytes = device_row_bytes(&TableSpec::full(1), &rows);
    let all = bytes * schema.table_rows().iter().sum::<u64>();
    let chosen = SelectOptions {
        budget: arguments.budget.bytes(all),
        bytes_per_row: vec![bytes; tables.len()],
        ..SelectOptions::default()
    };
    let hot = HotSet::select(&data, &chosen)?;
    let train: Arc<dyn Dataset> = Arc::new(data.split(Split::Train));
    let partition = Arc::new(Partition::classify(&*train, hot.hot_rows())?);
    let share = 100.0 * partition.hot_len() as f64 / partition.len().max(1) as f64;
    let (hot_inputs, cold_inputs) = partition.sides(&train)?;
    let hot_rows = Some(hot.hot_rows());
    let store = Placement::Fae.store(tables, rows, std::slice::from_ref(&device), hot_rows)?;
    let shape = TbsmConfig {
        history: schema.positions() - 1,
        ..TbsmConfig::default()
    };
    let model = FusedTbsm::new(Tbsm::new(shape, 1, &device)?);
    let mut trainer = Trainer::new(model, store, device);
    let options = TrainOptions {
        batch_size: 256,
        learning_rate: 0.05,
        ..TrainOptions::default()
    };
    let inputs = Inputs::Split {
        hot: Arc::new(hot_inputs),
        cold: Arc::new(cold_inputs),
        schedule: &mut ShuffleScheduler::try_new(ShuffleOptions::default())?,
    };
    let (sets, mut console) = (evaluations(&data), Console::new());
    let report = fit(&mut trainer, inputs, &sets, &options, &mut console)?;
    print_run(&format!("FAE, {share:.0}% of the inputs hot"), &report);
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
