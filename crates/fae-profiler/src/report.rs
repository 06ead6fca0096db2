//! Everything that a profile shows, in one.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::file::write_file;
use crate::{AccessSkew, BudgetSweep, Error, EstimateSweep, LengthSweep, Result};

/// A report of a data set: skew, what budgets buy, how far samples can be trusted, and what long histories cost. Parts that
/// were not asked for are missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the data set.
    pub dataset: String,
    /// Share of accesses that the most frequent rows serve.
    pub skew: Option<AccessSkew>,
    /// Hot inputs against budget.
    pub budgets: Option<BudgetSweep>,
    /// Estimates against exact numbers.
    pub estimates: Option<EstimateSweep>,
    /// Hot sequences against the length of the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<LengthSweep>,
}

impl Report {
    /// Writes `report.json`, and for each part a `.csv` and an `.svg`, into a folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let path = folder.join("report.json");
        let json = serde_json::to_string_pretty(self)
            .map_err(|source| Error::io("cannot write", &path)(source.into()))?;
        write_file(&path, (json + "\n").as_bytes())?;
        let title = |what: &str| match self.dataset.as_str() {
            "" => what.to_owned(),
            name => format!("{what}, {name}"),
        };
        let part = |name: &str, csv: String, chart: crate::LineChart| {
            write_file(&folder.join(format!("{name}.csv")), csv.as_bytes())?;
            chart.save(folder.join(format!("{name}.svg")))
        };
        if let Some(skew) = &self.skew {
            let chart = skew.chart(&title("Access skew"));
            part("access_skew", skew.to_csv(), chart)?;
        }
        if let Some(budgets) = &self.budgets {
            let chart = budgets.chart(&title("Hot inputs against budget"));
            part("hot_inputs", budgets.to_csv(), chart)?;
        }
        if let Some(estimates) = &self.estimates {
            let chart = estimates.chart(&title("Estimate against count"));
            part("estimate", estimates.to_csv(), chart)?;
        }
        if let Some(lengths) = &self.lengths {
            let chart = lengths.chart(&title("Hot sequences against history"));
            part("history_length", lengths.to_csv(), chart)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: [Option<&dyn fmt::Display>; 4] = [
            self.skew.as_ref().map(|part| part as _),
            self.budgets.as_ref().map(|part| part as _),
            self.estimates.as_ref().map(|part| part as _),
            self.lengths.as_ref().map(|part| part as _),
        ];
        for (number, part) in parts.into_iter().flatten().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            part.fmt(f)?;
        }
        Ok(())
    }
}
