//! The functions of NCCL that programs need: sums over devices that one thread asks for, as a group.

use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use crate::machine::{Collective, machine};

const SUCCESS: u32 = 0;
const INTERNAL_ERROR: u32 = 3;
const INVALID_ARGUMENT: u32 = 4;
/// `ncclFloat32`.
const F32: c_int = 7;
/// `ncclSum`.
const SUM: c_int = 0;

/// A communicator: which device of a clique it is, and of how many.
struct Communicator {
    clique: Arc<()>,
    rank: usize,
    devices: usize,
}

/// What a group was asked for so far.
static GROUP: Mutex<Vec<Asked>> = Mutex::new(Vec::new());

#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The clique's address, which tells it from others.
    clique: usize,
    devices: usize,
    rank: usize,
    part: Collective,
}

#[unsafe(no_mangle)]
extern "C" fn ncclCommInitAll(
    into: *mut *mut c_void,
    devices: c_int,
    _ordinals: *const c_int,
) -> u32 {
    let clique = Arc::new(());
    for rank in 0..devices as usize {
        let communicator = Communicator {
            clique: Arc::clone(&clique),
            rank,
            devices: devices as usize,
        };
        // SAFETY: the caller gives places for so many handles.
        unsafe {
            into.add(rank)
                .write(Box::into_raw(Box::new(communicator)).cast());
        }
    }
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn ncclCommAbort(communicator: *mut c_void) -> u32 {
    // SAFETY: a communicator is what `ncclCommInitAll` gave, and is ended once.
    drop(unsafe { Box::from_raw(communicator.cast::<Communicator>()) });
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn ncclGroupStart() -> u32 {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn ncclAllReduce(
    from: u64,
    into: u64,
    count: usize,
    kind: c_int,
    operation: c_int,
    communicator: *mut c_void,
    stream: *mut c_void,
) -> u32 {
    if (kind, operation) != (F32, SUM) {
        return INVALID_ARGUMENT;
    }
    // SAFETY: a communicator is what `ncclCommInitAll` gave.
    let communicator = unsafe { &*communicator.cast::<Communicator>() };
    let mut group = GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    group.push(Asked {
        clique: Arc::as_ptr(&communicator.clique) as usize,
        devices: communicator.devices,
        rank: communicator.rank,
        part: Collective {
            from,
            into,
            count,
            stream: stream as u64,
        },
    });
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn ncclGroupEnd() -> u32 {
    let asked = std::mem::take(&mut *GROUP.lock().unwrap_or_else(PoisonError::into_inner));
    let Some(first) = asked.first() else {
        return SUCCESS;
    };
    // One sum of one clique at a time, every device once: more than that nobody needs here.
    let one = |asked: &Asked| asked.clique == first.clique && asked.part.count == first.part.count;
    let mut ranks: Vec<_> = asked.iter().map(|asked| asked.rank).collect();
    ranks.sort_unstable();
    if !asked.iter().all(one) || !ranks.into_iter().eq(0..first.devices) {
        eprintln!("ptx-emulator: a group of NCCL is not one sum of all its devices: {asked:?}");
        return INVALID_ARGUMENT;
    }
    let parts: Vec<_> = asked.iter().map(|asked| asked.part).collect();
    match machine().sum(&parts) {
        Ok(()) => SUCCESS,
        Err(_) => INTERNAL_ERROR,
    }
}
