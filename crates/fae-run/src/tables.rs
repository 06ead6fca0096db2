//! How rows are stored: whole, or smaller by one of the original's two tricks.

use embedding_store::{Combine, Encoding, TableSpec};
use recsys_data::Schema;

use crate::card::{Card, CardModel, CombineName};
use crate::error::{Result, refuse, require};

/// Tables of at most this many rows stay as they are, where a card does not say otherwise.
const THRESHOLD: u64 = 200;

impl Card {
    /// How the rows of every table of a data set are stored.
    ///
    /// # Errors
    /// Both tricks, settings of one that is not chosen, or settings out of range.
    pub fn table_specs(&self, schema: &Schema) -> Result<Vec<TableSpec>> {
        let model = &self.model;
        let rows = schema.table_rows();
        let encodings = match (model.qr_collisions, model.md_temperature) {
            (Some(_), Some(_)) => refuse!(
                "`qr_collisions` and `md_temperature` choose one way to store rows each; leave one \
                 of them out"
            ),
            (Some(collisions), None) => model.quotient_remainder(collisions, &rows)?,
            (None, Some(temperature)) => model.mixed_dimension(temperature, &rows)?,
            (None, None) => vec![Encoding::Full; rows.len()],
        };
        let (qr, md) = (
            model.qr_collisions.is_some(),
            model.md_temperature.is_some(),
        );
        let settings = [
            (
                "qr_threshold",
                model.qr_threshold.is_some(),
                "qr_collisions",
                qr,
            ),
            (
                "qr_operation",
                model.qr_operation.is_some(),
                "qr_collisions",
                qr,
            ),
            (
                "md_threshold",
                model.md_threshold.is_some(),
                "md_temperature",
                md,
            ),
            (
                "md_round_dims",
                model.md_round_dims.is_some(),
                "md_temperature",
                md,
            ),
        ];
        for (name, given, of, chosen) in settings {
            require!(
                chosen || !given,
                "`{name}` needs `{of}`; set it, or leave `{name}` out"
            );
        }
        let spec = |(rows, encoding)| TableSpec { rows, encoding };
        Ok(rows.into_iter().zip(encodings).map(spec).collect())
    }
}

impl CardModel {
    /// The settings that decide how rows are stored; `None` where all are whole.
    pub(crate) fn smaller_tables(&self) -> Option<Self> {
        let model = Self {
            qr_collisions: self.qr_collisions,
            qr_threshold: self.qr_threshold,
            qr_operation: self.qr_operation,
            md_temperature: self.md_temperature,
            md_threshold: self.md_threshold,
            md_round_dims: self.md_round_dims,
            ..Self::default()
        };
        (model != Self::default()).then_some(model)
    }

    fn quotient_remainder(&self, collisions: u64, rows: &[u64]) -> Result<Vec<Encoding>> {
        require!(collisions > 0, "`qr_collisions` is 0; give at least 1");
        let combine = match self.qr_operation.unwrap_or_default() {
            CombineName::Mult => Combine::Multiply,
            CombineName::Add => Combine::Add,
            CombineName::Concat => Combine::Concatenate,
        };
        require!(
            combine != Combine::Concatenate || self.dim().is_multiple_of(2),
            "`qr_operation` concat puts two halves together, and `dim` is {}; give an even one",
            self.dim()
        );
        let threshold = self.qr_threshold.unwrap_or(THRESHOLD);
        let encoding = |&rows: &u64| match rows > threshold {
            true => Encoding::QuotientRemainder {
                collisions,
                combine,
            },
            false => Encoding::Full,
        };
        Ok(rows.iter().map(encoding).collect())
    }

    /// The original's `md_solver`: the smallest table has the full width, the others
    /// `dim * (smallest / rows)^temperature`, at least 1, and where `md_round_dims` says so the
    /// nearest power of two. Tables of at most the threshold's rows stay as they are.
    fn mixed_dimension(&self, temperature: f64, rows: &[u64]) -> Result<Vec<Encoding>> {
        require!(
            (0.0..=1.0).contains(&temperature),
            "`md_temperature` is {temperature}; give a number from 0 to 1"
        );
        let round = self.md_round_dims.unwrap_or(false);
        let smallest = rows.iter().copied().min().unwrap_or_default().max(1);
        let threshold = self.md_threshold.unwrap_or(THRESHOLD);
        let encoding = |&rows: &u64| {
            let share = (smallest as f32 / rows.max(1) as f32).powf(temperature as f32);
            // As PyTorch rounds: halves to the even neighbour.
            let dim = (self.dim() as f32 * share).max(1.0).round_ties_even();
            let dim = match round {
                true => dim.log2().round_ties_even().exp2(),
                false => dim,
            };
            match rows > threshold {
                true => Encoding::MixedDimension {
                    dim: (dim as usize).min(self.dim()),
                },
                false => Encoding::Full,
            }
        };
        Ok(rows.iter().map(encoding).collect())
    }
}
