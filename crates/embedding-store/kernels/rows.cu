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
// Bags that are added one after the other: of a row with more, such pieces are added, in their order. As `PIECE` in `plan.rs`.
constexpr unsigned PIECE = 128;
// Columns of a piece that a block adds.
constexpr unsigned PIECE_COLUMNS = 32;
// Bags that a thread gathers.
constexpr unsigned GATHERED = 4;
// Loads of a thread that are on their way at once, where it adds up what it loads.
constexpr unsigned AT_ONCE = 4;
constexpr unsigned MAX_THREADS = 256;
// Blocks of a processor that sum gradients: 48 registers a thread, of which `AT_ONCE` loads take 16.
constexpr unsigned SUMMING = 5;
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
// A thread has one to four columns of `GATHERED` bags, and the threads of a row lie side by side.
template <class Stored, int N>
INLINE void gather(const Stored* __restrict__ weights, unsigned hot_rows, const float* __restrict__ cold,
                   const unsigned* __restrict__ addresses, const unsigned* __restrict__ offsets, bool single_hot,
                   float* __restrict__ into, unsigned bags, unsigned width) {
    const unsigned vectors = width / N, in_block = rows_a_block(vectors) * GATHERED;
    if (BLOCK >= (bags + in_block - 1) / in_block) return;
    const unsigned first = BLOCK * in_block;
    const unsigned all = smaller(in_block, bags - first) * vectors;
    const auto row = [&](unsigned lookup, unsigned column) {
        const unsigned address = addresses[lookup];
        return address < hot_rows ? read<N>(weights + (unsigned long long)address * width + column)
                                  : read<N>(cold + (unsigned long long)(address - hot_rows) * width + column);
    };
    if (single_hot) {
        THREADS {
            move_items(
                thread, all, [&](unsigned at) { return row(first + at / vectors, at % vectors * N); },
                [&](unsigned at, Floats<N> x) { write<N>(into + ((unsigned long long)first * vectors + at) * N, x); });
        }
        return;
    }
    THREADS {
        for (unsigned item = thread; item < all; item += BLOCK_THREADS) {
            const unsigned bag = first + item / vectors, column = item % vectors * N;
            const unsigned begin = offsets[bag], end = offsets[bag + 1];
            Floats<N> sum = {};
            if (begin < end) {
                sum = row(begin, column);
#pragma unroll 4
                for (unsigned lookup = begin + 1; lookup < end; ++lookup) {
                    const Floats<N> x = row(lookup, column);
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
    // So many rows, the first, have many bags: where their pieces start, `[long_rows + 1]`, and the sums of all pieces, `[pieces, width]`.
    // The first of these rows have so many pieces that their sum is in the place of their first piece's already.
    unsigned long_rows, summed_rows;
    const unsigned* row_pieces;
    const float* piece_sums;
    // For the rows that are elsewhere, in the order of their addresses: where the sums of their gradients go, or else copies of them and
    // of their state that are moved.
    float* cold_gradients;
    float* cold_weights;
    float* cold_state;
    unsigned width;
    float rate, epsilon;
    unsigned long long key;
};

template <int N>
INLINE void add(Floats<N>& sum, Floats<N> x) {
    for (int i = 0; i < N; ++i) sum.at[i] += x.at[i];
}

// The sum of a row's gradients, in the order of its bags or of its pieces, by one thread.
//
// Loads come in turns of `AT_ONCE`, beyond the last the last again: written so, they are on their way together. Where the compiler
// unrolls a plain loop, it has two under way, to save registers, and a row of many bags waits for memory as many times.
template <int N, class Stored>
INLINE Floats<N> sum_of_bags(const Update<Stored>& update, unsigned row, unsigned column) {
    const auto vector = [&](const float* matrix, unsigned at) {
        return read<N>(matrix + (unsigned long long)at * update.width + column);
    };
    Floats<N> x[AT_ONCE];
    if (row < update.long_rows) {
        const unsigned begin = update.row_pieces[row], end = row < update.summed_rows ? begin + 1 : update.row_pieces[row + 1];
        Floats<N> sum = vector(update.piece_sums, begin);
        for (unsigned next = begin + 1; next < end; next += AT_ONCE) {
            for (unsigned i = 0; i < AT_ONCE; ++i) x[i] = vector(update.piece_sums, smaller(next + i, end - 1));
            for (unsigned i = 0; i < AT_ONCE; ++i) {
                if (next + i < end) add(sum, x[i]);
            }
        }
        return sum;
    }
    const unsigned begin = update.offsets[row], last = update.offsets[row + 1] - 1;
    // The bags of the coming turn are read while the gradients of this one are on their way.
    unsigned bags[AT_ONCE];
    const auto read_bags = [&](unsigned next) {
        for (unsigned i = 0; i < AT_ONCE; ++i) bags[i] = update.bags[smaller(next + i, last)];
    };
    const unsigned first = update.bags[begin];
    if (begin < last) read_bags(begin + 1);
    Floats<N> sum = vector(update.gradients, first);
    for (unsigned next = begin + 1; next <= last; next += AT_ONCE) {
        for (unsigned i = 0; i < AT_ONCE; ++i) x[i] = vector(update.gradients, bags[i]);
        if (next + AT_ONCE <= last) read_bags(next + AT_ONCE);
        for (unsigned i = 0; i < AT_ONCE; ++i) {
            if (next + i <= last) add(sum, x[i]);
        }
    }
    return sum;
}

// The sum of the rows `begin` to `end` of `bags`, or of `from` itself where there is no such list, some columns of it, by a block: all
// threads fetch rows, then every column is added by one thread, in order. `stage` has room for a piece's columns, `sums` for a row's.
template <int N>
INLINE void sum_piece(const float* from, const unsigned* bags, unsigned begin, unsigned end, float* into, unsigned width, unsigned start,
                      unsigned columns, float* stage, float* sums) {
    const unsigned vectors = columns / N;
    for (unsigned first = begin; first < end; first += PIECE) {
        const unsigned count = smaller(PIECE, end - first), all = count * vectors;
        THREADS {
            move_items(
                thread, all,
                [&](unsigned at) {
                    const unsigned bag = first + at / vectors;
                    return read<N>(from + (unsigned long long)(bags ? bags[bag] : bag) * width + start + at % vectors * N);
                },
                [&](unsigned at, Floats<N> x) { write<N>(stage + at * N, x); });
        }
        SYNC;
        THREADS {
            for (unsigned column = thread; column < columns; column += BLOCK_THREADS) {
                // From the first gradient on, not from zero: the sum of negative zeros is one.
                float sum = first == begin ? stage[column] : sums[column] + stage[column];
#pragma unroll 8
                for (unsigned bag = 1; bag < count; ++bag) sum += stage[bag * columns + column];
                sums[column] = sum;
                if (first + count == end) into[start + column] = sum;
            }
        }
        SYNC;
    }
}

// Moves some columns of a row of a matrix along their gradient. The row's number there may be another than its address.
template <Rule RULE, int N, class Stored, class Row>
INLINE void move_columns(const Update<Stored>& update, Row* matrix, float* states, unsigned row, unsigned column, Floats<N> gradient,
                         float denominator) {
    const unsigned long long at = (unsigned long long)row * update.width + column;
    Floats<N> weights = read<N>(matrix + at);
    if constexpr (RULE == ADAGRAD) {
        Floats<N> state = read<N>(states + at);
        for (int i = 0; i < N; ++i) {
            const float g = gradient.at[i];
            state.at[i] += g * g;
            weights.at[i] -= update.rate * DIVIDE(g, SQRT(state.at[i]) + update.epsilon);
        }
        write<N>(states + at, state);
    } else if constexpr (RULE == ROWWISE) {
        for (int i = 0; i < N; ++i) weights.at[i] -= update.rate * DIVIDE(gradient.at[i], denominator);
    } else {
        for (int i = 0; i < N; ++i) weights.at[i] -= update.rate * gradient.at[i];
    }
    write<N>(matrix + at, weights, update.key, row, column);
}

// The same where the row is, or writes the gradient where a row that is elsewhere has no copy.
template <Rule RULE, int N, class Stored>
INLINE void step(const Update<Stored>& update, unsigned address, unsigned column, Floats<N> gradient, float denominator) {
    if (address < update.hot_rows) {
        move_columns<RULE, N>(update, update.weights, update.state, address, column, gradient, denominator);
        return;
    }
    const unsigned cold = address - update.hot_rows;
    if (update.cold_gradients) {
        write<N>(update.cold_gradients + (unsigned long long)cold * update.width + column, gradient);
    } else {
        move_columns<RULE, N>(update, update.cold_weights, update.cold_state, cold, column, gradient, denominator);
    }
}

// Combines the gradients of every distinct row and moves it, in one pass. A block has several rows, with a thread for one to four columns
// of each.
template <Rule RULE, int N, class Stored>
INLINE void move(const Update<Stored>& update, unsigned* addresses, float* lanes, float* sums) {
    const unsigned width = update.width, side_by_side = rows_a_block(width / N);
    const unsigned first = BLOCK * side_by_side;
    const unsigned here = smaller(side_by_side, update.rows - first);
    if constexpr (RULE != ROWWISE) {
        const unsigned vectors = width / N;
        THREADS {
            for (unsigned item = thread; item < here * vectors; item += BLOCK_THREADS) {
                const unsigned row = first + item / vectors, column = item % vectors * N;
                // Before the sum, which would make it wait.
                const unsigned address = update.addresses[row];
                step<RULE, N>(update, address, column, sum_of_bags<N>(update, row, column), 0);
            }
        }
        return;
    }
    if constexpr (RULE == ROWWISE) {
        THREADS {
            for (unsigned row = thread; row < here; row += BLOCK_THREADS) addresses[row] = update.addresses[first + row];
        }
    }
    // More than one row has at most a tile of columns, and then all sums fit.
    const auto sum = [&](unsigned start, unsigned count) {
        const unsigned vectors = count / N;
        THREADS {
            for (unsigned item = thread; item < here * vectors; item += BLOCK_THREADS) {
                const unsigned row = item / vectors, column = item % vectors * N;
                write<N>(sums + row * count + column, sum_of_bags<N>(update, first + row, start + column));
            }
        }
        SYNC;
    };
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
            const unsigned address = addresses[row];
            const bool hot = address < update.hot_rows;
            if (hot || !update.cold_gradients) {
                float* const own = hot ? update.state + address : update.cold_state + (address - update.hot_rows);
                const float squares = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
                const float state = *own + DIVIDE(squares, (float)width);
                *own = state;
                lane[0] = SQRT(state) + update.epsilon;
            }
        }
    }
    SYNC;
    for (unsigned start = 0; start < width; start += TILE) {
        const unsigned count = smaller(TILE, width - start);
        // A row that fits a tile still has its sums there.
        if (width > TILE) sum(start, count);
        const unsigned vectors = count / N;
        THREADS {
            for (unsigned item = thread; item < here * vectors; item += BLOCK_THREADS) {
                const unsigned row = item / vectors, column = item % vectors * N;
                const Floats<N> gradient = read<N>(sums + row * count + column);
                step<RULE, N>(update, addresses[row], start + column, gradient, lanes[row * LANES]);
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

// The sums of the pieces of rows of many bags. `starts` says where each piece starts among the bags, `[pieces + 1]`.
//
// Without `bags`, the sums of all pieces of each row, from those of the pieces, `[pieces, width]`: `starts` says where each row's pieces
// start, and the sum takes the place of the first.
//
// Launch: a block for every `PIECE_COLUMNS` columns of every piece, or row.
KERNEL_OF(MAX_THREADS, SUMMING, rows_sum_pieces, const float* gradients, const unsigned* bags, const unsigned* starts, float* sums,
          unsigned width, unsigned vector) {
    SHARED(Floats<4>, stage, PIECE * PIECE_COLUMNS / 4);
    SHARED(float, carried, PIECE_COLUMNS);
    const unsigned tiles = (width + PIECE_COLUMNS - 1) / PIECE_COLUMNS;
    const unsigned piece = BLOCK / tiles, start = BLOCK % tiles * PIECE_COLUMNS;
    const unsigned columns = smaller(PIECE_COLUMNS, width - start), begin = starts[piece], end = starts[piece + 1];
    float* const into = sums + (unsigned long long)(bags ? piece : begin) * width;
    if (vector)
        sum_piece<4>(gradients, bags, begin, end, into, width, start, columns, (float*)stage, carried);
    else
        sum_piece<1>(gradients, bags, begin, end, into, width, start, columns, (float*)stage, carried);
}

// `state` is `[hot_rows, width]` for Adagrad, `[hot_rows]` for its row-wise form, and unused by SGD; `key` is used by bf16 rows.
// What belongs to cold rows alone may be missing where there are none, and `cold_gradients` where their copies are moved.
#define UPDATE(name, Stored, RULE)                                                                                                \
    KERNEL_OF(MAX_THREADS, SUMMING, name, Stored* weights, float* state, unsigned hot_rows, const float* gradients,               \
              const unsigned* addresses, const unsigned* offsets, const unsigned* bags, unsigned rows, unsigned long_rows,        \
              unsigned summed_rows, const unsigned* row_pieces, const float* piece_sums, float* cold_gradients,                   \
              float* cold_weights, float* cold_state, unsigned width, unsigned vector, float rate, float epsilon,                 \
              unsigned long long key) {                                                                                           \
        SHARED(unsigned, addresses_here, RULE == ROWWISE ? MAX_THREADS : 1);                                                      \
        SHARED(Floats<4>, lanes, RULE == ROWWISE ? MAX_THREADS * LANES / 4 : 1);                                                  \
        SHARED(Floats<4>, sums, RULE == ROWWISE ? SUMS / 4 : 1);                                                                  \
        const Update<Stored> update = {weights,    state,          hot_rows,     gradients,  addresses,   offsets,                \
                                       bags,       rows,           long_rows,    summed_rows, row_pieces, piece_sums,             \
                                       cold_gradients, cold_weights, cold_state, width,      rate,        epsilon,                \
                                       key};                                                                                      \
        if (vector)                                                                                                               \
            move<RULE, 4>(update, addresses_here, (float*)lanes, (float*)sums);                                                   \
        else                                                                                                                      \
            move<RULE, 1>(update, addresses_here, (float*)lanes, (float*)sums);                                                   \
    }

UPDATE(rows_update_sgd, float, SGD)
UPDATE(rows_update_adagrad, float, ADAGRAD)
UPDATE(rows_update_rowwise, float, ROWWISE)
UPDATE(rows_update_sgd_bf16, unsigned short, SGD)
UPDATE(rows_update_adagrad_bf16, unsigned short, ADAGRAD)
UPDATE(rows_update_rowwise_bf16, unsigned short, ROWWISE)

// Copies some rows of a matrix over rows of another, each named once.
KERNEL(rows_copy, const float* from, const unsigned* from_rows, float* into, const unsigned* into_rows, unsigned rows, unsigned width) {
    const unsigned side_by_side = rows_a_block(width);
    const unsigned first = BLOCK * side_by_side;
    const unsigned here = smaller(side_by_side, rows - first);
    THREADS {
        for (unsigned item = thread; item < here * width; item += BLOCK_THREADS) {
            const unsigned row = first + item / width, column = item % width;
            into[(unsigned long long)into_rows[row] * width + column] = from[(unsigned long long)from_rows[row] * width + column];
        }
    }
}

namespace {

// Overwrites some rows of a matrix, each named once.
template <class Stored>
INLINE void overwrite(Stored* into, const unsigned* addresses, const Stored* values, unsigned rows, unsigned width) {
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

}  // namespace

KERNEL(rows_write, float* into, const unsigned* addresses, const float* values, unsigned rows, unsigned width) {
    overwrite(into, addresses, values, rows, width);
}

KERNEL(rows_write_bf16, unsigned short* into, const unsigned* addresses, const unsigned short* values, unsigned rows, unsigned width) {
    overwrite(into, addresses, values, rows, width);
}
