//! What is allocated: memory of devices, and host memory that devices reach.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ops::Range;

/// As the driver aligns allocations.
const ALIGNMENT: usize = 256;
/// What fresh and freed memory holds: not a number as a float, beyond every table as an index.
const POISON: u8 = 0xff;

/// Where an allocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Device(usize),
    /// Host memory that does not move.
    Pinned,
}

#[derive(Debug)]
struct Allocation {
    bytes: usize,
    layout: Layout,
    place: Place,
}

/// All allocations, by their address.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    allocations: BTreeMap<u64, Allocation>,
    /// Bytes taken of each device.
    used: Vec<usize>,
}

impl Memory {
    pub(crate) fn new(devices: usize) -> Self {
        Self {
            allocations: BTreeMap::new(),
            used: vec![0; devices],
        }
    }

    pub(crate) fn used(&self, device: usize) -> usize {
        self.used.get(device).copied().unwrap_or(0)
    }

    /// Allocates poisoned memory; `None` where there is none.
    pub(crate) fn allocate(&mut self, bytes: usize, place: Place) -> Option<u64> {
        let layout = Layout::from_size_align(bytes.max(1), ALIGNMENT).ok()?;
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc(layout) };
        if memory.is_null() {
            return None;
        }
        // SAFETY: the allocation has so many bytes.
        unsafe { memory.write_bytes(POISON, layout.size()) };
        let address = memory as u64;
        self.allocations.insert(
            address,
            Allocation {
                bytes,
                layout,
                place,
            },
        );
        if let Place::Device(device) = place {
            self.used[device] += bytes;
        }
        Some(address)
    }

    /// Frees an allocation; `false` where there is none at this address.
    pub(crate) fn free(&mut self, address: u64) -> bool {
        let Some(allocation) = self.allocations.remove(&address) else {
            return false;
        };
        if let Place::Device(device) = allocation.place {
            self.used[device] -= allocation.bytes;
        }
        let memory = address as *mut u8;
        // SAFETY: allocated by `allocate` with this layout, and no longer listed.
        unsafe {
            memory.write_bytes(POISON, allocation.layout.size());
            dealloc(memory, allocation.layout);
        }
        true
    }

    /// The allocation that holds an address.
    pub(crate) fn find(&self, address: u64) -> Option<(Range<u64>, Place)> {
        let (&start, allocation) = self.allocations.range(..=address).next_back()?;
        let range = start..start + allocation.bytes as u64;
        range
            .contains(&address)
            .then_some((range, allocation.place))
    }

    /// The allocation that starts at an address or last before it, or else the first.
    pub(crate) fn nearest(&self, address: u64) -> Option<Range<u64>> {
        let before = self.allocations.range(..=address).next_back();
        let (&start, allocation) = before.or_else(|| self.allocations.first_key_value())?;
        Some(start..start + allocation.bytes as u64)
    }

    /// Whether one allocation holds all these bytes.
    pub(crate) fn holds(&self, address: u64, bytes: usize) -> bool {
        bytes == 0
            || self
                .find(address)
                .is_some_and(|(range, _)| bytes as u64 <= range.end - address)
    }
}
