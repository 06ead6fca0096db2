//! What a launch of a kernel is given.

use std::ops::Range;

/// What a kernel may access, by address. Addresses of the device are those of the host.
///
/// # Safety
/// What [`allocation`](Self::allocation) gives is memory that may be read and written while a kernel
/// runs.
pub unsafe trait Memory: Sync {
    /// The allocation that contains an address, from its first byte to the one behind its last.
    ///
    /// Its bytes must stay valid, and be accessed elsewhere only by atomic instructions or not at
    /// all, until the launch returns.
    fn allocation(&self, address: u64) -> Option<Range<u64>>;

    /// The allocation nearest to an address that none contains, for messages.
    fn nearest(&self, address: u64) -> Option<Range<u64>> {
        let _ = address;
        None
    }
}

/// One launch of a kernel.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// Blocks, in three dimensions.
    pub grid: [u32; 3],
    /// Threads of a block, in three dimensions.
    pub block: [u32; 3],
    /// Shared memory in addition to what the kernel declares, in bytes.
    pub shared_bytes: u32,
    /// The parameters' bytes, each at its offset.
    pub arguments: &'a [u8],
    /// What the kernel may access.
    pub memory: &'a dyn Memory,
    /// The order that blocks, and threads between two barriers, run in; 0 is that of their indices.
    pub order: u64,
    /// Whether to look for blocks that touch what another one writes. It takes time, and memory for
    /// every word touched.
    pub race_check: bool,
}
