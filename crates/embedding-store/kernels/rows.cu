// Rows of embedding tables: gathering them, and moving them along their gradients.
//
// The rows of all tables of one width lie in one matrix, so that all of them are one launch. A row is named by its address: below
// `hot_rows` it is a row of the matrix, from there on a row of the buffer that holds the batch's cold rows. Lists of addresses and
// bags come from the host (`BatchLists`), in a fixed order: no kernel needs atomics, and sums and roundings are those of
// `CpuStore`, bit for bit.
//
// `vector` says that floats can be moved four at a time: the width is a multiple of four and every matrix starts at one.
// Blocks have at most 256 threads.
#include "kernel.h"

namespace {

// Columns of a row that are summed at once where a block needs them together; a multiple of the lanes.
constexpr unsigned TILE = 512;
// Floats of gradients that a block holds of a row of many bags.
constexpr unsigned STAGE = 4096;
// Loads of a thread that are on their way together there.
constexpr unsigned IN_FLIGHT = 4;
constexpr unsigned MAX_THREADS = 256;
// Sums at hand: four columns a thread, and a tile at least.
constexpr unsigned SUMS = 4 * MAX_THREADS;
// Partial sums of a reduction, as in `kernel.rs`.
constexpr unsigned LANES = 8;

template <int N>
struct alignas(4 * N) Floats {
    float at[N];
};

template <int N>
struct alignas(2 * N) Halves {
    unsigned short at[N];
};

INLINE unsigned smaller(unsigned x, unsigned y) { return x < y ? x : y; }

INLINE unsigned long long mixed(unsigned long long x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

// f32 rows.
template <int N>
INLINE Floats<N> read(const float* from) {
    return *(const Floats<N>*)from;
}

template <int N>
INLINE void write(float* into, Floats<N> x, unsigned long long = 0, unsigned = 0, unsigned = 0) {
    *(Floats<N>*)into = x;
}

// bf16 rows, in bits. All arithmetic is f32; what is written is rounded up or down at random, so that steps too small for the
// eight bits of a weight are taken on average. The random bits are a function of the key (which the host makes of a seed and
// the number of the step), the row and the column: the same on any grid.
template <int N>
INLINE Floats<N> read(const unsigned short* from) {
    const Halves<N> bits = *(const Halves<N>*)from;
    Floats<N> x;
    for (int i = 0; i < N; ++i) x.at[i] = BITS_TO_FLOAT((unsigned)bits.at[i] << 16);
    return x;
}

template <int N>
INLINE void write(unsigned short* into, Floats<N> x, unsigned long long key, unsigned row, unsigned column) {
    // One word is four columns' bits, whether they are written together or not.
    const unsigned long long random = mixed(key ^ mixed((unsigned long long)row << 32 | column / 4));
    Halves<N> bits;
    for (int i = 0; i < N; ++i) {
        const unsigned exact = FLOAT_TO_BITS(x.at[i]);
        const unsigned noise = (unsigned)(random >> (column + i) % 4 * 16) & 0xffff;
        // Noise would turn an infinity into something else; what is not a number stays so by its highest bit.
        const bool finite = (exact & 0x7f800000) != 0x7f800000;
        const unsigned quiet = (exact & 0x007fffff) != 0 ? 0x00400000 : 0;
        bits.at[i] = (unsigned short)((finite ? exact + noise : exact | quiet) >> 16);
    }
    *(Halves<N>*)into = bits;
}

// Rows that a block works on side by side, a thread for every `vectors` of their columns.
INLINE unsigned rows_a_block(unsigned vectors) { return vectors < BLOCK_THREADS ? BLOCK_THREADS / vectors : 1; }

// Every bag's sum of rows, in the order of its ids; zeros where there are none. Every bag of one lookup: no `offsets`.
//
// A thread has one to four columns of a bag, and the threads of a row lie side by side.
template <class Stored, int N>
INLINE void gather(const Stored* __restrict__ weights, unsigned hot_rows, const float* __restrict__ cold,
                   const unsigned* __restrict__ addresses, const unsigned* __restrict__ offsets, bool single_hot,
                   float* __restrict__ into, unsigned bags, unsigned width) {
    const unsigned vectors = width / N, side_by_side = rows_a_block(vectors);
    const unsigned first = BLOCK * side_by_side;
    const unsigned here = smaller(side_by_side, bags - first);
    THREADS {
        for (unsigned item = thread; item < here * vectors; item += BLOCK_THREADS) {
            const unsigned bag = first + item / vectors, column = item % vectors * N;
            const unsigned begin = single_hot ? bag : offsets[bag];
            const unsigned end = single_hot ? bag + 1 : offsets[bag + 1];
            const auto row = [&](unsigned lookup) {
                const unsigned address = addresses[lookup];
                return address < hot_rows ? read<N>(weights + (unsigned long long)address * width + column)
                                          : read<N>(cold + (unsigned long long)(address - hot_rows) * width + column);
            };
            Floats<N> sum = {};
            if (begin < end) {
                sum = row(begin);
#pragma unroll 4
                for (unsigned lookup = begin + 1; lookup < end; ++lookup) {
                    const Floats<N> x = row(lookup);
                    for (int i = 0; i < N; ++i) sum.at[i] += x.at[i];
                }
            }
            write<N>(into + (unsigned long long)bag * width + column, sum);
        }
    }
}

enum Rule { SGD, ADAGRAD, ROWWISE };

// What an update reads and writes.
template <class Stored>
struct Update {
    Stored* weights;
    float* state;
    unsigned hot_rows;
    // Of the bags, `[bags, width]`.
    const float* gradients;
    // The distinct rows: where each is, and in which bags.
    const unsigned* addresses;
    const unsigned* offsets;
    const unsigned* bags;
    unsigned rows;
    // So many rows, the first, have many bags.
    unsigned long_rows;
    // Sums for the rows that are elsewhere, in the order of their addresses.
    float* cold_gradients;
    unsigned width;
    float rate, epsilon;
    unsigned long long key;
};

template <int N, class Stored>
INLINE Floats<N> gradient(const Update<Stored>& update, unsigned bag, unsigned column) {
    return read<N>(update.gradients + (unsigned long long)update.bags[bag] * update.width + column);
}

// The sum of a row's gradients, in the order of its bags, by one thread.
template <int N, class Stored>
INLINE Floats<N> sum_of_bags(const Update<Stored>& update, unsigned row, unsigned column) {
    const unsigned begin = update.offsets[row], end = update.offsets[row + 1];
    Floats<N> sum = gradient<N>(update, begin, column);
#pragma unroll 4
    for (unsigned bag = begin + 1; bag < end; ++bag) {
        const Floats<N> x = gradient<N>(update, bag, column);
        for (int i = 0; i < N; ++i) sum.at[i] += x.at[i];
    }
    return sum;
}

// The same for `count` columns of a row of many bags, by a block. All threads fetch gradients, many at a time; then every column
// is added by one thread, in order. What bounds a row that is in all bags of a batch is the order of its sum: one addition after
// another for every bag, and one wait for memory for every `STAGE` floats (every 256 bags of 16 columns), instead of one a bag.
template <int N, class Stored>
INLINE void sum_long(const Update<Stored>& update, unsigned row, unsigned start, unsigned count, float* stage, float* sums) {
    const unsigned begin = update.offsets[row], end = update.offsets[row + 1];
    const unsigned at_once = STAGE / count, vectors = count / N;
    for (unsigned from = begin; from < end;) {
        const unsigned here = smaller(at_once, end - from);
        const unsigned all = here * vectors;
        THREADS {
            for (unsigned item = thread; item < all; item += IN_FLIGHT * BLOCK_THREADS) {
                // Beyond the last item, the last again: without a branch, all loads are on their way before one is waited for.
                Floats<N> x[IN_FLIGHT];
                for (unsigned i = 0; i < IN_FLIGHT; ++i) {
                    const unsigned at = smaller(item + i * BLOCK_THREADS, all - 1);
                    x[i] = gradient<N>(update, from + at / vectors, start + at % vectors * N);
                }
                for (unsigned i = 0; i < IN_FLIGHT; ++i) {
                    const unsigned at = smaller(item + i * BLOCK_THREADS, all - 1);
                    write<N>(stage + at * N, x[i]);
                }
            }
        }
        SYNC;
        THREADS {
            for (unsigned column = thread; column < count; column += BLOCK_THREADS) {
                // From the first gradient on, not from zero: the sum of negative zeros is one.
                float sum = from == begin ? stage[column] : sums[column];
#pragma unroll 8
                for (unsigned bag = from == begin ? 1 : 0; bag < here; ++bag) sum += stage[bag * count + column];
                sums[column] = sum;
            }
        }
        SYNC;
        from += here;
    }
}

// Moves some columns of a row along their gradient, or writes the gradient where the row is elsewhere.
template <Rule RULE, int N, class Stored>
INLINE void step(const Update<Stored>& update, unsigned row, unsigned column, Floats<N> gradient, float denominator) {
    const unsigned address = update.addresses[row];
    if (address >= update.hot_rows) {
        const unsigned long long cold = address - update.hot_rows;
        write<N>(update.cold_gradients + cold * update.width + column, gradient);
        return;
    }
    const unsigned long long at = (unsigned long long)address * update.width + column;
    Floats<N> weights = read<N>(update.weights + at);
    if constexpr (RULE == ADAGRAD) {
        Floats<N> state = read<N>(update.state + at);
        for (int i = 0; i < N; ++i) {
            const float g = gradient.at[i];
            state.at[i] += g * g;
            weights.at[i] -= update.rate * DIVIDE(g, SQRT(state.at[i]) + update.epsilon);
        }
        write<N>(update.state + at, state);
    } else if constexpr (RULE == ROWWISE) {
        for (int i = 0; i < N; ++i) weights.at[i] -= update.rate * DIVIDE(gradient.at[i], denominator);
    } else {
        for (int i = 0; i < N; ++i) weights.at[i] -= update.rate * gradient.at[i];
    }
    write<N>(update.weights + at, weights, update.key, address, column);
}

// Combines the gradients of every distinct row and moves it, in one pass.
//
// A row of many bags has a block to itself, and these come first, so that none of them is what the grid waits for at its end. Of
// the others a block has several, with a thread for one to four columns of each.
template <Rule RULE, int N, class Stored>
INLINE void move(const Update<Stored>& update, float* stage, float* sums) {
    const bool is_long = BLOCK < update.long_rows;
    const unsigned width = update.width, side_by_side = rows_a_block(width / N);
    const unsigned first = is_long ? BLOCK : update.long_rows + (BLOCK - update.long_rows) * side_by_side;
    const unsigned here = is_long ? 1 : smaller(side_by_side, update.rows - first);
    if (RULE != ROWWISE && !is_long) {
        const unsigned vectors = width / N;
        THREADS {
            for (unsigned item = thread; item < here * vectors; item += BLOCK_THREADS) {
                const unsigned row = first + item / vectors, column = item % vectors * N;
                step<RULE, N>(update, row, column, sum_of_bags<N>(update, row, column), 0);
            }
        }
        return;
    }
    // More than one row has at most a tile of columns, and then all sums fit.
    const auto sum = [&](unsigned start, unsigned count) {
        if (is_long) {
            sum_long<N>(update, first, start, count, stage, sums);
            return;
        }
        const unsigned vectors = count / N;
        THREADS {
            for (unsigned item = thread; item < here * vectors; item += BLOCK_THREADS) {
                const unsigned row = item / vectors, column = item % vectors * N;
                write<N>(sums + row * count + column, sum_of_bags<N>(update, first + row, start + column));
            }
        }
        SYNC;
    };
    // Rows of few bags leave the stage free.
    float* const lanes = is_long ? stage + STAGE : stage;
    if constexpr (RULE == ROWWISE) {
        for (unsigned start = 0; start < width; start += TILE) {
            const unsigned count = smaller(TILE, width - start);
            sum(start, count);
            THREADS {
                for (unsigned item = thread; item < here * LANES; item += BLOCK_THREADS) {
                    const float* const row = sums + item / LANES * count;
                    float lane = start == 0 ? 0 : lanes[item];
                    for (unsigned column = item % LANES; column < count; column += LANES) lane += row[column] * row[column];
                    lanes[item] = lane;
                }
            }
            SYNC;
        }
        THREADS {
            for (unsigned row = thread; row < here; row += BLOCK_THREADS) {
                float* const lane = lanes + row * LANES;
                const unsigned address = update.addresses[first + row];
                if (address < update.hot_rows) {
                    const float squares =
                        ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
                    const float state = update.state[address] + DIVIDE(squares, (float)width);
                    update.state[address] = state;
                    lane[0] = SQRT(state) + update.epsilon;
                }
            }
        }
        SYNC;
    }
    for (unsigned start = 0; start < width; start += TILE) {
        const unsigned count = smaller(TILE, width - start);
        // A row that fits a tile still has its sums there.
        if (RULE != ROWWISE || width > TILE) sum(start, count);
        const unsigned vectors = count / N;
        THREADS {
            for (unsigned item = thread; item < here * vectors; item += BLOCK_THREADS) {
                const unsigned row = item / vectors, column = item % vectors * N;
                const Floats<N> gradient = read<N>(sums + row * count + column);
                step<RULE, N>(update, first + row, start + column, gradient, RULE == ROWWISE ? lanes[row * LANES] : 0);
            }
        }
        SYNC;
    }
}

}  // namespace

KERNEL(rows_gather, const float* weights, unsigned hot_rows, const float* cold, const unsigned* addresses,
       const unsigned* offsets, unsigned single_hot, float* into, unsigned bags, unsigned width, unsigned vector) {
    if (vector)
        gather<float, 4>(weights, hot_rows, cold, addresses, offsets, single_hot, into, bags, width);
    else
        gather<float, 1>(weights, hot_rows, cold, addresses, offsets, single_hot, into, bags, width);
}

KERNEL(rows_gather_bf16, const unsigned short* weights, unsigned hot_rows, const float* cold, const unsigned* addresses,
       const unsigned* offsets, unsigned single_hot, float* into, unsigned bags, unsigned width, unsigned vector) {
    if (vector)
        gather<unsigned short, 4>(weights, hot_rows, cold, addresses, offsets, single_hot, into, bags, width);
    else
        gather<unsigned short, 1>(weights, hot_rows, cold, addresses, offsets, single_hot, into, bags, width);
}

// `state` is `[hot_rows, width]` for Adagrad, `[hot_rows]` for its row-wise form, and unused by SGD; `key` is used by bf16 rows.
#define UPDATE(name, Stored, RULE)                                                                                               \
    KERNEL(name, Stored* weights, float* state, unsigned hot_rows, const float* gradients, const unsigned* addresses,    \
           const unsigned* offsets, const unsigned* bags, unsigned rows, unsigned long_rows, float* cold_gradients,            \
           unsigned width, unsigned vector, float rate, float epsilon, unsigned long long key) {                               \
        /* Behind the stage, the lanes of a row of many bags. */                                                               \
        SHARED(Floats<4>, stage, STAGE / 4 + LANES / 4);                                                                       \
        SHARED(Floats<4>, sums, SUMS / 4);                                                                                     \
        const Update<Stored> update = {weights,   state,          hot_rows, gradients, addresses, offsets, bags, rows,           \
                                     long_rows, cold_gradients, width,    rate,      epsilon,   key};                          \
        if (vector)                                                                                                            \
            move<RULE, 4>(update, (float*)stage, (float*)sums);                                                                  \
        else                                                                                                                   \
            move<RULE, 1>(update, (float*)stage, (float*)sums);                                                                  \
    }

UPDATE(rows_update_sgd, float, SGD)
UPDATE(rows_update_adagrad, float, ADAGRAD)
UPDATE(rows_update_rowwise, float, ROWWISE)
UPDATE(rows_update_sgd_bf16, unsigned short, SGD)
UPDATE(rows_update_adagrad_bf16, unsigned short, ADAGRAD)
UPDATE(rows_update_rowwise_bf16, unsigned short, ROWWISE)

// Overwrites some rows of a matrix, each named once.
KERNEL(rows_write, float* into, const unsigned* addresses, const float* values, unsigned rows, unsigned width) {
    const unsigned side_by_side = rows_a_block(width);
    const unsigned first = BLOCK * side_by_side;
    const unsigned here = smaller(side_by_side, rows - first);
    THREADS {
        for (unsigned item = thread; item < here * width; item += BLOCK_THREADS) {
            const unsigned row = first + item / width, column = item % width;
            into[(unsigned long long)addresses[row] * width + column] = values[(unsigned long long)row * width + column];
        }
    }
}
