//! An allocator that knows how much is allocated, by the process and by each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counting. A test binary makes it its `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

/// What a thread has allocated during some work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocated {
    /// Allocations.
    pub count: usize,
    /// Bytes of all of them, those that were freed again included.
    pub bytes: usize,
    /// The most bytes that were live at one time, over what was live before the work.
    pub peak: usize,
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Numbers of one thread since it began. It may free what another thread has allocated.
#[derive(Clone, Copy)]
struct OfThread {
    count: usize,
    bytes: usize,
    live: isize,
    peak: isize,
}

thread_local! {
    static OF_THREAD: Cell<OfThread> =
        const { Cell::new(OfThread { count: 0, bytes: 0, live: 0, peak: 0 }) };
}

fn grown(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
    OF_THREAD.with(|of_thread| {
        let mut now = of_thread.get();
        now.count += 1;
        now.bytes += bytes;
        now.live += bytes as isize;
        now.peak = now.peak.max(now.live);
        of_thread.set(now);
    });
}

fn shrunk(bytes: usize) {
    LIVE.fetch_sub(bytes, Ordering::Relaxed);
    OF_THREAD.with(|of_thread| {
        let mut now = of_thread.get();
        now.live -= bytes as isize;
        of_thread.set(now);
    });
}

// SAFETY: every call is handed to the system's allocator as it came. Counting touches atomics and
// thread-local numbers that have no destructor, allocates nothing, and touches no memory of the
// caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps the contract of this same method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        shrunk(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

impl Counting {
    /// The most bytes that the process had live at one time during some work, over what was live
    /// before it. 0 where another allocator is in use.
    pub(crate) fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let result = work();
        (result, PEAK.load(Ordering::Relaxed).saturating_sub(before))
    }

    /// What the calling thread allocates during some work; nothing where another allocator is in
    /// use. Calls are not nested: the inner one would cut the outer one's peak.
    pub fn on_thread<T>(work: impl FnOnce() -> T) -> (T, Allocated) {
        let before = OF_THREAD.with(|of_thread| {
            let mut now = of_thread.get();
            now.peak = now.live;
            of_thread.set(now);
            now
        });
        let result = work();
        let after = OF_THREAD.with(Cell::get);
        let allocated = Allocated {
            count: after.count - before.count,
            bytes: after.bytes - before.bytes,
            peak: (after.peak - before.live).unsigned_abs(),
        };
        (result, allocated)
    }
}
