//! The row-sparse optimizers.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

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
    /// `state += g²; row -= lr · g / (sqrt(state) + ε)`, one state per element: PyTorch's `Adagrad` on sparse gradients.
    Adagrad {
        /// ε.
        epsilon: f64,
        /// Initial state.
        initial_accumulator: f64,
    },
    /// `state += mean(g²); row -= lr · g / (sqrt(state) + ε)`, one state per row: the reference's `RWSAdagrad`. The
    /// projection of a mixed-dimension table is a dense parameter there, so it has one state per element.
    RowwiseAdagrad {
        /// ε.
        epsilon: f64,
        /// Initial state.
        initial_accumulator: f64,
    },
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

    /// That its settings can be used.
    ///
    /// # Errors
    /// A setting that is negative or, as f32, not finite.
    pub fn validate(self) -> Result<()> {
        if let Self::Adagrad {
            epsilon,
            initial_accumulator,
        }
        | Self::RowwiseAdagrad {
            epsilon,
            initial_accumulator,
        } = self
        {
            for (name, value) in [
                ("epsilon", epsilon),
                ("initial_accumulator", initial_accumulator),
            ] {
                // The value is used as f32, so it must be finite there.
                if !((value as f32).is_finite() && value >= 0.0) {
                    return Err(Error::InvalidOptimizer { name, value });
                }
            }
        }
        Ok(())
    }

    /// The state of a row that was never updated.
    pub(crate) fn fresh_state(self) -> f32 {
        match self {
            Self::Sgd => 0.0,
            Self::Adagrad {
                initial_accumulator,
                ..
            }
            | Self::RowwiseAdagrad {
                initial_accumulator,
                ..
            } => initial_accumulator as f32,
        }
    }
}
