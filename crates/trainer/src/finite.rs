//! What is no finite number is an error: a model that has diverged is never a result.

use std::sync::Arc;

use recsys_data::{Batch, Dataset};

use crate::error::{Error, Result};

/// Samples that are looked at for large dense values.
const LOOKED_AT: u64 = 1 << 16;

/// Refuses weights that are to be saved.
///
/// # Errors
/// [`Error::WeightNotFinite`].
pub(crate) fn check_weights(name: &str, values: &[f32]) -> Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(&value) => Err(Error::WeightNotFinite {
            name: name.into(),
            value,
            largest: String::new(),
        }),
    }
}

/// Tells an error of numbers that are not finite which dense column has the largest values: a raw
/// scale is the usual cause.
pub(crate) fn with_largest(error: Error, datasets: &[Arc<dyn Dataset>]) -> Error {
    let mut error = error;
    if let Error::Diverged { largest, .. }
    | Error::ScoreNotFinite { largest, .. }
    | Error::WeightNotFinite { largest, .. } = &mut error
        && largest.is_empty()
        && let Some((column, value)) = largest_dense(datasets)
    {
        *largest = format!(
            "; dense values are largest in column `{column}`, up to {value}: where that is the \
             cause, scale it, or take its logarithm, when the data are prepared"
        );
    }
    error
}

/// The dense column with the largest value, and that value; `None` without dense columns, and for
/// data that cannot be read.
fn largest_dense(datasets: &[Arc<dyn Dataset>]) -> Option<(String, f32)> {
    let mut largest = None;
    let mut batch = Batch::default();
    for dataset in datasets {
        let (len, columns) = (dataset.len(), &dataset.schema().dense);
        let looked_at = len.min(LOOKED_AT);
        let spread =
            |sample: u64| (u128::from(sample) * u128::from(len) / u128::from(looked_at)) as u64;
        let samples: Vec<u64> = (0..looked_at).map(spread).collect();
        for samples in samples.chunks(2048) {
            dataset.read(samples, &mut batch).ok()?;
            for (value, column) in batch.dense.iter().zip(columns.iter().cycle()) {
                if largest.is_none_or(|(_, most): (_, f32)| value.abs() > most) {
                    largest = Some((column, value.abs()));
                }
            }
        }
    }
    largest.map(|(column, value)| (column.clone(), value))
}
