//! Losses on logits, with their gradients.

use std::any::Any;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// A loss over a batch: the mean over its samples of what each of them costs.
///
/// [`BinaryLoss`] is built in. Another one is computed in host memory: where the model is on an
/// accelerator, its logits cross to the host in every step, and the host waits for them.
///
/// Replicas of a model ask for the loss part by part, so a sample's loss may depend on its own
/// logit and label only.
pub trait Loss: Any + Debug + Send + Sync {
    /// The share that some samples have in the mean loss of a batch of `batch` samples. `grad`
    /// comes as zeros and receives the share's derivative with respect to every logit. For a whole
    /// batch the share is the mean loss itself.
    ///
    /// A share or a derivative that is not finite ends the run as [`Error::Diverged`].
    ///
    /// # Shapes
    /// `logits`, `labels`, `grad`: `[samples]`, equally many.
    ///
    /// # Errors
    /// What the loss cannot be computed from; it ends the run as it is
    /// ([`Error::External`] takes any error).
    fn evaluate(
        &self,
        logits: &[f32],
        labels: &[f32],
        batch: usize,
        grad: &mut [f32],
    ) -> Result<f64>;

    /// The loss's name and parameters, such as `{"name": "focal", "gamma": 2.0}`. Results and
    /// checkpoints hold it, and a run goes on from checkpoints with an equal description only.
    fn describe(&self) -> Value;

    /// The least and the largest logit that counts in evaluations, where this loss clamps
    /// predictions: a logit is raised to the first, then lowered to the second.
    fn logit_bounds(&self) -> Option<[f32; 2]> {
        None
    }

    /// Checks the parameters before a run begins.
    ///
    /// # Errors
    /// The first parameter that makes no sense.
    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// The built-in loss, which NVIDIA devices have a kernel for.
pub(crate) fn built_in(loss: &dyn Loss) -> Option<&BinaryLoss> {
    let loss: &dyn Any = loss;
    loss.downcast_ref()
}

/// What a [`BinaryLoss`] compares with the label.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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

/// What the loss of a sample is computed from. The two differ where the prediction is close to 0
/// or 1 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LossInput {
    /// The logit, in 64 bits: exact where the prediction rounds to 0 or 1, and a wrong sample
    /// always has a gradient.
    #[default]
    Logit,
    /// The prediction in 32 bits, as PyTorch's `sigmoid` and `BCELoss` compute: cross-entropy is at
    /// most 100; a prediction that rounds to 1 has no gradient even where the label is 0, and below
    /// 1e-12 the gradient fades. To repeat what PyTorch computed, not to train better.
    Prediction,
}

/// The loss of a prediction between 0 and 1 against a label of 0 or 1, as the reference programs
/// define it.
///
/// The model's output is a logit `z` and the prediction `p = 1 / (1 + exp(-z))`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BinaryLoss {
    /// Which loss.
    pub kind: LossKind,
    /// Where `0 < threshold < 1`, predictions are clamped to `[threshold, 1 - threshold]` first, in
    /// evaluations too, where clamped ones are ties; a clamped prediction has no gradient.
    pub threshold: f32,
    /// What it is computed from.
    #[serde(default)]
    pub input: LossInput,
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

/// `value`, or `low` where it is below that. Unlike `f64::max`, it keeps what is not a number, so
/// that such a loss ends a run.
fn at_least(low: f64, value: f64) -> f64 {
    if value < low { low } else { value }
}

/// `value` raised to `low`, then lowered to `high`.
fn bounded(value: f64, low: f64, high: f64) -> f64 {
    let raised = at_least(low, value);
    if raised > high { high } else { raised }
}

/// Cross-entropy of a logit against a label: `max(z, 0) - z y + ln(1 + exp(-|z|))`.
pub(crate) fn cross_entropy(z: f64, label: f64) -> f64 {
    z.max(0.0) - z * label + (-z.abs()).exp().ln_1p()
}

impl Loss for BinaryLoss {
    fn evaluate(
        &self,
        logits: &[f32],
        labels: &[f32],
        batch: usize,
        grad: &mut [f32],
    ) -> Result<f64> {
        let batch = batch as f64;
        let mut total = 0.0;
        for ((&z, &label), grad) in logits.iter().zip(labels).zip(grad) {
            let (loss, slope) = match self.input {
                LossInput::Logit => self.of_logit(f64::from(z), f64::from(label)),
                LossInput::Prediction => self.of_prediction(z, label),
            };
            total += loss;
            *grad = (slope / batch) as f32;
        }
        Ok(total / batch)
    }

    fn describe(&self) -> Value {
        json!(self)
    }

    fn logit_bounds(&self) -> Option<[f32; 2]> {
        let threshold = f64::from(self.threshold);
        let least = (threshold / (1.0 - threshold)).ln() as f32;
        self.clamps().then_some([least, -least])
    }

    fn validate(&self) -> Result<()> {
        let bad = |option, value: f32, remedy| {
            Err(Error::Option {
                option,
                value: value.to_string(),
                remedy,
            })
        };
        if !(0.0..1.0).contains(&self.threshold) {
            let remedy = "give a number from 0 (off) to below 1";
            return bad("loss threshold", self.threshold, remedy);
        }
        if let LossKind::WeightedBce { negative, positive } = self.kind {
            for weight in [negative, positive] {
                if !(weight.is_finite() && weight >= 0.0) {
                    return bad("loss weight", weight, "give a number of at least 0");
                }
            }
        }
        Ok(())
    }
}

impl BinaryLoss {
    /// Binary cross-entropy without clamping.
    pub fn bce() -> Self {
        Self::default()
    }

    /// As the kernel takes it: kind, input, and threshold and weights of both labels.
    #[cfg(feature = "cuda")]
    pub(crate) fn numbers(&self) -> (u32, u32, [f32; 3]) {
        let (kind, negative, positive) = match self.kind {
            LossKind::Bce => (0, 1.0, 1.0),
            LossKind::Mse => (1, 1.0, 1.0),
            LossKind::WeightedBce { negative, positive } => (2, negative, positive),
        };
        let input = match self.input {
            LossInput::Logit => 0,
            LossInput::Prediction => 1,
        };
        let threshold = if self.clamps() { self.threshold } else { 0.0 };
        (kind, input, [threshold, negative, positive])
    }

    fn clamps(&self) -> bool {
        self.threshold > 0.0 && self.threshold < 1.0
    }

    /// What the cross-entropy of a sample counts.
    fn weight(&self, label: f64) -> f64 {
        match self.kind {
            LossKind::WeightedBce { negative, positive } => {
                f64::from(if label > 0.5 { positive } else { negative })
            }
            LossKind::Bce | LossKind::Mse => 1.0,
        }
    }

    /// Loss and derivative of one sample.
    fn of_logit(&self, z: f64, label: f64) -> (f64, f64) {
        let p = sigmoid(z);
        let threshold = f64::from(self.threshold);
        let clamps = self.clamps();
        let clamped = if clamps {
            bounded(p, threshold, 1.0 - threshold)
        } else {
            p
        };
        let inside = !clamps || (p >= threshold && p <= 1.0 - threshold);
        let (loss, slope) = match self.kind {
            LossKind::Mse => {
                let error = clamped - label;
                (error * error, 2.0 * error * p * (1.0 - p))
            }
            LossKind::Bce | LossKind::WeightedBce { .. } => {
                let weight = self.weight(label);
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

    /// Loss and derivative of one sample, rounded where PyTorch rounds.
    fn of_prediction(&self, z: f32, label: f32) -> (f64, f64) {
        // Near 1 the rounding of the denominator decides which predictions there are: every second
        // f32.
        let p = 1.0 / (1.0 + (-f64::from(z)).exp() as f32);
        let (p, label) = (f64::from(p), f64::from(label));
        let clamped = if self.clamps() {
            let threshold = f64::from(self.threshold);
            bounded(p, threshold, f64::from((1.0 - threshold) as f32))
        } else {
            p
        };
        let inside = p == clamped;
        // The derivative of the sigmoid. A prediction that rounds to 1 has none.
        let rise = p * (1.0 - p);
        let (loss, slope) = match self.kind {
            LossKind::Mse => {
                let error = clamped - label;
                (error * error, 2.0 * error * rise)
            }
            LossKind::Bce | LossKind::WeightedBce { .. } => {
                let weight = self.weight(label);
                let positive = label * at_least(LOWEST_LOGARITHM, clamped.ln());
                let negative = (1.0 - label) * at_least(LOWEST_LOGARITHM, (-clamped).ln_1p());
                let slope = (p - label) / at_least(LOWEST_RISE, rise) * rise;
                (-weight * (positive + negative), weight * slope)
            }
        };
        (loss, if inside { slope } else { 0.0 })
    }
}

/// No logarithm in PyTorch's `BCELoss` is below this one.
const LOWEST_LOGARITHM: f64 = -100.0;
/// What PyTorch's `BCELoss` divides a gradient by at least.
const LOWEST_RISE: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Scores;

    fn all() -> Vec<BinaryLoss> {
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
            .flat_map(|kind| [(kind, 0.0), (kind, 0.01)])
            .flat_map(|(kind, threshold)| {
                [LossInput::Logit, LossInput::Prediction].map(|input| BinaryLoss {
                    kind,
                    threshold,
                    input,
                })
            })
            .collect()
    }

    #[test]
    fn gradients_are_the_slopes_of_the_losses() {
        let labels = [0.0, 1.0, 1.0, 0.0, 1.0];
        let logits = [-2.0f32, 0.3, 3.0, 1.7, -1.1];
        for loss in all() {
            let mut grad = [0.0; 5];
            loss.evaluate(&logits, &labels, 5, &mut grad).unwrap();
            for i in 0..5 {
                let mean = |shift: f32| {
                    let mut moved = logits;
                    moved[i] += shift;
                    loss.evaluate(&moved, &labels, 5, &mut [0.0; 5]).unwrap()
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
        let loss = BinaryLoss {
            threshold: 0.1,
            ..BinaryLoss::bce()
        };
        let mut grad = [1.0];
        let value = loss.evaluate(&[30.0], &[0.0], 1, &mut grad).unwrap();
        assert!((value + 0.1f64.ln()).abs() < 1e-6 && grad[0] == 0.0);
    }

    #[test]
    fn clamped_logits_are_those_of_clamped_predictions() {
        for threshold in [0.1f32, 0.3, 0.5, 0.7] {
            let loss = BinaryLoss {
                threshold,
                ..BinaryLoss::bce()
            };
            let mut scores = Scores::default();
            let logits = [-9.0f32, -0.5, 0.0, 0.2, 3.0];
            scores.extend(&logits, &[1.0; 5]).unwrap();
            let scores = scores.seen_by(&loss);
            for (&z, &seen) in logits.iter().zip(scores.logits()) {
                let low = f64::from(threshold);
                let wanted = bounded(sigmoid(f64::from(z)), low, 1.0 - low);
                assert!((sigmoid(f64::from(seen)) - wanted).abs() < 1e-6);
            }
            let cost = scores.evaluate().unwrap().log_loss;
            let wanted = loss.evaluate(&logits, &[1.0; 5], 5, &mut [0.0; 5]).unwrap();
            assert!((cost - wanted).abs() < 1e-6, "{threshold}: {cost} {wanted}");
        }
        assert_eq!(BinaryLoss::bce().logit_bounds(), None);
    }

    #[test]
    fn both_inputs_agree_unless_saturated() {
        let labels = [0.0, 1.0, 1.0, 0.0, 1.0];
        let logits = [-4.0f32, 0.3, 3.5, 1.7, -11.0];
        for exact in all().into_iter().filter(|l| l.input == LossInput::Logit) {
            let rounded = BinaryLoss {
                input: LossInput::Prediction,
                ..exact
            };
            let (mut a, mut b) = ([0.0; 5], [0.0; 5]);
            let difference = exact.evaluate(&logits, &labels, 5, &mut a).unwrap()
                - rounded.evaluate(&logits, &labels, 5, &mut b).unwrap();
            assert!(difference.abs() < 2e-7, "{exact:?}: {difference}");
            for (a, b) in a.iter().zip(&b) {
                assert!((a - b).abs() < 2e-7, "{exact:?}: {a} {b}");
            }
        }
    }

    /// PyTorch 2.15: `sigmoid`, `binary_cross_entropy`, `backward` of one logit each in 32 bits.
    #[test]
    fn saturated_predictions_follow_pytorch() {
        let loss = BinaryLoss {
            input: LossInput::Prediction,
            ..BinaryLoss::bce()
        };
        let cases = [
            (13.0, 0.0, 1.29979458e+01, 9.99997854e-01),
            (13.0, 1.0, 2.26497900e-06, -2.26497650e-06),
            (15.5, 0.0, 1.52492380e+01, 9.99999762e-01),
            (16.6, 0.0, 1.59423847e+01, 9.99999881e-01),
            (16.7, 0.0, 1.00000000e+02, 0.00000000e+00),
            (16.7, 1.0, -0.00000000e+00, 0.00000000e+00),
            (-20.0, 1.0, 2.00000000e+01, -1.00000000e+00),
            (-29.0, 1.0, 2.90000000e+01, -2.54366577e-01),
            (-40.0, 1.0, 4.00000000e+01, -4.24835389e-06),
            (-40.0, 0.0, 4.24835413e-18, 1.80485143e-23),
            (-100.0, 1.0, 1.00000000e+02, -0.00000000e+00),
        ];
        for (z, label, wanted, slope) in cases {
            let mut grad = [0.0];
            let found = loss.evaluate(&[z], &[label], 1, &mut grad).unwrap();
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs();
            assert!(close(found, wanted), "{z} {label}: {found} {wanted}");
            assert!(
                close(f64::from(grad[0]), slope),
                "{z} {label}: {} {slope}",
                grad[0]
            );
        }
    }

    #[test]
    fn a_logit_that_is_not_a_number_has_no_number_for_a_loss() {
        for loss in all() {
            assert!(
                loss.evaluate(&[f32::NAN], &[1.0], 1, &mut [0.0])
                    .unwrap()
                    .is_nan()
            );
        }
    }

    #[test]
    fn parameters_without_meaning_are_named() {
        let message = |loss: BinaryLoss| loss.validate().unwrap_err().to_string();
        let clamped = BinaryLoss {
            threshold: 2.0,
            ..BinaryLoss::bce()
        };
        assert!(message(clamped).starts_with("loss threshold is 2"));
        for weight in [f32::NAN, -1.0] {
            let kind = LossKind::WeightedBce {
                negative: 1.0,
                positive: weight,
            };
            let weighted = BinaryLoss {
                kind,
                ..BinaryLoss::bce()
            };
            assert!(message(weighted).starts_with(&format!("loss weight is {weight}")));
        }
        assert!(all().iter().all(|loss| loss.validate().is_ok()));
    }

    #[test]
    fn extreme_logits_stay_finite() {
        for loss in all() {
            for z in [-1e4f32, -90.0, 90.0, 1e4] {
                assert!(
                    loss.evaluate(&[z], &[1.0], 1, &mut [0.0])
                        .unwrap()
                        .is_finite()
                );
            }
        }
    }
}
