//! CUDA kernels as host code: a grid is a loop.

unsafe extern "C" {
    fn kernel_enter(block: u32, blocks: u32, threads: u32, shared: *mut u8);
}

/// How a kernel is launched.
#[derive(Debug, Clone, Copy)]
pub struct Launch {
    /// Blocks of the grid.
    pub blocks: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of `SHARED_OF_LAUNCH`.
    pub shared_bytes: usize,
}

impl Launch {
    /// Runs `kernel`, a call of an `extern "C"` kernel with its arguments, as every block in turn.
    pub fn run(self, mut kernel: impl FnMut()) {
        // Filled with what no kernel should read before it has written it; u128 for the alignment that a device gives.
        let mut shared = vec![u128::MAX; self.shared_bytes.div_ceil(16)];
        for block in 0..self.blocks {
            shared.fill(u128::MAX);
            // SAFETY: sets thread-local variables; the buffer outlives the kernel's run.
            unsafe { kernel_enter(block, self.blocks, self.threads, shared.as_mut_ptr().cast()) };
            kernel();
        }
    }
}
