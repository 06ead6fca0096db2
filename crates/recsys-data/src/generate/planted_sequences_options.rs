//! What planted behaviour sequences look like.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::planted_options::check;
use crate::error::Result;
use crate::schema::{Schema, TableSchema};

/// Options of [`PlantedSequences`](crate::generate::PlantedSequences).
///
/// The less drift and noise there are, and the more categories, the better the next event can be predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlantedSequencesOptions {
    /// Number of samples.
    pub samples: u64,
    /// Seed of everything that is random; another seed is another hidden model.
    pub seed: u64,
    /// Number of users.
    pub users: u32,
    /// Number of items, at least that of the categories.
    pub items: u32,
    /// Number of categories.
    pub categories: u32,
    /// Events before the candidate; a sample has one position more.
    pub history: u32,
    /// Exponent `s` of the skew of the users: user `r` has a share `∝ 1 / (r + 1)^s` of the samples.
    pub user_exponent: f64,
    /// Exponent `s` of the skew of the items: item `r` has the popularity `∝ 1 / (r + 1 + items / 4000)^s`.
    pub item_exponent: f64,
    /// The same for the number of items in a category, with a thousandth instead of 1/4000.
    pub category_exponent: f64,
    /// Categories that a user likes.
    pub interests: u32,
    /// Probability, per event, that the user's mind moves to another of these categories (or the same again).
    pub drift: f64,
    /// Share of the events that have nothing to do with the user.
    pub noise: f64,
}

impl Default for PlantedSequencesOptions {
    /// A million samples shaped like Taobao's UserBehavior, with a twentieth of its users and items and a tenth of its
    /// categories.
    fn default() -> Self {
        Self {
            samples: 1_000_000,
            seed: 1,
            users: 50_000,
            items: 200_000,
            categories: 1_000,
            history: 20,
            user_exponent: 0.4,
            item_exponent: 0.9,
            category_exponent: 1.2,
            interests: 8,
            drift: 0.2,
            noise: 0.2,
        }
    }
}

impl PlantedSequencesOptions {
    /// Multiplies users, items and categories, rounded, at least 100 each.
    #[must_use]
    pub fn with_scale(mut self, factor: f64) -> Self {
        for rows in [&mut self.users, &mut self.items, &mut self.categories] {
            *rows = (f64::from(*rows) * factor).round().max(100.0) as u32;
        }
        self
    }

    /// The columns: the position, and users, items and categories.
    pub(crate) fn schema(&self) -> Schema {
        let tables = [
            ("user", self.users),
            ("item", self.items),
            ("category", self.categories),
        ];
        Schema {
            dense: vec!["position".into()],
            tables: tables
                .into_iter()
                .map(|(name, rows)| TableSchema {
                    name: name.into(),
                    rows: u64::from(rows),
                })
                .collect(),
            multi_hot: false,
            sequence_length: NonZeroU32::new(self.history.saturating_add(1)),
        }
    }

    /// Checks every value.
    pub(crate) fn validate(&self) -> Result<()> {
        const ROWS: &str = "1 to 4,294,967,294";
        let rows = |value: u32| (1..u32::MAX).contains(&value);
        check(rows(self.users), "users", self.users, ROWS)?;
        check(rows(self.items), "items", self.items, ROWS)?;
        check(
            (1..=self.items).contains(&self.categories),
            "categories",
            self.categories,
            "1 to the number of items",
        )?;
        check(
            (1..=10_000).contains(&self.history),
            "history",
            self.history,
            "1 to 10,000",
        )?;
        for (option, value) in [
            ("user_exponent", self.user_exponent),
            ("item_exponent", self.item_exponent),
            ("category_exponent", self.category_exponent),
        ] {
            check((0.0..=10.0).contains(&value), option, value, "0 to 10")?;
        }
        check(
            (1..=1_000).contains(&self.interests),
            "interests",
            self.interests,
            "1 to 1,000",
        )?;
        for (option, value) in [("drift", self.drift), ("noise", self.noise)] {
            check((0.0..=1.0).contains(&value), option, value, "0 to 1")?;
        }
        Ok(())
    }
}
