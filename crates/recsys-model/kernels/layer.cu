// What surrounds the matrix products of a fully connected layer: bias and activation, and their gradients.
//
// A thread takes one column of `rows_each` rows, so that it reads the bias once, and neighbouring threads have neighbouring
// columns. How sums are cut follows from the number of rows alone, never from the launch.
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

// Rows whose loads a thread has under way before it stores.
const unsigned AT_ONCE = 8;

// `y = activation(x + bias)`; `y` may be `x`.
//
// Shapes: x, y [rows, columns], bias [columns]. Launch: ceil(rows / rows_each) * columns threads.
KERNEL(bias_activation_forward, const float* x, const float* bias, float* y, unsigned long long rows, unsigned columns,
       unsigned rows_each, unsigned activation) {
    THREADS {
        const unsigned long long k = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        const unsigned long long first = k / columns * rows_each;
        if (first < rows) {
            const unsigned column = (unsigned)(k % columns);
            const unsigned long long end = rows - first < rows_each ? rows : first + rows_each;
            const float shift = bias[column];
            for (unsigned long long row = first; row < end; row += AT_ONCE) {
                float some[AT_ONCE];
                for (unsigned i = 0; i < AT_ONCE; ++i) {
                    some[i] = x[(row + i < end ? row + i : end - 1) * columns + column];
                }
                for (unsigned i = 0; i < AT_ONCE; ++i) {
                    if (row + i < end) y[(row + i) * columns + column] = activate(some[i] + shift, activation);
                }
            }
        }
    }
}

// The gradient in front of the activation (not written where there is no activation: it is `y_grad`), and its sums over
// `rows_each` rows, in their order. `x_grad` may be `y_grad`.
//
// Shapes: y, y_grad, x_grad [rows, columns], sums [ceil(rows / rows_each), stride], of which `columns` are written. Launch: a thread
// for each of these.
KERNEL(bias_activation_backward, const float* y, const float* y_grad, float* x_grad, float* sums, unsigned long long rows,
       unsigned columns, unsigned rows_each, unsigned activation, unsigned stride) {
    THREADS {
        const unsigned long long k = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        const unsigned long long first = k / columns * rows_each;
        if (first < rows) {
            const unsigned column = (unsigned)(k % columns);
            const unsigned long long end = rows - first < rows_each ? rows : first + rows_each;
            float sum = 0.0f;
            for (unsigned long long row = first; row < end; row += AT_ONCE) {
                float grads[AT_ONCE], values[AT_ONCE] = {};
                for (unsigned i = 0; i < AT_ONCE; ++i) {
                    const unsigned long long at = (row + i < end ? row + i : end - 1) * columns + column;
                    grads[i] = y_grad[at];
                    if (activation != 0) values[i] = y[at];
                }
                for (unsigned i = 0; i < AT_ONCE; ++i) {
                    if (row + i < end) {
                        const float grad = in_front(values[i], grads[i], activation);
                        if (activation != 0) x_grad[(row + i) * columns + column] = grad;
                        sum += grad;
                    }
                }
            }
            sums[k / columns * stride + column] = sum;
        }
    }
}

// Threads that share a column's sums.
const unsigned LANES = 32;

// `bias_grad`: the sum of `sums` over its rows. Lane `l` adds rows `l`, `l + 32`, … in this order; then the lanes are added in
// theirs.
//
// The sum of a column goes to `places[column]`, or to the column's own place where there are no `places`.
//
// Shapes: sums [count, columns], bias_grad [columns]. Launch: a multiple of 32 threads a block, for threads / 32 columns; shared:
// threads floats.
KERNEL(bias_gradient, const float* __restrict__ sums, float* __restrict__ bias_grad, unsigned long long count, unsigned columns,
       const unsigned* __restrict__ places) {
    SHARED_OF_LAUNCH(float, lanes);
    const unsigned wide = BLOCK_THREADS / LANES;
    THREADS {
        const unsigned lane = thread / wide;
        const unsigned long long column = (unsigned long long)BLOCK * wide + thread % wide;
        float sum = 0.0f;
        if (column < columns) {
            for (unsigned long long row = lane; row < count; row += AT_ONCE * LANES) {
                float some[AT_ONCE];
                for (unsigned i = 0; i < AT_ONCE; ++i) {
                    const unsigned long long at = row + i * LANES;
                    some[i] = sums[(at < count ? at : count - 1) * columns + column];
                }
                for (unsigned i = 0; i < AT_ONCE; ++i) {
                    if (row + i * LANES < count) sum += some[i];
                }
            }
        }
        lanes[thread] = sum;
    }
    SYNC;
    THREADS {
        const unsigned long long column = (unsigned long long)BLOCK * wide + thread;
        if (thread < wide && column < columns) {
            float sum = 0.0f;
            for (unsigned lane = 0; lane < LANES; ++lane) sum += lanes[lane * wide + thread];
            bias_grad[places ? places[column] : column] = sum;
        }
    }
}
