// The time-series layer's products of a sequence's vectors with one vector, and the vectors' lengths.
//
// Vectors are some tens of values, sequences some tens of vectors: a thread makes one result and adds in ascending order, by
// fused multiply-add. What neighbouring threads read again comes from the first cache.
#include "kernel.h"

// `a[s, t] = vectors[s, first + t] . x[s]`
//
// Shapes: vectors [count, positions, width], x [count, width], a [count, span]. Launch: count * span threads.
KERNEL(sequence_compare, const float* __restrict__ vectors, const float* __restrict__ x, float* __restrict__ a,
       unsigned long long count, unsigned positions, unsigned width, unsigned first, unsigned span) {
    THREADS {
        const unsigned long long k = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (k < count * span) {
            const unsigned long long s = k / span;
            const float* vector = vectors + (s * positions + first + k % span) * width;
            const float* with = x + s * width;
            float sum = 0.0f;
            for (unsigned d = 0; d < width; ++d) sum = fmaf(vector[d], with[d], sum);
            a[k] = sum;
        }
    }
}

// `c[s] = sum of y[s, t] * vectors[s, first + t] over t`
//
// Shapes: vectors [count, positions, width], y [count, span], c [count, width]. Launch: count * width threads.
KERNEL(sequence_weigh, const float* __restrict__ vectors, const float* __restrict__ y, float* __restrict__ c,
       unsigned long long count, unsigned positions, unsigned width, unsigned first, unsigned span) {
    THREADS {
        const unsigned long long k = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (k < count * width) {
            const unsigned long long s = k / width;
            const float* value = vectors + (s * positions + first) * width + k % width;
            const float* weight = y + s * span;
            float sum = 0.0f;
            for (unsigned t = 0; t < span; ++t) sum = fmaf(weight[t], value[(unsigned long long)t * width], sum);
            c[k] = sum;
        }
    }
}

// `grads[s, first + t] = y[s, t] * x[s]`, and zero in the other positions: the gradient of the vectors in both of the above.
//
// Shapes: y [count, span], x [count, width], grads [count, positions, width]. Launch: count * positions * width threads.
KERNEL(sequence_spread, const float* __restrict__ y, const float* __restrict__ x, float* __restrict__ grads,
       unsigned long long count, unsigned positions, unsigned width, unsigned first, unsigned span) {
    THREADS {
        const unsigned long long k = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (k < count * positions * width) {
            const unsigned long long row = k / width, s = row / positions;
            // Positions in front of the window wrap around and are behind it.
            const unsigned t = (unsigned)(row % positions) - first;
            grads[k] = t < span ? y[s * span + t] * x[s * width + k % width] : 0.0f;
        }
    }
}

// The length of a vector, but at least `shortest`. NaN stays NaN.
INLINE float length_of(const float* vector, unsigned width, float shortest) {
    float sum = 0.0f;
    for (unsigned d = 0; d < width; ++d) sum = fmaf(vector[d], vector[d], sum);
    const float length = SQRT(sum);
    return length < shortest ? shortest : length;
}

// `units = vectors / max(|vectors|, shortest)`, row by row.
//
// Shapes: vectors, units [rows, width]. Launch: rows threads.
KERNEL(normalise_forward, const float* __restrict__ vectors, float* __restrict__ units, unsigned long long rows, unsigned width,
       float shortest) {
    THREADS {
        const unsigned long long row = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (row < rows) {
            const float* vector = vectors + row * width;
            const float length = length_of(vector, width, shortest);
            for (unsigned d = 0; d < width; ++d) units[row * width + d] = DIVIDE(vector[d], length);
        }
    }
}

// From the gradient of the unit vectors that of the vectors: `(g - (u . g) u) / length`. A vector that was divided by the bound
// did not change its divisor.
//
// Shapes: all [rows, width]. Launch: rows threads.
KERNEL(normalise_backward, const float* __restrict__ vectors, const float* __restrict__ unit_grads, float* __restrict__ grads,
       unsigned long long rows, unsigned width, float shortest) {
    THREADS {
        const unsigned long long row = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (row < rows) {
            const float *vector = vectors + row * width, *grad = unit_grads + row * width;
            const float length = length_of(vector, width, shortest);
            float along = 0.0f;
            if (!(length <= shortest)) {
                for (unsigned d = 0; d < width; ++d) along = fmaf(DIVIDE(vector[d], length), grad[d], along);
            }
            for (unsigned d = 0; d < width; ++d) {
                grads[row * width + d] = DIVIDE(fmaf(-along, DIVIDE(vector[d], length), grad[d]), length);
            }
        }
    }
}
