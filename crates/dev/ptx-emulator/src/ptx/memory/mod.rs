//! What threads access: every access is checked for bounds, alignment and races.

mod races;

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use self::races::{GlobalRaces, SharedRaces};
pub(super) use self::races::{Thread, Touch};
use super::arithmetic::Ternary;
use super::error::{FaultKind, Space};
use super::function::Function;
use super::instruction::{Access, Window};
use super::launch::{Launch, Memory};

/// Where the generic addresses of shared memory begin: above what an operating system gives a process.
pub(super) const SHARED_WINDOW: u64 = 0xC000_0000_0000_0000;
/// Where the generic addresses of local memory begin.
pub(super) const LOCAL_WINDOW: u64 = 0xE000_0000_0000_0000;

/// An allocation that an instruction accessed last.
#[derive(Debug, Clone, Copy, Default)]
struct Cached {
    start: u64,
    bytes: u64,
}

impl Cached {
    fn contains(self, address: u64, bytes: u32) -> bool {
        let offset = address.wrapping_sub(self.start);
        offset < self.bytes && self.bytes - offset >= u64::from(bytes)
    }
}

/// What one block sees: global memory, its shared memory, and its threads' local memory.
pub(super) struct BlockMemory<'l> {
    function: &'l Function,
    memory: &'l dyn Memory,
    /// For every instruction.
    cache: Vec<Cached>,
    shared: Vec<u8>,
    local: Vec<u8>,
    local_bytes: usize,
    pub(super) shared_races: SharedRaces,
    global_races: Option<GlobalRaces>,
}

/// What memory holds that nothing wrote: a NaN in every format, and no index of anything.
const UNWRITTEN: u8 = 0xFF;

impl<'l> BlockMemory<'l> {
    pub(super) fn new(function: &'l Function, launch: &Launch<'l>, threads: usize) -> Self {
        let mut variables = function.shared.clone();
        if launch.shared_bytes > 0 {
            let start = function.dynamic_shared;
            variables.push(start..start + launch.shared_bytes);
        }
        let shared = variables.last().map_or(0, |last| last.end);
        // A thread that never waits for another is done before the next one begins.
        let threads_at_once = if function.waits { threads } else { 1 };
        let local_bytes = function.local_bytes as usize;
        Self {
            function,
            memory: launch.memory,
            cache: vec![Cached::default(); function.code.len()],
            shared: vec![UNWRITTEN; shared as usize],
            local: vec![UNWRITTEN; local_bytes * threads_at_once],
            local_bytes,
            shared_races: SharedRaces::new(&variables, function.shared_granule, threads),
            global_races: launch
                .race_check
                .then(|| GlobalRaces::new(function.global_granule)),
        }
    }

    /// Forgets what the block before left.
    pub(super) fn start_block(&mut self) {
        self.shared.fill(UNWRITTEN);
        self.shared_races.barrier();
    }

    /// Forgets what a thread before left.
    pub(super) fn start_thread(&mut self, thread: Thread) {
        let start = self.local_start(thread);
        self.local[start..start + self.local_bytes].fill(UNWRITTEN);
    }

    fn local_start(&self, thread: Thread) -> usize {
        if self.function.waits {
            thread.index as usize * self.local_bytes
        } else {
            0
        }
    }

    /// Loads elements that follow each other, and hands each one on with its number.
    #[inline(always)]
    pub(super) fn load(
        &mut self,
        pc: usize,
        thread: Thread,
        access: Access,
        count: u32,
        address: u64,
        mut take: impl FnMut(usize, u64),
    ) -> Result<(), FaultKind> {
        let element = u32::from(access.bytes);
        let extend = |bits: u64| {
            if access.signed {
                sign_extend(bits, element)
            } else {
                bits
            }
        };
        match self.locate(pc, thread, access, count, address, Touch::Read)? {
            Place::Global(address) => {
                for i in 0..count {
                    // SAFETY: `locate` found the element in an allocation, whose bytes the caller of `launch` promises
                    // to be valid, at a multiple of its size.
                    let bits = unsafe { load_global(address + u64::from(i * element), element) };
                    take(i as usize, extend(bits));
                }
            }
            Place::Shared(at) => {
                for i in 0..count {
                    take(
                        i as usize,
                        extend(load_bytes(
                            &self.shared,
                            at + (i * element) as usize,
                            element,
                        )),
                    );
                }
            }
            Place::Local(at) => {
                for i in 0..count {
                    take(
                        i as usize,
                        extend(load_bytes(
                            &self.local,
                            at + (i * element) as usize,
                            element,
                        )),
                    );
                }
            }
        }
        Ok(())
    }

    /// Stores elements that follow each other, whose bits are asked for by number.
    #[inline(always)]
    pub(super) fn store(
        &mut self,
        pc: usize,
        thread: Thread,
        access: Access,
        count: u32,
        address: u64,
        give: impl Fn(usize) -> u64,
    ) -> Result<(), FaultKind> {
        let element = u32::from(access.bytes);
        match self.locate(pc, thread, access, count, address, Touch::Write)? {
            Place::Global(address) => {
                for i in 0..count {
                    // SAFETY: as in `load`.
                    unsafe {
                        store_global(address + u64::from(i * element), element, give(i as usize));
                    }
                }
            }
            Place::Shared(at) => {
                for i in 0..count {
                    store_bytes(
                        &mut self.shared,
                        at + (i * element) as usize,
                        element,
                        give(i as usize),
                    );
                }
            }
            Place::Local(at) => {
                for i in 0..count {
                    store_bytes(
                        &mut self.local,
                        at + (i * element) as usize,
                        element,
                        give(i as usize),
                    );
                }
            }
        }
        Ok(())
    }

    /// Replaces an element by a function of it, at once, and returns what was there.
    pub(super) fn atomic(
        &mut self,
        pc: usize,
        thread: Thread,
        access: Access,
        address: u64,
        (f, b, c): (Ternary, u64, u64),
    ) -> Result<u64, FaultKind> {
        let element = u32::from(access.bytes);
        let memory = match self.locate(pc, thread, access, 1, address, Touch::Atomic)? {
            Place::Global(address) => {
                // SAFETY: as in `load`.
                return Ok(unsafe { replace_global(address, element, |old| f(old, b, c)) });
            }
            Place::Shared(at) => &mut self.shared[at..],
            Place::Local(at) => &mut self.local[at..],
        };
        let old = load_bytes(memory, 0, element);
        store_bytes(memory, 0, element, f(old, b, c));
        Ok(old)
    }

    /// Checks an access, and finds where it goes.
    #[inline(always)]
    fn locate(
        &mut self,
        pc: usize,
        thread: Thread,
        access: Access,
        count: u32,
        address: u64,
        touch: Touch,
    ) -> Result<Place, FaultKind> {
        let bytes = u32::from(access.bytes) * count;
        let (window, address) = match access.window {
            Window::Generic if address >= LOCAL_WINDOW => (Window::Local, address - LOCAL_WINDOW),
            Window::Generic if address >= SHARED_WINDOW => {
                (Window::Shared, address - SHARED_WINDOW)
            }
            Window::Generic => (Window::Global, address),
            // Addresses of these windows have 32 bits, wherever they are kept.
            Window::Shared | Window::Local => (access.window, address as u32 as u64),
            Window::Global => (Window::Global, address),
        };
        let write = touch != Touch::Read;
        if address & u64::from(bytes - 1) != 0 {
            let space = space_of(window);
            return Err(FaultKind::Misaligned {
                space,
                address,
                bytes,
                write,
            });
        }
        match window {
            Window::Global | Window::Generic => {
                if !self.cache[pc].contains(address, bytes) {
                    self.cache[pc] = self.find(address, bytes, write)?;
                }
                if let Some(races) = &mut self.global_races {
                    races.touch(address, bytes, touch)?;
                }
                Ok(Place::Global(address))
            }
            Window::Shared => {
                let inside = address + u64::from(bytes) <= self.shared.len() as u64;
                if !inside || self.shared_races.is_gap(address, bytes) {
                    return Err(self.outside_shared(address, bytes, write));
                }
                self.shared_races.touch(thread, address, bytes, touch)?;
                Ok(Place::Shared(address as usize))
            }
            Window::Local => {
                if address + u64::from(bytes) > self.local_bytes as u64 {
                    let nearest = Some(0..self.local_bytes as u64);
                    let space = Space::Local;
                    return Err(FaultKind::OutOfBounds {
                        space,
                        address,
                        bytes,
                        write,
                        nearest,
                    });
                }
                Ok(Place::Local(self.local_start(thread) + address as usize))
            }
        }
    }

    #[cold]
    fn outside_shared(&self, address: u64, bytes: u32, write: bool) -> FaultKind {
        // The variable that ends before the address, or the first one.
        let variables = self.function.shared.iter().cloned();
        let start = u64::from(self.function.dynamic_shared);
        let dynamic = start..self.shared.len() as u64;
        let nearest = variables
            .map(|variable| u64::from(variable.start)..u64::from(variable.end))
            .chain((!dynamic.is_empty()).then_some(dynamic))
            .rfind(|variable| variable.start <= address);
        FaultKind::OutOfBounds {
            space: Space::Shared,
            address,
            bytes,
            write,
            nearest,
        }
    }

    #[cold]
    fn find(&self, address: u64, bytes: u32, write: bool) -> Result<Cached, FaultKind> {
        let found = match self.function.globals.allocation(address) {
            Some(range) => Some(range),
            None => self.memory.allocation(address),
        };
        if let Some(range) = &found {
            let cached = Cached {
                start: range.start,
                bytes: range.end.saturating_sub(range.start),
            };
            if cached.contains(address, bytes) {
                return Ok(cached);
            }
        }
        let nearest = found.or_else(|| self.memory.nearest(address));
        Err(FaultKind::OutOfBounds {
            space: Space::Global,
            address,
            bytes,
            write,
            nearest,
        })
    }

    /// A value that the thread itself keeps, such as an argument of a call.
    pub(super) fn local_value(&self, thread: Thread, offset: u32, bytes: u32) -> u64 {
        let at = self.local_start(thread) + offset as usize;
        if offset as usize + bytes as usize > self.local_bytes {
            return 0;
        }
        load_bytes(&self.local, at, bytes)
    }

    /// Begins another block, as far as races between blocks are concerned.
    pub(super) fn block(&mut self, block: [u32; 3]) {
        if let Some(races) = &mut self.global_races {
            races.block(block);
        }
    }
}

fn space_of(window: Window) -> Space {
    match window {
        Window::Shared => Space::Shared,
        Window::Local => Space::Local,
        Window::Global | Window::Generic => Space::Global,
    }
}

/// Where an access goes, after it was checked.
enum Place {
    Global(u64),
    Shared(usize),
    Local(usize),
}

fn sign_extend(bits: u64, bytes: u32) -> u64 {
    let unused = 64 - 8 * bytes;
    ((bits << unused) as i64 >> unused) as u64
}

#[inline(always)]
fn load_bytes(memory: &[u8], at: usize, bytes: u32) -> u64 {
    match bytes {
        4 => u64::from(u32::from_le_bytes(array(&memory[at..at + 4]))),
        8 => u64::from_le_bytes(array(&memory[at..at + 8])),
        2 => u64::from(u16::from_le_bytes(array(&memory[at..at + 2]))),
        _ => u64::from(memory[at]),
    }
}

#[inline(always)]
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[inline(always)]
fn store_bytes(memory: &mut [u8], at: usize, bytes: u32, bits: u64) {
    match bytes {
        4 => memory[at..at + 4].copy_from_slice(&(bits as u32).to_le_bytes()),
        8 => memory[at..at + 8].copy_from_slice(&bits.to_le_bytes()),
        2 => memory[at..at + 2].copy_from_slice(&(bits as u16).to_le_bytes()),
        _ => memory[at] = bits as u8,
    }
}

fn pointer<T>(address: u64) -> *mut T {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

/// Reads an element of 1, 2, 4 or 8 bytes.
///
/// # Safety
/// The address is a multiple of `bytes`, and that many bytes there are valid and changed by atomic instructions only.
#[inline(always)]
unsafe fn load_global(address: u64, bytes: u32) -> u64 {
    // SAFETY: what this function requires.
    unsafe {
        match bytes {
            4 => u64::from(AtomicU32::from_ptr(pointer(address)).load(Ordering::Relaxed)),
            8 => AtomicU64::from_ptr(pointer(address)).load(Ordering::Relaxed),
            2 => u64::from(AtomicU16::from_ptr(pointer(address)).load(Ordering::Relaxed)),
            _ => u64::from(AtomicU8::from_ptr(pointer(address)).load(Ordering::Relaxed)),
        }
    }
}

/// Writes an element of 1, 2, 4 or 8 bytes.
///
/// # Safety
/// As for `load_global`.
#[inline(always)]
unsafe fn store_global(address: u64, bytes: u32, bits: u64) {
    // SAFETY: what this function requires.
    unsafe {
        match bytes {
            4 => AtomicU32::from_ptr(pointer(address)).store(bits as u32, Ordering::Relaxed),
            8 => AtomicU64::from_ptr(pointer(address)).store(bits, Ordering::Relaxed),
            2 => AtomicU16::from_ptr(pointer(address)).store(bits as u16, Ordering::Relaxed),
            _ => AtomicU8::from_ptr(pointer(address)).store(bits as u8, Ordering::Relaxed),
        }
    }
}

/// Replaces an element of 1, 2, 4 or 8 bytes by a function of it, and returns what it was.
///
/// # Safety
/// As for `load_global`.
unsafe fn replace_global(address: u64, bytes: u32, f: impl Fn(u64) -> u64) -> u64 {
    macro_rules! replace {
        ($atomic:ty, $integer:ty) => {{
            // SAFETY: what this function requires.
            let element = unsafe { <$atomic>::from_ptr(pointer(address)) };
            let mut old = element.load(Ordering::Relaxed);
            loop {
                let new = f(u64::from(old)) as $integer;
                match element.compare_exchange(old, new, Ordering::SeqCst, Ordering::Relaxed) {
                    Ok(old) => return u64::from(old),
                    Err(found) => old = found,
                }
            }
        }};
    }
    match bytes {
        4 => replace!(AtomicU32, u32),
        8 => replace!(AtomicU64, u64),
        2 => replace!(AtomicU16, u16),
        _ => replace!(AtomicU8, u8),
    }
}
