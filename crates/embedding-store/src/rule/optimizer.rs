//! The built-in optimizers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DenseRule, Rule};
use crate::error::{Error, Result};

/// The rule by which touched rows move; rows that a batch does not touch stay as they are.
///
/// `g` is the sum of the gradients of all lookups of a row in the batch, `lr` the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Optimizer {
    /// `row -= lr · g`.
    #[default]
    Sgd,
    /// `state += g²; row -= lr · g / (sqrt(state) + ε)`, one state per element: PyTorch's `Adagrad`
    /// on sparse gradients.
    Adagrad {
        /// ε.
        epsilon: f64,
        /// Initial state.
        initial_accumulator: f64,
    },
    /// `state += mean(g²); row -= lr · g / (sqrt(state) + ε)`, one state per row: the reference's
    /// `RWSAdagrad`. The projection of a mixed-dimension table is a dense parameter there, so it
    /// has one state per element.
    RowwiseAdagrad {
        /// ε.
        epsilon: f64,
        /// Initial state.
        initial_accumulator: f64,
    },
}

/// What state a rule keeps of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    PerRow,
    PerElement,
}

/// What the rest of the workspace asks about a rule; one `match` answers all of it.
struct Description {
    name: &'static str,
    state: State,
    epsilon: f64,
    initial_accumulator: f64,
}

impl Optimizer {
    /// Adagrad with PyTorch's defaults: ε = 1e-10, initial state 0.
    pub fn adagrad() -> Self {
        Self::Adagrad {
            epsilon: 1e-10,
            initial_accumulator: 0.0,
        }
    }

    /// Row-wise Adagrad with the reference's defaults: ε = 1e-10, initial state 0.
    pub fn rowwise_adagrad() -> Self {
        Self::RowwiseAdagrad {
            epsilon: 1e-10,
            initial_accumulator: 0.0,
        }
    }

    fn describe(self) -> Description {
        match self {
            Self::Sgd => Description {
                name: "sgd",
                state: State::None,
                epsilon: 0.0,
                initial_accumulator: 0.0,
            },
            Self::Adagrad {
                epsilon,
                initial_accumulator,
            } => Description {
                name: "adagrad",
                state: State::PerElement,
                epsilon,
                initial_accumulator,
            },
            Self::RowwiseAdagrad {
                epsilon,
                initial_accumulator,
            } => Description {
                name: "rowwise-adagrad",
                state: State::PerRow,
                epsilon,
                initial_accumulator,
            },
        }
    }

    /// Its name, as in settings.
    pub fn name(self) -> &'static str {
        self.describe().name
    }

    /// ε; 0 where the rule has none.
    pub fn epsilon(self) -> f64 {
        self.describe().epsilon
    }

    /// Floats of state that it keeps of a row of `dim` floats.
    pub fn row_state_width(self, dim: usize) -> usize {
        match self.describe().state {
            State::None => 0,
            State::PerRow => 1,
            State::PerElement => dim,
        }
    }

    /// Whether its dense form keeps a state, one float for each element: row-wise rules are for
    /// sparse gradients alone.
    pub fn has_dense_state(self) -> bool {
        self.describe().state != State::None
    }

    /// The state of what was never updated.
    pub fn fresh_state(self) -> f32 {
        self.describe().initial_accumulator as f32
    }

    /// That its settings can be used.
    ///
    /// # Errors
    /// A setting that is negative or, as f32, not finite.
    pub fn validate(self) -> Result<()> {
        let described = self.describe();
        for (name, value) in [
            ("epsilon", described.epsilon),
            ("initial_accumulator", described.initial_accumulator),
        ] {
            if !((value as f32).is_finite() && value >= 0.0) {
                return Err(Error::InvalidOptimizer { name, value });
            }
        }
        Ok(())
    }

    /// As it moves rows at a learning rate.
    pub(super) fn row_rule(self, rate: f32) -> Rule<'static> {
        let epsilon = self.epsilon() as f32;
        match self {
            Self::Sgd => Rule::Sgd { rate },
            Self::Adagrad { .. } => Rule::Adagrad { rate, epsilon },
            Self::RowwiseAdagrad { .. } => Rule::Rowwise { rate, epsilon },
        }
    }

    /// As it moves dense parameters at a learning rate.
    pub(super) fn dense_rule(self, rate: f32) -> DenseRule {
        let epsilon = self.epsilon() as f32;
        match self {
            Self::Sgd => DenseRule::Sgd { rate },
            Self::Adagrad { .. } | Self::RowwiseAdagrad { .. } => {
                DenseRule::Adagrad { rate, epsilon }
            }
        }
    }
}

impl fmt::Display for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
