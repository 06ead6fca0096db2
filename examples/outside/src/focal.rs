//! A loss of one's own.

use serde_json::{Value, json};
use trainer::{Error, Loss, Result};

/// The focal loss with γ = 2 (Lin et al., "Focal Loss for Dense Object Detection", 2017):
/// `-(1 - q)² ln q`, where `q` is the probability that the model gives to the label.
#[derive(Debug, Clone, Copy)]
pub struct Focal {
    /// A factor on the loss.
    pub scale: f64,
}

impl Loss for Focal {
    fn evaluate(
        &self,
        logits: &[f32],
        labels: &[f32],
        batch: usize,
        grad: &mut [f32],
    ) -> Result<f64> {
        let mut total = 0.0;
        for ((&logit, &label), grad) in logits.iter().zip(labels).zip(grad) {
            let sign = if label > 0.5 { 1.0 } else { -1.0 };
            let q = 1.0 / (1.0 + (-sign * f64::from(logit)).exp());
            let (rest, log) = (1.0 - q, q.max(1e-300).ln());
            total -= rest * rest * log;
            // d/dz = sign · q (1 - q) · d/dq.
            let slope = sign * (2.0 * q * rest * rest * log - rest * rest * rest);
            *grad = (self.scale * slope / batch as f64) as f32;
        }
        Ok(self.scale * total / batch as f64)
    }

    fn describe(&self) -> Value {
        json!({ "name": "focal", "gamma": 2.0, "scale": self.scale })
    }

    fn validate(&self) -> Result<()> {
        match self.scale > 0.0 {
            true => Ok(()),
            false => Err(Error::external(
                "the scale of the focal loss must be positive",
            )),
        }
    }
}
