//! The kernels of the dot interaction: all pairs of one sample's features, and their gradients.
//!
//! A sample's products are the lower triangle of a small symmetric matrix (27 × 16 · 16 × 27 for
//! Criteo). A matrix product per sample computes twice what is needed and spends most of its time
//! on packing; a dot product per pair ends in a horizontal sum each. Here row `i` of the triangle
//! is a combination of the *transposed* features, whose coefficients are the values of feature `i`:
//! vectors run along the row, nothing is summed across lanes, and the work stops at the diagonal up
//! to whole vectors.

use recsys_model::simd::multiply_add;
use recsys_model::{dispatch, transpose_block};

/// Lanes of a vector.
const LANES: usize = 8;

/// Extents of a dot interaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DotShape {
    pub(crate) tables: usize,
    pub(crate) dim: usize,
    /// Values of the bottom output, the feature in front of the tables: `dim`, or 0 where there is
    /// none.
    pub(crate) lead: usize,
    pub(crate) with_self: bool,
    /// Values from one sample's output to the next's.
    pub(crate) stride: usize,
}

impl DotShape {
    #[inline(always)]
    fn features(self) -> usize {
        self.tables + usize::from(self.lead > 0)
    }

    /// Products in front of row `i` of the triangle.
    #[inline(always)]
    fn row_start(self, i: usize) -> usize {
        if self.with_self {
            i * (i + 1) / 2
        } else {
            i * i.saturating_sub(1) / 2
        }
    }

    #[inline(always)]
    fn row_len(self, i: usize) -> usize {
        i + usize::from(self.with_self)
    }

    fn padded_features(self) -> usize {
        self.features().next_multiple_of(LANES)
    }

    fn padded_dim(self) -> usize {
        self.dim.next_multiple_of(LANES)
    }
}

/// One sample's features, padded to whole vectors, and what is computed from them.
#[derive(Debug, Default)]
pub struct DotScratch {
    /// `[padded features, padded dim]`; the padding stays zero.
    features: Vec<f32>,
    /// `[padded dim, padded features]`.
    transposed: Vec<f32>,
    /// `[padded features, padded dim]`.
    grads: Vec<f32>,
}

impl DotScratch {
    #[inline(always)]
    fn fit(&mut self, shape: DotShape) {
        let len = shape.padded_features() * shape.padded_dim();
        // The padding moves when the extents change, so everything is cleared: once a call, not
        // once a sample.
        for buffer in [&mut self.features, &mut self.transposed, &mut self.grads] {
            buffer.clear();
            buffer.resize(len, 0.0);
        }
    }
}

#[inline(always)]
fn gather(shape: DotShape, bottom: &[f32], rows: &[f32], features: &mut [f32]) {
    let (dim, lead, padded) = (shape.dim, shape.lead, shape.padded_dim());
    features[..lead].copy_from_slice(bottom);
    if dim == padded {
        features[lead..lead + rows.len()].copy_from_slice(rows);
    } else {
        for (feature, row) in features
            .chunks_exact_mut(padded)
            .skip(usize::from(lead > 0))
            .zip(rows.chunks_exact(dim))
        {
            feature[..dim].copy_from_slice(row);
        }
    }
}

dispatch! {
    /// `output[s] = [bottom[s], triangle of T T']` for `T = [bottom[s]; rows[s]]`. `output` ends [`LANES`] values behind
    /// the last sample, since rows are stored in whole vectors; what lies between width and stride is unspecified.
    fn dot_forward => dot_forward_body(
        shape: DotShape, bottom: &[f32], rows: &[f32], scratch: &mut DotScratch, output: &mut [f32],
    )
}
#[inline(always)]
fn dot_forward_body<const WIDE: bool>(
    shape: DotShape,
    bottom: &[f32],
    rows: &[f32],
    scratch: &mut DotScratch,
    output: &mut [f32],
) {
    let (dim, lead, count) = (shape.dim, shape.lead, shape.features());
    let (padded_features, padded_dim) = (shape.padded_features(), shape.padded_dim());
    scratch.fit(shape);
    for (s, rows) in rows.chunks_exact(shape.tables * dim).enumerate() {
        let bottom = &bottom[s * lead..][..lead];
        gather(shape, bottom, rows, &mut scratch.features);
        for f in (0..padded_features).step_by(LANES) {
            for d in (0..padded_dim).step_by(LANES) {
                let from = &scratch.features[f * padded_dim + d..];
                let into = &mut scratch.transposed[d * padded_features + f..];
                // SAFETY: the dispatcher calls bodies with `WIDE` only where it found AVX2.
                unsafe { transpose_block::<WIDE>(from, padded_dim, into, padded_features) };
            }
        }
        let output = &mut output[s * shape.stride..];
        output[..lead].copy_from_slice(bottom);
        let transposed = &scratch.transposed[..dim * padded_features];
        // Rows ascend, so whatever a row's last vector writes behind its end is overwritten by the
        // rows after it.
        let mut i = 0;
        while i < count {
            let feature = |i: usize| &scratch.features[i * padded_dim..][..dim];
            let start = lead + shape.row_start(i);
            let vectors = shape.row_len(i + 1).div_ceil(LANES);
            if i + 1 < count && vectors <= 4 {
                // Two rows that fit the registers share the loads of the transposed features.
                let starts = [start, lead + shape.row_start(i + 1)];
                let pair = [feature(i), feature(i + 1)];
                match vectors {
                    1 => {
                        products::<WIDE, 2, 1>(pair, transposed, padded_features, 0, output, starts)
                    }
                    2 => {
                        products::<WIDE, 2, 2>(pair, transposed, padded_features, 0, output, starts)
                    }
                    3 => {
                        products::<WIDE, 2, 3>(pair, transposed, padded_features, 0, output, starts)
                    }
                    _ => {
                        products::<WIDE, 2, 4>(pair, transposed, padded_features, 0, output, starts)
                    }
                }
                i += 2;
                continue;
            }
            let (one, len) = ([feature(i)], shape.row_len(i));
            for column in (0..len).step_by(4 * LANES) {
                let at = [start + column];
                match (len - column).div_ceil(LANES) {
                    1 => {
                        products::<WIDE, 1, 1>(one, transposed, padded_features, column, output, at)
                    }
                    2 => {
                        products::<WIDE, 1, 2>(one, transposed, padded_features, column, output, at)
                    }
                    3 => {
                        products::<WIDE, 1, 3>(one, transposed, padded_features, column, output, at)
                    }
                    _ => {
                        products::<WIDE, 1, 4>(one, transposed, padded_features, column, output, at)
                    }
                }
            }
            i += 1;
        }
    }
}

/// `output[starts[r] + c] = features[r] · transposed[.., column + c]` for `VECTORS` vectors of
/// columns, the rows stored in their order.
#[inline(always)]
fn products<const WIDE: bool, const ROWS: usize, const VECTORS: usize>(
    features: [&[f32]; ROWS],
    transposed: &[f32],
    stride: usize,
    column: usize,
    output: &mut [f32],
    starts: [usize; ROWS],
) {
    let mut sums = [[[0.0f32; LANES]; VECTORS]; ROWS];
    for (d, row) in transposed.chunks_exact(stride).enumerate() {
        let row = &row[column..column + VECTORS * LANES];
        for r in 0..ROWS {
            let value = features[r][d];
            for v in 0..VECTORS {
                for l in 0..LANES {
                    sums[r][v][l] = multiply_add::<WIDE>(value, row[v * LANES + l], sums[r][v][l]);
                }
            }
        }
    }
    for r in 0..ROWS {
        let into = &mut output[starts[r]..][..VECTORS * LANES];
        for v in 0..VECTORS {
            into[v * LANES..][..LANES].copy_from_slice(&sums[r][v]);
        }
    }
}

dispatch! {
    /// The gradients of `bottom` and `rows` from that of `output`: `dT[i] = Σ_j dZ[i, j] T[j]` over the symmetric `dZ`
    /// (a product of a feature with itself counts twice), and the bottom output's own part in front.
    fn dot_backward => dot_backward_body(
        shape: DotShape,
        bottom: &[f32],
        rows: &[f32],
        output_grad: &[f32],
        scratch: &mut DotScratch,
        bottom_grad: &mut [f32],
        rows_grad: &mut [f32],
    )
}
#[inline(always)]
fn dot_backward_body<const WIDE: bool>(
    shape: DotShape,
    bottom: &[f32],
    rows: &[f32],
    output_grad: &[f32],
    scratch: &mut DotScratch,
    bottom_grad: &mut [f32],
    rows_grad: &mut [f32],
) {
    let (dim, lead, padded) = (shape.dim, shape.lead, shape.padded_dim());
    let (sample_rows, count) = (shape.tables * dim, shape.features());
    scratch.fit(shape);
    let samples = rows
        .chunks_exact(sample_rows)
        .zip(rows_grad.chunks_exact_mut(sample_rows));
    for (s, (rows, rows_grad)) in samples.enumerate() {
        let bottom = &bottom[s * lead..][..lead];
        let bottom_grad = &mut bottom_grad[s * lead..][..lead];
        gather(shape, bottom, rows, &mut scratch.features);
        let output_grad = &output_grad[s * shape.stride..];
        let pairs = &output_grad[lead..lead + shape.row_start(count)];
        let (features, into) = (&scratch.features, &mut scratch.grads);
        let mut i = 0;
        while i < count {
            let two = i + 1 < count;
            let mut d = 0;
            while d < padded {
                let vectors = (padded - d) / LANES;
                match (two, vectors) {
                    (true, 1) => feature_grads::<WIDE, 2, 1>(shape, i, d, features, pairs, into),
                    (true, 2 | 3) => {
                        feature_grads::<WIDE, 2, 2>(shape, i, d, features, pairs, into)
                    }
                    (true, _) => feature_grads::<WIDE, 2, 4>(shape, i, d, features, pairs, into),
                    (false, 1) => feature_grads::<WIDE, 1, 1>(shape, i, d, features, pairs, into),
                    (false, 2 | 3) => {
                        feature_grads::<WIDE, 1, 2>(shape, i, d, features, pairs, into)
                    }
                    (false, _) => feature_grads::<WIDE, 1, 4>(shape, i, d, features, pairs, into),
                }
                d += LANES * if vectors >= 4 { 4 } else { vectors.min(2) };
            }
            i += 2;
        }
        for ((grad, direct), pairwise) in bottom_grad.iter_mut().zip(output_grad).zip(&*into) {
            *grad = direct + pairwise;
        }
        if dim == padded {
            rows_grad.copy_from_slice(&into[lead..lead + sample_rows]);
        } else {
            for (grad, row) in rows_grad
                .chunks_exact_mut(dim)
                .zip(into.chunks_exact(padded).skip(usize::from(lead > 0)))
            {
                grad.copy_from_slice(&row[..dim]);
            }
        }
    }
}

/// `into[i + r, d..] = Σ_j dZ[i + r, j] features[j, d..]` for `ROWS` features and `VECTORS` vectors
/// of the dimension.
#[inline(always)]
fn feature_grads<const WIDE: bool, const ROWS: usize, const VECTORS: usize>(
    shape: DotShape,
    i: usize,
    d: usize,
    features: &[f32],
    pairs: &[f32],
    into: &mut [f32],
) {
    let padded = shape.padded_dim();
    let mut sums = [[[0.0f32; LANES]; VECTORS]; ROWS];
    let feature = |j: usize| &features[j * padded + d..][..VECTORS * LANES];
    let starts: [usize; ROWS] = std::array::from_fn(|r| shape.row_start(i + r));
    // Left of the rows' diagonal: each row of the triangle is contiguous.
    for j in 0..i {
        let coefficients = std::array::from_fn(|r| pairs[starts[r] + j]);
        add_feature::<WIDE, ROWS, VECTORS>(&mut sums, coefficients, feature(j));
    }
    // On it.
    for (c, j) in (i..i + ROWS).enumerate() {
        let coefficients = std::array::from_fn(|r| {
            if r != c {
                pairs[starts[r.max(c)] + i + r.min(c)]
            } else if shape.with_self {
                2.0 * pairs[starts[r] + j]
            } else {
                0.0
            }
        });
        add_feature::<WIDE, ROWS, VECTORS>(&mut sums, coefficients, feature(j));
    }
    // Right of it: the triangle's later rows hold this block's coefficients side by side.
    let first = i + ROWS;
    let mut start = shape.row_start(first) + i;
    for j in first..shape.features() {
        let block = &pairs[start..start + ROWS];
        let coefficients = std::array::from_fn(|r| block[r]);
        add_feature::<WIDE, ROWS, VECTORS>(&mut sums, coefficients, feature(j));
        start += shape.row_len(j);
    }
    for r in 0..ROWS {
        let into = &mut into[(i + r) * padded + d..][..VECTORS * LANES];
        for v in 0..VECTORS {
            into[v * LANES..][..LANES].copy_from_slice(&sums[r][v]);
        }
    }
}

/// `sums[r] += coefficients[r] · feature`. No closure of [`feature_grads`]: one that is not inlined
/// is compiled for the build's own target, where a fused product is a call into the C library.
#[inline(always)]
fn add_feature<const WIDE: bool, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[[f32; LANES]; VECTORS]; ROWS],
    coefficients: [f32; ROWS],
    feature: &[f32],
) {
    for r in 0..ROWS {
        for v in 0..VECTORS {
            for l in 0..LANES {
                let value = feature[v * LANES + l];
                sums[r][v][l] = multiply_add::<WIDE>(coefficients[r], value, sums[r][v][l]);
            }
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

    /// The formula, pair by pair in 64 bits: output, gradient of bottom, gradient of rows.
    fn plain(
        shape: DotShape,
        n: usize,
        bottom: &[f32],
        rows: &[f32],
        grad: &[f32],
    ) -> [Vec<f64>; 3] {
        let (dim, lead, tables) = (shape.dim, shape.lead, shape.tables);
        let mut output = vec![0.0; n * shape.stride];
        let mut grads = [vec![0.0; n * lead], vec![0.0; n * tables * dim]];
        for s in 0..n {
            let place = |f: usize| {
                if f == 0 && lead > 0 {
                    (0, s * dim)
                } else {
                    (1, (s * tables + f - usize::from(lead > 0)) * dim)
                }
            };
            let value = |f: usize, d: usize| {
                let (which, at) = place(f);
                f64::from([bottom, rows][which][at + d])
            };
            let mut k = s * shape.stride;
            for d in 0..lead {
                output[k] = value(0, d);
                grads[0][s * dim + d] += f64::from(grad[k]);
                k += 1;
            }
            for i in 0..shape.features() {
                for j in 0..shape.row_len(i) {
                    for d in 0..dim {
                        output[k] += value(i, d) * value(j, d);
                        for (a, b) in [(i, j), (j, i)] {
                            let (which, at) = place(a);
                            grads[which][at + d] += f64::from(grad[k]) * value(b, d);
                        }
                    }
                    k += 1;
                }
            }
        }
        let [bottom, rows] = grads;
        [output, bottom, rows]
    }

    fn close(found: &[f32], expected: &[f64], what: &str) {
        assert_eq!(found.len(), expected.len());
        for (k, (f, e)) in found.iter().zip(expected).enumerate() {
            assert!(
                (f64::from(*f) - e).abs() < 1e-4 * (1.0 + e.abs()),
                "{what}[{k}]: {f} but {e}"
            );
        }
    }

    fn check(features: usize, dim: usize, with_self: bool, n: usize, portable: bool) {
        for lead in [0, dim] {
            check_with(features, dim, lead, with_self, n, portable);
        }
    }

    fn check_with(
        features: usize,
        dim: usize,
        lead: usize,
        with_self: bool,
        n: usize,
        portable: bool,
    ) {
        let tables = features - usize::from(lead > 0);
        let mut shape = DotShape {
            tables,
            dim,
            lead,
            with_self,
            stride: 0,
        };
        let width = lead + shape.row_start(features);
        shape.stride = width.next_multiple_of(8);
        let (bottom, rows) = (values(n * lead, 1), values(n * tables * dim, 2));
        let grad = values(n * shape.stride, 3);
        let mut scratch = DotScratch::default();
        let mut output = vec![f32::NAN; n * shape.stride + LANES];
        let (mut bottom_grad, mut rows_grad) =
            (vec![f32::NAN; bottom.len()], vec![f32::NAN; rows.len()]);
        if portable {
            dot_forward_body::<false>(shape, &bottom, &rows, &mut scratch, &mut output);
            let (b, r) = (&mut bottom_grad, &mut rows_grad);
            dot_backward_body::<false>(shape, &bottom, &rows, &grad, &mut scratch, b, r);
        } else {
            dot_forward(shape, &bottom, &rows, &mut scratch, &mut output);
            dot_backward(
                shape,
                &bottom,
                &rows,
                &grad,
                &mut scratch,
                &mut bottom_grad,
                &mut rows_grad,
            );
        }
        let [expected, expected_bottom, expected_rows] = plain(shape, n, &bottom, &rows, &grad);
        for s in 0..n {
            let sample = s * shape.stride..s * shape.stride + width;
            close(&output[sample.clone()], &expected[sample], "output");
        }
        close(&bottom_grad, &expected_bottom, "bottom gradient");
        close(&rows_grad, &expected_rows, "rows gradient");
    }

    #[test]
    fn every_shape_agrees_with_the_formula() {
        for features in [2, 3, 5, 8, 9, 10, 27, 33, 34, 41, 67] {
            for dim in [1, 2, 5, 7, 8, 16, 24, 40, 64] {
                for with_self in [false, true] {
                    check(features, dim, with_self, 3, false);
                    check(features, dim, with_self, 2, true);
                }
            }
        }
    }
}
