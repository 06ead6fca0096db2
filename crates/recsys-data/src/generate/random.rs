//! The original's random data: no signal, any shape.

use serde::{Deserialize, Serialize};

use super::counter::{Counter, Draws};
use super::planted_options::criteo_schema;
use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::schema::Schema;

/// Options of [`RandomData`]: the original's `--data-generation random`, with its defaults where it has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomDataOptions {
    /// Number of samples (`--data-size`, `--num-batches` times the batch size).
    pub samples: u64,
    /// Seed (`--numpy-rand-seed`). The numbers differ from NumPy's.
    pub seed: u64,
    /// Number of dense features, the first width of `--arch-mlp-bot`.
    pub dense: usize,
    /// Rows of every table (`--arch-embedding-size`).
    pub table_rows: Vec<u64>,
    /// Ids drawn per lookup, at most (`--num-indices-per-lookup`).
    pub lookups: u32,
    /// Whether exactly `lookups` ids are drawn, instead of a random number of them (`--num-indices-per-lookup-fixed`).
    pub fixed_lookups: bool,
    /// Whether targets are 0 or 1, instead of `U[0, 1)` (`--round-targets`).
    pub round_targets: bool,
}

impl Default for RandomDataOptions {
    fn default() -> Self {
        Self {
            samples: 1,
            seed: 123,
            dense: 4,
            table_rows: vec![4, 3, 2],
            lookups: 10,
            fixed_lookups: false,
            round_targets: false,
        }
    }
}

/// Multi-hot samples without any structure, as the original's `--data-generation random` makes them.
///
/// Dense features are `U[0, 1)`. A lookup draws `round(max(1, u * min(rows, lookups)))` ids, or `lookups`, each
/// `round(u * (rows - 1))` (halves to even), and keeps the distinct ones in ascending order, so a bag may be shorter.
///
/// Sample `k` depends on the seed and `k` alone.
#[derive(Debug, Clone)]
pub struct RandomData {
    options: RandomDataOptions,
    schema: Schema,
}

impl RandomData {
    /// A data set with these options.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] where a table has no row or more than 2^32 − 1, or `lookups` is 0.
    pub fn new(options: RandomDataOptions) -> Result<Self> {
        if let Some(rows) = options
            .table_rows
            .iter()
            .find(|&&rows| rows == 0 || rows > u64::from(u32::MAX))
        {
            return Err(Error::InvalidOption {
                option: "table_rows",
                value: rows.to_string(),
                allowed: "1 to 4,294,967,295",
            });
        }
        if options.lookups == 0 {
            return Err(Error::InvalidOption {
                option: "lookups",
                value: "0".into(),
                allowed: "1 or more",
            });
        }
        let schema = criteo_schema(options.dense, options.table_rows.iter().copied(), true);
        Ok(Self { options, schema })
    }

    /// The options it was made with.
    pub fn options(&self) -> &RandomDataOptions {
        &self.options
    }

    /// Number of ids drawn for one lookup.
    fn group(&self, rows: u64, draws: &mut Draws) -> u64 {
        let lookups = u64::from(self.options.lookups);
        if self.options.fixed_lookups {
            return lookups;
        }
        (draws.uniform() * rows.min(lookups) as f64)
            .max(1.0)
            .round_ties_even() as u64
    }
}

impl Dataset for RandomData {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> u64 {
        self.options.samples
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()> {
        into.clear();
        into.sparse.offsets.push(0);
        let counter = Counter::new(self.options.seed, 0);
        let mut bag = Vec::new();
        for &sample in samples {
            if sample >= self.options.samples {
                return Err(Error::SampleOutOfRange {
                    sample,
                    len: self.options.samples,
                });
            }
            let mut draws = counter.sample(sample);
            let target = draws.uniform();
            into.label.push(if self.options.round_targets {
                target.round_ties_even()
            } else {
                target
            } as f32);
            into.dense
                .extend((0..self.options.dense).map(|_| draws.uniform() as f32));
            for &rows in &self.options.table_rows {
                bag.clear();
                let group = self.group(rows, &mut draws);
                bag.extend(
                    (0..group)
                        .map(|_| (draws.uniform() * (rows - 1) as f64).round_ties_even() as u32),
                );
                bag.sort_unstable();
                bag.dedup();
                into.sparse.ids.extend_from_slice(&bag);
                let end = u32::try_from(into.sparse.ids.len()).map_err(|_| Error::InvalidOption {
                    option: "lookups",
                    value: self.options.lookups.to_string(),
                    allowed: "few enough for a batch of less than 2^32 ids: choose a smaller batch or fewer lookups",
                })?;
                into.sparse.offsets.push(end);
            }
        }
        Ok(())
    }
}
