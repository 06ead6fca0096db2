//! A learning rate of one's own.

use serde_json::{Value, json};
use trainer::{LearningRate, Result};

/// Falls from the base rate to half of it over a period, again and again.
#[derive(Debug, Clone, Copy)]
pub struct Sawtooth {
    /// Steps of a period; at least 1.
    pub period: u64,
}

impl LearningRate for Sawtooth {
    fn rate(&self, base: f64, step: u64) -> Result<f64> {
        let period = self.period.max(1);
        Ok(base * (1.0 - 0.5 * (step % period) as f64 / period as f64))
    }

    fn describe(&self) -> Value {
        json!({ "name": "sawtooth", "period": self.period })
    }
}
