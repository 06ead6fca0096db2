//! Choosing hot rows.

use recsys_data::Dataset;
use serde::{Deserialize, Serialize};

use crate::frequency::{Frequency, Measure, bytes_of};
use crate::inputs::InputSelection;
use crate::sample::Sample;
use crate::{AccessCounts, CountOptions, Error, HotCounts, Result};

/// How hot rows are chosen. Every strategy keeps the byte budget and leaves rows cold that were never seen (unless a seen
/// row lies behind them in their table).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Strategy {
    /// Rows of all tables by access count until the budget is full; equal counts by table number, then by id.
    Frequency,
    /// Rows that have more than this share of the accesses of their own table, those with the largest shares first.
    Share(f64),
    /// As many inputs as possible whose rows are all hot; what is left of the budget is filled by access count.
    Inputs,
}

impl Strategy {
    /// [`Strategy::Share`] as others compare with it: rows above a ten-millionth of their table's accesses.
    pub const SHARE: Self = Self::Share(1e-7);

    /// The name in reports and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frequency => "frequency",
            Self::Share(_) => "share",
            Self::Inputs => "inputs",
        }
    }
}

/// What to select and how.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectOptions {
    /// The strategy.
    pub strategy: Strategy,
    /// Most bytes that hot rows may take.
    pub budget: u64,
    /// What a row costs on the device, for every table: weights, optimizer state and whatever else comes with a row.
    pub bytes_per_row: Vec<u64>,
    /// Which inputs are counted.
    pub count: CountOptions,
    /// Most inputs that [`Strategy::Inputs`] works on; where there are more, a sample of this size, drawn with the seed of
    /// `count`. One number per table is chosen, so some ten thousand inputs say enough; the result is judged on all.
    pub inputs: u64,
    /// Probability with which intervals of sampled estimates hold.
    pub confidence: f64,
}

impl Default for SelectOptions {
    /// [`Strategy::Inputs`] with exact counts; budget and bytes per row are for the caller to set.
    fn default() -> Self {
        Self {
            strategy: Strategy::Inputs,
            budget: 0,
            bytes_per_row: Vec::new(),
            count: CountOptions::default(),
            inputs: 1 << 15,
            confidence: 0.99,
        }
    }
}

/// What is not exceeded within the budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bound {
    /// Hot inputs that no set of rows exceeds, whatever their ids are.
    pub hot_inputs: f64,
    /// Hot inputs that no hot set exceeds, which is the first rows of every table.
    #[serde(default)]
    pub by_rank: Option<f64>,
    /// Whether it was computed from all inputs. Otherwise it is scaled from the sample of [`SelectOptions::inputs`], and an
    /// estimate; a sample's bound is, on average, above that of all inputs.
    pub exact: bool,
}

/// Hot rows and what they bring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Selection {
    /// Hot rows of every table: a row is hot if its id is below.
    pub hot_rows: Vec<u64>,
    /// Bytes of all hot rows.
    pub hot_bytes: u64,
    /// What they serve, of all inputs.
    pub results: HotCounts,
    /// The bound; [`Strategy::Inputs`] alone computes it.
    pub bound: Option<Bound>,
    /// Inputs that the selection was made from.
    pub selected_on: u64,
}

impl Selection {
    /// The bound; what was reached, where none was computed.
    pub(crate) fn bound_or_reached(&self) -> Bound {
        self.bound.unwrap_or(Bound {
            hot_inputs: self.results.hot_inputs as f64,
            by_rank: None,
            exact: false,
        })
    }
}

/// Selects hot rows of one data set for any number of strategies and budgets; counting and what budgets share is done once.
pub struct Selector<'a> {
    dataset: &'a dyn Dataset,
    options: SelectOptions,
    counts: AccessCounts,
    frequency: Frequency,
    inputs: Option<InputSelection>,
}

impl<'a> Selector<'a> {
    /// Counts the data set as [`SelectOptions::count`] says. Strategy and budget of the options are not looked at.
    ///
    /// # Errors
    /// Options out of range, or data that cannot be read.
    pub fn new(dataset: &'a dyn Dataset, options: &SelectOptions) -> Result<Self> {
        check_row_bytes(dataset, &options.bytes_per_row)?;
        let counts = AccessCounts::count(dataset, &options.count)?;
        Self::with_counts(dataset, options, counts)
    }

    /// As [`Selector::new`], with counts that exist already.
    ///
    /// # Errors
    /// Options out of range, or counts of other tables.
    pub fn with_counts(
        dataset: &'a dyn Dataset,
        options: &SelectOptions,
        counts: AccessCounts,
    ) -> Result<Self> {
        check_row_bytes(dataset, &options.bytes_per_row)?;
        if counts.tables() != options.bytes_per_row.len() {
            return Err(Error::TableCount {
                what: "tables of counts",
                found: counts.tables(),
                expected: options.bytes_per_row.len(),
            });
        }
        let start = vec![0; counts.tables()];
        Ok(Self {
            dataset,
            options: options.clone(),
            frequency: Frequency::new(&counts, &start, Measure::Accesses),
            counts,
            inputs: None,
        })
    }

    /// The counts.
    pub fn counts(&self) -> &AccessCounts {
        &self.counts
    }

    /// Bytes of all rows of all tables.
    pub fn all_bytes(&self) -> u64 {
        let rows = self.dataset.schema().table_rows();
        bytes_of(&rows, &self.options.bytes_per_row)
    }

    /// Hot rows by access count alone, without looking at the inputs.
    pub fn frequency_rows(&self, budget: u64) -> Vec<u64> {
        self.frequency.fill(&self.options.bytes_per_row, budget)
    }

    /// Selects hot rows and counts what they serve.
    ///
    /// # Errors
    /// A share outside 0 to 1, tables beyond what [`Strategy::Inputs`] can compute with, or data that cannot be read.
    pub fn select(&mut self, strategy: Strategy, budget: u64) -> Result<Selection> {
        match strategy {
            Strategy::Frequency => self.judge(self.frequency_rows(budget), None),
            Strategy::Share(share) => {
                if !(0.0..=1.0).contains(&share) {
                    return Err(Error::InvalidOption {
                        option: "the share of a table's accesses",
                        value: share.to_string(),
                        allowed: "0 to 1",
                    });
                }
                let start = vec![0; self.counts.tables()];
                let order = Frequency::new(&self.counts, &start, Measure::ShareOfTable(share));
                self.judge(order.fill(&self.options.bytes_per_row, budget), None)
            }
            Strategy::Inputs => self.select_inputs(budget),
        }
    }

    fn select_inputs(&mut self, budget: u64) -> Result<Selection> {
        let row_bytes = &self.options.bytes_per_row;
        let population = self.dataset.len();
        let by_frequency = self.frequency.fill(row_bytes, budget);
        let inputs = match self.inputs.take() {
            Some(inputs) => inputs,
            None => {
                // Out of the inputs that were counted: they have the smallest keys of the same seed.
                let counted = match self.counts.samples() {
                    0 => population,
                    counted => counted,
                };
                let size = self.options.inputs.max(1).min(counted);
                let sample = Sample::of_size(population, size, self.options.count.seed);
                InputSelection::new(self.dataset, &sample, row_bytes)?
            }
        };
        let inputs = self.inputs.insert(inputs);
        let found = inputs.select(budget, std::slice::from_ref(&by_frequency));
        let selected_on = inputs.inputs();
        let rest = Frequency::new(&self.counts, &found.hot_rows, Measure::Accesses);
        let mut best = self.judge(rest.fill(row_bytes, budget), None)?;
        let frequency = self.judge(by_frequency, None)?;
        if frequency.results.hot_inputs > best.results.hot_inputs {
            best = frequency;
        }
        let exact = selected_on == population;
        let scale = if exact {
            1.0
        } else {
            population as f64 / selected_on.max(1) as f64
        };
        let reached = best.results.hot_inputs as f64;
        let of_all = |bound: f64| (bound * scale).max(reached).min(population as f64);
        best.bound = Some(Bound {
            hot_inputs: of_all(found.any_rows),
            by_rank: Some(of_all(found.by_rank)),
            exact,
        });
        best.selected_on = selected_on;
        Ok(best)
    }

    fn judge(&self, hot_rows: Vec<u64>, bound: Option<Bound>) -> Result<Selection> {
        Ok(Selection {
            hot_bytes: bytes_of(&hot_rows, &self.options.bytes_per_row),
            results: HotCounts::count(self.dataset, &hot_rows)?,
            hot_rows,
            bound,
            selected_on: self.counts.samples(),
        })
    }
}

/// Checks that there is a cost for the rows of every table.
fn check_row_bytes(dataset: &dyn Dataset, row_bytes: &[u64]) -> Result<()> {
    let tables = &dataset.schema().tables;
    if row_bytes.len() != tables.len() {
        return Err(Error::TableCount {
            what: "costs of a row",
            found: row_bytes.len(),
            expected: tables.len(),
        });
    }
    let mut sum = 0u64;
    for (table, &bytes) in tables.iter().zip(row_bytes) {
        let total = table.rows.checked_mul(bytes);
        match total.and_then(|total| sum.checked_add(total)) {
            Some(total) if bytes > 0 => sum = total,
            _ => {
                return Err(Error::InvalidOption {
                    option: "the bytes of a row",
                    value: bytes.to_string(),
                    allowed: "1 or more, and less than 2^64 for all rows together",
                });
            }
        }
    }
    Ok(())
}
