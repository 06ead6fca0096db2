// What is left of a training step between the model and the rows: the loss with its gradient, and the dense parameters' optimizers.
#include "kernel.h"

// `low` where `value` is below it. Unlike fmax, it keeps what is not a number.
INLINE double at_least(double low, double value) { return value < low ? low : value; }

INLINE double bounded(double value, double low, double high) {
    const double raised = at_least(low, value);
    return raised > high ? high : raised;
}

// As `trainer::LossKind` and `trainer::LossInput` count.
enum Kind { BCE, MSE, WEIGHTED_BCE };
enum Input { LOGIT, PREDICTION };

struct Loss {
    unsigned kind, input;
    // 0 where predictions are not clamped.
    float threshold, negative, positive;
};

struct Point {
    double loss, slope;
};

INLINE double weight_of(const Loss& loss, double label) {
    if (loss.kind != WEIGHTED_BCE) return 1;
    return label > 0.5 ? loss.positive : loss.negative;
}

// The formulas of `Loss::of_logit`.
INLINE Point of_logit(const Loss& loss, double z, double label) {
    const double e = exp(z >= 0 ? -z : z);
    const double p = z >= 0 ? 1 / (1 + e) : e / (1 + e);
    const double threshold = loss.threshold;
    const bool clamps = threshold > 0;
    const double clamped = clamps ? bounded(p, threshold, 1 - threshold) : p;
    const bool inside = !clamps || (p >= threshold && p <= 1 - threshold);
    Point point;
    if (loss.kind == MSE) {
        const double error = clamped - label;
        point = {error * error, 2 * error * p * (1 - p)};
    } else {
        const double weight = weight_of(loss, label);
        // fmax(NaN, 0) is 0, and what is not a number must stay so: the other terms see to that.
        const double entropy = inside ? fmax(z, 0.0) - z * label + log1p(exp(-fabs(z)))
                                      : -(label * log(clamped) + (1 - label) * log1p(-clamped));
        point = {weight * entropy, weight * (p - label)};
    }
    if (!inside) point.slope = 0;
    return point;
}

// The formulas of `Loss::of_prediction`: rounded where PyTorch rounds.
INLINE Point of_prediction(const Loss& loss, float z, double label) {
    const double p = DIVIDE(1.0f, 1.0f + (float)exp(-(double)z));
    const double clamped = loss.threshold > 0 ? bounded(p, loss.threshold, 1.0f - loss.threshold) : p;
    const double rise = p * (1 - p);
    Point point;
    if (loss.kind == MSE) {
        const double error = clamped - label;
        point = {error * error, 2 * error * rise};
    } else {
        const double weight = weight_of(loss, label);
        const double positive = label * at_least(-100, log(clamped));
        const double negative = (1 - label) * at_least(-100, log1p(-clamped));
        point = {-weight * (positive + negative), weight * ((p - label) / at_least(1e-12, rise) * rise)};
    }
    if (p != clamped) point.slope = 0;
    return point;
}

// Threads of the one block of `loss_gradient`.
const unsigned LOSS_THREADS = 1024;

// The derivative of the mean loss of a batch of `batch` samples with respect to each of `samples` logits, and the share that these
// have in it. Every thread adds up every 1,024th sample; then halves of the threads are added.
//
// Shapes: logits, labels, slopes [samples]; share [1]. Launch: one block of 1,024 threads.
KERNEL(loss_gradient, const float* __restrict__ logits, const float* __restrict__ labels, float* __restrict__ slopes,
       float* __restrict__ share, unsigned samples, unsigned batch, unsigned kind, unsigned input, float threshold, float negative,
       float positive) {
    SHARED(double, sums, LOSS_THREADS);
    const Loss loss = {kind, input, threshold, negative, positive};
    THREADS {
        double sum = 0;
        for (unsigned sample = thread; sample < samples; sample += LOSS_THREADS) {
            const float z = logits[sample];
            const double label = labels[sample];
            const Point point = input == LOGIT ? of_logit(loss, z, label) : of_prediction(loss, z, label);
            sum += point.loss;
            slopes[sample] = (float)(point.slope / batch);
        }
        sums[thread] = sum;
    }
    SYNC;
    for (unsigned half = LOSS_THREADS / 2; half > 0; half /= 2) {
        THREADS {
            if (thread < half) sums[thread] += sums[thread + half];
        }
        SYNC;
    }
    THREADS {
        if (thread == 0) share[0] = (float)(sums[0] / batch);
    }
}

// `sum += values`. Launch: a thread for each of them.
KERNEL(dense_add, float* __restrict__ sum, const float* __restrict__ values, unsigned long long count) {
    THREADS {
        const unsigned long long at = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (at < count) sum[at] += values[at];
    }
}

// `w -= rate · g`. Launch: a thread for each parameter.
KERNEL(dense_sgd, float* __restrict__ weights, const float* __restrict__ gradients, unsigned long long count, float rate) {
    THREADS {
        const unsigned long long at = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (at < count) weights[at] -= rate * gradients[at];
    }
}

// `s += g²; w -= rate · g / (sqrt(s) + ε)`. Launch: a thread for each parameter.
KERNEL(dense_adagrad, float* __restrict__ weights, float* __restrict__ state, const float* __restrict__ gradients,
       unsigned long long count, float rate, float epsilon) {
    THREADS {
        const unsigned long long at = (unsigned long long)BLOCK * BLOCK_THREADS + thread;
        if (at < count) {
            const float gradient = gradients[at];
            const float sum = state[at] + gradient * gradient;
            state[at] = sum;
            weights[at] -= DIVIDE(rate * gradient, SQRT(sum) + epsilon);
        }
    }
}
