//! Exact quality metrics over a whole data set.

use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::{Loss, cross_entropy, sigmoid};

/// Logits and labels of samples, gathered batch by batch; all logits are finite.
/// [`Scores::evaluate`] has the metrics that runs report; others can be computed from
/// [`Scores::logits`] and [`Scores::labels`].
#[derive(Debug, Clone, Default)]
pub struct Scores {
    logits: Vec<f32>,
    labels: Vec<f32>,
}

/// How good the predictions on a data set are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// Number of samples.
    pub samples: u64,
    /// Area under the ROC curve, ties counted half; `None` where all labels are the same, because
    /// then it is undefined.
    pub auc: Option<f64>,
    /// Mean cross-entropy in nats.
    pub log_loss: f64,
    /// Share of samples whose rounded prediction equals the label (a prediction of exactly one half
    /// counts as no click).
    pub accuracy: f64,
    /// Log loss over the entropy of the click rate of these samples: 1 is as good as always
    /// predicting the click rate. `None` where all labels are the same.
    pub normalized_entropy: Option<f64>,
    /// Mean prediction over click rate: above 1 the model promises too many clicks. `None` without
    /// a click.
    pub calibration: Option<f64>,
    /// Share of samples with label 1.
    pub click_rate: f64,
}

impl Scores {
    /// Adds a batch.
    ///
    /// # Shapes
    /// `logits`, `labels`: `[batch]`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where there are not equally many, and [`Error::ScoreNotFinite`]; nothing
    /// is added then.
    pub fn extend(&mut self, logits: &[f32], labels: &[f32]) -> Result<()> {
        if logits.len() != labels.len() {
            return Err(Error::Mismatch {
                what: "predictions of a batch".into(),
                model: logits.len() as u64,
                data: labels.len() as u64,
                remedy: "give one logit for each label",
            });
        }
        if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(Error::ScoreNotFinite {
                sample: (self.len() + at) as u64,
                score: logits[at],
                largest: String::new(),
            });
        }
        self.logits.extend_from_slice(logits);
        self.labels.extend_from_slice(labels);
        Ok(())
    }

    /// Adds the samples of another collection after these.
    pub fn append(&mut self, other: &Self) {
        self.logits.extend_from_slice(&other.logits);
        self.labels.extend_from_slice(&other.labels);
    }

    /// The scores as a loss sees them: where it clamps predictions, so do its evaluations.
    pub fn seen_by(mut self, loss: &dyn Loss) -> Self {
        if let Some([least, largest]) = loss.logit_bounds() {
            for logit in &mut self.logits {
                *logit = logit.max(least).min(largest);
            }
        }
        self
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.logits.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.logits.is_empty()
    }

    /// Logits in the order in which they were added.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Probabilities of a click, in the order in which samples were added.
    pub fn probabilities(&self) -> impl ExactSizeIterator<Item = f32> {
        let logits = self.logits.iter();
        logits.map(|&logit| sigmoid(f64::from(logit)) as f32)
    }

    /// Labels in the order in which they were added.
    pub fn labels(&self) -> &[f32] {
        &self.labels
    }

    /// The metrics; `None` without a sample.
    pub fn evaluate(&self) -> Option<Evaluation> {
        if self.is_empty() {
            return None;
        }
        let samples = self.len() as f64;
        let (mut entropy, mut correct, mut clicks, mut predicted) = (0.0, 0u64, 0.0, 0.0);
        for (&logit, &label) in self.logits.iter().zip(&self.labels) {
            let (z, y) = (f64::from(logit), f64::from(label));
            entropy += cross_entropy(z, y);
            correct += u64::from((z > 0.0) == (y > 0.5));
            clicks += y;
            predicted += sigmoid(z);
        }
        let (log_loss, click_rate) = (entropy / samples, clicks / samples);
        let both_classes = click_rate > 0.0 && click_rate < 1.0;
        let base = -(click_rate * click_rate.ln() + (1.0 - click_rate) * (-click_rate).ln_1p());
        Some(Evaluation {
            samples: self.len() as u64,
            auc: self.auc(),
            log_loss,
            accuracy: correct as f64 / samples,
            normalized_entropy: both_classes.then(|| log_loss / base),
            calibration: (clicks > 0.0).then(|| predicted / clicks),
            click_rate,
        })
    }

    /// Area under the ROC curve: the share of (click, no click) pairs in which the click has the
    /// higher logit, a tie counting half. Exact: by sorting, in integers. `None` where one class is
    /// missing.
    pub fn auc(&self) -> Option<f64> {
        let mut keys: Vec<u64> = self
            .logits
            .iter()
            .zip(&self.labels)
            .map(|(&logit, &label)| {
                u64::from(order_preserving_bits(logit)) << 1 | u64::from(label > 0.5)
            })
            .collect();
        keys.par_sort_unstable();
        // Twice the number of pairs won, so that a tie is one.
        let (mut won, mut negatives, mut positives) = (0u128, 0u64, 0u64);
        for group in keys.chunk_by(|a, b| a >> 1 == b >> 1) {
            let clicks = group.iter().filter(|&&key| key & 1 == 1).count() as u64;
            let others = group.len() as u64 - clicks;
            won += u128::from(clicks) * u128::from(2 * negatives + others);
            positives += clicks;
            negatives += others;
        }
        let pairs = u128::from(positives) * u128::from(negatives);
        (pairs > 0).then(|| won as f64 / (2 * pairs) as f64)
    }
}

/// Bits that sort like the number; -0 and 0 are the same.
fn order_preserving_bits(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::loss::BinaryLoss;

    fn scores(pairs: &[(f32, u8)]) -> Scores {
        let mut scores = Scores::default();
        for &(logit, label) in pairs {
            scores.extend(&[logit], &[f32::from(label)]).unwrap();
        }
        scores
    }

    /// Found by a user of the library: the third logit had no label, and was kept.
    #[test]
    fn three_logits_with_one_label_are_refused() {
        let mut scores = scores(&[(0.5, 1)]);
        let error = scores.extend(&[0.1, 0.2, 0.3], &[1.0]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("the model has 3, the data set has 1"),
            "{error}"
        );
        assert_eq!((scores.logits(), scores.labels()), (&[0.5][..], &[1.0][..]));
    }

    #[test]
    fn a_score_that_is_not_finite_is_refused() {
        let mut scores = scores(&[(0.5, 1)]);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = scores.extend(&[0.1, bad], &[1.0, 0.0]).unwrap_err();
            let message = error.to_string();
            assert!(
                message.starts_with("the score of sample 2 is "),
                "{message}"
            );
            assert_eq!(scores.len(), 1);
        }
    }

    #[test]
    fn clamped_scores_are_ties() {
        let clamped = BinaryLoss {
            threshold: 0.3,
            ..BinaryLoss::bce()
        };
        let scores = scores(&[(3.0, 0), (2.0, 1), (-2.0, 0)]);
        assert_eq!(scores.auc(), Some(0.5));
        assert_eq!(scores.seen_by(&clamped).auc(), Some(0.75));
    }

    #[test]
    fn one_class_has_no_auc() {
        let evaluation = scores(&[(0.1, 1), (0.2, 1)]).evaluate().unwrap();
        assert_eq!(
            (evaluation.auc, evaluation.normalized_entropy),
            (None, None)
        );
        assert!(Scores::default().evaluate().is_none());
    }

    #[test]
    fn a_prediction_of_one_half_counts_as_no_click() {
        let evaluation = scores(&[(0.0, 0), (-0.0, 0), (0.0, 1)]).evaluate().unwrap();
        assert_eq!(evaluation.accuracy, 2.0 / 3.0);
        assert_eq!(evaluation.auc, Some(0.5));
    }

    #[test]
    fn predicting_the_click_rate_has_normalized_entropy_one() {
        let logit = (0.25f32 / 0.75).ln();
        let evaluation = scores(&[(logit, 1), (logit, 0), (logit, 0), (logit, 0)])
            .evaluate()
            .unwrap();
        assert!((evaluation.normalized_entropy.unwrap() - 1.0).abs() < 1e-6);
        assert!((evaluation.calibration.unwrap() - 1.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn auc_equals_the_count_over_all_pairs(pairs in prop::collection::vec((-4i8..4, 0u8..2), 1..60)) {
            let pairs: Vec<_> = pairs.iter().map(|&(logit, label)| (f32::from(logit) / 2.0, label)).collect();
            let (mut won, mut total) = (0.0, 0.0);
            for &(a, _) in pairs.iter().filter(|pair| pair.1 == 1) {
                for &(b, _) in pairs.iter().filter(|pair| pair.1 == 0) {
                    total += 1.0;
                    won += if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
                }
            }
            prop_assert_eq!(scores(&pairs).auc(), (total > 0.0).then(|| won / total));
        }
    }
}
