// What surrounds the matrix products of a fully connected layer: bias and activation, and their gradients.
//
// A thread takes one column of `rows_each` rows, so that it reads the bias once, and neighbouring threads have neighbouring
// columns. Pointers are declared distinct, so that a thread has several rows' loads under way before it stores. How sums are cut
// follows from the number of rows alone, never from the launch.
#include "kernel.h"

// `activation`: 0 none, 1 ReLU, 2 sigmoid. NaN stays NaN, so that a diverged model is seen in its loss.
INLINE float activate(float x, unsigned activation) {
    if (activation == 1) return x < 0.0f ? 0.0f : x;
    if (activation == 2) return DIVIDE(1.0f, 1.0f + expf(-x));
    return x;
}

// The gradient in front of an activation, from the one behind it and the value `y` that it has given.
INLINE float in_front(float y, float y_grad, unsigned activation) {
    if (activation == 1) return y <= 0.0f ? 0.0f : y_grad;
    if (activation == 2) return y_grad * (y * (1.0f - y));
    return y_grad;
}

// `y = activation(x + bias)`.
//
// Shapes: x, y [rows, columns], bias [columns]. Launch: ceil(rows / rows_each) * columns threads.
KERNEL(bias_activation_forward, const float* __restrict__ x, const float* __restrict__ bias, float* __restrict__ y,
       unsigned long long rows, unsigned columns, unsigned rows_each, unsigned activation) {
    THREADS {
        const unsigned long long k = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        const unsigned long long first = k / columns * rows_each;
        if (first < rows) {
            const unsigned column = (unsigned)(k % columns);
            const unsigned long long end = rows - first < rows_each ? rows : first + rows_each;
            const float shift = bias[column];
#pragma unroll 8
            for (unsigned long long row = first; row < end; ++row) {
                y[row * columns + column] = activate(x[row * columns + column] + shift, activation);
            }
        }
    }
}

// The gradient in front of the activation (not written where there is no activation: it is `y_grad`), and its sums over
// `rows_each` rows, in their order.
//
// Shapes: y, y_grad, x_grad [rows, columns], sums [ceil(rows / rows_each), columns]. Launch: as many threads as sums.
KERNEL(bias_activation_backward, const float* __restrict__ y, const float* __restrict__ y_grad, float* __restrict__ x_grad,
       float* __restrict__ sums, unsigned long long rows, unsigned columns, unsigned rows_each, unsigned activation) {
    THREADS {
        const unsigned long long k = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        const unsigned long long first = k / columns * rows_each;
        if (first < rows) {
            const unsigned column = (unsigned)(k % columns);
            const unsigned long long end = rows - first < rows_each ? rows : first + rows_each;
            float sum = 0.0f;
#pragma unroll 8
            for (unsigned long long row = first; row < end; ++row) {
                const unsigned long long at = row * columns + column;
                float grad = y_grad[at];
                if (activation != 0) {
                    grad = in_front(y[at], grad, activation);
                    x_grad[at] = grad;
                }
                sum += grad;
            }
            sums[k] = sum;
        }
    }
}

// Threads that share a column's sums.
const unsigned LANES = 32;

// `bias_grad`: the sum of `sums` over its rows. Lane `l` adds rows `l`, `l + 32`, … in this order; then the lanes are added in
// theirs.
//
// Shapes: sums [count, columns], bias_grad [columns]. Launch: a multiple of 32 threads a block, for threads / 32 columns; shared:
// threads floats.
KERNEL(bias_gradient, const float* __restrict__ sums, float* __restrict__ bias_grad, unsigned long long count, unsigned columns) {
    SHARED_OF_LAUNCH(float, lanes);
    const unsigned wide = BLOCK_THREADS / LANES;
    THREADS {
        const unsigned lane = thread / wide;
        const unsigned long long column = (unsigned long long)BLOCK * wide + thread % wide;
        float sum = 0.0f;
        if (column < columns) {
#pragma unroll 8
            for (unsigned long long row = lane; row < count; row += LANES) sum += sums[row * columns + column];
        }
        lanes[thread] = sum;
    }
    SYNC;
    THREADS {
        const unsigned long long column = (unsigned long long)BLOCK * wide + thread;
        if (thread < wide && column < columns) {
            float sum = 0.0f;
            for (unsigned lane = 0; lane < LANES; ++lane) sum += lanes[lane * wide + thread];
            bias_grad[column] = sum;
        }
    }
}
