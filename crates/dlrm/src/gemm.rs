//! The matrix product behind one function, so that the library that computes it can be exchanged in one place.

use gemm::Parallelism;

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
    /// `rows` rows of `columns` values, `stride` values from the start of one to the start of the next.
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
            row_stride: stride,
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

fn fits(len: usize, rows: usize, columns: usize, stride: usize) -> bool {
    rows == 0 || columns == 0 || (columns <= stride && (rows - 1) * stride + columns <= len)
}

/// `into = left · right`, or `into += left · right` with `accumulate`, on the calling thread alone. `into` has the
/// rows of `left`, the columns of `right`, and `stride` values from row to row.
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
    let (rows, inner, columns) = (left.rows, left.columns, right.columns);
    assert_eq!(
        inner, right.rows,
        "inner extents of a matrix product differ"
    );
    assert!(
        fits(into.len(), rows, columns, stride),
        "matrix product exceeds its slice"
    );
    // SAFETY: `Matrix::new` checked that every element of `left` and `right` lies in its slice, and transposing keeps
    // the set of addresses; the assertion above checked `into`, which is borrowed exclusively, so it overlaps neither.
    // Strides stay below the slices' lengths, which fit an isize.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
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
            Parallelism::None,
        );
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
}
