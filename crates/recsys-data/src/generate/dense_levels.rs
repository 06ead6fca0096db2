//! The values a generated dense feature takes: 1,024 equally likely levels of a count distribution.

/// Number of levels, a power of two: a level is drawn by the upper bits of a random number.
pub(crate) const LEVELS: usize = 1 << 10;

/// Shape of a count: `ln(count + 1)` is logistic with this mean and standard deviation, cut at 0.
struct Profile {
    mean: f64,
    deviation: f64,
    missing: f64,
    /// Share of the values written as -1.
    negative: f64,
}

const fn profile(mean: f64, deviation: f64, missing: f64, negative: f64) -> Profile {
    Profile {
        mean,
        deviation,
        missing,
        negative,
    }
}

/// The 13 features of Criteo Kaggle, as measured on a few thousand of its rows.
const PROFILES: [Profile; 13] = [
    profile(0.78, 0.97, 0.45, 0.0),
    profile(2.11, 2.13, 0.0, 0.10),
    profile(2.25, 1.29, 0.20, 0.0),
    profile(1.73, 0.96, 0.20, 0.0),
    profile(7.28, 2.87, 0.05, 0.0),
    profile(3.61, 1.80, 0.25, 0.0),
    profile(1.52, 1.34, 0.05, 0.0),
    profile(2.05, 1.18, 0.001, 0.0),
    profile(3.61, 1.69, 0.05, 0.0),
    profile(0.37, 0.39, 0.45, 0.0),
    profile(0.84, 0.73, 0.05, 0.0),
    profile(0.29, 0.61, 0.77, 0.0),
    profile(1.89, 1.06, 0.20, 0.0),
];

/// One value of a dense feature, raw and as models see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level {
    /// The integer of the raw text; nothing where it is missing.
    pub(crate) raw: Option<i32>,
    /// `ln(max(raw, 0) + 1)`, 0 where it is missing.
    pub(crate) value: f32,
}

/// The levels of dense feature `feature`, counted from 0; features beyond the thirteenth repeat the first ones.
pub(crate) fn levels(feature: usize) -> Vec<Level> {
    let profile = &PROFILES[feature % PROFILES.len()];
    let scale = profile.deviation * 3f64.sqrt() / std::f64::consts::PI;
    (0..LEVELS)
        .map(|level| {
            let quantile = (level as f64 + 0.5) / LEVELS as f64;
            if quantile < profile.missing {
                return Level {
                    raw: None,
                    value: 0.0,
                };
            }
            let quantile = (quantile - profile.missing) / (1.0 - profile.missing);
            let raw = if quantile < profile.negative {
                -1
            } else {
                let logarithm = profile.mean + scale * (quantile / (1.0 - quantile)).ln();
                (logarithm.exp_m1().round().clamp(0.0, 1e9)) as i32
            };
            // As readers of the text compute it: single precision, natural logarithm.
            Level {
                raw: Some(raw),
                value: (raw.max(0) as f32 + 1.0).ln(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_missing_and_negative_values_are_those_of_the_profile() {
        let second = levels(1);
        assert_eq!(second, levels(14));
        assert!(second.iter().all(|level| level.raw.is_some()));
        let negative = second.iter().filter(|level| level.raw == Some(-1)).count();
        assert!((negative as f64 / LEVELS as f64 - 0.10).abs() < 0.001);
        assert!(
            second
                .iter()
                .all(|level| level.raw.is_none_or(|raw| raw >= 0) || level.value == 0.0)
        );
        let missing = levels(11)
            .iter()
            .filter(|level| level.raw.is_none())
            .count();
        assert!((missing as f64 / LEVELS as f64 - 0.77).abs() < 0.001);
    }
}
