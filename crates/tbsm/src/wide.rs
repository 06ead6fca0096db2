//! The products of a wide layer, by the matrix product library.
//!
//! Where a matrix no longer fits the first cache, packing pays: towers of hundreds of units, and
//! multi-head attention.

use recsys_model::dispatch;
use recsys_model::simd::keep_above_zero;
use recsys_model::{Matrix, multiply};

use crate::product::{Finish, Rows};

/// Weights from which the library is the faster one.
pub(crate) const WEIGHTS: usize = 64 * 64;

/// What [`product`](crate::product::product) computes.
pub(crate) fn product(
    x: Rows<'_>,
    n: usize,
    inner: usize,
    weight: &[f32],
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    y: &mut [f32],
    columns: usize,
) {
    let y = &mut y[..n * columns];
    let left = Matrix::new(x.data, n, inner, x.stride);
    let right = Matrix::new(weight, inner, columns, columns);
    multiply(left, right, y, columns, matches!(finish, Finish::Add));
    if let Some(bias) = bias {
        add_bias(bias, y);
    }
    match finish {
        Finish::Keep | Finish::Add => {}
        Finish::Relu => relu(y),
        Finish::MaskBy(made) => crate::vectors::mask(&made[..y.len()], y),
    }
}

/// What [`add_outer`](crate::product::add_outer) computes.
pub(crate) fn add_outer(x: Rows<'_>, n: usize, inner: usize, dy: Rows<'_>, sums: &mut [f32]) {
    let left = Matrix::new(x.data, n, inner, x.stride).transposed();
    let right = Matrix::new(dy.data, n, dy.stride, dy.stride);
    multiply(left, right, sums, dy.stride, true);
}

dispatch! {
    /// `y[r] += bias` for rows as long as the bias.
    fn add_bias => add_bias_body(bias: &[f32], y: &mut [f32])
}
#[inline(always)]
fn add_bias_body<const WIDE: bool>(bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        for (y, bias) in row.iter_mut().zip(bias) {
            *y += bias;
        }
    }
}

dispatch! {
    /// ReLU in place. NaN stays NaN.
    fn relu => relu_body(y: &mut [f32])
}
#[inline(always)]
fn relu_body<const WIDE: bool>(y: &mut [f32]) {
    for y in y {
        *y = keep_above_zero(*y, *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product;

    #[test]
    fn wide_products_agree_with_small_ones() {
        let values = |n: usize, seed: usize| -> Vec<f32> {
            let value = |k: usize| (((k * 37 + seed * 101) % 29) as f32 - 14.0) / 8.0;
            (0..n).map(value).collect()
        };
        let close = |found: &[f32], expected: &[f32]| {
            for (f, e) in found.iter().zip(expected) {
                assert!((f - e).abs() < 1e-3, "{f} but {e}");
            }
        };
        let (n, inner, columns) = (13, 9, 24);
        let (x, weight, bias) = (
            values(n * 11, 1),
            values(inner * columns, 2),
            values(columns, 3),
        );
        let (x, made, old) = (
            Rows::new(&x, 11),
            values(n * columns, 4),
            values(n * columns, 5),
        );
        for bias in [None, Some(bias.as_slice())] {
            let finishes = [
                Finish::Keep,
                Finish::Relu,
                Finish::MaskBy(&made),
                Finish::Add,
            ];
            for finish in finishes {
                let (mut found, mut expected) = (old.clone(), old.clone());
                product(x, n, inner, &weight, bias, finish, &mut found, columns);
                product::product(x, n, inner, &weight, bias, finish, &mut expected, columns);
                close(&found, &expected);
            }
        }
        let dy = Rows::new(&made, columns);
        let (mut found, mut expected) = (weight.clone(), weight.clone());
        add_outer(x, n, inner, dy, &mut found);
        product::add_outer(x, n, inner, dy, &mut expected);
        close(&found, &expected);
    }
}
