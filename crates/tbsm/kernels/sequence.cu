// The time-series layer's products of a sequence's vectors with one vector, and the vectors' lengths.
//
// Vectors are some tens of values, sequences some tens of vectors: a thread makes one result and adds in ascending order, by
// fused multiply-add. What neighbouring threads read again comes from the first cache.
#include "kernel.h"

// `a[s, t] = vectors[s, first + t] . x[s]`
//
// Shapes: vectors [count, positions, width], x [count, width] in rows `apart` values apart, a [count, span]. Launch: count * span
// threads.
KERNEL(sequence_compare, const float* __restrict__ vectors, const float* __restrict__ x, float* __restrict__ a,
       unsigned long long count, unsigned positions, unsigned width, unsigned first, unsigned span, unsigned long long apart) {
    THREADS {
        const unsigned long long k = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (k < count * span) {
            const unsigned long long s = k / span;
            const float* vector = vectors + (s * positions + first + k % span) * width;
            const float* with = x + s * apart;
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

// What a head MLP takes: `joined[s] = [sum of y[s, t] * vectors[s, first + t] over t, vectors[s, positions - 1]]`, a context and the
// candidate.
//
// Shapes: vectors [count, positions, width], y [count, span], joined [count, 2 * width]. Launch: count * 2 * width threads.
KERNEL(sequence_join, const float* __restrict__ vectors, const float* __restrict__ y, float* __restrict__ joined,
       unsigned long long count, unsigned positions, unsigned width, unsigned first, unsigned span) {
    THREADS {
        const unsigned long long k = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (k < count * 2 * width) {
            const unsigned long long s = k / (2 * width);
            const unsigned column = (unsigned)(k % (2 * width)), d = column % width;
            const float* value = vectors + s * positions * width + d;
            float result;
            if (column < width) {
                const float* weight = y + s * span;
                result = 0.0f;
                for (unsigned t = 0; t < span; ++t) {
                    result = fmaf(weight[t], value[(unsigned long long)(first + t) * width], result);
                }
            } else {
                result = value[(unsigned long long)(positions - 1) * width];
            }
            joined[k] = result;
        }
    }
}

// The gradient of the vectors that one head gives: in the positions seen `y[s, t] * joined_grad[s, context] + a_grad[s, t] * x[s]`,
// from the context's sum and the products with `x`; in the last one, the candidate's, `joined_grad[s, candidate] + w_grad[s]`, the
// latter through `x`; zero in the others. `add`: to what is there.
//
// Shapes: y, a_grad [count, span], joined_grad [count, 2 * width], x [count, width] in rows `apart` values apart,
// w_grad [count, width], grads [count, positions, width]. Launch: count * positions * width threads.
KERNEL(sequence_gradient, const float* __restrict__ y, const float* __restrict__ joined_grad, const float* __restrict__ a_grad,
       const float* __restrict__ x, const float* __restrict__ w_grad, float* __restrict__ grads, unsigned long long count,
       unsigned positions, unsigned width, unsigned first, unsigned span, unsigned long long apart, unsigned add) {
    THREADS {
        const unsigned long long k = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (k < count * positions * width) {
            const unsigned long long row = k / width, s = row / positions;
            const unsigned d = (unsigned)(k % width), position = (unsigned)(row % positions);
            // Positions in front of the window wrap around and are behind it.
            const unsigned t = position - first;
            const float* joined = joined_grad + s * 2 * width;
            float grad = add ? grads[k] : 0.0f;
            if (t < span) {
                grad = fmaf(y[s * span + t], joined[d], fmaf(a_grad[s * span + t], x[s * apart + d], grad));
            } else if (position == positions - 1) {
                grad = grad + joined[width + d] + w_grad[s * width + d];
            }
            grads[k] = grad;
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
