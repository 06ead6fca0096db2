//! Element-wise work, and products of a sequence's vectors with one vector.
//!
//! A sequence's vectors are `[positions, columns]`, `columns` being their width rounded up to whole
//! vectors of the processor; the padding is zero.

use recsys_model::dispatch;
use recsys_model::simd::{keep_above_zero, multiply_add};
use recsys_model::transpose_block;

use crate::product::{LANES, Rows};

dispatch! {
    /// Sets `dy` to zero where `y` is not above zero.
    fn mask => mask_body(y: &[f32], dy: &mut [f32])
}
#[inline(always)]
fn mask_body<const WIDE: bool>(y: &[f32], dy: &mut [f32]) {
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy = keep_above_zero(*y, *dy);
    }
}

/// `1 / (1 + exp(-x))`.
pub(crate) fn sigmoid(values: &mut [f32]) {
    for value in values {
        *value = 1.0 / (1.0 + (-*value).exp());
    }
}

dispatch! {
    /// `dy *= y (1 - y)`.
    fn sigmoid_backward => sigmoid_backward_body(y: &[f32], dy: &mut [f32])
}
#[inline(always)]
fn sigmoid_backward_body<const WIDE: bool>(y: &[f32], dy: &mut [f32]) {
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy *= y * (1.0 - y);
    }
}

/// The shortest length that a vector is divided by.
pub(crate) const SHORTEST: f32 = 1e-12;

dispatch! {
    /// `unit = vector / max(|vector|, 1e-12)` for rows of `columns` values; the lengths are kept.
    fn normalise => normalise_body(columns: usize, vectors: &[f32], units: &mut [f32], lengths: &mut [f32])
}
#[inline(always)]
fn normalise_body<const WIDE: bool>(
    columns: usize,
    vectors: &[f32],
    units: &mut [f32],
    lengths: &mut [f32],
) {
    let rows = vectors
        .chunks_exact(columns)
        .zip(units.chunks_exact_mut(columns));
    for ((vector, unit), length) in rows.zip(lengths) {
        *length = dot::<WIDE>(vector, vector).sqrt();
        let scale = 1.0 / bounded(*length);
        for (unit, value) in unit.iter_mut().zip(vector) {
            *unit = value * scale;
        }
    }
}

dispatch! {
    /// Turns the gradient of unit vectors into that of the vectors, in place.
    fn normalise_backward => normalise_backward_body(columns: usize, units: &[f32], lengths: &[f32], grads: &mut [f32])
}
#[inline(always)]
fn normalise_backward_body<const WIDE: bool>(
    columns: usize,
    units: &[f32],
    lengths: &[f32],
    grads: &mut [f32],
) {
    let rows = units
        .chunks_exact(columns)
        .zip(grads.chunks_exact_mut(columns));
    for ((unit, grad), &length) in rows.zip(lengths) {
        let scale = 1.0 / bounded(length);
        // A vector that was divided by the bound did not change its divisor.
        let along = if length < SHORTEST {
            0.0
        } else {
            dot::<WIDE>(unit, grad)
        };
        for (grad, unit) in grad.iter_mut().zip(unit) {
            *grad = scale * multiply_add::<WIDE>(-along, *unit, *grad);
        }
    }
}

/// NaN stays NaN.
#[inline(always)]
fn bounded(length: f32) -> f32 {
    if length < SHORTEST { SHORTEST } else { length }
}

/// The inner product of two rows of whole vectors.
#[inline(always)]
fn dot<const WIDE: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = partial_sums::<WIDE>(a, b);
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            sums[l] += sums[l + width];
        }
        width /= 2;
    }
    sums[0]
}

#[inline(always)]
fn partial_sums<const WIDE: bool>(a: &[f32], b: &[f32]) -> [f32; LANES] {
    let mut sums = [0.0f32; LANES];
    for (a, b) in a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0)
    {
        for l in 0..LANES {
            sums[l] = multiply_add::<WIDE>(a[l], b[l], sums[l]);
        }
    }
    sums
}

/// The part of each sequence's vectors that a head sees.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// Sequences.
    pub(crate) n: usize,
    /// Positions of a sequence.
    pub(crate) positions: usize,
    /// The first position seen and their number.
    pub(crate) first: usize,
    pub(crate) span: usize,
    /// Values of a vector with its padding.
    pub(crate) columns: usize,
}

impl Window {
    #[inline(always)]
    fn of(self, sequence: usize) -> std::ops::Range<usize> {
        let start = (sequence * self.positions + self.first) * self.columns;
        start..start + self.span * self.columns
    }
}

dispatch! {
    /// `into[s][t] = vectors[s][first + t] · x[s]`, rows of `into` being whole vectors, the padding zero.
    fn compare => compare_body(window: Window, vectors: &[f32], x: Rows<'_>, into: &mut [f32])
}
#[inline(always)]
fn compare_body<const WIDE: bool>(window: Window, vectors: &[f32], x: Rows<'_>, into: &mut [f32]) {
    let columns = window.columns;
    let width = window.span.next_multiple_of(LANES);
    let (mut sums, mut turned) = ([0.0f32; LANES * LANES], [0.0f32; LANES * LANES]);
    for (s, into) in into.chunks_exact_mut(width).take(window.n).enumerate() {
        let x = &x.data[s * x.stride..][..columns];
        let seen = vectors[window.of(s)].chunks(LANES * columns);
        for (seen, into) in seen.zip(into.as_chunks_mut::<LANES>().0) {
            // Eight inner products at a time: their partial sums become rows by a transposition,
            // and are added as such.
            let partial = sums.as_chunks_mut::<LANES>().0;
            let rows = seen.len() / columns;
            for (row, sum) in seen.chunks_exact(columns).zip(&mut *partial) {
                *sum = partial_sums::<WIDE>(row, x);
            }
            partial[rows..].fill([0.0; LANES]);
            // SAFETY: the dispatcher calls bodies with `WIDE` only where it found AVX2.
            unsafe { transpose_block::<WIDE>(&sums, LANES, &mut turned, LANES) };
            *into = [0.0; LANES];
            for row in turned.as_chunks::<LANES>().0 {
                for l in 0..LANES {
                    into[l] += row[l];
                }
            }
        }
    }
}

dispatch! {
    /// `into[s] = Σ_t weights[s][t] vectors[s][first + t]`, `stride` values from row to row of `into`.
    fn weigh => weigh_body(window: Window, vectors: &[f32], weights: Rows<'_>, into: &mut [f32], stride: usize)
}
#[inline(always)]
fn weigh_body<const WIDE: bool>(
    window: Window,
    vectors: &[f32],
    weights: Rows<'_>,
    into: &mut [f32],
    stride: usize,
) {
    let columns = window.columns;
    for s in 0..window.n {
        let seen = &vectors[window.of(s)];
        let weights = &weights.data[s * weights.stride..][..window.span];
        let into = &mut into[s * stride..][..columns];
        for (v, into) in into.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            // Two sums in turns, so that one need not wait for the other.
            let mut sums = [[0.0f32; LANES]; 2];
            for (t, (row, weight)) in seen.chunks_exact(columns).zip(weights).enumerate() {
                let row = &row[v * LANES..][..LANES];
                let sum = &mut sums[t % 2];
                for l in 0..LANES {
                    sum[l] = multiply_add::<WIDE>(*weight, row[l], sum[l]);
                }
            }
            for l in 0..LANES {
                into[l] = sums[0][l] + sums[1][l];
            }
        }
    }
}

dispatch! {
    /// `grads[s][first + t] += weights[s][t] a[s] + others[s][t] b[s]`: what [`weigh`] by `weights` and [`compare`] with
    /// `b` hand back to the vectors.
    fn add_products => add_products_body(
        window: Window, weights: Rows<'_>, a: Rows<'_>, others: Rows<'_>, b: Rows<'_>, grads: &mut [f32],
    )
}
#[inline(always)]
fn add_products_body<const WIDE: bool>(
    window: Window,
    weights: Rows<'_>,
    a: Rows<'_>,
    others: Rows<'_>,
    b: Rows<'_>,
    grads: &mut [f32],
) {
    let (columns, span) = (window.columns, window.span);
    for s in 0..window.n {
        let a = &a.data[s * a.stride..][..columns];
        let b = &b.data[s * b.stride..][..columns];
        let weights = &weights.data[s * weights.stride..][..span];
        let others = &others.data[s * others.stride..][..span];
        let rows = grads[window.of(s)].chunks_exact_mut(columns);
        for (row, (weight, other)) in rows.zip(weights.iter().zip(others)) {
            for (value, (a, b)) in row.iter_mut().zip(a.iter().zip(b)) {
                *value =
                    multiply_add::<WIDE>(*weight, *a, multiply_add::<WIDE>(*other, *b, *value));
            }
        }
    }
}

/// `into[r] += from[r]` for rows of `columns` values.
pub(crate) fn add_strided(
    columns: usize,
    from: Rows<'_>,
    into: &mut [f32],
    stride: usize,
    n: usize,
) {
    for r in 0..n {
        let from = &from.data[r * from.stride..][..columns];
        for (into, from) in into[r * stride..][..columns].iter_mut().zip(from) {
            *into += from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|k| (((k * 61 + seed * 17) % 53) as f32 - 26.0) / 16.0)
            .collect()
    }

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-4 * (1.0 + e.abs()), "{f} but {e}");
        }
    }

    #[test]
    fn window_products_agree_with_plain_loops() {
        for (columns, positions, first, span) in [
            (8, 2, 0, 1),
            (16, 21, 0, 20),
            (24, 12, 2, 9),
            (8, 18, 1, 16),
        ] {
            let n = 3;
            let window = Window {
                n,
                positions,
                first,
                span,
                columns,
            };
            let vectors = values(n * positions * columns, 1);
            let (x, b) = (values(n * (columns + 5), 2), values(n * columns, 3));
            let rows = Rows::new(&x, columns + 5);
            let width = span.next_multiple_of(LANES);
            let vector =
                |s: usize, t: usize, d: usize| vectors[(s * positions + first + t) * columns + d];
            let mut expected = vec![0.0; n * width];
            for s in 0..n {
                for t in 0..span {
                    expected[s * width + t] = (0..columns)
                        .map(|d| vector(s, t, d) * x[s * (columns + 5) + d])
                        .sum();
                }
            }
            let (mut found, mut portable) = (vec![9.0; n * width], vec![9.0; n * width]);
            compare(window, &vectors, rows, &mut found);
            compare_body::<false>(window, &vectors, rows, &mut portable);
            close(&found, &expected);
            close(&portable, &expected);

            let (weights, others) = (values(n * width, 4), values(n * width, 5));
            let stride = columns + 3;
            let mut expected = vec![7.0; n * stride];
            for s in 0..n {
                for d in 0..columns {
                    expected[s * stride + d] = (0..span)
                        .map(|t| weights[s * width + t] * vector(s, t, d))
                        .sum();
                }
            }
            let (mut found, mut portable) = (vec![7.0; n * stride], vec![7.0; n * stride]);
            weigh(
                window,
                &vectors,
                Rows::new(&weights, width),
                &mut found,
                stride,
            );
            weigh_body::<false>(
                window,
                &vectors,
                Rows::new(&weights, width),
                &mut portable,
                stride,
            );
            close(&found, &expected);
            close(&portable, &expected);

            let mut expected = vectors.clone();
            for s in 0..n {
                for t in 0..span {
                    for d in 0..columns {
                        expected[(s * positions + first + t) * columns + d] +=
                            weights[s * width + t] * x[s * (columns + 5) + d]
                                + others[s * width + t] * b[s * columns + d];
                    }
                }
            }
            let (weights, others) = (Rows::new(&weights, width), Rows::new(&others, width));
            let b = Rows::new(&b, columns);
            let (mut found, mut portable) = (vectors.clone(), vectors.clone());
            add_products(window, weights, rows, others, b, &mut found);
            add_products_body::<false>(window, weights, rows, others, b, &mut portable);
            close(&found, &expected);
            close(&portable, &expected);
        }
    }

    #[test]
    fn unit_vectors_and_their_gradients() {
        // (3, 4) has length 5; the gradient across it is divided by 5, the one along it vanishes.
        let mut vectors = [0.0; 3 * LANES];
        vectors[..2].copy_from_slice(&[3.0, 4.0]);
        vectors[2 * LANES] = 1e-20;
        let (mut units, mut lengths) = ([9.0; 3 * LANES], [9.0; 3]);
        normalise(LANES, &vectors, &mut units, &mut lengths);
        close(&units[..2], &[0.6, 0.8]);
        assert_eq!((lengths[0], lengths[1]), (5.0, 0.0));
        // Zero stays zero, and what is shorter than the bound is divided by the bound.
        assert_eq!(units[LANES], 0.0);
        close(&units[2 * LANES..][..1], &[1e-8]);
        let mut grads = [0.0; 3 * LANES];
        grads[..2].copy_from_slice(&[0.6 + 0.8, 0.8 - 0.6]);
        grads[2 * LANES] = 1.0;
        normalise_backward(LANES, &units, &lengths, &mut grads);
        close(&grads[..2], &[0.16, -0.12]);
        assert!((grads[2 * LANES] / 1e12 - 1.0).abs() < 1e-5);
    }

    #[test]
    fn sigmoid_holds_at_its_ends() {
        let mut values = [-200.0, -1.0, 0.0, 1.0, 200.0, f32::NAN];
        sigmoid(&mut values);
        close(&values[..5], &[0.0, 0.268_941_42, 0.5, 0.731_058_6, 1.0]);
        assert!(values[5].is_nan());
    }
}
