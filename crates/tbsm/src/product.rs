//! The two matrix products of a small layer, with whole vectors along its outputs.
//!
//! A TBSM multiplies thousands of rows by matrices of 22 × 15 or 15 × 20. A general matrix product
//! packs both sides and handles edges at run time, which costs more than such a product itself.
//! Here one side is packed once a pass, its rows padded to whole vectors, and a block of rows is
//! multiplied with all sums in registers.

use recsys_model::dispatch;
use recsys_model::simd::multiply_add;

/// Values of a vector.
pub(crate) const LANES: usize = 8;

/// A width rounded up to whole vectors.
pub(crate) fn padded(width: usize) -> usize {
    width.next_multiple_of(LANES)
}

/// Rows of some matrix: row `r` starts at `data[r * stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(data: &'a [f32], stride: usize) -> Self {
        Self { data, stride }
    }

    #[inline(always)]
    fn row(self, r: usize, from: usize, len: usize) -> &'a [f32] {
        &self.data[r * self.stride + from..][..len]
    }
}

/// What happens to a product before it is stored.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
    Keep,
    /// ReLU. NaN stays NaN, so that a diverged model is seen in its loss.
    Relu,
    /// Zero where these rows, laid out like the product, are not above zero: the gradient of a ReLU
    /// that made them.
    MaskBy(&'a [f32]),
    /// Added to what is stored already.
    Add,
}

dispatch! {
    /// `y[r] = finish(bias + Σ_k x[r][k] weight[k])` for `n` rows of `inner` values. `weight` is `[inner, columns]` with
    /// `columns` a multiple of [`LANES`], and so are bias and the rows of `y`.
    fn product => product_body(
        x: Rows<'_>, n: usize, inner: usize, weight: &[f32], bias: Option<&[f32]>, finish: Finish<'_>,
        y: &mut [f32], columns: usize,
    )
}
#[inline(always)]
fn product_body<const WIDE: bool>(
    x: Rows<'_>,
    n: usize,
    inner: usize,
    weight: &[f32],
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    y: &mut [f32],
    columns: usize,
) {
    let (weight, y) = (&weight[..inner * columns], &mut y[..n * columns]);
    let mut column = 0;
    while column < columns {
        let task = Columns {
            x,
            inner,
            weight,
            bias: bias.map(|bias| &bias[column..columns]),
            finish,
            columns,
            column,
        };
        // As many rows as keep twelve sums in registers.
        column += LANES
            * match (columns - column) / LANES {
                1 => task.run::<WIDE, 8, 1>(n, y),
                2 => task.run::<WIDE, 6, 2>(n, y),
                3 => task.run::<WIDE, 4, 3>(n, y),
                5 | 6 => task.run::<WIDE, 4, 3>(n, y),
                _ => task.run::<WIDE, 3, 4>(n, y),
            };
    }
}

/// Some columns of a product.
#[derive(Clone, Copy)]
struct Columns<'a> {
    x: Rows<'a>,
    inner: usize,
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    finish: Finish<'a>,
    columns: usize,
    column: usize,
}

impl Columns<'_> {
    /// All rows, and the number of vectors done.
    #[inline(always)]
    fn run<const WIDE: bool, const ROWS: usize, const VECTORS: usize>(
        self,
        n: usize,
        y: &mut [f32],
    ) -> usize {
        let mut r = 0;
        while r + ROWS <= n {
            self.block::<WIDE, ROWS, VECTORS>(r, y);
            r += ROWS;
        }
        while r + 2 <= n {
            self.block::<WIDE, 2, VECTORS>(r, y);
            r += 2;
        }
        if r < n {
            self.block::<WIDE, 1, VECTORS>(r, y);
        }
        VECTORS
    }

    #[inline(always)]
    fn block<const WIDE: bool, const ROWS: usize, const VECTORS: usize>(
        self,
        r: usize,
        y: &mut [f32],
    ) {
        let rows: [_; ROWS] = std::array::from_fn(|k| self.x.row(r + k, 0, self.inner).as_ptr());
        let weight = &self.weight[..self.inner * self.columns];
        assert!(self.column + VECTORS * LANES <= self.columns);
        let first = match self.bias {
            Some(bias) => vectors_of(&bias[..VECTORS * LANES]),
            None => [[0.0f32; LANES]; VECTORS],
        };
        let mut sums = [first; ROWS];
        // Nothing in this loop may leave it, a failing bound included: else the compiler stores
        // every sum in every turn.
        for k in 0..self.inner {
            // SAFETY: so many columns from this one on are within row `k` of the weight, as just
            // checked.
            let weight: [[f32; LANES]; VECTORS] = unsafe {
                let row = weight.as_ptr().add(k * self.columns + self.column);
                row.cast::<[[f32; LANES]; VECTORS]>().read()
            };
            for (row, sums) in rows.iter().zip(&mut sums) {
                // SAFETY: every row has `inner` values.
                let value = unsafe { *row.add(k) };
                add_multiple::<WIDE, VECTORS>(value, weight, sums);
            }
        }
        let start = r * self.columns + self.column;
        let reach = start..start + (ROWS - 1) * self.columns + VECTORS * LANES;
        let into = &mut y[reach.clone()];
        match self.finish {
            Finish::Keep => store(sums, self.columns, into, |_, sum, _| sum),
            Finish::Relu => store(sums, self.columns, into, |_, sum, _| {
                sum.map(|sum| if sum < 0.0 { 0.0 } else { sum })
            }),
            Finish::MaskBy(made) => {
                let made = &made[reach];
                store(sums, self.columns, into, |at, sum, _| {
                    let made = &made[at..at + LANES];
                    std::array::from_fn(|l| if made[l] <= 0.0 { 0.0 } else { sum[l] })
                });
            }
            Finish::Add => store(sums, self.columns, into, |_, sum, old| {
                std::array::from_fn(|l| old[l] + sum[l])
            }),
        }
    }
}

/// Some whole vectors.
#[inline(always)]
fn vectors_of<const VECTORS: usize>(values: &[f32]) -> [[f32; LANES]; VECTORS] {
    let mut vectors = [[0.0; LANES]; VECTORS];
    vectors.as_flattened_mut().copy_from_slice(values);
    vectors
}

/// Stores rows of sums `columns` apart, each vector as `finish` makes it of its place in `into`,
/// the sums, and what is there.
#[inline(always)]
fn store<const ROWS: usize, const VECTORS: usize>(
    sums: [[[f32; LANES]; VECTORS]; ROWS],
    columns: usize,
    into: &mut [f32],
    finish: impl Fn(usize, [f32; LANES], [f32; LANES]) -> [f32; LANES],
) {
    for (k, sums) in sums.into_iter().enumerate() {
        for (v, sum) in sums.into_iter().enumerate() {
            let at = k * columns + v * LANES;
            let [old] = vectors_of(&into[at..at + LANES]);
            into[at..at + LANES].copy_from_slice(&finish(at, sum, old));
        }
    }
}

/// `sums += value · row`.
#[inline(always)]
fn add_multiple<const WIDE: bool, const VECTORS: usize>(
    value: f32,
    row: [[f32; LANES]; VECTORS],
    sums: &mut [[f32; LANES]; VECTORS],
) {
    for v in 0..VECTORS {
        for l in 0..LANES {
            sums[v][l] = multiply_add::<WIDE>(value, row[v][l], sums[v][l]);
        }
    }
}

dispatch! {
    /// `sums[k] += Σ_r x[r][k] dy[r]` for `n` rows: `x` has `inner` values a row, `dy` whole vectors, and `sums` is
    /// `[inner, dy.stride]`.
    fn add_outer => add_outer_body(x: Rows<'_>, n: usize, inner: usize, dy: Rows<'_>, sums: &mut [f32])
}
#[inline(always)]
fn add_outer_body<const WIDE: bool>(
    x: Rows<'_>,
    n: usize,
    inner: usize,
    dy: Rows<'_>,
    sums: &mut [f32],
) {
    let columns = dy.stride;
    let mut column = 0;
    while column < columns {
        column += LANES
            * match (columns - column) / LANES {
                1 => outer_columns::<WIDE, 8, 1>(x, n, inner, dy, column, sums),
                2 => outer_columns::<WIDE, 6, 2>(x, n, inner, dy, column, sums),
                3 => outer_columns::<WIDE, 4, 3>(x, n, inner, dy, column, sums),
                5 | 6 => outer_columns::<WIDE, 4, 3>(x, n, inner, dy, column, sums),
                _ => outer_columns::<WIDE, 3, 4>(x, n, inner, dy, column, sums),
            };
    }
}

#[inline(always)]
fn outer_columns<const WIDE: bool, const INNER: usize, const VECTORS: usize>(
    x: Rows<'_>,
    n: usize,
    inner: usize,
    dy: Rows<'_>,
    column: usize,
    sums: &mut [f32],
) -> usize {
    let mut k = 0;
    while k + INNER <= inner {
        outer_block::<WIDE, INNER, VECTORS>(x, n, k, dy, column, sums);
        k += INNER;
    }
    while k + 2 <= inner {
        outer_block::<WIDE, 2, VECTORS>(x, n, k, dy, column, sums);
        k += 2;
    }
    if k < inner {
        outer_block::<WIDE, 1, VECTORS>(x, n, k, dy, column, sums);
    }
    VECTORS
}

#[inline(always)]
fn outer_block<const WIDE: bool, const INNER: usize, const VECTORS: usize>(
    x: Rows<'_>,
    n: usize,
    k: usize,
    dy: Rows<'_>,
    column: usize,
    into: &mut [f32],
) {
    if n == 0 {
        return;
    }
    // The last rows reach farthest.
    let (_, _) = (
        x.row(n - 1, k, INNER),
        dy.row(n - 1, column, VECTORS * LANES),
    );
    let (mut values, mut vectors) = (x.data[k..].as_ptr(), dy.data[column..].as_ptr());
    let mut sums = [[[0.0f32; LANES]; VECTORS]; INNER];
    // As in `Columns::block`, nothing may leave this loop.
    for _ in 0..n {
        // SAFETY: so many values from there on are in the last row, and so in each row before it.
        let (of_x, of_dy) = unsafe {
            (
                values.cast::<[f32; INNER]>().read(),
                vectors.cast::<[[f32; LANES]; VECTORS]>().read(),
            )
        };
        for (value, sums) in of_x.into_iter().zip(&mut sums) {
            add_multiple::<WIDE, VECTORS>(value, of_dy, sums);
        }
        // Behind the last row these are not read.
        (values, vectors) = (
            values.wrapping_add(x.stride),
            vectors.wrapping_add(dy.stride),
        );
    }
    let start = k * dy.stride + column;
    let into = &mut into[start..start + (INNER - 1) * dy.stride + VECTORS * LANES];
    store(sums, dy.stride, into, |_, sum, old| {
        std::array::from_fn(|l| old[l] + sum[l])
    });
}

dispatch! {
    /// Adds the rows of `dy`, as long as `sums`, to `sums`.
    fn add_rows => add_rows_body(dy: &[f32], sums: &mut [f32])
}
#[inline(always)]
fn add_rows_body<const WIDE: bool>(dy: &[f32], sums: &mut [f32]) {
    let columns = sums.len();
    for (v, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut sum = [0.0f32; LANES];
        for row in dy.chunks_exact(columns) {
            for (sum, dy) in sum.iter_mut().zip(&row[v * LANES..][..LANES]) {
                *sum += dy;
            }
        }
        for (into, sum) in sums.iter_mut().zip(sum) {
            *into += sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|k| (((k * 37 + seed * 101) % 29) as f32 - 14.0) / 8.0)
            .collect()
    }

    #[test]
    fn products_of_every_shape_agree_with_plain_loops() {
        for columns in [8, 16, 24, 32, 40, 48, 56, 64, 120] {
            for (n, inner) in [(1, 1), (5, 3), (14, 15), (23, 22)] {
                let stride = inner + 3;
                let (x, weight, bias) = (
                    values(n * stride, 1),
                    values(inner * columns, 2),
                    values(columns, 3),
                );
                let (old, made) = (values(n * columns, 4), values(n * columns, 5));
                let rows = Rows::new(&x, stride);
                for case in 0..4 {
                    let finish = match case {
                        0 => Finish::Keep,
                        1 => Finish::Relu,
                        2 => Finish::MaskBy(&made),
                        _ => Finish::Add,
                    };
                    let bias = (case % 2 == 1).then_some(bias.as_slice());
                    let (mut y, mut portable) = (old.clone(), old.clone());
                    product(rows, n, inner, &weight, bias, finish, &mut y, columns);
                    product_body::<false>(
                        rows,
                        n,
                        inner,
                        &weight,
                        bias,
                        finish,
                        &mut portable,
                        columns,
                    );
                    for r in 0..n {
                        for c in 0..columns {
                            let at = r * columns + c;
                            let sum: f32 = (0..inner)
                                .map(|k| x[r * stride + k] * weight[k * columns + c])
                                .sum();
                            let sum = sum + bias.map_or(0.0, |bias| bias[c]);
                            let expected = match case {
                                0 => sum,
                                1 => sum.max(0.0),
                                2 => {
                                    if made[at] <= 0.0 {
                                        0.0
                                    } else {
                                        sum
                                    }
                                }
                                _ => old[at] + sum,
                            };
                            assert!(
                                (y[at] - expected).abs() < 1e-3
                                    && (portable[at] - expected).abs() < 1e-3
                            );
                        }
                    }
                }
                let dy = values(n * columns, 6);
                let (mut sums, mut portable) =
                    (vec![1.0; inner * columns], vec![1.0; inner * columns]);
                add_outer(rows, n, inner, Rows::new(&dy, columns), &mut sums);
                add_outer_body::<false>(rows, n, inner, Rows::new(&dy, columns), &mut portable);
                for k in 0..inner {
                    for c in 0..columns {
                        let expected: f32 = 1.0
                            + (0..n)
                                .map(|r| x[r * stride + k] * dy[r * columns + c])
                                .sum::<f32>();
                        let at = k * columns + c;
                        assert!(
                            (sums[at] - expected).abs() < 1e-3
                                && (portable[at] - expected).abs() < 1e-3
                        );
                    }
                }
                let mut sums = vec![1.0; columns];
                add_rows(&dy, &mut sums);
                for c in 0..columns {
                    let expected: f32 = 1.0 + (0..n).map(|r| dy[r * columns + c]).sum::<f32>();
                    assert!((sums[c] - expected).abs() < 1e-3);
                }
            }
        }
    }

    #[test]
    fn relu_passes_nan_on() {
        let mut y = [0.0; LANES];
        product(
            Rows::new(&[f32::NAN], 1),
            1,
            1,
            &[1.0; LANES],
            None,
            Finish::Relu,
            &mut y,
            LANES,
        );
        assert!(y.iter().all(|y| y.is_nan()));
    }
}
