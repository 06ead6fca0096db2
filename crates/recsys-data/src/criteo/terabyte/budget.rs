//! What the memory is divided into.

use super::Limits;
use super::columns::BlockLayout;
use super::tally::Tally;
use crate::criteo::error::Error as CriteoError;
use crate::error::{Error, Result};

/// The program itself, its stacks, and what allocators keep.
const BASE: u64 = 64 << 20;
/// Text, decoder and lists of a thread, apart from its block of columns.
const TEXT: u64 = 8 << 20;
/// A thread that counts or merges gets this much at least, so that tables are not cut into crumbs.
const LEAST_SHARE: u64 = 128 << 20;
/// No command works in less.
const LEAST: u64 = 256 << 20;

/// The memory allowed, and the threads that share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    free: u64,
    threads: usize,
    limits: Limits,
}

impl Budget {
    /// # Errors
    /// Less memory than the work needs.
    pub(super) fn new(memory: u64, threads: usize, limits: Limits) -> Result<Self> {
        if memory < LEAST {
            return Err(Error::Criteo(CriteoError::LittleMemory {
                found: memory,
                least: LEAST,
                threads,
            }));
        }
        let free = memory - BASE;
        Ok(Self {
            free,
            threads,
            limits,
        })
    }

    fn block(&self) -> u64 {
        BlockLayout::new(self.limits.block_rows).bytes() as u64
    }

    /// Threads that parse, each with a block and text of its own.
    pub(super) fn parsers(&self) -> usize {
        self.workers(self.block() + TEXT)
    }

    /// Threads that count.
    pub(super) fn counters(&self) -> usize {
        self.workers(LEAST_SHARE)
    }

    fn workers(&self, bytes: u64) -> usize {
        let most = usize::try_from(self.free / bytes).unwrap_or(usize::MAX);
        self.threads.min(most).max(1)
    }

    /// Bytes for each thread that counts.
    pub(super) fn share(&self) -> u64 {
        self.free / self.counters() as u64
    }

    /// Most slots of a table of counts: while it grows, the old slots are there beside the new ones, twice as many.
    pub(super) fn count_slots(&self) -> usize {
        let slots = (self.share() - TEXT) / (3 * size_of::<Tally>() as u64 / 2);
        let slots = usize::try_from(slots).unwrap_or(usize::MAX).max(2);
        // The largest power of two that is not more.
        let power = 1 << slots.ilog2();
        self.limits.count_slots.min(power)
    }

    /// Most categories of a partition: as many whatever the memory, so that a preparation goes on with another budget.
    pub(super) fn partition(&self) -> usize {
        self.limits.partition
    }

    /// Bytes to read ahead, or to write behind, in each of `files` files that one thread merges.
    pub(super) fn buffer(&self, files: usize) -> usize {
        let bytes = (self.share() / 8) as usize / files.max(1);
        bytes.clamp(4 << 10, 1 << 20).next_multiple_of(4 << 10)
    }

    /// Threads that encode, each with a block and its ids, and the bytes for dictionaries beside them.
    pub(super) fn encoders(&self) -> (usize, u64) {
        let each = 2 * self.block() + TEXT;
        // Half the memory belongs to dictionaries, which all threads share.
        let most = usize::try_from(self.free / 2 / each).unwrap_or(usize::MAX);
        let threads = self.threads.min(most).max(1);
        let dictionaries = self.free - threads as u64 * each;
        (threads, dictionaries.min(self.limits.dictionary_bytes))
    }
}
