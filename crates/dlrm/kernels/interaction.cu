// The dot interaction: all pairs of a sample's features, and their gradients.
//
// A block takes some samples, and `columns` of their dimension at a time into shared memory. Every sum runs in ascending order
// and by fused multiply-add, whatever the cut: results do not depend on the launch.
#include "kernel.h"

// Four neighbouring values: one load.
struct alignas(16) Four {
    float of[4];
};

// Products in front of row `i` of the triangle.
INLINE unsigned row_start(unsigned i, unsigned with_self) {
    return (with_self ? i * (i + 1) : i * (i - 1)) / 2;
}

// Feature `row % count` of sample `first + row / count`: the bottom MLP's output, or a row.
INLINE const float* feature(const float* bottom, const float* rows, unsigned long long first, unsigned row, unsigned count, unsigned dim) {
    const unsigned table = row % count;
    const unsigned long long sample = first + row / count;
    return table == 0 ? bottom + sample * dim : rows + (sample * (count - 1) + table - 1) * dim;
}

// The row of element `k` of a triangle with its diagonal. The root is rounded, hence the steps.
INLINE unsigned triangle_row(unsigned k) {
    unsigned row = (unsigned)((SQRT(8.0f * (float)k + 1.0f) - 1.0f) * 0.5f);
    while (row * (row + 1) / 2 > k) --row;
    while ((row + 1) * (row + 2) / 2 <= k) ++row;
    return row;
}

// `output[s] = [bottom[s], triangle of T T']` for `T = [bottom[s]; rows[s]]`, the triangle row by row.
//
// Shapes: bottom [batch, dim], rows [batch, tables, dim], output [batch, dim + products].
// Launch: ceil(batch / samples) blocks; shared: samples * (tables + 1) * (columns | 1) floats.
//
// A thread makes the products of two features with two others, so that four loads serve four of them. Features lie an odd
// distance apart, so that those of neighbouring threads are in different banks.
KERNEL(interaction_forward, const float* __restrict__ bottom, const float* __restrict__ rows, float* __restrict__ output,
       unsigned long long batch, unsigned tables, unsigned dim, unsigned with_self, unsigned samples, unsigned columns) {
    SHARED_OF_LAUNCH(float, features);
    const unsigned count = tables + 1, stride = columns | 1;
    const unsigned side = (count + 1) / 2, squares = side * (side + 1) / 2;
    const unsigned long long width = dim + row_start(count, with_self);
    const unsigned long long first = (unsigned long long)BLOCK * samples;
    const unsigned here = batch - first < samples ? (unsigned)(batch - first) : samples;
    for (unsigned start = 0; start < dim; start += columns) {
        const unsigned in = dim - start < columns ? dim - start : columns;
        THREADS {
            move_items(
                thread, here * count * in,
                [&](unsigned k) { return feature(bottom, rows, first, k / in, count, dim)[start + k % in]; },
                [&](unsigned k, float value) {
                    const unsigned row = k / in, column = k % in;
                    features[row * stride + column] = value;
                    if (row % count == 0) output[(first + row / count) * width + start + column] = value;
                });
        }
        SYNC;
        THREADS {
            for (unsigned k = thread; k < here * squares; k += BLOCK_THREADS) {
                const unsigned sample = k / squares, square = k % squares;
                const unsigned i = triangle_row(square), j = square - i * (i + 1) / 2;
                const float* own = features + sample * count * stride;
                float* products = output + (first + sample) * width + dim;
                const float *left[2], *right[2];
                float sums[2][2];
#pragma unroll
                for (unsigned a = 0; a < 2; ++a) {
                    // Behind the last feature: any that exists; its products are not kept.
                    left[a] = own + (2 * i + a < count ? 2 * i + a : 2 * i) * stride;
                    right[a] = own + (2 * j + a < count ? 2 * j + a : 2 * j) * stride;
#pragma unroll
                    for (unsigned b = 0; b < 2; ++b) {
                        const unsigned from = 2 * i + a, with = 2 * j + b;
                        const bool kept = from < count && with < from + with_self;
                        // What earlier columns gave, which this thread has stored.
                        sums[a][b] = kept && start > 0 ? products[row_start(from, with_self) + with] : 0.0f;
                    }
                }
                for (unsigned column = 0; column < in; ++column) {
                    const float x[2] = {left[0][column], left[1][column]};
                    const float y[2] = {right[0][column], right[1][column]};
#pragma unroll
                    for (unsigned a = 0; a < 2; ++a) {
#pragma unroll
                        for (unsigned b = 0; b < 2; ++b) sums[a][b] = fmaf(x[a], y[b], sums[a][b]);
                    }
                }
#pragma unroll
                for (unsigned a = 0; a < 2; ++a) {
#pragma unroll
                    for (unsigned b = 0; b < 2; ++b) {
                        const unsigned from = 2 * i + a, with = 2 * j + b;
                        if (from < count && with < from + with_self) products[row_start(from, with_self) + with] = sums[a][b];
                    }
                }
            }
        }
        SYNC;
    }
}

// From the gradient of the output those of `bottom` and `rows`: `dT = (dZ + dZ') T` for the triangle `dZ`, and for `bottom` what
// comes directly.
//
// Shapes: as above; output_grad as the output, bottom_grad as bottom, rows_grad as rows.
// Launch: ceil(batch / samples) blocks; shared: samples * (tables + 1) * (4 * ceil((tables + 1) / 4) + columns) floats.
//
// A thread makes one column of four features' gradients, so that two loads serve four products. Neighbouring threads have
// neighbouring columns, which no two of them find in one bank; the coefficients they share.
KERNEL(interaction_backward, const float* __restrict__ bottom, const float* __restrict__ rows,
       const float* __restrict__ output_grad, float* __restrict__ bottom_grad, float* __restrict__ rows_grad,
       unsigned long long batch, unsigned tables, unsigned dim, unsigned with_self, unsigned samples, unsigned columns) {
    SHARED_OF_LAUNCH(Four, coefficients);
    const unsigned count = tables + 1, quads = (count + 3) / 4;
    float* features = (float*)(coefficients + samples * count * quads);
    const unsigned long long width = dim + row_start(count, with_self);
    const unsigned long long first = (unsigned long long)BLOCK * samples;
    const unsigned here = batch - first < samples ? (unsigned)(batch - first) : samples;
    THREADS {
        move_items(
            thread, here * count * count,
            [&](unsigned k) {
                const unsigned row = k / count, i = row % count, j = k % count;
                const float* products = output_grad + (first + row / count) * width + dim;
                // A square's derivative, where there are squares.
                if (i == j) return with_self ? 2.0f * products[row_start(i, with_self) + i] : 0.0f;
                return products[i < j ? row_start(j, with_self) + i : row_start(i, with_self) + j];
            },
            [&](unsigned k, float value) { coefficients[k / count * quads + k % count / 4].of[k % count % 4] = value; });
    }
    for (unsigned start = 0; start < dim; start += columns) {
        const unsigned in = dim - start < columns ? dim - start : columns;
        THREADS {
            move_items(
                thread, here * count * in,
                [&](unsigned k) { return feature(bottom, rows, first, k / in, count, dim)[start + k % in]; },
                [&](unsigned k, float value) { features[k / in * columns + k % in] = value; });
        }
        SYNC;
        THREADS {
            for (unsigned k = thread; k < here * quads * in; k += BLOCK_THREADS) {
                const unsigned column = k % in, quad = k / in % quads, sample = k / in / quads;
                const Four* coefficient = coefficients + sample * count * quads + quad;
                const float* value = features + sample * count * columns + column;
                Four sums = {{0.0f, 0.0f, 0.0f, 0.0f}};
                for (unsigned j = 0; j < count; ++j) {
                    const Four by = coefficient[j * quads];
                    const float x = value[j * columns];
#pragma unroll
                    for (unsigned a = 0; a < 4; ++a) sums.of[a] = fmaf(by.of[a], x, sums.of[a]);
                }
                const unsigned long long at = first + sample;
#pragma unroll
                for (unsigned a = 0; a < 4; ++a) {
                    const unsigned feature = 4 * quad + a;
                    if (feature == 0) {
                        bottom_grad[at * dim + start + column] = output_grad[at * width + start + column] + sums.of[a];
                    } else if (feature < count) {
                        rows_grad[(at * tables + feature - 1) * dim + start + column] = sums.of[a];
                    }
                }
            }
        }
        SYNC;
    }
}
