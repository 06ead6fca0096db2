//! Aligned memory for the rows of a part.

use std::alloc::{Layout, alloc, dealloc};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use memmap2::MmapMut;
use rayon::prelude::*;

/// Bytes of a cache line.
pub(crate) const CACHE_LINE: usize = 64;
/// Bytes of a huge page on x86-64 and most of aarch64.
const HUGE_PAGE: usize = 2 << 20;
/// Rows that one task writes when an arena is made.
const ROWS_A_TASK: usize = 4096;

/// How many rows of which width an arena has, and where each starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    /// Floats from one row to the next.
    pub(crate) stride: usize,
    /// Bytes of all rows.
    pub(crate) bytes: usize,
}

impl Shape {
    pub(crate) fn new(rows: u64, width: usize) -> Result<Self, ArenaError> {
        let stride = stride(width).ok_or(ArenaError::Overflow)?;
        let rows = usize::try_from(rows).map_err(|_| ArenaError::Overflow)?;
        let floats = rows.checked_mul(stride).ok_or(ArenaError::Overflow)?;
        let bytes = floats
            .checked_mul(size_of::<f32>())
            .ok_or(ArenaError::Overflow)?;
        Ok(Self {
            rows,
            width,
            stride,
            bytes,
        })
    }

    /// Writes all floats of some rows behind `into`, padding included; `write` fills row by row
    /// what is zero before.
    ///
    /// # Safety
    /// There is room for these rows, which nobody else reads or writes.
    pub(crate) unsafe fn fill(
        &self,
        rows: Range<usize>,
        into: SendPointer,
        write: &(impl Fn(u64, &mut [f32]) + Sync),
    ) {
        let (width, stride) = (self.width, self.stride);
        let tasks = rows.len().div_ceil(ROWS_A_TASK);
        (0..tasks).into_par_iter().for_each(|task| {
            let first = rows.start + task * ROWS_A_TASK;
            let last = rows.end.min(first + ROWS_A_TASK);
            let into = into.get();
            for row in first..last {
                // SAFETY: there is room for the row, no other task has it, and zero bytes are valid
                // floats, so the slice is initialised before it is made.
                let floats = unsafe {
                    let start = into.add((row - rows.start) * stride);
                    start.write_bytes(0, stride);
                    std::slice::from_raw_parts_mut(start, width)
                };
                write(row as u64, floats);
            }
        });
    }
}

/// Rows of one width, each at a multiple of `stride` floats, so that a row lies in as few cache
/// lines as it can.
///
/// Random rows of a large table miss the TLB as often as the cache; huge pages save the former.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: NonNull<f32>,
    kept: Memory,
    shape: Shape,
}

/// What an arena's memory is.
#[derive(Debug)]
enum Memory {
    Allocated(Layout),
    Mapped(MmapMut),
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

/// Zeros, or an error where there is no memory for them.
pub(crate) fn zeros<T: Clone + Default>(count: usize) -> Result<Vec<T>, ArenaError> {
    let mut zeros = Vec::new();
    zeros
        .try_reserve_exact(count)
        .map_err(|_| ArenaError::OutOfMemory {
            bytes: (count as u64).saturating_mul(size_of::<T>() as u64),
        })?;
    zeros.resize(count, T::default());
    Ok(zeros)
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
        let shape = Shape::new(rows, width)?;
        let align = if shape.bytes >= 2 * HUGE_PAGE {
            HUGE_PAGE
        } else {
            CACHE_LINE
        };
        let allocation = Layout::from_size_align(shape.bytes.max(CACHE_LINE), align)
            .map_err(|_| ArenaError::Overflow)?;
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc(allocation) }.cast::<f32>();
        let memory = NonNull::new(memory).ok_or(ArenaError::OutOfMemory {
            bytes: shape.bytes as u64,
        })?;
        let arena = Self {
            memory,
            kept: Memory::Allocated(allocation),
            shape,
        };
        arena.ask_for_huge_pages();
        // SAFETY: the allocation has room for all rows and is not shared yet.
        unsafe { shape.fill(0..shape.rows, SendPointer(memory.as_ptr()), &write) };
        Ok(arena)
    }

    /// The rows of a mapped file, which has at least the bytes of the shape; `None` if it does not.
    pub(crate) fn mapped(mut map: MmapMut, shape: Shape) -> Option<Self> {
        if map.len() < shape.bytes {
            return None;
        }
        // A map starts a page, so it is aligned as floats and cache lines are.
        let memory = NonNull::new(map.as_mut_ptr().cast::<f32>())?;
        Some(Self {
            memory,
            kept: Memory::Mapped(map),
            shape,
        })
    }

    /// The map of the rows' file, where they have one.
    pub(crate) fn map(&self) -> Option<&MmapMut> {
        match &self.kept {
            Memory::Allocated(_) => None,
            Memory::Mapped(map) => Some(map),
        }
    }

    /// Waits until all that was written to the rows is in their file, where they have one.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.map().map_or(Ok(()), MmapMut::flush)
    }

    /// Best effort: without it, everything works, slower.
    fn ask_for_huge_pages(&self) {
        #[cfg(target_os = "linux")]
        if let Memory::Allocated(allocation) = self.kept
            && allocation.align() == HUGE_PAGE
        {
            // SAFETY: the range is this arena's own allocation, and the advice does not change its
            // contents.
            unsafe {
                libc::madvise(
                    self.memory.as_ptr().cast(),
                    allocation.size(),
                    libc::MADV_HUGEPAGE,
                )
            };
        }
    }

    /// Bytes of memory or of the file.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.kept {
            Memory::Allocated(allocation) => allocation.size() as u64,
            Memory::Mapped(map) => map.len() as u64,
        }
    }

    pub(crate) fn width(&self) -> usize {
        self.shape.width
    }

    #[inline(always)]
    pub(crate) fn stride(&self) -> usize {
        self.shape.stride
    }

    pub(crate) fn rows(&self) -> usize {
        self.shape.rows
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
        assert!(row < self.shape.rows, "row {row} of {}", self.shape.rows);
        // SAFETY: checked above; every row was initialised by `new`, or is in a file, whose bytes
        // are floats of some value.
        unsafe {
            std::slice::from_raw_parts(self.as_ptr().add(row * self.shape.stride), self.shape.width)
        }
    }

    /// One row, to be written.
    #[inline(always)]
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.shape.rows, "row {row} of {}", self.shape.rows);
        // SAFETY: checked above; the borrow of the arena is exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.as_mut_ptr().add(row * self.shape.stride),
                self.shape.width,
            )
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Memory::Allocated(allocation) = self.kept {
            // SAFETY: allocated by `new` with this very layout.
            unsafe { dealloc(self.memory.as_ptr().cast(), allocation) };
        }
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

/// Rows that are written, addressed by their number in the whole part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowPointers {
    base: *mut f32,
    stride: usize,
}

impl RowPointers {
    #[inline(always)]
    pub(crate) fn new(arena: &Arena, first: usize) -> Self {
        let stride = arena.stride();
        Self {
            base: arena.as_mut_ptr().wrapping_sub(first * stride),
            stride,
        }
    }

    #[inline(always)]
    pub(crate) fn at(self, row: usize) -> *mut f32 {
        self.base.wrapping_add(row * self.stride)
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
