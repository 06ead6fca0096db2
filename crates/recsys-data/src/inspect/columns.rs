//! Statistics of dense features.

use serde::Serialize;

use super::sample::Sample;
use crate::schema::Schema;

/// A dense feature over a sample, all positions of sequences together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// Smallest value; 0 where there is no sample.
    pub least: f32,
    /// Mean.
    pub mean: f64,
    /// Largest value.
    pub most: f32,
    /// Share of values that are 0.
    pub zeros: f64,
}

pub(super) fn summaries(sample: &Sample, schema: &Schema) -> Vec<ColumnSummary> {
    let columns = schema.dense.len();
    let summary = |(place, name): (usize, &String)| {
        let values = || sample.batch.dense.iter().skip(place).step_by(columns);
        let count = values().count().max(1) as f64;
        ColumnSummary {
            name: name.clone(),
            least: values().copied().reduce(f32::min).unwrap_or(0.0),
            mean: values().map(|&value| f64::from(value)).sum::<f64>() / count,
            most: values().copied().reduce(f32::max).unwrap_or(0.0),
            zeros: values().filter(|&&value| value == 0.0).count() as f64 / count,
        }
    };
    schema.dense.iter().enumerate().map(summary).collect()
}
