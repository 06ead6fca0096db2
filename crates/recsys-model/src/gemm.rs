//! The matrix product behind one function, so that the library that computes it can be exchanged in
//! one place.
//!
//! The library, gemm, chooses its widest kernels for the whole process, where some processors lose
//! by them. Its kernels and the loop around them are public, so that the product here runs that
//! loop with the kernels of the [level in use](crate::simd::level).

use gemm_common::Parallelism;
#[cfg(target_arch = "x86_64")]
use gemm_common::simd::{MixedSimd, Scalar, V3, V4};

#[cfg(target_arch = "x86_64")]
use crate::simd::SimdLevel;

/// A matrix in a slice: element `[r, c]` is `data[r * row_stride + c * column_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` values, `stride` values from the start of one to the start of the
    /// next.
    ///
    /// # Panics
    /// When the matrix exceeds `data`.
    pub fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            fits(data.len(), rows, columns, stride),
            "matrix exceeds its slice"
        );
        Self {
            data,
            rows,
            columns,
            row_stride: followed(stride, rows, columns),
            column_stride: 1,
        }
    }

    /// The same values with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Whether a matrix lies in a slice of `len` values, for any numbers.
fn fits(len: usize, rows: usize, columns: usize, stride: usize) -> bool {
    if rows == 0 || columns == 0 {
        return true;
    }
    let end = (rows - 1).checked_mul(stride);
    let end = end.and_then(|start| start.checked_add(columns));
    columns <= stride && end.is_some_and(|end| end <= len)
}

/// The stride of a matrix that fits its slice, in the library's range: nothing follows that of a
/// matrix of one row or of none, which may be any number.
fn followed(stride: usize, rows: usize, columns: usize) -> usize {
    match rows > 1 && columns > 0 {
        true => stride,
        false => stride.min(u32::MAX as usize),
    }
}

/// `into = left · right`, or `into += left · right` with `accumulate`, on the calling thread alone.
/// `into` has the rows of `left`, the columns of `right`, and `stride` values from row to row.
///
/// # Panics
/// When the inner extents differ, or the product exceeds `into`.
pub fn multiply(
    left: Matrix<'_>,
    right: Matrix<'_>,
    into: &mut [f32],
    stride: usize,
    accumulate: bool,
) {
    assert_eq!(
        left.columns, right.rows,
        "inner extents of a matrix product differ"
    );
    assert!(
        fits(into.len(), left.rows, right.columns, stride),
        "matrix product exceeds its slice"
    );
    let product = Product {
        stride: followed(stride, left.rows, right.columns),
        left,
        right,
        into,
        accumulate,
    };
    #[cfg(target_arch = "x86_64")]
    product.at(crate::simd::level());
    #[cfg(not(target_arch = "x86_64"))]
    product.by_default();
}

/// Arguments of a product that were checked against each other.
struct Product<'a> {
    left: Matrix<'a>,
    right: Matrix<'a>,
    into: &'a mut [f32],
    stride: usize,
    accumulate: bool,
}

/// Calls a function of the library with the arguments of a product, and what comes before and
/// behind them.
macro_rules! product {
    ($function:path, $product:expr, ($($before:expr)?), ($($behind:expr),*)) => {{
        let Product { left, right, into, stride, accumulate } = $product;
        // SAFETY: `Matrix::new` checked that every element of `left` and `right` lies in its slice,
        // and transposing keeps the set of addresses; `multiply` checked `into`, which is borrowed
        // exclusively, so that it overlaps neither. A stride that is followed is below the slice's
        // length, which fits an isize. The processor has the vectors of a `MixedSimd` that exists.
        unsafe {
            $function(
                $($before,)?
                left.rows,
                right.columns,
                left.columns,
                into.as_mut_ptr(),
                1,
                stride as isize,
                accumulate,
                left.data.as_ptr(),
                left.column_stride as isize,
                left.row_stride as isize,
                right.data.as_ptr(),
                right.column_stride as isize,
                right.row_stride as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                $($behind,)*
                Parallelism::None,
            );
        }
    }};
}

/// A product by the kernels of a level.
#[cfg(target_arch = "x86_64")]
macro_rules! by_kernels {
    ($product:expr, $simd:expr, $kernels:ident, $lanes:literal) => {{
        use gemm_f32::microkernel::$kernels::f32 as kernels;

        fn run<S: MixedSimd<f32, f32, f32, f32>>(product: Product<'_>, simd: S) {
            product!(
                gemm_common::gemm::gemm_basic_generic::<
                    S,
                    f32,
                    $lanes,
                    { kernels::MR_DIV_N * $lanes },
                    { kernels::NR },
                    { kernels::MR_DIV_N },
                    { kernels::H_M },
                    { kernels::H_N },
                >,
                product,
                (simd),
                (|a, b, c| a * b + c, &kernels::UKR, &kernels::H_UKR, false)
            );
        }
        run($product, $simd)
    }};
}

impl Product<'_> {
    /// By the kernels of a level that the processor has; a library that finds less takes what it
    /// has.
    #[cfg(target_arch = "x86_64")]
    fn at(self, level: SimdLevel) {
        let v3 = <V3 as MixedSimd<f32, f32, f32, f32>>::try_new();
        let v4 = <V4 as MixedSimd<f32, f32, f32, f32>>::try_new();
        match (level, v3, v4) {
            (SimdLevel::Avx512, _, Some(simd)) => by_kernels!(self, simd, avx512f, 16),
            (SimdLevel::Avx512 | SimdLevel::Avx2, Some(simd), _) => {
                by_kernels!(self, simd, fma, 8)
            }
            _ => by_kernels!(self, Scalar, scalar, 1),
        }
    }

    /// By the kernels that the library chooses.
    #[cfg(not(target_arch = "x86_64"))]
    fn by_default(self) {
        let function = gemm_f32::gemm::f32::get_gemm_fn();
        product!(function, self, (), ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_transposed_and_accumulated_products() {
        // left [2, 3] with stride 4, right' [2, 3] with stride 3.
        let left = [1.0, 2.0, 3.0, 99.0, 4.0, 5.0, 6.0];
        let right = [1.0, 0.0, 2.0, 0.5, 1.0, 0.0];
        let mut into = [7.0; 6];
        let product = |into: &mut [f32], accumulate| {
            let right = Matrix::new(&right, 2, 3, 3).transposed();
            multiply(Matrix::new(&left, 2, 3, 4), right, into, 3, accumulate);
        };
        product(&mut into, false);
        assert_eq!(into, [7.0, 2.5, 7.0, 16.0, 7.0, 7.0]);
        product(&mut into, true);
        assert_eq!(into, [14.0, 5.0, 7.0, 32.0, 14.0, 7.0]);
    }

    #[test]
    #[should_panic(expected = "exceeds its slice")]
    fn a_matrix_must_fit_its_slice() {
        let _ = Matrix::new(&[0.0; 5], 2, 3, 3);
    }

    /// `(rows - 1) * stride` wrapped to a small number, and the product read beyond the slice.
    #[test]
    #[should_panic(expected = "exceeds its slice")]
    fn a_matrix_of_2_to_the_63_rows_does_not_wrap_and_crash() {
        let _ = Matrix::new(&[1.0; 4], (1 << 63) + 1, 1, 2);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn products_of_wide_layers_have_the_same_bits_with_256_and_512_bits() {
        if <V4 as MixedSimd<f32, f32, f32, f32>>::try_new().is_none() {
            eprintln!("skipped: this processor has no AVX-512");
            return;
        }
        let values = |count: usize, seed: usize| -> Vec<f32> {
            let value = |k: usize| ((k * 2_654_435_761 + seed * 97) % 1009) as f32 / 504.0 - 1.0;
            (0..count).map(value).collect()
        };
        // Rows, inner extent and columns of layers: forward, and the gradients of weights and
        // inputs. Layers of one output are no matrix product; the library has kernels of their own
        // for them, whose sums are cut by the width.
        for [rows, inner, columns] in [
            [512, 13, 512],
            [512, 512, 256],
            [512, 367, 512],
            [256, 512, 367],
            [512, 256, 2],
            [37, 64, 16],
            [64, 300, 16],
            [367, 512, 512],
        ] {
            let (a, b) = (values(rows * inner, 1), values(inner * columns, 2));
            for transposed in [false, true] {
                let product = |level| {
                    let mut into = vec![0.0; rows * columns];
                    let left = match transposed {
                        true => Matrix::new(&a, inner, rows, rows).transposed(),
                        false => Matrix::new(&a, rows, inner, inner),
                    };
                    let right = match transposed {
                        true => Matrix::new(&b, inner, columns, columns),
                        false => Matrix::new(&b, columns, inner, inner).transposed(),
                    };
                    Product {
                        left,
                        right,
                        into: &mut into,
                        stride: columns,
                        accumulate: false,
                    }
                    .at(level);
                    into
                };
                let (narrow, wide) = (product(SimdLevel::Avx2), product(SimdLevel::Avx512));
                assert!(narrow == wide, "{rows} {inner} {columns} {transposed}");
                let portable = product(SimdLevel::Portable);
                let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-3;
                assert!(narrow.iter().zip(&portable).all(close));
            }
        }
    }
}
