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
    /// Writes `report.json`, and for each part a `.csv`, into a folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let path = folder.join("report.json");
        let json = serde_json::to_string_pretty(self)
            .map_err(|source| Error::io("cannot write", &path)(source.into()))?;
        write_file(&path, (json + "\n").as_bytes())?;
        let parts = [
            ("access_skew", self.skew.as_ref().map(AccessSkew::to_csv)),
            ("hot_inputs", self.budgets.as_ref().map(BudgetSweep::to_csv)),
            (
                "estimate",
                self.estimates.as_ref().map(EstimateSweep::to_csv),
            ),
            (
                "history_length",
                self.lengths.as_ref().map(LengthSweep::to_csv),
            ),
        ];
        for (name, csv) in parts {
            if let Some(csv) = csv {
                write_file(&folder.join(format!("{name}.csv")), csv.as_bytes())?;
            }
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
