//! How the learning rate changes over the steps.

use serde::{Deserialize, Serialize};

/// Linear warm-up, a constant stretch, and a quadratic decay, as the reference programs define them.
///
/// Steps are counted from 1. With `W = warmup_steps`, `D = decay_start_step` and `N = decay_steps`:
///
/// - `step < W`: `base · step / W`;
/// - `D <= step < D + N`: `max(1e-7, base · ((N - (step - D)) / N)²)`;
/// - otherwise, with `N > 0`, the last rate that one of those two branches gave, and `base` where there was none;
///   with `N = 0`, `base`.
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

impl LearningRatePolicy {
    /// The learning rate of a step, counted from 1.
    pub fn rate(&self, base: f64, step: u64) -> f64 {
        let Self {
            warmup_steps: warmup,
            decay_start_step: start,
            decay_steps: steps,
        } = *self;
        let decayed = |step: u64| {
            let left = (steps - (step - start)) as f64 / steps as f64;
            (base * left * left).max(MINIMUM_RATE)
        };
        if step < warmup {
            return base * step as f64 / warmup as f64;
        }
        if steps == 0 {
            return base;
        }
        if step >= start + steps {
            return decayed(start + steps - 1);
        }
        if step >= start {
            return decayed(step);
        }
        // Between warm-up and decay the reference keeps the last warm-up rate, which stops one step short of `base`.
        if warmup > 1 {
            base * (warmup - 1) as f64 / warmup as f64
        } else {
            base
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_constant() {
        let policy = LearningRatePolicy::default();
        assert!((1..100).all(|step| policy.rate(0.1, step) == 0.1));
    }

    #[test]
    fn warm_up_plateau_and_decay_follow_the_reference() {
        let policy = LearningRatePolicy {
            warmup_steps: 10,
            decay_start_step: 20,
            decay_steps: 20,
        };
        assert_eq!(policy.rate(1.0, 1), 0.1);
        assert_eq!(policy.rate(1.0, 9), 0.9);
        assert_eq!(policy.rate(1.0, 10), 0.9);
        assert_eq!(policy.rate(1.0, 19), 0.9);
        assert_eq!(policy.rate(1.0, 20), 1.0);
        assert_eq!(policy.rate(1.0, 30), 0.25);
        let last = policy.rate(1.0, 39);
        assert!((last - 1.0 / 400.0).abs() < 1e-12);
        assert_eq!(policy.rate(1.0, 1000), last);
    }

    #[test]
    fn warm_up_alone_ends_at_the_base_rate() {
        let policy = LearningRatePolicy {
            warmup_steps: 4,
            ..Default::default()
        };
        assert_eq!(policy.rate(1.0, 3), 0.75);
        assert_eq!(policy.rate(1.0, 4), 1.0);
    }

    #[test]
    fn a_decay_without_warm_up_starts_from_the_base_rate() {
        let policy = LearningRatePolicy {
            decay_start_step: 5,
            decay_steps: 5,
            ..Default::default()
        };
        assert_eq!(policy.rate(0.5, 1), 0.5);
        assert_eq!(policy.rate(0.5, 4), 0.5);
    }
}
