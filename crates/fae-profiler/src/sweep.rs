//! What a budget buys, and how far a sample can be trusted.

use std::fmt;

use recsys_data::Dataset;
use serde::{Deserialize, Serialize};

use crate::{
    AccessCounts, CountOptions, HotCounts, HotEstimate, Result, SelectOptions, Selector, Strategy,
};

/// What the strategies reach within one budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BudgetPoint {
    /// The budget as a share of all rows' bytes.
    pub share: f64,
    /// In bytes.
    pub budget: u64,
    /// [`Strategy::Frequency`].
    pub frequency: HotCounts,
    /// [`Strategy::SHARE`].
    pub share_of_table: HotCounts,
    /// [`Strategy::Inputs`].
    pub inputs: HotCounts,
    /// Hot inputs that no set within the budget exceeds.
    pub bound: crate::Bound,
}

/// Hot inputs against budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BudgetSweep {
    /// Bytes of all rows.
    pub all_bytes: u64,
    /// By ascending budget.
    pub points: Vec<BudgetPoint>,
}

impl BudgetSweep {
    /// Budgets, as shares of all rows' bytes, at which sweeps are made if nobody says otherwise.
    pub const SHARES: [f64; 9] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9];

    /// Selects with every strategy at every budget. `progress` is told what begins.
    ///
    /// # Errors
    /// As [`Selector::select`].
    pub fn new(
        selector: &mut Selector<'_>,
        shares: &[f64],
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let all_bytes = selector.all_bytes();
        let mut points = Vec::new();
        for &share in shares {
            progress(&format!("budget {:.4}%", 100.0 * share));
            let budget = (all_bytes as f64 * share) as u64;
            let inputs = selector.select(Strategy::Inputs, budget)?;
            points.push(BudgetPoint {
                share,
                budget,
                frequency: selector.select(Strategy::Frequency, budget)?.results,
                share_of_table: selector.select(Strategy::SHARE, budget)?.results,
                inputs: inputs.results,
                bound: inputs.bound_or_reached(),
            });
        }
        Ok(Self { all_bytes, points })
    }

    /// A line for each budget.
    pub fn to_csv(&self) -> String {
        let mut csv = String::from(
            "budget_percent,budget_bytes,inputs,frequency,share,inputs_strategy,bound,bound_exact,frequency_hot_lookups,inputs_hot_lookups,lookups\n",
        );
        for point in &self.points {
            csv += &format!(
                "{},{},{},{},{},{},{:.1},{},{},{},{}\n",
                100.0 * point.share,
                point.budget,
                point.inputs.inputs,
                point.frequency.hot_inputs,
                point.share_of_table.hot_inputs,
                point.inputs.hot_inputs,
                point.bound.hot_inputs,
                point.bound.exact,
                point.frequency.hot_lookups,
                point.inputs.hot_lookups,
                point.inputs.lookups,
            );
        }
        csv
    }
}

impl BudgetPoint {
    /// The most inputs that any choice within the budget makes wholly hot, as a share of all.
    pub fn bound_share(&self) -> f64 {
        self.bound.hot_inputs / self.inputs.inputs.max(1) as f64
    }
}

impl fmt::Display for BudgetSweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>8} {:>16} {:>10} {:>10} {:>10} {:>10} {:>14}",
            "budget", "bytes", "frequency", "share", "inputs", "bound", "hot lookups"
        )?;
        let percent = |share: f64| format!("{:.2}%", 100.0 * share);
        for point in &self.points {
            writeln!(
                f,
                "{:>8} {:>16} {:>10} {:>10} {:>10} {:>10} {:>14}",
                percent(point.share),
                point.budget,
                percent(point.frequency.input_share()),
                percent(point.share_of_table.input_share()),
                percent(point.inputs.input_share()),
                percent(point.bound_share()),
                percent(point.inputs.lookup_share()),
            )?;
        }
        if self.points.iter().any(|point| !point.bound.exact) {
            writeln!(f, "the bound is estimated from a sample of the inputs")?;
        }
        Ok(())
    }
}

/// A hot set chosen from a sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EstimatePoint {
    /// The sampling rate.
    pub rate: f64,
    /// What the samples say about the set.
    pub estimate: HotEstimate,
    /// What it serves of all inputs.
    pub results: HotCounts,
}

/// Hot sets of one budget chosen by access count from samples of different sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EstimateSweep {
    /// The budget in bytes.
    pub budget: u64,
    /// What the set chosen from all inputs serves.
    pub with_all: HotCounts,
    /// By ascending rate.
    pub points: Vec<EstimatePoint>,
}

impl EstimateSweep {
    /// Sampling rates at which sweeps are made if nobody says otherwise.
    pub const RATES: [f64; 7] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.2];

    /// Counts and selects at every rate, with the seed and the confidence of the options. `progress` is told what begins.
    ///
    /// # Errors
    /// As [`Selector::new`], [`Selector::select`] and [`HotEstimate::new`].
    pub fn new(
        dataset: &dyn Dataset,
        options: &SelectOptions,
        budget: u64,
        rates: &[f64],
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let select = |rate: f64| {
            let count = CountOptions {
                sample: rate,
                ..options.count
            };
            let counts = AccessCounts::count(dataset, &count)?;
            let mut selector = Selector::with_counts(dataset, options, counts)?;
            Ok::<_, crate::Error>((count, selector.select(Strategy::Frequency, budget)?))
        };
        let mut points = Vec::new();
        for &rate in rates {
            progress(&format!("sampling rate {:.4}%", 100.0 * rate));
            let (count, selection) = select(rate)?;
            let rows = &selection.hot_rows;
            points.push(EstimatePoint {
                rate,
                estimate: HotEstimate::new(dataset, rows, &count, options.confidence)?,
                results: selection.results,
            });
        }
        Ok(Self {
            budget,
            with_all: select(1.0)?.1.results,
            points,
        })
    }

    /// A line for each rate.
    pub fn to_csv(&self) -> String {
        let mut csv = String::from(
            "rate_percent,counted,judged,confidence,estimate,low,high,exact,lookups_estimate,lookups_low,lookups_high,lookups_exact,with_all\n",
        );
        for point in &self.points {
            let HotEstimate {
                counted,
                judged,
                confidence,
                inputs,
                lookups,
            } = point.estimate;
            csv += &format!(
                "{},{counted},{judged},{confidence},{},{},{},{},{},{},{},{},{}\n",
                100.0 * point.rate,
                inputs.share,
                inputs.low,
                inputs.high,
                point.results.input_share(),
                lookups.share,
                lookups.low,
                lookups.high,
                point.results.lookup_share(),
                self.with_all.input_share(),
            );
        }
        csv
    }
}

impl fmt::Display for EstimateSweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.3}%", 100.0 * share);
        writeln!(
            f,
            "{:>8} {:>10} {:>10} {:>10} {:>10} {:>10}   hot inputs at a budget of {} bytes",
            "sampled", "inputs", "estimate", "low", "high", "counted", self.budget
        )?;
        for point in &self.points {
            let inputs = point.estimate.inputs;
            writeln!(
                f,
                "{:>8} {:>10} {:>10} {:>10} {:>10} {:>10}",
                format!("{}%", 100.0 * point.rate),
                point.estimate.counted,
                percent(inputs.share),
                percent(inputs.low),
                percent(inputs.high),
                percent(point.results.input_share()),
            )?;
        }
        let all = percent(self.with_all.input_share());
        writeln!(f, "{:>8} {:>10} {:>43}", "100%", self.with_all.inputs, all)
    }
}
