//! Aligned memory for the rows of a part.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use rayon::prelude::*;

/// Bytes of a cache line.
pub(crate) const CACHE_LINE: usize = 64;
/// Bytes of a huge page on x86-64 and most of aarch64.
const HUGE_PAGE: usize = 2 << 20;
/// Rows that one task writes when an arena is made.
const ROWS_A_TASK: usize = 4096;

/// Rows of one width, each at a multiple of `stride` floats, so that a row lies in as few cache lines as it can.
///
/// Random rows of a large table miss the TLB as often as the cache; huge pages save the former.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: NonNull<f32>,
    allocation: Layout,
    rows: usize,
    width: usize,
    stride: usize,
}

// SAFETY: the arena owns its memory alone, as a Vec does; shared access only reads.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

/// Why an arena could not be made.
#[derive(Debug, PartialEq)]
pub(crate) enum ArenaError {
    Overflow,
    OutOfMemory { bytes: u64 },
}

/// Floats from one row to the next: a power of two within a cache line, whole lines beyond.
pub(crate) fn stride(width: usize) -> Option<usize> {
    let line = CACHE_LINE / size_of::<f32>();
    if width <= line {
        Some(width.next_power_of_two())
    } else {
        width.checked_next_multiple_of(line)
    }
}

impl Arena {
    /// Makes `rows` rows of `width` floats; `write` fills row by row what is zero before.
    pub(crate) fn new(
        rows: u64,
        width: usize,
        write: impl Fn(u64, &mut [f32]) + Sync,
    ) -> Result<Self, ArenaError> {
        let stride = stride(width).ok_or(ArenaError::Overflow)?;
        let rows = usize::try_from(rows).map_err(|_| ArenaError::Overflow)?;
        let floats = rows.checked_mul(stride).ok_or(ArenaError::Overflow)?;
        let bytes = floats
            .checked_mul(size_of::<f32>())
            .ok_or(ArenaError::Overflow)?;
        let align = if bytes >= 2 * HUGE_PAGE {
            HUGE_PAGE
        } else {
            CACHE_LINE
        };
        let allocation = Layout::from_size_align(bytes.max(CACHE_LINE), align)
            .map_err(|_| ArenaError::Overflow)?;
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc(allocation) }.cast::<f32>();
        let memory = NonNull::new(memory).ok_or(ArenaError::OutOfMemory {
            bytes: bytes as u64,
        })?;
        let arena = Self {
            memory,
            allocation,
            rows,
            width,
            stride,
        };
        arena.ask_for_huge_pages();
        let tasks = rows.div_ceil(ROWS_A_TASK);
        let base = SendPointer(memory.as_ptr());
        (0..tasks).into_par_iter().for_each(|task| {
            let first = task * ROWS_A_TASK;
            let last = rows.min(first + ROWS_A_TASK);
            let base = base.get();
            for row in first..last {
                // SAFETY: the row lies in the allocation, no other task has it, and zero bytes are valid floats, so
                // the slice is initialised before it is made.
                let floats = unsafe {
                    let start = base.add(row * stride);
                    start.write_bytes(0, stride);
                    std::slice::from_raw_parts_mut(start, width)
                };
                write(row as u64, floats);
            }
        });
        Ok(arena)
    }

    /// Best effort: without it, everything works, slower.
    fn ask_for_huge_pages(&self) {
        #[cfg(target_os = "linux")]
        if self.allocation.align() == HUGE_PAGE {
            // SAFETY: the range is this arena's own allocation, and the advice does not change its contents.
            unsafe {
                libc::madvise(
                    self.memory.as_ptr().cast(),
                    self.allocation.size(),
                    libc::MADV_HUGEPAGE,
                )
            };
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.allocation.size() as u64
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.memory.as_ptr()
    }

    /// For tasks that write rows of their own; whoever calls this holds the arena alone.
    #[inline(always)]
    pub(crate) fn as_mut_ptr(&self) -> *mut f32 {
        self.memory.as_ptr()
    }

    /// One row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: checked above; every row was initialised by `new`.
        unsafe { std::slice::from_raw_parts(self.as_ptr().add(row * self.stride), self.width) }
    }

    /// One row, to be written.
    #[inline(always)]
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: checked above; the borrow of the arena is exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(self.as_mut_ptr().add(row * self.stride), self.width)
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this very layout.
        unsafe { dealloc(self.memory.as_ptr().cast(), self.allocation) };
    }
}

/// A pointer that tasks share; each says at its use why it may write there.
#[derive(Clone, Copy)]
pub(crate) struct SendPointer(pub(crate) *mut f32);

// SAFETY: a bare address; dereferencing is justified where it is done.
unsafe impl Send for SendPointer {}
// SAFETY: as above.
unsafe impl Sync for SendPointer {}

impl SendPointer {
    pub(crate) fn get(self) -> *mut f32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_straddle_no_more_cache_lines_than_they_must() {
        for width in 1..200 {
            let stride = stride(width).unwrap();
            for row in 0..64 {
                let (first, last) = (row * stride, row * stride + width - 1);
                assert_eq!(
                    last / 16 - first / 16 + 1,
                    width.div_ceil(16),
                    "width {width}"
                );
            }
        }
    }

    #[test]
    fn memory_is_aligned_and_filled() {
        let arena = Arena::new(100_000, 12, |row, floats| floats.fill(row as f32)).unwrap();
        assert_eq!(arena.as_ptr() as usize % HUGE_PAGE, 0);
        assert_eq!(arena.row(99_999), [99_999.0; 12]);
        let small = Arena::new(3, 5, |_, _| ()).unwrap();
        assert_eq!(small.as_ptr() as usize % CACHE_LINE, 0);
        assert_eq!(small.row(2), [0.0; 5]);
    }

    #[test]
    fn impossible_sizes_are_errors() {
        assert_eq!(
            Arena::new(u64::MAX, 16, |_, _| ()).unwrap_err(),
            ArenaError::Overflow
        );
        assert_eq!(
            Arena::new(1, usize::MAX, |_, _| ()).unwrap_err(),
            ArenaError::Overflow
        );
        let bytes = 1 << 62;
        assert_eq!(
            Arena::new(bytes / 64, 16, |_, _| ()).unwrap_err(),
            ArenaError::OutOfMemory { bytes }
        );
    }
}
