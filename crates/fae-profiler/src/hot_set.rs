//! A hot set: what was chosen, for which data set, and how.

use recsys_data::packed::PackedDataset;
use recsys_data::{Dataset, Split};
use serde::{Deserialize, Serialize};

use crate::select::Bound;
use crate::{HotCounts, HotEstimate, Result, SelectOptions, Selection, Selector, Strategy};

/// Name of the format that a hot set is saved in.
pub(crate) const FORMAT: &str = "fae-hot-set";
/// The version that this release reads and writes.
pub(crate) const FORMAT_VERSION: u64 = 1;

/// The data set that a hot set belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DatasetIdentity {
    /// Its name.
    pub name: String,
    /// Samples of the training split.
    pub train: u64,
    /// Samples of the validation split.
    pub validation: u64,
    /// Samples of the test split.
    pub test: u64,
    /// xxh3 of the columns and of the checksums of all shards.
    pub xxh3: String,
}

impl DatasetIdentity {
    /// The identity of a packed data set, from its manifest.
    pub fn of(data: &PackedDataset) -> Self {
        let manifest = data.manifest();
        // What the samples are, and not which release wrote them or from where.
        let text = serde_json::to_string(&(&manifest.schema, &manifest.splits)).unwrap_or_default();
        Self {
            name: manifest.provenance.dataset.clone(),
            train: manifest.rows(Split::Train),
            validation: manifest.rows(Split::Validation),
            test: manifest.rows(Split::Test),
            xxh3: xxh3_hex(text.as_bytes()),
        }
    }
}

/// xxh3 (64 bits) as 16 hexadecimal digits.
pub(crate) fn xxh3_hex(bytes: &[u8]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes))
}

/// One table of a hot set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HotTable {
    /// Column name.
    pub name: String,
    /// Rows of the table.
    pub rows: u64,
    /// What a row costs.
    pub bytes_per_row: u64,
    /// Its hot rows: those with an id below this number.
    pub hot_rows: u64,
}

/// How the inputs were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sampling {
    /// Share of the training inputs that was counted.
    pub rate: f64,
    /// Seed of every draw.
    pub seed: u64,
    /// Inputs counted.
    pub counted: u64,
    /// Inputs that the strategy worked on.
    pub selected_on: u64,
}

/// Hot rows of every table of a packed data set.
///
/// A row is hot if its id is below its table's number. The file form ([`HotSet::save`], [`HotSet::load`]) carries the data
/// set's identity, so that a set is never used with data that it was not made for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HotSet {
    pub(crate) format: String,
    pub(crate) format_version: u64,
    pub(crate) tool_version: String,
    pub(crate) dataset: DatasetIdentity,
    pub(crate) strategy: Strategy,
    pub(crate) budget: u64,
    pub(crate) hot_bytes: u64,
    pub(crate) sampling: Sampling,
    pub(crate) results: HotCounts,
    pub(crate) bound: Option<Bound>,
    pub(crate) estimate: Option<HotEstimate>,
    pub(crate) tables: Vec<HotTable>,
    /// The same numbers as in `tables`, as everybody wants them.
    #[serde(skip)]
    pub(crate) hot_rows: Vec<u64>,
}

impl HotSet {
    /// Profiles the training split of a data set and selects its hot rows: counts, selection, and what it reaches on all
    /// training inputs.
    ///
    /// ```no_run
    /// use fae_profiler::{HotSet, SelectOptions, Strategy};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let data = recsys_data::packed::PackedDataset::open("kaggle")?;
    /// let options = SelectOptions {
    ///     strategy: Strategy::Inputs,
    ///     budget: 256 << 20,
    ///     bytes_per_row: vec![64; data.schema().tables.len()],
    ///     ..SelectOptions::default()
    /// };
    /// let hot_set = HotSet::select(&data, &options)?;
    /// println!("{:.1}% of the inputs are hot", 100.0 * hot_set.results().input_share());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Options out of range, or data that cannot be read.
    pub fn select(data: &PackedDataset, options: &SelectOptions) -> Result<Self> {
        let train = data.split(Split::Train);
        let mut selector = Selector::new(&train, options)?;
        let selection = selector.select(options.strategy, options.budget)?;
        let counted = selector.counts().samples();
        Self::from_selection(data, options, selection, counted)
    }

    /// Makes the hot set of a selection that a [`Selector`] made of the training split, with these options.
    ///
    /// # Errors
    /// Data that cannot be read.
    pub fn from_selection(
        data: &PackedDataset,
        options: &SelectOptions,
        selection: Selection,
        counted: u64,
    ) -> Result<Self> {
        let train = data.split(Split::Train);
        let estimate = if counted < train.len() {
            let (rows, count) = (&selection.hot_rows, &options.count);
            Some(HotEstimate::new(&train, rows, count, options.confidence)?)
        } else {
            None
        };
        let tables = data.schema().tables.iter().zip(&options.bytes_per_row);
        let tables = tables.zip(&selection.hot_rows);
        Ok(Self {
            format: FORMAT.into(),
            format_version: FORMAT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").into(),
            dataset: DatasetIdentity::of(data),
            strategy: options.strategy,
            budget: options.budget,
            hot_bytes: selection.hot_bytes,
            sampling: Sampling {
                rate: options.count.sample,
                seed: options.count.seed,
                counted,
                selected_on: selection.selected_on,
            },
            results: selection.results,
            bound: selection.bound,
            estimate,
            tables: tables
                .map(|((table, &bytes_per_row), &hot_rows)| HotTable {
                    name: table.name.clone(),
                    rows: table.rows,
                    bytes_per_row,
                    hot_rows,
                })
                .collect(),
            hot_rows: selection.hot_rows,
        })
    }

    /// Hot rows of every table: a row is hot if its id is below its table's number.
    pub fn hot_rows(&self) -> &[u64] {
        &self.hot_rows
    }

    /// The tables.
    pub fn tables(&self) -> &[HotTable] {
        &self.tables
    }

    /// The data set it was made for.
    pub fn dataset(&self) -> &DatasetIdentity {
        &self.dataset
    }

    /// How rows were chosen.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Most bytes that hot rows were allowed.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes of all hot rows.
    pub fn hot_bytes(&self) -> u64 {
        self.hot_bytes
    }

    /// How inputs were sampled.
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// What the set serves of the training split, counted on all of it.
    pub fn results(&self) -> HotCounts {
        self.results
    }

    /// What no set within the budget exceeds, where it was computed.
    pub fn bound(&self) -> Option<Bound> {
        self.bound
    }

    /// What the samples say about the set, where inputs were sampled.
    pub fn estimate(&self) -> Option<HotEstimate> {
        self.estimate
    }
}
