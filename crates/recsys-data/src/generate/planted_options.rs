//! What a planted data set looks like.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::schema::{Schema, TableSchema};

/// One categorical column of a planted data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlantedTable {
    /// Number of categories.
    pub rows: u64,
    /// Exponent `s` of the skew: category `r` (0 is the most frequent one) comes with probability `∝ 1 / (r + 1)^s`.
    pub exponent: f64,
    /// Share of the samples without a value, 0 for none. One category, the one whose frequency is closest, is written
    /// as an empty field; in the data set it is an id like any other.
    #[serde(default)]
    pub missing: f64,
}

/// Options of [`Planted`](crate::generate::Planted).
///
/// The three effects are standard deviations of the parts of the hidden logit: the larger they are, the better clicks
/// can be predicted. A linear model can learn the effects of single categories, and the dense ones in part; curved
/// dense effects and interactions need more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlantedOptions {
    /// Number of samples.
    pub samples: u64,
    /// Seed of everything that is random; another seed is another hidden model.
    pub seed: u64,
    /// Number of dense features. The first 13 have the distributions of Criteo Kaggle's, further ones repeat them.
    pub dense: usize,
    /// The categorical columns.
    pub tables: Vec<PlantedTable>,
    /// Number of topics; every sample has one, evenly drawn.
    pub topics: u32,
    /// Probability, per sample and column, that the value is drawn from the topic's own order of popularity instead of
    /// the common one: 0 makes columns independent.
    pub correlation: f64,
    /// Mean click probability.
    pub click_rate: f64,
    /// Standard deviation of the part of the logit that single categories add.
    pub category_effect: f64,
    /// Standard deviation of the part of the logit that dense features add.
    pub dense_effect: f64,
    /// Standard deviation of the part of the logit that pairs of categories add.
    pub interaction_effect: f64,
    /// Number of pairs of tables that interact, at most all of them.
    pub interactions: usize,
    /// Frequency at which a category has half the effect of a frequent one; rarer ones have less, because nothing can
    /// be learned about them.
    pub rarity: f64,
}

impl Default for PlantedOptions {
    /// A million samples shaped like Criteo Kaggle, with smaller tables.
    fn default() -> Self {
        Self {
            samples: 1_000_000,
            seed: 1,
            dense: 13,
            tables: TABLES
                .iter()
                .map(|&(rows, exponent, missing)| PlantedTable {
                    rows,
                    exponent,
                    missing,
                })
                .collect(),
            topics: 16,
            correlation: 0.5,
            click_rate: 0.25,
            category_effect: 1.1,
            dense_effect: 0.5,
            interaction_effect: 0.7,
            interactions: 8,
            rarity: 0.01,
        }
    }
}

/// Rows, exponent and share of missing values of the default tables: Criteo Kaggle's in its order, the large ones cut.
const TABLES: [(u64, f64, f64); 26] = [
    (1_000, 1.15, 0.0),
    (500, 1.05, 0.0),
    (20_000, 1.1, 0.03),
    (12_000, 1.1, 0.03),
    (300, 1.2, 0.0),
    (24, 1.05, 0.13),
    (4_000, 1.05, 0.0),
    (600, 1.2, 0.0),
    (3, 1.2, 0.0),
    (5_000, 1.15, 0.0),
    (3_000, 1.05, 0.0),
    (18_000, 1.1, 0.03),
    (2_000, 1.05, 0.0),
    (27, 1.1, 0.0),
    (4_000, 1.05, 0.0),
    (15_000, 1.1, 0.03),
    (10, 1.1, 0.0),
    (3_000, 1.1, 0.0),
    (1_500, 1.2, 0.45),
    (4, 1.05, 0.45),
    (16_000, 1.1, 0.03),
    (18, 1.2, 0.8),
    (15, 1.1, 0.0),
    (8_000, 1.15, 0.03),
    (100, 1.1, 0.45),
    (6_000, 1.2, 0.45),
];

impl PlantedOptions {
    /// Multiplies the rows of every table of more than 100 rows, rounded, at least 100.
    #[must_use]
    pub fn with_scale(mut self, factor: f64) -> Self {
        for table in self.tables.iter_mut().filter(|table| table.rows > 100) {
            table.rows = ((table.rows as f64 * factor).round() as u64).max(100);
        }
        self
    }

    /// Adds to the exponents of all tables: the larger, the more samples the frequent categories have. The default tables, scaled by 20
    /// and with 0.1 more, are about as skewed as Criteo Kaggle's are said to be: one row in a hundred gets 91% of the lookups, 4.3% of
    /// the rows get 95% (Criteo: over 92%, and 95%).
    #[must_use]
    pub fn with_skew(mut self, more: f64) -> Self {
        for table in &mut self.tables {
            table.exponent += more;
        }
        self
    }

    /// The columns: `I1`, `I2`, … and `C1`, `C2`, … as in Criteo's data.
    pub(crate) fn schema(&self) -> Schema {
        criteo_schema(
            self.dense,
            self.tables.iter().map(|table| table.rows),
            false,
        )
    }

    /// Checks every value.
    pub(crate) fn validate(&self) -> Result<()> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let effect = |value: f64| (0.0..=100.0).contains(&value);
        for table in &self.tables {
            check(
                table.rows >= 1 && table.rows < u64::from(u32::MAX),
                "tables.rows",
                table.rows,
                "1 to 4,294,967,294",
            )?;
            check(
                (0.0..=10.0).contains(&table.exponent),
                "tables.exponent",
                table.exponent,
                "0 to 10",
            )?;
            check(
                share(table.missing),
                "tables.missing",
                table.missing,
                "0 to 1",
            )?;
        }
        check(
            (1..=1 << 16).contains(&self.topics),
            "topics",
            self.topics,
            "1 to 65,536",
        )?;
        check(
            share(self.correlation),
            "correlation",
            self.correlation,
            "0 to 1",
        )?;
        let strictly_between = self.click_rate > 0.0 && self.click_rate < 1.0;
        check(
            strictly_between,
            "click_rate",
            self.click_rate,
            "more than 0 and less than 1",
        )?;
        check(
            effect(self.category_effect),
            "category_effect",
            self.category_effect,
            "0 to 100",
        )?;
        check(
            effect(self.dense_effect),
            "dense_effect",
            self.dense_effect,
            "0 to 100",
        )?;
        check(
            effect(self.interaction_effect),
            "interaction_effect",
            self.interaction_effect,
            "0 to 100",
        )?;
        check(share(self.rarity), "rarity", self.rarity, "0 to 1")
    }
}

/// An error that names the option where its value is not valid.
pub(crate) fn check(
    valid: bool,
    option: &'static str,
    value: impl ToString,
    allowed: &'static str,
) -> Result<()> {
    if valid {
        return Ok(());
    }
    Err(Error::InvalidOption {
        option,
        value: value.to_string(),
        allowed,
    })
}

/// A schema with Criteo's column names.
pub(crate) fn criteo_schema(
    dense: usize,
    rows: impl Iterator<Item = u64>,
    multi_hot: bool,
) -> Schema {
    Schema {
        dense: (1..=dense).map(|column| format!("I{column}")).collect(),
        tables: rows
            .enumerate()
            .map(|(table, rows)| TableSchema {
                name: format!("C{}", table + 1),
                rows,
            })
            .collect(),
        multi_hot,
        sequence_length: None,
    }
}
