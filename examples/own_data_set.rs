//! A data set of one's own: anything that can be read by number.
//!
//! 1. Implement `Dataset`: a schema, a length, and samples by number. Ids are ranks, the most frequent
//!    category of a table first: then hot rows are those in front.
//! 2. Choose a model and tables from the schema.
//! 3. Train. Loader threads read batches ahead.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use candle_core::Device;
use dlrm::{Dlrm, DlrmConfig, FusedDlrm};
use embedding_store::{CpuStore, StoreOptions, TableSpec};
use examples::print_run;
use fae_cli::process::exit_on_error;
use recsys_data::{Batch, Dataset, Error, Schema, TableSchema};
use trainer::{Evaluations, TrainOptions, Trainer, fit};

/// Pairs of numbers, and whether their sum is even: nothing is stored.
struct EvenSums {
    schema: Schema,
    samples: u64,
}

impl EvenSums {
    fn new(samples: u64) -> Self {
        let table = |name: &str| TableSchema {
            name: name.into(),
            rows: 50,
        };
        let schema = Schema {
            dense: vec!["one".into()],
            tables: vec![table("first"), table("second")],
            multi_hot: false,
            sequence_length: None,
        };
        Self { schema, samples }
    }
}

impl Dataset for EvenSums {
    fn schema(&self) -> &Schema {
        &self.schema
    }
    fn len(&self) -> u64 {
        self.samples
    }
    fn read(&self, samples: &[u64], into: &mut Batch) -> recsys_data::Result<()> {
        into.clear();
        for &sample in samples {
            if sample >= self.samples {
                return Err(Error::external(format!("there is no sample {sample}")));
            }
            // Steps that share no factor with 50 visit every row of both tables.
            let ids = [(7 * sample % 50) as u32, (sample / 50 * 3 % 50) as u32];
            into.sparse.ids.extend(ids);
            into.dense.push(1.0);
            into.label.push((1 - (ids[0] + ids[1]) % 2) as f32);
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    exit_on_error(run())
}

fn run() -> Result<()> {
    let data: Arc<dyn Dataset> = Arc::new(EvenSums::new(100_000));
    let tables = data.schema().table_rows().into_iter().map(TableSpec::full);
    let store = CpuStore::new(tables.collect(), StoreOptions::default())?;
    let shape = DlrmConfig {
        tables: 2,
        bottom: vec![1, 16],
        top: vec![32, 1],
        ..DlrmConfig::default()
    };
    let model = FusedDlrm::new(Dlrm::new(shape, 1, &Device::Cpu)?);
    let mut trainer = Trainer::new(model, store, Device::Cpu);
    let sets = Evaluations {
        test: Some(data.clone()),
        ..Evaluations::default()
    };
    let report = fit(&mut trainer, data, &sets, &TrainOptions::default(), &mut ())?;
    print_run("even sums", &report);
    Ok(())
}
