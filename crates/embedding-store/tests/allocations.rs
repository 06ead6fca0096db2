//! Once its buffers are as large as the batch, the store allocates nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use embedding_store::{
    Combine, CpuStore, EmbeddingStore, Encoding, Ids, Optimizer, Plan, StoreOptions, TableSpec,
};

/// The system's allocator, counting per thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the count is a plain thread-local cell.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn steps_after_the_first_allocate_nothing() {
    let combine = Combine::Multiply;
    let tables = vec![
        TableSpec::full(1000),
        TableSpec {
            rows: 1000,
            encoding: Encoding::QuotientRemainder {
                collisions: 7,
                combine,
            },
        },
        TableSpec {
            rows: 1000,
            encoding: Encoding::MixedDimension { dim: 4 },
        },
    ];
    let options = StoreOptions {
        optimizer: Optimizer::adagrad(),
        ..Default::default()
    };
    let mut store = CpuStore::new(tables, options).unwrap();
    let planner = store.planner();
    let ids: Vec<u32> = (0..600).map(|index| index * 7919 % 1000).collect();
    let mut plan = Plan::default();
    let mut rows = vec![0.0; 600 * 16];
    // One thread that runs the tasks itself, so that the count is all of them.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let allocations = pool.install(|| {
        let mut step = |batch| {
            let before = ALLOCATIONS.get();
            let floats = batch * 3 * 16;
            planner
                .plan(
                    Ids {
                        batch,
                        ids: &ids[..batch * 3],
                        offsets: &[],
                    },
                    &mut plan,
                )
                .unwrap();
            store.lookup_slice(&plan, &mut rows[..floats]).unwrap();
            store.update_slice(&plan, &rows[..floats], 0.1).unwrap();
            ALLOCATIONS.get() - before
        };
        [step(200), step(200), step(150), step(200)]
    });
    assert!(allocations[0] > 0);
    assert_eq!(allocations[1..], [0, 0, 0]);
}
