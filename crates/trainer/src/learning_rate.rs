//! How the learning rate changes over the steps.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// How the learning rate changes over the steps. [`LearningRatePolicy`] is built in.
pub trait LearningRate: Debug + Send + Sync {
    /// The learning rate of a step, counted from 1, where `base` is the rate that the options name.
    /// It must depend on nothing else, so that a run that goes on from a checkpoint has the rates
    /// of the run that was never stopped.
    ///
    /// A rate that is negative or not finite ends the run as [`Error::LearningRate`].
    ///
    /// # Errors
    /// Any; it ends the run as it is ([`Error::External`] takes any error).
    fn rate(&self, base: f64, step: u64) -> Result<f64>;

    /// The policy's name and parameters, such as `{"name": "cosine", "steps": 10000}`. Results and
    /// checkpoints hold it, and a run goes on from checkpoints with an equal description only.
    fn describe(&self) -> Value;
}

/// The learning rates of one step. A number stands for the same rate on both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRates {
    /// Of embedding rows.
    pub rows: f64,
    /// Of dense parameters. At 0 they and their optimizer's state stay as they are, bit for bit.
    pub dense: f64,
}

impl From<f64> for LearningRates {
    fn from(rate: f64) -> Self {
        Self {
            rows: rate,
            dense: rate,
        }
    }
}

/// What a policy answers for a step, checked.
pub(crate) fn checked(policy: &dyn LearningRate, base: f64, step: u64) -> Result<f64> {
    let rate = policy.rate(base, step)?;
    // Weights move by f32.
    match (rate as f32).is_finite() && rate >= 0.0 {
        true => Ok(rate),
        false => Err(Error::LearningRate { step, rate }),
    }
}

/// Linear warm-up, a constant stretch, and a quadratic decay, as the reference programs define
/// them.
///
/// Steps are counted from 1. With `W = warmup_steps`, `D = decay_start_step` and `N = decay_steps`:
///
/// - `step < W`: `base · step / W`;
/// - `D <= step < D + N`: `max(1e-7, base · ((N - (step - D)) / N)²)`;
/// - otherwise, with `N > 0`, the last rate that one of those two branches gave, and `base` where
///   there was none; with `N = 0`, `base`.
///
/// All zeros, the default, is a constant rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearningRatePolicy {
    /// Steps over which the rate rises linearly.
    pub warmup_steps: u64,
    /// First step of the decay.
    pub decay_start_step: u64,
    /// Steps over which the rate decays quadratically; 0 for no decay.
    pub decay_steps: u64,
}

/// The decay never goes below this rate.
const MINIMUM_RATE: f64 = 1e-7;

impl LearningRate for LearningRatePolicy {
    fn rate(&self, base: f64, step: u64) -> Result<f64> {
        let Self {
            warmup_steps: warmup,
            decay_start_step: start,
            decay_steps: steps,
        } = *self;
        let decayed = |elapsed: u64| {
            let left = (steps - elapsed) as f64 / steps as f64;
            (base * left * left).max(MINIMUM_RATE)
        };
        if step < warmup {
            return Ok(base * step as f64 / warmup as f64);
        }
        if steps == 0 {
            return Ok(base);
        }
        if let Some(elapsed) = step.checked_sub(start) {
            return Ok(decayed(elapsed.min(steps - 1)));
        }
        // Between warm-up and decay the reference keeps the last warm-up rate, which stops one step
        // short of `base`.
        Ok(if warmup > 1 {
            base * (warmup - 1) as f64 / warmup as f64
        } else {
            base
        })
    }

    fn describe(&self) -> Value {
        json!(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(policy: &LearningRatePolicy, base: f64, step: u64) -> f64 {
        policy.rate(base, step).unwrap()
    }

    #[test]
    fn the_default_is_constant() {
        let policy = LearningRatePolicy::default();
        assert!((1..100).all(|step| rate(&policy, 0.1, step) == 0.1));
    }

    #[test]
    fn warm_up_plateau_and_decay_follow_the_reference() {
        let policy = LearningRatePolicy {
            warmup_steps: 10,
            decay_start_step: 20,
            decay_steps: 20,
        };
        assert_eq!(rate(&policy, 1.0, 1), 0.1);
        assert_eq!(rate(&policy, 1.0, 9), 0.9);
        assert_eq!(rate(&policy, 1.0, 10), 0.9);
        assert_eq!(rate(&policy, 1.0, 19), 0.9);
        assert_eq!(rate(&policy, 1.0, 20), 1.0);
        assert_eq!(rate(&policy, 1.0, 30), 0.25);
        let last = rate(&policy, 1.0, 39);
        assert!((last - 1.0 / 400.0).abs() < 1e-12);
        assert_eq!(rate(&policy, 1.0, 1000), last);
    }

    #[test]
    fn warm_up_alone_ends_at_the_base_rate() {
        let policy = LearningRatePolicy {
            warmup_steps: 4,
            ..Default::default()
        };
        assert_eq!(rate(&policy, 1.0, 3), 0.75);
        assert_eq!(rate(&policy, 1.0, 4), 1.0);
    }

    #[test]
    fn a_decay_without_warm_up_starts_from_the_base_rate() {
        let policy = LearningRatePolicy {
            decay_start_step: 5,
            decay_steps: 5,
            ..Default::default()
        };
        assert_eq!(rate(&policy, 0.5, 1), 0.5);
        assert_eq!(rate(&policy, 0.5, 4), 0.5);
    }

    /// Found by a user of the library: the end of such a decay is beyond 64 bits.
    #[test]
    fn a_decay_from_the_last_step_does_not_overflow() {
        for steps in [1, 5, u64::MAX] {
            let policy = LearningRatePolicy {
                decay_start_step: u64::MAX,
                decay_steps: steps,
                ..Default::default()
            };
            assert_eq!(rate(&policy, 0.5, 1), 0.5);
            assert_eq!(rate(&policy, 0.5, u64::MAX), 0.5);
            let policy = LearningRatePolicy {
                decay_start_step: 0,
                ..policy
            };
            assert!(rate(&policy, 0.5, u64::MAX) >= MINIMUM_RATE);
        }
    }

    #[test]
    fn rates_that_move_nothing_sensibly_are_refused_with_their_step() {
        #[derive(Debug)]
        struct Always(f64);
        impl LearningRate for Always {
            fn rate(&self, _: f64, _: u64) -> Result<f64> {
                Ok(self.0)
            }
            fn describe(&self) -> Value {
                json!({"name": "always", "rate": self.0})
            }
        }
        assert_eq!(checked(&Always(0.0), 0.1, 7).unwrap(), 0.0);
        for rate in [-0.1, f64::NAN, f64::INFINITY, 1e300] {
            let error = checked(&Always(rate), 0.1, 7).unwrap_err();
            assert!(
                matches!(error, Error::LearningRate { step: 7, .. }),
                "{error}"
            );
        }
    }
}
