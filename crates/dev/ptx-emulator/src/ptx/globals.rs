//! The variables of a module in memory.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The memory of a module's variables.
#[derive(Debug, Default)]
pub(super) struct Globals {
    pub(super) words: Vec<AtomicU64>,
    /// Sorted by address.
    pub(super) ranges: Vec<Range<u64>>,
}

impl Globals {
    /// The variable that contains an address.
    pub(super) fn allocation(&self, address: u64) -> Option<Range<u64>> {
        let behind = self.ranges.partition_point(|range| range.start <= address);
        let range = self.ranges.get(behind.checked_sub(1)?)?;
        range.contains(&address).then(|| range.clone())
    }

    /// The text at an address, up to a zero.
    pub(super) fn text(&self, address: u64) -> Box<str> {
        let Some(range) = self.allocation(address) else {
            return Box::default();
        };
        let base = self.base();
        let byte = |at: u64| {
            let word = self.words[((at - base) / 8) as usize].load(Ordering::Relaxed);
            word.to_le_bytes()[((at - base) % 8) as usize]
        };
        let bytes: Vec<u8> = (address..range.end)
            .map(byte)
            .take_while(|&byte| byte != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into()
    }

    /// Where the memory begins.
    pub(super) fn base(&self) -> u64 {
        self.words.as_ptr().expose_provenance() as u64
    }
}
