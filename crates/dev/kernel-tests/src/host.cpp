// Which block a kernel of `kernel.h` runs as, on the CPU.
extern "C" {
thread_local unsigned kernel_block, kernel_blocks, kernel_block_threads;
thread_local unsigned char* kernel_shared;

void kernel_enter(unsigned block, unsigned blocks, unsigned threads, unsigned char* shared) {
    kernel_block = block;
    kernel_blocks = blocks;
    kernel_block_threads = threads;
    kernel_shared = shared;
}
}
