//! Multi-head attention of the candidate over the history, as `torch.nn.MultiheadAttention`
//! computes it.

use crate::attention::Vectors;
use crate::gradients::Gradients;
use crate::linear::{self, Linear, grow};
use crate::product::{Rows, padded};
use crate::vectors::add_strided;

/// With `E = heads · width`: the query is `(w Q) W_q' + b_q`, keys and values come from every item
/// of the history in the same way. Each head `j` weighs its part of the values by `softmax(q_j ·
/// k_j / sqrt(width))`; the parts, one behind the other, run through the output projection.
#[derive(Debug, Clone)]
pub(crate) struct Multihead {
    pub(crate) heads: usize,
    pub(crate) history: usize,
    /// Two maps each: `Q`, then the query's part of `in_proj`, and so on.
    pub(crate) query: Vec<Linear>,
    pub(crate) key: Vec<Linear>,
    pub(crate) value: Vec<Linear>,
    pub(crate) out: Vec<Linear>,
}

/// What backward needs again, and room for the gradients of keys and values.
#[derive(Debug, Default)]
pub(crate) struct MultiheadActivations {
    query: Vec<Vec<f32>>,
    key: Vec<Vec<f32>>,
    value: Vec<Vec<f32>>,
    /// `[n, heads, history]`.
    shares: Vec<f32>,
    /// The heads' weighted values, `[n, E]`.
    mixed: Vec<f32>,
    out: Vec<Vec<f32>>,
}

/// Room that backward needs.
#[derive(Debug, Default)]
pub(crate) struct MultiheadScratch {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    shares: Vec<f32>,
}

impl Multihead {
    /// `E` with its padding, and the width of a head.
    fn extents(&self) -> (usize, usize) {
        let out = &self.out[0];
        (out.columns(), out.outputs / self.heads)
    }

    pub(crate) fn fit(&self, n: usize, into: &mut MultiheadActivations) {
        let m = n * (self.history + 1);
        linear::fit(&self.query, n, &mut into.query);
        linear::fit(&self.key, m, &mut into.key);
        linear::fit(&self.value, m, &mut into.value);
        linear::fit(&self.out, n, &mut into.out);
        grow(&mut into.shares, n * self.heads * self.history);
        grow(&mut into.mixed, n * self.extents().0);
    }

    pub(crate) fn fit_backward(&self, n: usize, into: &mut MultiheadScratch) {
        let (columns, m) = (self.extents().0, n * (self.history + 1));
        grow(&mut into.query, n * columns);
        grow(&mut into.key, m * columns);
        grow(&mut into.value, m * columns);
        grow(&mut into.shares, self.history);
    }

    /// Writes each sequence's context to the start of its row in `joined`.
    pub(crate) fn forward(
        &self,
        packed: &[f32],
        vectors: Vectors<'_>,
        into: &mut MultiheadActivations,
        joined: &mut [f32],
        stride: usize,
    ) {
        let (n, m) = (vectors.n, vectors.n * vectors.positions);
        let (w, all) = (
            vectors.candidates(),
            Rows::new(vectors.data, vectors.columns),
        );
        linear::forward(&self.query, packed, n, w, &mut into.query);
        // The candidate's own key and value are computed along and not used.
        linear::forward(&self.key, packed, m, all, &mut into.key);
        linear::forward(&self.value, packed, m, all, &mut into.value);
        let (columns, width) = self.extents();
        let (query, key, value) = (&into.query[1], &into.key[1], &into.value[1]);
        let scale = 1.0 / (width as f32).sqrt();
        let shares = into.shares.chunks_exact_mut(self.history);
        for (index, shares) in shares.take(n * self.heads).enumerate() {
            let (s, start) = (index / self.heads, index % self.heads * width);
            let query = &query[s * columns + start..][..width];
            let first = s * vectors.positions;
            let part = |values: &'_ [f32], t: usize| -> std::ops::Range<usize> {
                let at = (first + t) * columns + start;
                debug_assert!(at + width <= values.len());
                at..at + width
            };
            for (t, share) in shares.iter_mut().enumerate() {
                *share = scale * dot(query, &key[part(key, t)]);
            }
            softmax(shares);
            let mixed = &mut into.mixed[s * columns + start..][..width];
            mixed.fill(0.0);
            for (t, share) in shares.iter().enumerate() {
                add_scaled(*share, &value[part(value, t)], mixed);
            }
        }
        linear::forward(
            &self.out,
            packed,
            n,
            Rows::new(&into.mixed, columns),
            &mut into.out,
        );
        for (context, row) in into.out[0]
            .chunks_exact(columns)
            .zip(joined.chunks_exact_mut(stride))
            .take(n)
        {
            row[..columns].copy_from_slice(context);
        }
    }

    /// From the gradient of the context those of the parameters, and, added up, of the vectors.
    pub(crate) fn backward(
        &self,
        packed: &[f32],
        vectors: Vectors<'_>,
        from: &MultiheadActivations,
        scratch: &mut MultiheadScratch,
        grads: &mut Gradients<'_>,
    ) {
        let (n, m) = (vectors.n, vectors.n * vectors.positions);
        let (columns, width) = self.extents();
        let (upper, lower) = (&mut *grads.upper, &mut *grads.lower);
        upper[..n * columns].copy_from_slice(&grads.context[..n * columns]);
        let mixed = Rows::new(&from.mixed, columns);
        linear::backward(
            &self.out, packed, n, mixed, &from.out, upper, lower, grads.sums, true,
        );
        let (query, key, value) = (&from.query[1], &from.key[1], &from.value[1]);
        let (query_grad, key_grad, value_grad) = (
            &mut scratch.query[..n * columns],
            &mut scratch.key[..m * columns],
            &mut scratch.value[..m * columns],
        );
        for grad in [&mut *query_grad, &mut *key_grad, &mut *value_grad] {
            grad.fill(0.0);
        }
        let scale = 1.0 / (width as f32).sqrt();
        let shares = from.shares.chunks_exact(self.history).take(n * self.heads);
        for (index, shares) in shares.enumerate() {
            let (s, start) = (index / self.heads, index % self.heads * width);
            let own = s * columns + start..s * columns + start + width;
            let part = |t: usize| {
                let at = (s * vectors.positions + t) * columns + start;
                at..at + width
            };
            let mixed_grad = &upper[own.clone()];
            let share_grads = &mut scratch.shares[..self.history];
            for (t, (share, grad)) in shares.iter().zip(&mut *share_grads).enumerate() {
                *grad = dot(mixed_grad, &value[part(t)]);
                add_scaled(*share, mixed_grad, &mut value_grad[part(t)]);
            }
            // Softmax: dz = p (dp - p · dp).
            let mean = dot(shares, share_grads);
            for (t, (share, grad)) in shares.iter().zip(&*share_grads).enumerate() {
                let grad = scale * share * (grad - mean);
                add_scaled(grad, &key[part(t)], &mut query_grad[own.clone()]);
                add_scaled(grad, &query[own.clone()], &mut key_grad[part(t)]);
            }
        }
        let (w, all) = (
            vectors.candidates(),
            Rows::new(vectors.data, vectors.columns),
        );
        let own = vectors.columns;
        upper[..n * columns].copy_from_slice(query_grad);
        linear::backward(
            &self.query,
            packed,
            n,
            w,
            &from.query,
            upper,
            lower,
            grads.sums,
            true,
        );
        let candidates = &mut grads.vectors[vectors.candidate_start()..];
        add_strided(own, Rows::new(upper, own), candidates, vectors.stride(), n);
        for (maps, outputs, grad) in [
            (&self.key, &from.key, &*key_grad),
            (&self.value, &from.value, &*value_grad),
        ] {
            upper[..m * columns].copy_from_slice(grad);
            linear::backward(
                maps, packed, m, all, outputs, upper, lower, grads.sums, true,
            );
            add_strided(own, Rows::new(upper, own), grads.vectors, own, m);
        }
    }

    /// The widest row that backward passes on.
    pub(crate) fn widest(&self) -> usize {
        padded(self.out[0].outputs)
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(scale: f32, from: &[f32], into: &mut [f32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += scale * from;
    }
}

/// `exp(z) / Σ exp(z)`, shifted by the largest so that nothing overflows.
fn softmax(values: &mut [f32]) {
    let largest = values.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let mut sum = 0.0;
    for value in &mut *values {
        *value = (*value - largest).exp();
        sum += *value;
    }
    for value in values {
        *value /= sum;
    }
}
