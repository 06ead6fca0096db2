//! A data set that is computed, not stored.

use std::sync::Arc;

use embedding_store::TableSpec;
use recsys_data::views::{SampleList, Subset};
use recsys_data::{Batch, Dataset, Error, Result, Schema, TableSchema};

/// Rows of the three tables.
pub const ROWS: [u64; 3] = [60, 9, 200];

/// Rows of each table that count as hot. Ids are popularity ranks, so they are the first ones.
pub const HOT_ROWS: [u64; 3] = [12, 9, 40];

/// Clicks on three categories and two dense features; every fourth sample names hot rows alone.
#[derive(Debug, Clone)]
pub struct Clicks {
    schema: Schema,
    samples: u64,
}

/// The tables of a store for this data.
pub fn tables() -> Vec<TableSpec> {
    ROWS.map(TableSpec::full).into()
}

/// A number that looks random and depends on its arguments alone (SplitMix64's finalizer).
fn mixed(sample: u64, salt: u64) -> u64 {
    let mut x = (sample ^ (salt << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Clicks {
    /// That many samples.
    pub fn new(samples: u64) -> Self {
        let table = |(index, rows): (usize, u64)| TableSchema {
            name: format!("category {index}"),
            rows,
        };
        Self {
            schema: Schema {
                dense: vec!["age".into(), "price".into()],
                tables: ROWS.into_iter().enumerate().map(table).collect(),
                multi_hot: false,
                sequence_length: None,
            },
            samples,
        }
    }

    /// Whether all rows of a sample are hot.
    fn is_hot(sample: u64) -> bool {
        sample.is_multiple_of(4)
    }

    /// The samples that name hot rows alone, and the others.
    pub fn split(self) -> (Arc<dyn Dataset>, Arc<dyn Dataset>) {
        let (hot, cold) = (0..self.samples).partition(|&sample| Self::is_hot(sample));
        let all = Arc::new(self);
        let side = |samples| Arc::new(Subset::new(all.clone(), Listed(samples)));
        (side(hot), side(cold))
    }
}

impl Dataset for Clicks {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> u64 {
        self.samples
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()> {
        into.clear();
        for &sample in samples {
            if sample >= self.samples {
                let text = format!("there are {} clicks, and no number {sample}", self.samples);
                return Err(Error::external(text));
            }
            let rows = if Self::is_hot(sample) { HOT_ROWS } else { ROWS };
            let mut popularity = 0;
            for (salt, rows) in (0..).zip(rows) {
                let id = mixed(sample, salt) % rows;
                popularity += u64::from(id * 3 < rows);
                into.sparse.ids.push(id as u32);
            }
            let dense = [mixed(sample, 3), mixed(sample, 4)].map(|x| (x % 1000) as f32 / 1000.0);
            into.dense.extend(dense);
            into.label.push(f32::from(popularity >= 2));
        }
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
