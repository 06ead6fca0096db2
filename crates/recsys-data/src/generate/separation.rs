//! Area under the ROC curve of known probabilities: the best that any model can reach on planted samples.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Result};

/// The AUC over numbered samples, drawn in parallel; `scored` gives a sample's score and its two weights, as
/// [`weighted_auc`] takes them, and has memory of type `R` that is reused.
pub(crate) fn auc_of_samples<R: Default + Send>(
    samples: Range<u64>,
    scored: impl Fn(&mut R, u64) -> (f64, f64, f64) + Sync,
) -> Result<f64> {
    let Range { start: first, end } = samples;
    let scored = samples
        .into_par_iter()
        .map_init(R::default, &scored)
        .collect();
    let auc = weighted_auc(scored);
    if auc.is_nan() {
        Err(Error::UndefinedAuc { first, end })
    } else {
        Ok(auc)
    }
}

/// The AUC of scores with a positive and a negative weight each, ties counted half; NaN where one class has no weight.
///
/// Labels are the weights `(1, 0)` and `(0, 1)`; with `(p, 1 - p)` it is the expectation over labels, to first order
/// in one over the number of samples.
pub(crate) fn weighted_auc(mut scored: Vec<(f64, f64, f64)>) -> f64 {
    scored.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
    let (mut negatives_below, mut positives, mut pairs) = (0.0, 0.0, 0.0);
    for ties in scored.chunk_by(|left, right| left.0 == right.0) {
        let positive: f64 = ties.iter().map(|tie| tie.1).sum();
        let negative: f64 = ties.iter().map(|tie| tie.2).sum();
        pairs += positive * (negatives_below + 0.5 * negative);
        positives += positive;
        negatives_below += negative;
    }
    // A division of zero by zero where one class is missing: undefined, and said so.
    pairs / (positives * negatives_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_counting_pairs() {
        let scored = vec![
            (0.1, 0.0, 1.0),
            (0.4, 1.0, 0.0),
            (0.4, 0.0, 1.0),
            (0.35, 0.0, 1.0),
            (0.8, 1.0, 0.0),
        ];
        // Pairs (positive, negative): 0.4 beats 0.1 and 0.35 and ties with 0.4; 0.8 beats all three.
        assert_eq!(weighted_auc(scored), 5.5 / 6.0);
        assert!(weighted_auc(vec![(0.5, 1.0, 0.0)]).is_nan());
    }
}
