//! What a store moves its rows by.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{DenseRule, Optimizer, RowRule, Rule, Step, step_row};
use crate::error::{Error, Result};

/// How a store moves its rows: by a built-in [`Optimizer`] or a [`RowRule`] from outside, with a
/// factor on the learning rate for every table.
///
/// Two are equal where their rules have the same name and settings, and all factors are equal.
#[derive(Debug, Clone)]
pub struct RowOptimizer {
    rule: AnyRule,
    /// One for each table, or none, which are all 1.
    factors: Arc<[f32]>,
}

#[derive(Debug, Clone)]
enum AnyRule {
    BuiltIn(Optimizer),
    External(Arc<dyn RowRule>),
}

impl RowOptimizer {
    /// Rows move by a rule from outside.
    pub fn external(rule: impl RowRule + 'static) -> Self {
        Self::from(Arc::new(rule) as Arc<dyn RowRule>)
    }

    /// Multiplies the learning rate of every table by a factor of its own; none for all 1.
    ///
    /// With 0 a table is frozen: its rows and their state stay as they are, and an update spends no
    /// time on them. With 1 the numbers are those without a factor, bit for bit.
    pub fn with_factors(mut self, factors: &[f32]) -> Self {
        self.factors = factors.into();
        self
    }

    /// The factors on the learning rate, one for each table; none where all are 1.
    pub fn factors(&self) -> &[f32] {
        &self.factors
    }

    /// The built-in rule; `None` where the rule is from outside.
    pub fn built_in(&self) -> Option<Optimizer> {
        match &self.rule {
            AnyRule::BuiltIn(optimizer) => Some(*optimizer),
            AnyRule::External(_) => None,
        }
    }

    /// The built-in optimizer of dense parameters beside these rows, unless they are given another.
    pub fn dense(&self) -> Optimizer {
        match &self.rule {
            AnyRule::BuiltIn(optimizer) => *optimizer,
            AnyRule::External(rule) => rule.dense(),
        }
    }

    /// The name of the rule.
    pub fn name(&self) -> &str {
        match &self.rule {
            AnyRule::BuiltIn(optimizer) => optimizer.name(),
            AnyRule::External(rule) => rule.name(),
        }
    }

    /// Floats of state that the rule keeps of a row of `dim` floats.
    pub fn state_width(&self, dim: usize) -> usize {
        match &self.rule {
            AnyRule::BuiltIn(optimizer) => optimizer.row_state_width(dim),
            AnyRule::External(rule) => rule.state_width(dim),
        }
    }

    /// Writes the state of a row that was never updated, `[state_width]`.
    pub fn fresh_state(&self, state: &mut [f32]) {
        match &self.rule {
            AnyRule::BuiltIn(optimizer) => state.fill(optimizer.fresh_state()),
            AnyRule::External(rule) => {
                state.fill(0.0);
                rule.fresh_state(state);
            }
        }
    }

    /// Moves one row of a table, as stores in host memory do: `gradient` is the sum of the row's
    /// gradients ([`Plan::sum_gradient`](crate::Plan::sum_gradient)), `[dim]` as the row, `state`
    /// is `[state_width]`, and `step` how many updates came before. A row of a frozen table stays.
    ///
    /// # Errors
    /// Slices of other lengths.
    pub fn step(
        &self,
        table: usize,
        gradient: &[f32],
        row: &mut [f32],
        state: &mut [f32],
        learning_rate: f64,
        step: u64,
    ) -> Result<()> {
        let width = self.state_width(row.len());
        for (what, got, expected) in [
            ("the gradient", gradient.len(), row.len()),
            ("the state", state.len(), width),
        ] {
            if got != expected {
                return Err(Error::RowLength {
                    what,
                    got,
                    expected,
                });
            }
        }
        let step = Step {
            learning_rate,
            number: step,
        };
        if let Some(rule) = self.rule(table, step) {
            step_row(rule, gradient, row, state);
        }
        Ok(())
    }

    /// That rule and factors can be used for that many tables.
    ///
    /// # Errors
    /// Settings that the rule refuses, factors of another number than tables, or one that is
    /// negative or not finite.
    pub fn validate(&self, tables: usize) -> Result<()> {
        if !self.factors.is_empty() && self.factors.len() != tables {
            return Err(Error::FactorCount {
                got: self.factors.len(),
                tables,
            });
        }
        for (table, &value) in self.factors.iter().enumerate() {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::InvalidFactor { table, value });
            }
        }
        match &self.rule {
            AnyRule::BuiltIn(optimizer) => optimizer.validate(),
            AnyRule::External(rule) => {
                rule.validate().map_err(|problem| Error::InvalidRule {
                    name: rule.name().into(),
                    problem,
                })?;
                rule.dense().validate()
            }
        }
    }

    /// The same rule with all factors 1.
    pub(crate) fn rule_alone(&self) -> Self {
        Self {
            rule: self.rule.clone(),
            factors: Arc::default(),
        }
    }

    /// Whether what follows depends on how many updates came before.
    pub(crate) fn counts_steps(&self) -> bool {
        self.built_in().is_none()
    }

    pub(crate) fn factor(&self, table: usize) -> f32 {
        self.factors.get(table).copied().unwrap_or(1.0)
    }

    /// The learning rate of a table's rows; none where they are frozen.
    fn rate(&self, table: usize, step: Step) -> Option<f32> {
        let factor = self.factor(table);
        (factor != 0.0).then_some(step.learning_rate as f32 * factor)
    }

    /// How the rows of a table move in one update; none where they are frozen.
    #[inline]
    pub(crate) fn rule(&self, table: usize, step: Step) -> Option<Rule<'_>> {
        let rate = self.rate(table, step)?;
        Some(match &self.rule {
            AnyRule::BuiltIn(optimizer) => optimizer.row_rule(rate),
            AnyRule::External(rule) => Rule::External {
                rule: &**rule,
                rate,
                step: step.number,
            },
        })
    }

    /// How the projection of a table, which is a dense parameter, moves in one update; none where
    /// it is frozen.
    pub(crate) fn projection_rule(&self, table: usize, step: Step) -> Option<DenseRule> {
        let rate = self.rate(table, step)?;
        Some(self.dense().dense_rule(rate))
    }
}

impl Default for RowOptimizer {
    /// SGD.
    fn default() -> Self {
        Optimizer::default().into()
    }
}

impl From<Optimizer> for RowOptimizer {
    fn from(optimizer: Optimizer) -> Self {
        Self {
            rule: AnyRule::BuiltIn(optimizer),
            factors: Arc::default(),
        }
    }
}

impl From<Arc<dyn RowRule>> for RowOptimizer {
    fn from(rule: Arc<dyn RowRule>) -> Self {
        Self {
            rule: AnyRule::External(rule),
            factors: Arc::default(),
        }
    }
}

impl PartialEq for RowOptimizer {
    fn eq(&self, other: &Self) -> bool {
        let rules = match (&self.rule, &other.rule) {
            (AnyRule::BuiltIn(own), AnyRule::BuiltIn(other)) => own == other,
            (AnyRule::External(own), AnyRule::External(other)) => {
                Arc::ptr_eq(own, other)
                    || (own.name() == other.name() && own.parameters() == other.parameters())
            }
            (AnyRule::BuiltIn(_), AnyRule::External(_))
            | (AnyRule::External(_), AnyRule::BuiltIn(_)) => false,
        };
        let tables = self.factors.len().max(other.factors.len());
        rules && (0..tables).all(|table| self.factor(table) == other.factor(table))
    }
}

/// What settings, checkpoints and stores in files say of it. A built-in rule without factors is
/// written as [`Optimizer`] is.
impl Serialize for RowOptimizer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let plain = self.factors.iter().all(|&factor| factor == 1.0);
        match (&self.rule, plain) {
            (AnyRule::BuiltIn(optimizer), true) => optimizer.serialize(serializer),
            (AnyRule::BuiltIn(optimizer), false) => {
                let mut fields = serializer.serialize_struct("RowOptimizer", 2)?;
                fields.serialize_field("rule", optimizer)?;
                fields.serialize_field("factors", &*self.factors)?;
                fields.end()
            }
            (AnyRule::External(rule), _) => {
                let mut fields = serializer.serialize_struct("RowOptimizer", 3)?;
                fields.serialize_field("rule", rule.name())?;
                fields.serialize_field("parameters", &rule.parameters())?;
                let factors = if plain { &[][..] } else { &*self.factors };
                fields.serialize_field("factors", factors)?;
                fields.end()
            }
        }
    }
}
