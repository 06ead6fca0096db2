//! Matrix products as cuBLAS computes them, but for the order of its sums.

use crate::memory::Memory;

/// A matrix whose columns lie `stride` values apart; of several, each `next` values behind the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix {
    pub(crate) address: u64,
    pub(crate) stride: usize,
    pub(crate) next: usize,
    pub(crate) transposed: bool,
}

/// `c = alpha a b + beta c`, of f32, `batch` times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) batch: usize,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) a: Matrix,
    pub(crate) b: Matrix,
    pub(crate) c: Matrix,
}

impl Matrix {
    /// Floats from its start to its end, where it is stored with so many rows and columns.
    fn extent(&self, rows: usize, columns: usize, batch: usize) -> usize {
        match (rows, columns) {
            (0, _) | (_, 0) => 0,
            _ => (batch - 1) * self.next + (columns - 1) * self.stride + rows,
        }
    }
}

impl Product {
    /// Computes it, or says which matrix lies outside of all memory.
    pub(crate) fn run(&self, memory: &Memory) -> Result<(), String> {
        let Self {
            rows,
            columns,
            depth,
            batch,
            ..
        } = *self;
        if rows == 0 || columns == 0 || batch == 0 {
            return Ok(());
        }
        let stored = |matrix: &Matrix, rows, columns| match matrix.transposed {
            true => (columns, rows),
            false => (rows, columns),
        };
        let matrices = [
            ("a", self.a, rows, depth),
            ("b", self.b, depth, columns),
            ("c", self.c, rows, columns),
        ];
        for (name, matrix, rows, columns) in matrices {
            let (rows, columns) = stored(&matrix, rows, columns);
            let floats = matrix.extent(rows, columns, batch);
            if matrix.address % 4 != 0 || !memory.holds(matrix.address, 4 * floats) {
                return Err(format!(
                    "{name} of a product of {} x {} x {depth}, {floats} floats at {:#x}, is not within one allocation",
                    self.rows, self.columns, matrix.address
                ));
            }
        }
        for turn in 0..batch {
            let at = |matrix: &Matrix, row: usize, column: usize| {
                let (row, column) = if matrix.transposed {
                    (column, row)
                } else {
                    (row, column)
                };
                (matrix.address as *mut f32)
                    .wrapping_add(turn * matrix.next + column * matrix.stride + row)
            };
            // SAFETY: all of a lies within an allocation, as checked above, and nobody else runs.
            let a = |row, depth| unsafe { at(&self.a, row, depth).read() };
            let a: Vec<f32> = (0..depth)
                .flat_map(|k| (0..rows).map(move |row| (row, k)))
                .map(|(row, k)| a(row, k))
                .collect();
            let mut sums = vec![0f32; rows];
            for column in 0..columns {
                sums.fill(0.0);
                for (k, a) in a.chunks_exact(rows).enumerate() {
                    // SAFETY: as above, for b.
                    let b = unsafe { at(&self.b, k, column).read() };
                    for (sum, a) in sums.iter_mut().zip(a) {
                        *sum += a * b;
                    }
                }
                for (row, sum) in sums.iter().enumerate() {
                    let c = at(&self.c, row, column);
                    // SAFETY: as above, for c. What is multiplied by nothing is not read: it may be anything.
                    unsafe {
                        let before = if self.beta == 0.0 {
                            0.0
                        } else {
                            self.beta * c.read()
                        };
                        c.write(self.alpha * sum + before);
                    }
                }
            }
        }
        Ok(())
    }
}
