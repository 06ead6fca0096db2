//! Memory rooflines: how fast rows of one cache line can be read, or read and written, in random order.

use rayon::prelude::*;

/// One cache line: a row of dimension 16.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([f32; 16]);

/// An array as large as the tables under test. The rooflines do to it what a store cannot avoid, and nothing else.
#[derive(Debug)]
pub struct LineArray {
    lines: Vec<Line>,
}

impl LineArray {
    /// An array of that many rows of 16 floats.
    pub fn new(rows: usize) -> Self {
        let mut lines = Vec::with_capacity(rows);
        ask_for_huge_pages(&mut lines);
        // Ones, because zeros may be one shared page until they are written.
        lines.resize(rows, Line([1.0; 16]));
        Self { lines }
    }

    /// Reads the rows, split over the threads of the current pool, and returns their sum.
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub fn read(&self, rows: &[u32]) -> [f32; 16] {
        let share = rows.len().div_ceil(rayon::current_num_threads()).max(1);
        rows.par_chunks(share)
            .map(|rows| {
                let mut sum = [0f32; 16];
                for &row in rows {
                    for (sum, x) in sum.iter_mut().zip(&self.lines[row as usize].0) {
                        *sum += x;
                    }
                }
                sum
            })
            .reduce(
                || [0f32; 16],
                |a, b| std::array::from_fn(|index| a[index] + b[index]),
            )
    }

    /// Reads and writes the rows, given in strictly ascending order, split over the threads of the current pool.
    ///
    /// # Panics
    /// Panics if there is no such row, or if rows do not ascend.
    pub fn read_and_write(&mut self, rows: &[u32]) {
        let share = rows.len().div_ceil(rayon::current_num_threads()).max(1);
        add_one(&mut self.lines, 0, rows, share);
    }
}

/// Memory to read between measurements, so that what is measured next finds nothing of its own in the caches, and no more of it
/// than what it is compared with.
#[derive(Debug)]
pub struct CacheFlush {
    memory: Vec<u64>,
}

impl CacheFlush {
    /// As much as the largest cache of today's servers.
    const BYTES: usize = 512 << 20;

    /// Takes the memory.
    pub fn new() -> Self {
        Self {
            memory: vec![1; Self::BYTES / size_of::<u64>()],
        }
    }

    /// Reads all of it, split over the threads of the current pool.
    pub fn run(&self) {
        let share = self.memory.len().div_ceil(rayon::current_num_threads());
        let sum: u64 = self
            .memory
            .par_chunks(share)
            .map(|part| part.iter().sum::<u64>())
            .sum();
        std::hint::black_box(sum);
    }
}

impl Default for CacheFlush {
    fn default() -> Self {
        Self::new()
    }
}

/// The store has huge pages where it can, so its roofline has them too.
fn ask_for_huge_pages(lines: &mut Vec<Line>) {
    #[cfg(target_os = "linux")]
    {
        const HUGE_PAGE: usize = 2 << 20;
        let memory = lines.spare_capacity_mut();
        let skip = memory.as_ptr().cast::<u8>().align_offset(HUGE_PAGE);
        let bytes = size_of_val(memory).saturating_sub(skip) / HUGE_PAGE * HUGE_PAGE;
        if bytes > 0 {
            // SAFETY: the range lies in the vector's own memory, and the advice does not change its contents.
            unsafe {
                let start = memory.as_mut_ptr().cast::<u8>().add(skip);
                libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = lines;
}

/// Halves rows and lines until a share is left for each thread; `lines` starts at row `first`.
fn add_one(lines: &mut [Line], first: u32, rows: &[u32], share: usize) {
    if rows.len() > share {
        let (left, right) = rows.split_at(rows.len() / 2);
        let (low, high) = lines.split_at_mut((right[0] - first) as usize);
        rayon::join(
            || add_one(low, first, left, share),
            || add_one(high, right[0], right, share),
        );
        return;
    }
    for &row in rows {
        for x in &mut lines[(row - first) as usize].0 {
            *x += 1.0;
        }
    }
}
