//! The dot interaction of few features, forward and backward.
//!
//! `dlrm`'s kernels are made for dozens of features: they transpose a sample's features first. The
//! towers of a sequence model have three tables, so all features and all products fit the
//! registers, and a transposition of the partial sums at the end yields eight products at once.

use recsys_model::dispatch;
use recsys_model::simd::multiply_add;
use recsys_model::transpose_block;

use crate::product::{LANES, padded};

/// Features that these kernels are made for.
pub(crate) const FEATURES: std::ops::RangeInclusive<usize> = 2..=5;

/// Products of `features`.
const fn products(features: usize) -> usize {
    features * (features - 1) / 2
}

dispatch! {
    /// `output[s] = [bottom[s], triangle of T T']` for `T = [bottom[s]; rows[s]]`, without its diagonal. The dimension is
    /// a multiple of [`LANES`], and so is the distance of outputs, the padding being zero.
    fn pairs_forward => pairs_forward_body(features: usize, dim: usize, bottom: &[f32], rows: &[f32], output: &mut [f32])
}
#[inline(always)]
fn pairs_forward_body<const WIDE: bool>(
    features: usize,
    dim: usize,
    bottom: &[f32],
    rows: &[f32],
    output: &mut [f32],
) {
    match features {
        2 => forward::<WIDE, 2, 1, 8>(dim, bottom, rows, output),
        3 => forward::<WIDE, 3, 3, 8>(dim, bottom, rows, output),
        4 => forward::<WIDE, 4, 6, 8>(dim, bottom, rows, output),
        _ => forward::<WIDE, 5, 10, 16>(dim, bottom, rows, output),
    }
}

#[inline(always)]
fn forward<const WIDE: bool, const FEATURES: usize, const PRODUCTS: usize, const PADDED: usize>(
    dim: usize,
    bottom: &[f32],
    rows: &[f32],
    output: &mut [f32],
) {
    let mut turned = [[0.0f32; LANES]; LANES];
    let samples = bottom
        .chunks_exact(dim)
        .zip(rows.chunks_exact((FEATURES - 1) * dim));
    for ((bottom, rows), output) in samples.zip(output.chunks_exact_mut(dim + PADDED)) {
        let mut sums = [[0.0f32; LANES]; PADDED];
        for d in (0..dim).step_by(LANES) {
            let features = load::<FEATURES>(dim, bottom, rows, d);
            let mut product = 0;
            for i in 1..FEATURES {
                for j in 0..i {
                    for l in 0..LANES {
                        sums[product][l] =
                            multiply_add::<WIDE>(features[i][l], features[j][l], sums[product][l]);
                    }
                    product += 1;
                }
            }
        }
        output[..dim].copy_from_slice(bottom);
        let groups = output[dim..].as_chunks_mut::<LANES>().0;
        for (sums, into) in sums.as_chunks::<LANES>().0.iter().zip(groups) {
            let (from, to) = (sums.as_flattened(), turned.as_flattened_mut());
            // SAFETY: the dispatcher calls bodies with `WIDE` only where it found AVX2.
            unsafe { transpose_block::<WIDE>(from, LANES, to, LANES) };
            *into = [0.0; LANES];
            for row in &turned {
                for l in 0..LANES {
                    into[l] += row[l];
                }
            }
        }
    }
}

/// Eight values of every feature.
#[inline(always)]
fn load<const FEATURES: usize>(
    dim: usize,
    bottom: &[f32],
    rows: &[f32],
    d: usize,
) -> [[f32; LANES]; FEATURES] {
    let mut features = [[0.0f32; LANES]; FEATURES];
    features[0].copy_from_slice(&bottom[d..][..LANES]);
    for (f, feature) in features[1..].iter_mut().enumerate() {
        feature.copy_from_slice(&rows[f * dim + d..][..LANES]);
    }
    features
}

dispatch! {
    /// The gradients of `bottom` and `rows` from that of the output: `dT[i] = Σ_j dZ[i, j] T[j]` over the symmetric `dZ`,
    /// and the bottom output's own part.
    fn pairs_backward => pairs_backward_body(
        features: usize, dim: usize, bottom: &[f32], rows: &[f32], output_grad: &[f32],
        bottom_grad: &mut [f32], rows_grad: &mut [f32],
    )
}
#[inline(always)]
fn pairs_backward_body<const WIDE: bool>(
    features: usize,
    dim: usize,
    bottom: &[f32],
    rows: &[f32],
    output_grad: &[f32],
    bottom_grad: &mut [f32],
    rows_grad: &mut [f32],
) {
    match features {
        2 => backward::<WIDE, 2>(dim, bottom, rows, output_grad, bottom_grad, rows_grad),
        3 => backward::<WIDE, 3>(dim, bottom, rows, output_grad, bottom_grad, rows_grad),
        4 => backward::<WIDE, 4>(dim, bottom, rows, output_grad, bottom_grad, rows_grad),
        _ => backward::<WIDE, 5>(dim, bottom, rows, output_grad, bottom_grad, rows_grad),
    }
}

#[inline(always)]
fn backward<const WIDE: bool, const FEATURES: usize>(
    dim: usize,
    bottom: &[f32],
    rows: &[f32],
    output_grad: &[f32],
    bottom_grad: &mut [f32],
    rows_grad: &mut [f32],
) {
    let size = (FEATURES - 1) * dim;
    let samples = bottom.chunks_exact(dim).zip(rows.chunks_exact(size));
    let grads = bottom_grad
        .chunks_exact_mut(dim)
        .zip(rows_grad.chunks_exact_mut(size));
    let output_grads = output_grad.chunks_exact(dim + padded(products(FEATURES)));
    for (((bottom, rows), output_grad), (bottom_grad, rows_grad)) in
        samples.zip(output_grads).zip(grads)
    {
        let (direct, pairs) = output_grad.split_at(dim);
        let pairs = &pairs[..products(FEATURES)];
        for d in (0..dim).step_by(LANES) {
            let features = load::<FEATURES>(dim, bottom, rows, d);
            let mut sums = [[0.0f32; LANES]; FEATURES];
            sums[0].copy_from_slice(&direct[d..][..LANES]);
            let mut product = 0;
            for i in 1..FEATURES {
                for j in 0..i {
                    let grad = pairs[product];
                    product += 1;
                    for l in 0..LANES {
                        sums[i][l] = multiply_add::<WIDE>(grad, features[j][l], sums[i][l]);
                        sums[j][l] = multiply_add::<WIDE>(grad, features[i][l], sums[j][l]);
                    }
                }
            }
            bottom_grad[d..][..LANES].copy_from_slice(&sums[0]);
            for (f, sum) in sums[1..].iter().enumerate() {
                rows_grad[f * dim + d..][..LANES].copy_from_slice(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlrm::parts::{InteractionLayer, InteractionScratch, SLACK};
    use dlrm::{DlrmConfig, Interaction};

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|k| (((k * 61 + seed * 17) % 53) as f32 - 26.0) / 16.0)
            .collect()
    }

    /// The kernels compute what `dlrm`'s do.
    #[test]
    fn few_features_agree_with_many() {
        for features in FEATURES {
            for dim in [8, 16, 40] {
                let config = DlrmConfig {
                    tables: features - 1,
                    dim,
                    bottom: vec![1, dim],
                    interaction: Interaction::Dot { with_self: false },
                    ..DlrmConfig::default()
                };
                let layer = InteractionLayer::new(&config);
                let (n, stride, width) = (5, layer.stride(), config.interaction_width());
                let (bottom, rows) = (values(n * dim, 1), values(n * (features - 1) * dim, 2));
                let grad = values(n * stride, 3);
                let mut scratch = InteractionScratch::default();
                let mut expected = vec![0.0; n * stride + SLACK];
                layer.forward(n, &bottom, &rows, &mut scratch, &mut expected);
                let mut expected_grads = [vec![0.0; bottom.len()], vec![0.0; rows.len()]];
                let [b, r] = &mut expected_grads;
                layer.backward(n, &bottom, &rows, &grad, &mut scratch, b, r);

                let mut outputs = [vec![9.0; n * stride], vec![9.0; n * stride]];
                pairs_forward(features, dim, &bottom, &rows, &mut outputs[0]);
                pairs_forward_body::<false>(features, dim, &bottom, &rows, &mut outputs[1]);
                let close = |found: &[f32], expected: &[f32]| {
                    for (f, e) in found.iter().zip(expected) {
                        assert!((f - e).abs() < 1e-4 * (1.0 + e.abs()), "{f} but {e}");
                    }
                };
                for output in &outputs {
                    for s in 0..n {
                        close(
                            &output[s * stride..][..width],
                            &expected[s * stride..][..width],
                        );
                        assert!(
                            output[s * stride + width..(s + 1) * stride]
                                .iter()
                                .all(|&v| v == 0.0)
                        );
                    }
                }
                let mut grads = [vec![9.0; bottom.len()], vec![9.0; rows.len()]];
                let [b, r] = &mut grads;
                pairs_backward(features, dim, &bottom, &rows, &grad, b, r);
                close(&grads[0], &expected_grads[0]);
                close(&grads[1], &expected_grads[1]);
                let [b, r] = &mut grads;
                pairs_backward_body::<false>(features, dim, &bottom, &rows, &grad, b, r);
                close(&grads[0], &expected_grads[0]);
                close(&grads[1], &expected_grads[1]);
            }
        }
    }
}
