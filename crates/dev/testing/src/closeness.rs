//! Equality up to rounding.

/// What rounding may change: a share of the largest expected value, which counts as `least` at
/// least.
#[derive(Debug, Clone, Copy)]
pub struct Rounding {
    /// The share.
    pub share: f32,
    /// A bound below of the largest value, so that noise around zero passes.
    pub least: f32,
}

/// Whether two vectors are equal up to rounding.
///
/// # Errors
/// Unequal lengths, or the first value that is further away, or not a number, with `what` it is.
pub fn close(
    found: &[f32],
    expected: &[f32],
    rounding: Rounding,
    what: &str,
) -> Result<(), String> {
    if found.len() != expected.len() {
        let (found, expected) = (found.len(), expected.len());
        return Err(format!("{what}: {found} values but {expected}"));
    }
    let largest = expected.iter().fold(rounding.least, |m, v| m.max(v.abs()));
    for (k, (f, e)) in found.iter().zip(expected).enumerate() {
        let distance = (f - e).abs();
        if distance.is_nan() || distance > rounding.share * largest {
            return Err(format!("{what}[{k}]: {f} but {e} (largest {largest})"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_or_no_number_is_not_close() {
        let rounding = Rounding {
            share: 0.01,
            least: 1.0,
        };
        assert_eq!(close(&[2.0, 0.01], &[2.0, 0.0], rounding, "x"), Ok(()));
        for found in [&[2.1, 0.0][..], &[2.0, f32::NAN], &[2.0]] {
            assert!(
                close(found, &[2.0, 0.0], rounding, "x").is_err(),
                "{found:?}"
            );
        }
    }
}
