//! What a packed data set looks like: columns, tables, skew and some rows in their raw form.

mod columns;
mod rows;
mod sample;
mod tables;

use serde::Serialize;
use serde_json::Value;

use crate::error::Result;
use crate::packed::{PackedDataset, SourceFile};
use crate::schema::Schema;
use crate::split::Split;

pub use columns::ColumnSummary;
pub use rows::DecodedRow;
pub use tables::{Counted, Pooling, TableSummary};

use sample::Sample;

/// A look at a packed data set, in time that does not grow with its samples: it reads the manifest, the vocabularies and a bounded
/// sample of blocks spread over each split.
///
/// ```
/// # fn main() -> recsys_data::Result<()> {
/// # let data = recsys_data::packed::PackedDataset::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sample/v1"))?;
/// let inspection = recsys_data::inspect::Inspect::new(&data).with_rows(1).run()?;
/// for table in &inspection.tables {
///     println!("{}: {} rows, {:.0}% of lookups go to one of them", table.name, table.rows, 100.0 * table.top_1);
/// }
/// assert_eq!(inspection.rows.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Inspect {
    data: PackedDataset,
    split: Option<Split>,
    rows: u64,
    sample: u64,
}

impl Inspect {
    /// A look at three samples of the first split that has any, and at statistics over 65,536 samples.
    pub fn new(data: &PackedDataset) -> Self {
        Self {
            data: data.clone(),
            split: None,
            rows: 3,
            sample: 1 << 16,
        }
    }

    /// Shows samples of this split, and takes the statistics of columns from it.
    #[must_use]
    pub fn with_split(mut self, split: Split) -> Self {
        self.split = Some(split);
        self
    }

    /// Decodes so many of the split's first samples.
    #[must_use]
    pub fn with_rows(mut self, rows: u64) -> Self {
        self.rows = rows;
        self
    }

    /// Takes statistics over about so many samples of a split: whole blocks of 512, evenly spread.
    #[must_use]
    pub fn with_sample(mut self, samples: u64) -> Self {
        self.sample = samples;
        self
    }

    /// Does it.
    ///
    /// # Errors
    /// A damaged block or vocabulary.
    pub fn run(&self) -> Result<Inspection> {
        let manifest = self.data.manifest();
        let filled = Split::ALL
            .into_iter()
            .find(|&split| manifest.rows(split) > 0);
        let split = self.split.or(filled).unwrap_or(Split::Train);
        let mut splits = Vec::new();
        let mut sample = Sample::default();
        for each in Split::ALL {
            let reported = reported_positives(&manifest.provenance.report, each);
            let read = each == split || reported.is_none();
            let found = if read {
                Sample::read(&self.data.split(each), self.sample)?
            } else {
                Sample::default()
            };
            let rows = manifest.rows(each);
            let shards = &manifest.splits.of(each).shards;
            splits.push(SplitSummary {
                split: each,
                rows,
                bytes: shards.iter().map(|shard| shard.bytes).sum(),
                label_mean: match reported {
                    Some(positives) => Some(positives as f64 / rows as f64),
                    None => found.label_mean(),
                }
                .filter(|_| rows > 0 && manifest.has_labels()),
                labels_read: reported.map_or(found.samples(), |_| rows),
            });
            if each == split {
                sample = found;
            }
        }
        let vocabularies = (0..self.data.schema().tables.len())
            .map(|table| self.data.vocabulary(table))
            .collect::<Result<Vec<_>>>()?;
        let files = manifest.vocabulary.iter().map(|file| file.bytes);
        let schema = self.data.schema();
        Ok(Inspection {
            dataset: manifest.provenance.dataset.clone(),
            tool_version: manifest.tool_version.clone(),
            format_version: manifest.format_version,
            sources: manifest.provenance.sources.clone(),
            options: manifest.provenance.options.clone(),
            schema: schema.clone(),
            vocabulary_bytes: files.sum(),
            splits,
            split,
            sampled: sample.samples(),
            columns: columns::summaries(&sample, schema),
            tables: tables::summaries(&sample, manifest, &vocabularies),
            rows: rows::decode(
                &self.data.split(split),
                self.rows,
                &vocabularies,
                &manifest.provenance.dataset,
            )?,
        })
    }
}

/// Positive samples of a split that the preparation counted.
fn reported_positives(report: &Value, split: Split) -> Option<u64> {
    let splits = report["splits"].as_array()?;
    let entry = splits.iter().find(|entry| entry["split"] == split.name())?;
    entry["clicks"].as_u64()
}

/// What a packed data set looks like.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// What it is called.
    pub dataset: String,
    /// The release that wrote it.
    pub tool_version: String,
    /// Version of the packed format.
    pub format_version: u64,
    /// The raw files.
    pub sources: Vec<SourceFile>,
    /// Options of the preparation.
    pub options: Value,
    /// The columns.
    pub schema: Schema,
    /// Size of all vocabularies.
    pub vocabulary_bytes: u64,
    /// Train, validation and test.
    pub splits: Vec<SplitSummary>,
    /// The split that the following is about.
    pub split: Split,
    /// Samples that statistics were taken over.
    pub sampled: u64,
    /// The dense features.
    pub columns: Vec<ColumnSummary>,
    /// The tables.
    pub tables: Vec<TableSummary>,
    /// The first samples, decoded.
    pub rows: Vec<DecodedRow>,
}

impl Inspection {
    /// Number of all samples.
    pub fn samples(&self) -> u64 {
        self.splits.iter().map(|split| split.rows).sum()
    }

    /// Size of all shards and vocabularies.
    pub fn bytes(&self) -> u64 {
        let shards: u64 = self.splits.iter().map(|split| split.bytes).sum();
        shards + self.vocabulary_bytes
    }
}

/// One split.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SplitSummary {
    /// Which one.
    pub split: Split,
    /// Its samples.
    pub rows: u64,
    /// Size of its shards.
    pub bytes: u64,
    /// Mean of its labels: the share of positive samples. `None` where there is no sample or no
    /// label.
    pub label_mean: Option<f64>,
    /// Samples that the mean was taken over: all where the preparation counted, else those of a sample.
    pub labels_read: u64,
}
