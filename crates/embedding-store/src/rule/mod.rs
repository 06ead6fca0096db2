//! The rules by which rows and dense parameters move: the one place that knows what an optimizer
//! is.
//!
//! [`Optimizer`] names the built-in rules, [`RowRule`] is a rule from outside, and [`RowOptimizer`]
//! is what a store has: either of them, with a factor on the learning rate for every table. One
//! update turns it into a [`Rule`] for each table; whatever moves rows, on any device, asks that.

mod dense;
mod optimizer;
mod row;
mod row_optimizer;
mod row_rule;

pub(crate) use dense::DenseRule;
pub use dense::DenseStep;
pub use optimizer::Optimizer;
pub(crate) use row::{RowLoop, SummedStep, step_elements, step_row};
pub use row_optimizer::RowOptimizer;
pub use row_rule::RowRule;

use crate::error::{Error, Result};

/// Floats of a row's gradient held on the stack; wider rows are done in several goes. A multiple of
/// the lanes.
pub(crate) const BUFFER: usize = 512;

/// A rule with the settings of one update, as kernels want them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule<'a> {
    Sgd {
        rate: f32,
    },
    Adagrad {
        rate: f32,
        epsilon: f32,
    },
    Rowwise {
        rate: f32,
        epsilon: f32,
    },
    External {
        rule: &'a dyn RowRule,
        rate: f32,
        step: u64,
    },
}

/// What an update knows besides gradients: its learning rate, and how many came before it.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub(crate) learning_rate: f64,
    pub(crate) number: u64,
}

impl Step {
    /// Checks the learning rate, which is used as f32.
    pub(crate) fn new(learning_rate: f64, number: u64) -> Result<Self> {
        if !(learning_rate as f32).is_finite() {
            return Err(Error::LearningRate {
                value: learning_rate,
            });
        }
        Ok(Self {
            learning_rate,
            number,
        })
    }

    /// The number of the one after it; a batch without samples is no update.
    pub(crate) fn next(self, samples: usize) -> u64 {
        self.number.wrapping_add(u64::from(samples > 0))
    }
}
