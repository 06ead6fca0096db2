// What a kernel is written with. nvcc makes a device function of it; a C++ compiler makes a function that runs one block,
// whose threads are a loop. A kernel is a sequence of phases: `THREADS { … }`, between which nothing lives on but `SHARED`
// memory, and `SYNC` ends a phase whose results other threads read.
//
//     KERNEL(scale, const float* x, float* y, float factor, unsigned long long count) {
//         THREADS {
//             const unsigned long long i = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
//             if (i < count) y[i] = factor * x[i];
//         }
//     }
#pragma once

#ifdef __CUDACC__

#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
// The same for blocks of at most so many threads, so many of them side by side: told so, the assembler spends the registers that this
// leaves on loads under way. Untold, it saves registers, and loads wait for each other.
#define KERNEL_OF(threads, side_by_side, name, ...) extern "C" __global__ void __launch_bounds__(threads, side_by_side) name(__VA_ARGS__)
#define INLINE __device__ __forceinline__
#define BLOCK blockIdx.x
#define BLOCKS gridDim.x
#define BLOCK_THREADS blockDim.x
#define THREADS for (unsigned thread = threadIdx.x, _once = 1; _once; _once = 0)
#define SYNC __syncthreads()
// An array that the threads of a block share.
#define SHARED(type, name, count) __shared__ type name[count]
// The same, as large as the launch says; one a kernel.
#define SHARED_OF_LAUNCH(type, name) extern __shared__ __align__(16) unsigned char _shared[]; type* const name = (type*)_shared
// IEEE square root and quotient, as on the CPU.
#define SQRT(x) __fsqrt_rn(x)
#define DIVIDE(x, y) __fdiv_rn(x, y)
// The bits of a float.
#define FLOAT_TO_BITS(x) __float_as_uint(x)
#define BITS_TO_FLOAT(x) __uint_as_float(x)

#else

#include <math.h>
#include <string.h>

extern "C" {
extern thread_local unsigned kernel_block, kernel_blocks, kernel_block_threads;
extern thread_local unsigned char* kernel_shared;
}

#define KERNEL(name, ...) extern "C" void name(__VA_ARGS__)
#define KERNEL_OF(threads, side_by_side, name, ...) KERNEL(name, __VA_ARGS__)
#define INLINE static inline
#define BLOCK kernel_block
#define BLOCKS kernel_blocks
#define BLOCK_THREADS kernel_block_threads
#define THREADS for (unsigned thread = 0; thread < kernel_block_threads; ++thread)
#define SYNC ((void)0)
#define SHARED(type, name, count) type name[count]
#define SHARED_OF_LAUNCH(type, name) type* const name = (type*)kernel_shared
#define SQRT(x) sqrtf(x)
#define DIVIDE(x, y) ((x) / (y))
#define FLOAT_TO_BITS(x) kernel_cast<unsigned>((float)(x))
#define BITS_TO_FLOAT(x) kernel_cast<float>((unsigned)(x))

template <class To, class From>
static inline To kernel_cast(From from) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

#endif

// Moves `all` items by the threads of a block: `store(item, load(item))`. A thread loads some before it stores one, behind the last
// item the last again: without a branch, all are on their way before one is waited for.
template <class Load, class Store>
INLINE void move_items(unsigned thread, unsigned all, Load load, Store store) {
    constexpr unsigned AT_ONCE = 4;
    for (unsigned item = thread; item < all; item += AT_ONCE * BLOCK_THREADS) {
        decltype(load(item)) values[AT_ONCE];
        for (unsigned i = 0; i < AT_ONCE; ++i) {
            const unsigned at = item + i * BLOCK_THREADS;
            values[i] = load(at < all ? at : all - 1);
        }
        for (unsigned i = 0; i < AT_ONCE; ++i) {
            const unsigned at = item + i * BLOCK_THREADS;
            if (at < all) store(at, values[i]);
        }
    }
}
