//! How hot inputs get fewer as histories get longer.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use recsys_data::Dataset;
use recsys_data::views::LastPositions;
use serde::{Deserialize, Serialize};

use crate::{Bound, HotCounts, Result, SelectOptions, Selector, Strategy};

/// What the strategies reach for one length of history.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LengthPoint {
    /// Positions before the candidate.
    pub history: u32,
    /// [`Strategy::Frequency`].
    pub frequency: HotCounts,
    /// [`Strategy::Inputs`].
    pub inputs: HotCounts,
    /// Hot inputs that no set within the budget exceeds.
    pub bound: Bound,
}

/// Hot inputs against the length of the history, at one budget. A sequence is hot if every one of its items is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LengthSweep {
    /// The budget in bytes.
    pub budget: u64,
    /// By ascending length.
    pub points: Vec<LengthPoint>,
}

impl LengthSweep {
    /// Selects with both strategies for every length: sequences are cut to their last positions, and hot rows are chosen for what is
    /// left. `progress` is told what begins.
    ///
    /// # Errors
    /// A length that the sequences do not have, and those of [`Selector::select`].
    pub fn new(
        dataset: &Arc<dyn Dataset>,
        options: &SelectOptions,
        budget: u64,
        histories: &[u32],
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let mut points = Vec::new();
        for &history in histories {
            progress(&format!("history of {history}"));
            let positions = NonZeroU32::MIN.saturating_add(history);
            let view = LastPositions::new(dataset.clone(), positions)?;
            let mut selector = Selector::new(&view, options)?;
            let inputs = selector.select(Strategy::Inputs, budget)?;
            points.push(LengthPoint {
                history,
                frequency: selector.select(Strategy::Frequency, budget)?.results,
                inputs: inputs.results,
                bound: inputs.bound_or_reached(),
            });
        }
        Ok(Self { budget, points })
    }

    /// Lengths to try where sequences have `positions` positions: from none to all, closer together where short.
    pub fn lengths(positions: usize) -> Vec<u32> {
        let longest = u32::try_from(positions.saturating_sub(1)).unwrap_or(u32::MAX);
        let mut lengths: Vec<u32> = [0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150]
            .into_iter()
            .filter(|&length| length < longest)
            .collect();
        lengths.push(longest);
        lengths
    }

    /// A line for each length.
    pub fn to_csv(&self) -> String {
        let mut csv = String::from(
            "history,budget_bytes,inputs,frequency,inputs_strategy,bound,bound_exact,frequency_hot_lookups,inputs_hot_lookups,lookups\n",
        );
        for point in &self.points {
            csv += &format!(
                "{},{},{},{},{},{:.1},{},{},{},{}\n",
                point.history,
                self.budget,
                point.inputs.inputs,
                point.frequency.hot_inputs,
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

impl LengthPoint {
    /// The most inputs that any choice within the budget makes wholly hot, as a share of all.
    pub fn bound_share(&self) -> f64 {
        self.bound.hot_inputs / self.inputs.inputs.max(1) as f64
    }
}

impl fmt::Display for LengthSweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>8} {:>10} {:>10} {:>10} {:>22} {:>19}   (wholly hot sequences, budget {} bytes)",
            "history",
            "frequency",
            "inputs",
            "bound",
            "hot lookups: frequency",
            "hot lookups: inputs",
            self.budget
        )?;
        let percent = |share: f64| format!("{:.2}%", 100.0 * share);
        for point in &self.points {
            writeln!(
                f,
                "{:>8} {:>10} {:>10} {:>10} {:>22} {:>19}",
                point.history,
                percent(point.frequency.input_share()),
                percent(point.inputs.input_share()),
                percent(point.bound_share()),
                percent(point.frequency.lookup_share()),
                percent(point.inputs.lookup_share()),
            )?;
        }
        if self.points.iter().any(|point| !point.bound.exact) {
            writeln!(f, "the bound is estimated from a sample of the inputs")?;
        }
        Ok(())
    }
}
