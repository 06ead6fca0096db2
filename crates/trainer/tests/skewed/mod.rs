//! Small data with hot inputs to find, and trainers for them on every placement.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by test binaries that each use some of it; a test ends where something fails"
)]

use std::sync::{Arc, Mutex};

use candle_core::Device;
use dlrm::{Dlrm, DlrmConfig, FusedDlrm, Interaction, SliceSize};
use embedding_store::{Combine, EmbeddingStore, Encoding, Optimizer, StoreOptions, TableSpec};
use recsys_data::generate::{RandomData, RandomDataOptions};
use recsys_data::views::{SampleList, Subset};
use recsys_data::{Batch, Dataset, Result as DataResult, Schema};
use trainer::{Model, Placement, Replicas, Trainer};

pub(crate) const ROWS: [u64; 4] = [40, 6, 90, 25];
pub(crate) const DIM: usize = 4;

pub(crate) type AnyTrainer = Trainer<Replicas<FusedDlrm>, Box<dyn EmbeddingStore>>;

/// A quarter of the samples touch low ids only, so that there are hot inputs to find.
pub(crate) struct Skewed {
    inner: RandomData,
    pub(crate) seen: Mutex<Vec<u64>>,
}

pub(crate) fn is_low(sample: u64) -> bool {
    sample.is_multiple_of(4)
}

impl Skewed {
    pub(crate) fn new(samples: u64, lookups: u32) -> Self {
        let options = RandomDataOptions {
            samples,
            dense: 2,
            table_rows: ROWS.to_vec(),
            lookups,
            round_targets: true,
            ..RandomDataOptions::default()
        };
        Self {
            inner: RandomData::new(options).unwrap(),
            seen: Mutex::default(),
        }
    }
}

impl Dataset for Skewed {
    fn schema(&self) -> &Schema {
        self.inner.schema()
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> DataResult<()> {
        self.inner.read(samples, into)?;
        let tables = ROWS.len();
        for (index, &sample) in samples.iter().enumerate() {
            if is_low(sample) {
                let bags = &into.sparse.offsets[index * tables..=(index + 1) * tables];
                let ids = bags[0] as usize..bags[tables] as usize;
                into.sparse.ids[ids].iter_mut().for_each(|id| *id %= 6);
            }
        }
        self.seen.lock().unwrap().extend_from_slice(samples);
        Ok(())
    }
}

struct Listed(Vec<u64>);

impl SampleList for Listed {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn sample(&self, index: u64) -> u64 {
        self.0[index as usize]
    }
}

pub(crate) fn part(data: &Arc<Skewed>, keep: impl Fn(u64) -> bool) -> Arc<dyn Dataset> {
    let numbers = (0..data.len()).filter(|&sample| keep(sample)).collect();
    Arc::new(Subset::new(data.clone(), Listed(numbers)))
}

pub(crate) fn tables() -> Vec<TableSpec> {
    tables_of(ROWS)
}

/// Tables of every encoding, of that many ids.
pub(crate) fn tables_of(rows: [u64; 4]) -> Vec<TableSpec> {
    let encodings = [
        Encoding::Full,
        Encoding::Full,
        Encoding::QuotientRemainder {
            collisions: 5,
            combine: Combine::Multiply,
        },
        Encoding::MixedDimension { dim: 2 },
    ];
    rows.into_iter()
        .zip(encodings)
        .map(|(rows, encoding)| TableSpec { rows, encoding })
        .collect()
}

pub(crate) fn trainer(
    placement: Placement,
    optimizer: Optimizer,
    hot: [u64; 4],
    replicas: usize,
) -> AnyTrainer {
    sliced(SliceSize::Fixed(8), placement, optimizer, hot, replicas)
}

pub(crate) fn sliced(
    slice: SliceSize,
    placement: Placement,
    optimizer: Optimizer,
    hot: [u64; 4],
    replicas: usize,
) -> AnyTrainer {
    let options = StoreOptions {
        optimizer: optimizer.into(),
        ..StoreOptions::default()
    };
    with_options(slice, placement, options, hot, replicas)
}

pub(crate) fn with_options(
    slice: SliceSize,
    placement: Placement,
    options: StoreOptions,
    hot: [u64; 4],
    replicas: usize,
) -> AnyTrainer {
    with_tables(tables(), slice, placement, options, hot, replicas)
}

pub(crate) fn with_tables(
    tables: Vec<TableSpec>,
    slice: SliceSize,
    placement: Placement,
    options: StoreOptions,
    hot: [u64; 4],
    replicas: usize,
) -> AnyTrainer {
    let config = DlrmConfig {
        tables: ROWS.len(),
        dim: DIM,
        bottom: vec![2, 8, DIM],
        top: vec![8, 1],
        interaction: Interaction::Dot { with_self: false },
        slice,
        ..DlrmConfig::default()
    };
    let options = StoreOptions {
        dim: DIM,
        ..options
    };
    let devices = vec![Device::Cpu; replicas];
    let store = placement
        .store(tables, options, &devices, Some(&hot))
        .unwrap();
    let model = |seed| FusedDlrm::new(Dlrm::new(config.clone(), seed, &Device::Cpu).unwrap());
    // Replicas of other seeds must take the first one's weights.
    let models = (0..replicas as u64)
        .map(|replica| (model(1 + replica), Device::Cpu))
        .collect();
    Trainer::new(Replicas::new(models).unwrap(), store, Device::Cpu)
}

/// Every weight and optimizer state of a model and the rows of its store.
pub(crate) fn weights(trainer: &AnyTrainer) -> Vec<f32> {
    let mut all = Vec::new();
    for (_, tensor) in trainer.model().named_weights().unwrap() {
        all.extend(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }
    for (index, part) in trainer.store().parts().iter().enumerate() {
        let rows = trainer.store().export(index, 0..part.rows).unwrap();
        all.extend(rows.weights);
        all.extend(rows.state);
    }
    all
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
