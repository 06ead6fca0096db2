//! Quantiles of Student's t distribution.

use std::f64::consts::{FRAC_PI_2, PI};

/// The `t` that a variable with `degrees` degrees of freedom exceeds in absolute value with probability `tail`.
///
/// G. W. Hill, Algorithm 396: Student's t-quantiles, Communications of the ACM 13(10), 1970; six digits or more.
pub(crate) fn two_sided(tail: f64, degrees: u64) -> f64 {
    let n = degrees.max(1) as f64;
    match degrees {
        0 | 1 => return (tail * FRAC_PI_2).cos() / (tail * FRAC_PI_2).sin(),
        2 => return (2.0 / (tail * (2.0 - tail)) - 2.0).sqrt(),
        _ => {}
    }
    let a = 1.0 / (n - 0.5);
    let b = 48.0 / (a * a);
    let mut c = ((20700.0 * a / b - 98.0) * a - 16.0) * a + 96.36;
    let d = ((94.5 / (b + c) - 3.0) / b + 1.0) * (a * PI / 2.0).sqrt() * n;
    let mut y = (d * tail).powf(2.0 / n);
    if y > 0.05 + a {
        let x = normal(tail / 2.0);
        y = x * x;
        if n < 5.0 {
            c += 0.3 * (n - 4.5) * (x + 0.6);
        }
        c += (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b;
        y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x;
        y = (a * y * y).exp_m1();
    } else {
        let inner = ((n + 6.0) / (n * y) - 0.089 * d - 0.822) * (n + 2.0) * 3.0;
        y = ((1.0 / inner + 0.5 / (n + 4.0)) * y - 1.0) * (n + 1.0) / (n + 2.0) + 1.0 / y;
    }
    (n * y).sqrt()
}

/// The quantile of the normal distribution, for probabilities below one half.
///
/// P. J. Acklam's rational approximations, relative error below 1.2e-9.
fn normal(probability: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 5] = [
        7.784695709041462e-3,
        3.224671290700398e-1,
        2.445134137142996,
        3.754408661907416,
        1.0,
    ];
    let polynomial = |factors: &[f64], x: f64| factors.iter().fold(0.0, |sum, f| sum * x + f);
    if probability < 0.02425 {
        let q = (-2.0 * probability.ln()).sqrt();
        polynomial(&C, q) / polynomial(&D, q)
    } else {
        let q = probability - 0.5;
        q * polynomial(&A, q * q) / polynomial(&B, q * q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of any printed table of the distribution.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        let cases = [
            (0.05, 1, 12.706205),
            (0.05, 2, 4.302653),
            (0.05, 3, 3.182446),
            (0.01, 5, 4.032143),
            (0.05, 10, 2.228139),
            (0.001, 30, 3.645959),
            (0.01, 120, 2.617421),
            (0.05, 1_000_000_000, 1.959964),
        ];
        for (tail, degrees, expected) in cases {
            let t = two_sided(tail, degrees);
            assert!((t - expected).abs() < 2e-4, "{tail} {degrees}: {t}");
        }
    }
}
