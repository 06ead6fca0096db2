//! The strategy `inputs`: as many wholly hot inputs as a byte budget allows.
//!
//! An input pays only if its rows in *all* tables are hot, and a row only comes with all rows
//! before it: a maximum-weight closure under a budget. For a fixed price per byte the best closure
//! is a minimum cut ([`network`], [`min_cut`]). The closures that are best at some price are the
//! corners of a concave curve of hot inputs over bytes ([`hull`]); between two corners the curve's
//! chord is an upper bound, and good sets are found from both corners ([`search`]). Sets of rows
//! that are no first rows of their tables may hold more; [`any_rows`] bounds these too.

mod any_rows;
mod hull;
mod matrix;
mod min_cut;
mod network;
mod search;

use recsys_data::Dataset;

use crate::sample::Sample;
use crate::{Error, Result};
use any_rows::AnyRows;
use hull::Hull;
use matrix::{InputMatrix, Point};

/// The best set that was found for a budget.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// Hot rows of every table.
    pub(crate) hot_rows: Vec<u64>,
    /// Hot inputs among those looked at, in units of one input.
    pub(crate) hot_inputs: u64,
    /// No hot set within the budget has more hot inputs among those looked at.
    pub(crate) by_rank: f64,
    /// No set of rows within the budget has more, of whatever ranks they are.
    pub(crate) any_rows: f64,
}

/// Inputs of a data set, or a sample of them, prepared for any number of budgets.
#[derive(Debug)]
pub(crate) struct InputSelection {
    matrix: InputMatrix,
    hull: Hull,
    any_rows: AnyRows,
}

impl InputSelection {
    /// Reads the inputs of a sample.
    pub(crate) fn new(dataset: &dyn Dataset, sample: &Sample, row_bytes: &[u64]) -> Result<Self> {
        let matrix = InputMatrix::read(dataset, sample, row_bytes)?;
        // Capacities of the network are products of inputs and bytes.
        let everything = matrix.everything();
        let units = everything.bytes / matrix.unit();
        if u128::from(units) * u128::from(matrix.inputs()) > 1 << 61 {
            return Err(Error::InvalidOption {
                option: "the size of the tables, in bytes",
                value: everything.bytes.to_string(),
                allowed: "few enough for the strategy `inputs`: choose fewer inputs to select on, or another strategy",
            });
        }
        let hull = Hull::new(matrix.nothing(), everything);
        let any_rows = AnyRows::read(dataset, sample, row_bytes, matrix.unit())?;
        Ok(Self {
            matrix,
            hull,
            any_rows,
        })
    }

    /// Number of inputs looked at.
    pub(crate) fn inputs(&self) -> u64 {
        self.matrix.inputs()
    }

    /// The best set within a budget that is found from the neighbouring corners of the hull and from `starts`, sets of other
    /// strategies.
    pub(crate) fn select(&mut self, budget: u64, starts: &[Vec<u64>]) -> Found {
        let Self {
            matrix,
            hull,
            any_rows,
        } = self;
        let ((found, by_rank), any_rows) = rayon::join(
            || by_rank(matrix, hull, budget, starts),
            || any_rows.bound(budget),
        );
        Found {
            hot_rows: found.rows.iter().map(|&rows| u64::from(rows)).collect(),
            hot_inputs: found.inputs,
            by_rank,
            any_rows: any_rows.max(by_rank),
        }
    }
}

/// The best hot set that is found for a budget, and what none exceeds.
fn by_rank(
    matrix: &InputMatrix,
    hull: &mut Hull,
    budget: u64,
    starts: &[Vec<u64>],
) -> (Point, f64) {
    let (low, high) = hull.edge(matrix, budget);
    let (low, high) = match high {
        Some(high) => search::affordable_edge(matrix, budget, low, high),
        None => (low, None),
    };
    let bound = match &high {
        Some(high) => {
            let share = (budget - low.bytes) as f64 / (high.bytes - low.bytes) as f64;
            low.inputs as f64 + share * (high.inputs - low.inputs) as f64
        }
        None => low.inputs as f64,
    };
    let found = match high {
        Some(high) if low.bytes < budget => search::search(matrix, budget, &low, &high, starts),
        _ => low,
    };
    (found, bound)
}

#[cfg(test)]
mod tests;
