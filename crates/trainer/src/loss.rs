//! Losses on logits, with their gradients.

use serde::{Deserialize, Serialize};

/// Which loss.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Binary cross-entropy.
    #[default]
    Bce,
    /// Mean squared error of the probability.
    Mse,
    /// Binary cross-entropy, each sample weighted by its label.
    WeightedBce {
        /// Weight of samples with label 0.
        negative: f32,
        /// Weight of samples with label 1.
        positive: f32,
    },
}

/// A loss over a batch: the mean over its samples.
///
/// The model's output is a logit `z` and the prediction `p = 1 / (1 + exp(-z))`. Cross-entropy is taken from the logit
/// itself, so it stays exact where `p` rounds to 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Loss {
    /// Which loss.
    pub kind: LossKind,
    /// Where `0 < threshold < 1`, predictions are clamped to `[threshold, 1 - threshold]` first; a clamped prediction has
    /// no gradient.
    pub threshold: f32,
}

/// `1 / (1 + exp(-z))` without overflow.
pub(crate) fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let e = z.exp();
        e / (1.0 + e)
    }
}

/// Cross-entropy of a logit against a label: `max(z, 0) - z y + ln(1 + exp(-|z|))`.
pub(crate) fn cross_entropy(z: f64, label: f64) -> f64 {
    z.max(0.0) - z * label + (-z.abs()).exp().ln_1p()
}

impl Loss {
    /// Binary cross-entropy without clamping.
    pub fn bce() -> Self {
        Self::default()
    }

    /// The share that some samples have in the mean loss of a batch of `batch` samples; `grad` receives its derivative with respect to
    /// every logit. For a whole batch, that is the mean loss itself.
    ///
    /// # Shapes
    /// `logits`, `labels`, `grad`: `[samples]`. The shortest of the three decides.
    pub fn evaluate(&self, logits: &[f32], labels: &[f32], batch: usize, grad: &mut [f32]) -> f64 {
        let batch = batch as f64;
        let mut total = 0.0;
        for ((&z, &label), grad) in logits.iter().zip(labels).zip(grad) {
            let (loss, slope) = self.sample(f64::from(z), f64::from(label));
            total += loss;
            *grad = (slope / batch) as f32;
        }
        total / batch
    }

    /// Loss and derivative of one sample.
    fn sample(&self, z: f64, label: f64) -> (f64, f64) {
        let p = sigmoid(z);
        let threshold = f64::from(self.threshold);
        let clamps = threshold > 0.0 && threshold < 1.0;
        let clamped = if clamps {
            p.max(threshold).min(1.0 - threshold)
        } else {
            p
        };
        let inside = !clamps || (p >= threshold && p <= 1.0 - threshold);
        let (loss, slope) = match self.kind {
            LossKind::Mse => {
                let error = clamped - label;
                (error * error, 2.0 * error * p * (1.0 - p))
            }
            LossKind::Bce => (self.entropy(z, clamped, inside, label), p - label),
            LossKind::WeightedBce { negative, positive } => {
                let weight = f64::from(if label > 0.5 { positive } else { negative });
                (
                    weight * self.entropy(z, clamped, inside, label),
                    weight * (p - label),
                )
            }
        };
        (loss, if inside { slope } else { 0.0 })
    }

    fn entropy(&self, z: f64, clamped: f64, inside: bool, label: f64) -> f64 {
        if inside {
            cross_entropy(z, label)
        } else {
            -(label * clamped.ln() + (1.0 - label) * (-clamped).ln_1p())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Loss> {
        let kinds = [
            LossKind::Bce,
            LossKind::Mse,
            LossKind::WeightedBce {
                negative: 0.4,
                positive: 1.6,
            },
        ];
        kinds
            .into_iter()
            .flat_map(|kind| [0.0, 0.01].map(|threshold| Loss { kind, threshold }))
            .collect()
    }

    #[test]
    fn gradients_are_the_slopes_of_the_losses() {
        let labels = [0.0, 1.0, 1.0, 0.0, 1.0];
        let logits = [-2.0f32, 0.3, 3.0, 1.7, -1.1];
        for loss in all() {
            let mut grad = [0.0; 5];
            loss.evaluate(&logits, &labels, 5, &mut grad);
            for i in 0..5 {
                let mean = |shift: f32| {
                    let mut moved = logits;
                    moved[i] += shift;
                    loss.evaluate(&moved, &labels, 5, &mut [0.0; 5])
                };
                let slope = (mean(1e-2) - mean(-1e-2)) / 2e-2;
                assert!(
                    (slope - f64::from(grad[i])).abs() < 1e-5,
                    "{loss:?} {i}: {slope} {}",
                    grad[i]
                );
            }
        }
    }

    #[test]
    fn a_clamped_prediction_has_a_bounded_loss_and_no_gradient() {
        let loss = Loss {
            kind: LossKind::Bce,
            threshold: 0.1,
        };
        let mut grad = [1.0];
        let value = loss.evaluate(&[30.0], &[0.0], 1, &mut grad);
        assert!((value + 0.1f64.ln()).abs() < 1e-6 && grad[0] == 0.0);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        for loss in all() {
            for z in [-1e4f32, -90.0, 90.0, 1e4] {
                assert!(loss.evaluate(&[z], &[1.0], 1, &mut [0.0]).is_finite());
            }
        }
    }
}
