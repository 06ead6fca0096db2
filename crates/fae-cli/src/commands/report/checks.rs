//! Whether the device computes what the CPU does.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use embedding_store::{
    Combine, CpuStore, DeviceStore, EmbeddingStore, Encoding, Ids, Optimizer, Plan, RowFormat,
    StoreOptions, TableSpec,
};
use fae_run::parity::{Outcome, ReplayOptions, replay};
use recsys_data::generate::{RandomData, RandomDataOptions};
use recsys_data::{Batch, Dataset};
use serde::Serialize;
use trainer::Placement;

/// A comparison of the device with the CPU, or with what PyTorch computed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Check {
    /// What was compared.
    pub name: String,
    /// Whether it is within what is allowed.
    pub passed: bool,
    /// The largest difference, and where.
    pub result: String,
}

/// Looks rows up and moves them on both, in every format, with every optimizer, several lookups in
/// a bag, and every encoding of tables.
///
/// # Errors
/// A device that fails.
pub(super) fn stores(device: &Device) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (name, optimizer) in [
        ("sgd", Optimizer::Sgd),
        ("adagrad", Optimizer::adagrad()),
        ("rowwise-adagrad", Optimizer::rowwise_adagrad()),
    ] {
        for device_rows in RowFormat::ALL {
            for dim in [1, 7, 16, 64, 100, 128] {
                for lookups in [1, 9] {
                    let options = StoreOptions {
                        dim,
                        optimizer: optimizer.into(),
                        device_rows,
                        ..StoreOptions::default()
                    };
                    let result = store(device, options, lookups).with_context(|| {
                        format!("{device_rows} rows of {dim} floats with {name}")
                    })?;
                    let lookups = if lookups == 1 {
                        "single-hot"
                    } else {
                        "multi-hot"
                    };
                    checks.push(Check {
                        name: format!("{device_rows} rows of {dim} floats, {name}, {lookups}"),
                        // Products may round differently where they are fused with a sum; what is
                        // rounded to bf16 makes a step of any difference.
                        passed: match device_rows {
                            RowFormat::F32 => result <= 1e-5,
                            RowFormat::Bf16 => result == 0.0,
                        },
                        result: match result {
                            0.0 => "equal in every bit".into(),
                            difference => format!("largest relative difference {difference:.1e}"),
                        },
                    });
                }
            }
        }
    }
    Ok(checks)
}

/// The largest difference of looked-up and moved rows, relative to the largest of their values.
fn store(device: &Device, options: StoreOptions, lookups: u32) -> Result<f64> {
    const ROWS: u64 = 500;
    const BATCH: usize = 256;
    let dim = options.dim;
    let encoded = |encoding| TableSpec {
        rows: ROWS,
        encoding,
    };
    let tables = vec![
        TableSpec::full(ROWS),
        TableSpec::full(ROWS),
        encoded(Encoding::QuotientRemainder {
            collisions: 7,
            combine: Combine::Multiply,
        }),
        encoded(Encoding::MixedDimension {
            dim: dim.div_ceil(2),
        }),
    ];
    let data = RandomData::new(RandomDataOptions {
        samples: 3 * BATCH as u64,
        table_rows: vec![ROWS; tables.len()],
        lookups,
        fixed_lookups: lookups == 1,
        ..RandomDataOptions::default()
    })?;
    // Rounded rows are those of a device, for which the CPU stands in.
    let mut host: Box<dyn EmbeddingStore> = match options.device_rows {
        RowFormat::F32 => Box::new(CpuStore::new(tables.clone(), options.clone())?),
        RowFormat::Bf16 => Box::new(DeviceStore::new(
            tables.clone(),
            options.clone(),
            &Device::Cpu,
        )?),
    };
    let mut there = DeviceStore::new(tables.clone(), options, device)?;
    let (host_plans, there_plans) = (host.planner(), there.planner());
    let shape = (BATCH, tables.len(), dim);
    let mut batch = Batch::default();
    let mut worst = 0f64;
    for step in 0..3 {
        let samples: Vec<u64> = (step * BATCH as u64..(step + 1) * BATCH as u64).collect();
        data.read(&samples, &mut batch)?;
        let ids = Ids {
            batch: BATCH,
            ids: &batch.sparse.ids,
            offsets: &batch.sparse.offsets,
        };
        let (mut host_plan, mut there_plan) = (Plan::default(), Plan::default());
        host_plans.plan(ids, &mut host_plan)?;
        there_plans.plan(ids, &mut there_plan)?;
        let rows = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
        let rows_there = Tensor::zeros(shape, DType::F32, device)?;
        host.lookup(&host_plan, &rows)?;
        there.lookup(&there_plan, &rows_there)?;
        worst = worst.max(difference(&flat(&rows)?, &flat(&rows_there)?));
        let grad = ((&rows * 0.3)? + 0.01)?;
        host.update(&host_plan, &grad, 0.1)?;
        there.update(&there_plan, &grad.to_device(device)?, 0.1)?;
    }
    for (number, part) in host.parts().iter().enumerate() {
        let (expected, found) = (
            host.export(number, 0..part.rows)?,
            there.export(number, 0..part.rows)?,
        );
        worst = worst.max(difference(&expected.weights, &found.weights));
        worst = worst.max(difference(&expected.state, &found.state));
    }
    Ok(worst)
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

fn difference(expected: &[f32], found: &[f32]) -> f64 {
    let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
    let differences = expected.iter().zip(found).map(|(expected, found)| {
        let difference = f64::from((expected - found).abs());
        // What is no number is as far away as can be.
        if difference.is_nan() {
            f64::INFINITY
        } else {
            difference
        }
    });
    differences.fold(0.0, f64::max) / f64::from(largest).max(f64::MIN_POSITIVE)
}

/// Replays every parity case of a folder on every placement.
///
/// # Errors
/// A folder that cannot be read or a case that is none.
pub(super) fn parity(golden: &Path, device: &Device) -> Result<Vec<Check>> {
    let entries =
        std::fs::read_dir(golden).with_context(|| format!("cannot read {}", golden.display()))?;
    let mut cases = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    cases.retain(|case| case.join("case.json").exists());
    cases.sort();
    let mut checks = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy();
        for placement in Placement::ALL {
            let options = ReplayOptions {
                placement,
                hot_share: 0.3,
                device: device.clone(),
            };
            let (passed, errors) = match replay(&case, &options)? {
                Outcome::Pass(errors) => (true, errors),
                Outcome::Fail(errors) => (false, errors),
            };
            checks.push(Check {
                name: format!("parity case {name} on {placement}"),
                passed,
                result: errors.to_string(),
            });
        }
    }
    Ok(checks)
}
