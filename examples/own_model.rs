//! A model of one's own: plain candle-nn layers, trained like any other.
//!
//! 1. Make layers in a `VarMap`, and say how they turn dense values and rows into logits.
//! 2. Put tables of the data's size into host memory.
//! 3. Train. Checkpoints and weights go by the layers' names.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Module, VarBuilder, VarMap, linear};
use embedding_store::{CpuStore, StoreOptions, TableSpec};
use examples::print_run;
use fae_cli::Console;
use fae_cli::process::exit_on_error;
use recsys_data::generate::{Planted, PlantedOptions};
use recsys_data::{Dataset, Schema};
use recsys_model::{Model, VarMapModel};
use trainer::{Evaluations, TrainOptions, Trainer, fit};

const DIM: usize = 8;

fn main() -> ExitCode {
    exit_on_error(run())
}

/// Two layers over all features side by side.
fn two_layers(schema: &Schema) -> candle_core::Result<impl Model + use<>> {
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let features = schema.dense.len() + schema.tables.len() * DIM;
    let hidden = linear(features, 32, builder.pp("hidden"))?;
    let logit = linear(32, 1, builder.pp("logit"))?;
    // `dense` is [batch, features], `rows` is [batch, tables, dim], logits are [batch].
    Ok(VarMapModel::new(
        variables,
        move |dense: &Tensor, rows: &Tensor| {
            let features = Tensor::cat(&[dense, &rows.flatten_from(1)?], 1)?;
            Ok(logit
                .forward(&hidden.forward(&features)?.relu()?)?
                .squeeze(1)?)
        },
    ))
}

fn run() -> Result<()> {
    let planted = Planted::new(PlantedOptions {
        samples: 100_000,
        ..PlantedOptions::default()
    })?;
    let tables = planted.schema().table_rows();
    let rows = StoreOptions {
        dim: DIM,
        ..StoreOptions::default()
    };
    let store = CpuStore::new(tables.into_iter().map(TableSpec::full).collect(), rows)?;
    let model = two_layers(planted.schema())?;
    let mut trainer = Trainer::new(model, store, Device::Cpu);
    let data: Arc<dyn Dataset> = Arc::new(planted);
    // The samples are made as they are read, so any of them do for evaluation.
    let sets = Evaluations {
        test: Some(data.clone()),
        ..Evaluations::default()
    };
    let options = TrainOptions::default();
    let report = fit(&mut trainer, data, &sets, &options, &mut Console::new())?;
    print_run("two layers", &report);
    Ok(())
}
