//! Gathering and moving rows, on the device and on the CPU.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use embedding_store::{
    CpuStore, DeviceStore, EmbeddingStore, Ids, Optimizer, Plan, RowFormat, StoreOptions, TableSpec,
};
use recsys_data::packed::PackedDataset;
use recsys_data::{Batch, Dataset, Split};
use serde::Serialize;

use super::timing::{billions_per_second, median_time};

/// Lookups of a batch: enough that no cache holds their rows, and that a device does not wait for
/// the host.
const LOOKUPS: usize = 1 << 20;
/// Passes over the batch between two waits for a device, and how often they are timed. On the CPU
/// nobody waits, and tensor operations, where it stands in for a device, take a second.
const PASSES: [u32; 2] = [8, 1];
const ROUNDS: [usize; 2] = [9, 3];

/// Rates of one kind of row, in one place.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RowRates {
    /// Where the rows are.
    pub place: &'static str,
    /// How they are kept.
    pub format: RowFormat,
    /// The optimizer.
    pub optimizer: &'static str,
    /// Floats a row.
    pub dim: usize,
    /// Lookups a second, in millions.
    pub gathered: f64,
    /// Bytes a second that gathering reads and writes, in GB/s.
    pub gather_bytes: f64,
    /// Lookups a second whose gradients are added up and whose rows are moved, in millions.
    pub updated: f64,
    /// Bytes a second that this reads and writes, in GB/s.
    pub update_bytes: f64,
}

/// Measures the tables of a data set on its own batches.
///
/// # Errors
/// Tables that do not fit, and a device that fails.
pub(super) fn measure(data: &PackedDataset, device: &Device, dim: usize) -> Result<Vec<RowRates>> {
    let train = data.split(Split::Train);
    let tables = data.schema().tables.len();
    let samples: Vec<u64> = (0..train.len().min((LOOKUPS / tables) as u64)).collect();
    let mut batch = Batch::default();
    train.read(&samples, &mut batch)?;
    let tables: Vec<TableSpec> = data
        .schema()
        .tables
        .iter()
        .map(|table| TableSpec::full(table.rows))
        .collect();
    let mut rates = Vec::new();
    for (name, optimizer) in [
        ("sgd", Optimizer::Sgd),
        ("rowwise-adagrad", Optimizer::rowwise_adagrad()),
        ("adagrad", Optimizer::adagrad()),
    ] {
        let options = StoreOptions {
            dim,
            optimizer: optimizer.into(),
            ..StoreOptions::default()
        };
        let mut host = CpuStore::new(tables.clone(), options.clone())?;
        let at = ("cpu", RowFormat::F32, name);
        rates.push(rates_of(at, &mut host, &Device::Cpu, &batch)?);
        drop(host);
        for device_rows in RowFormat::ALL {
            let options = StoreOptions {
                device_rows,
                ..options.clone()
            };
            let mut there = DeviceStore::new(tables.clone(), options, device)?;
            let at = ("device", device_rows, name);
            rates.push(rates_of(at, &mut there, device, &batch)?);
        }
    }
    Ok(rates)
}

fn rates_of(
    (place, format, optimizer): (&'static str, RowFormat, &'static str),
    store: &mut dyn EmbeddingStore,
    device: &Device,
    batch: &Batch,
) -> Result<RowRates> {
    let (dim, tables) = (store.dim(), store.tables().len());
    let mut plan = Plan::default();
    let ids = Ids {
        batch: batch.len(),
        ids: &batch.sparse.ids,
        offsets: &batch.sparse.offsets,
    };
    store.planner().plan(ids, &mut plan)?;
    let rows = Tensor::zeros((batch.len(), tables, dim), DType::F32, device)?;
    let (passes, rounds) = (
        PASSES[usize::from(device.is_cpu())],
        ROUNDS[usize::from(device.is_cpu())],
    );
    let gather = median_time(device, rounds, |_| {
        (0..passes).try_for_each(|_| store.lookup(&plan, &rows))?;
        Ok(())
    })?;
    let update = median_time(device, rounds, |_| {
        (0..passes).try_for_each(|_| store.update(&plan, &rows, 1e-3))?;
        Ok(())
    })?;
    let (gather, update) = (gather / passes, update / passes);
    let (lookups, distinct) = (plan.lookups() as f64, plan.distinct_rows() as f64);
    // Looked-up rows and gradients are f32, whatever is kept.
    let [row, kept] = [size_of::<f32>(), format.bytes()].map(|bytes| (bytes * dim) as f64);
    let state = store.parts().first().map_or(0, |part| part.state_width);
    let state = (size_of::<f32>() * state) as f64;
    Ok(RowRates {
        place,
        format,
        optimizer,
        dim,
        gathered: 1e3 * billions_per_second(lookups, gather),
        // Distinct rows are read from memory once, what is looked up is written.
        gather_bytes: billions_per_second(distinct * kept + lookups * row, gather),
        updated: 1e3 * billions_per_second(lookups, update),
        update_bytes: billions_per_second(lookups * row + 2.0 * distinct * (kept + state), update),
    })
}
