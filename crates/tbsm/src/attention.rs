//! One head of the time-series layer.

use crate::gradients::Gradients;
use crate::linear::{self, Linear, grow};
use crate::product::{Rows, padded};
use crate::vectors::{Window, add_products, add_strided, compare, weigh};

/// The head's maps. With `H` the last `span` vectors of the history and `w` the candidate: `x =
/// inner(w)`, `a = H x`, `y = mlp(a)` (or `a`, without layers), context `c = y H`.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    pub(crate) span: usize,
    /// None for `x = w`, one for `x = A w`, two for `x = A'(A w)`.
    pub(crate) inner: Vec<Linear>,
    pub(crate) mlp: Vec<Linear>,
}

/// What backward needs again.
#[derive(Debug, Default)]
pub(crate) struct AttentionActivations {
    inner: Vec<Vec<f32>>,
    /// `a [n, span]`.
    products: Vec<f32>,
    mlp: Vec<Vec<f32>>,
}

/// A block's vectors: the history and, behind it, the candidate.
#[derive(Clone, Copy)]
pub(crate) struct Vectors<'a> {
    /// `[n, positions, columns]`.
    pub(crate) data: &'a [f32],
    pub(crate) n: usize,
    pub(crate) positions: usize,
    pub(crate) columns: usize,
}

impl<'a> Vectors<'a> {
    /// Values of a sequence.
    pub(crate) fn stride(self) -> usize {
        self.positions * self.columns
    }

    /// Where a sequence's candidate starts in it.
    pub(crate) fn candidate_start(self) -> usize {
        (self.positions - 1) * self.columns
    }

    pub(crate) fn candidates(self) -> Rows<'a> {
        Rows::new(&self.data[self.candidate_start()..], self.stride())
    }

    fn window(self, span: usize) -> Window {
        Window {
            n: self.n,
            positions: self.positions,
            first: self.positions - 1 - span,
            span,
            columns: self.columns,
        }
    }
}

impl Attention {
    pub(crate) fn fit(&self, n: usize, into: &mut AttentionActivations) {
        linear::fit(&self.inner, n, &mut into.inner);
        linear::fit(&self.mlp, n, &mut into.mlp);
        grow(&mut into.products, n * padded(self.span));
    }

    /// The widest row that backward passes on, beside those of the maps.
    pub(crate) fn widest(&self) -> usize {
        padded(self.span)
    }

    /// Writes each sequence's context to the start of its row in `joined`.
    pub(crate) fn forward(
        &self,
        packed: &[f32],
        vectors: Vectors<'_>,
        into: &mut AttentionActivations,
        joined: &mut [f32],
        stride: usize,
    ) {
        let (n, window) = (vectors.n, vectors.window(self.span));
        let w = vectors.candidates();
        linear::forward(&self.inner, packed, n, w, &mut into.inner);
        let x = linear::end(&self.inner, &into.inner, w);
        compare(window, vectors.data, x, &mut into.products);
        let a = Rows::new(&into.products, padded(self.span));
        linear::forward(&self.mlp, packed, n, a, &mut into.mlp);
        let y = linear::end(&self.mlp, &into.mlp, a);
        weigh(window, vectors.data, y, joined, stride);
    }

    /// From the gradient of the context those of the parameters, and, added up, of the vectors.
    pub(crate) fn backward(
        &self,
        packed: &[f32],
        vectors: Vectors<'_>,
        from: &AttentionActivations,
        grads: &mut Gradients<'_>,
    ) {
        let (n, columns, window) = (vectors.n, vectors.columns, vectors.window(self.span));
        let w = vectors.candidates();
        let x = linear::end(&self.inner, &from.inner, w);
        let width = padded(self.span);
        let a = Rows::new(&from.products, width);
        let y = linear::end(&self.mlp, &from.mlp, a);
        let context = Rows::new(grads.context, columns);
        compare(window, vectors.data, context, grads.upper);
        let (upper, lower) = (&mut *grads.upper, &mut *grads.lower);
        linear::backward(
            &self.mlp, packed, n, a, &from.mlp, upper, lower, grads.sums, true,
        );
        let a_grad = Rows::new(upper, width);
        add_products(window, y, context, a_grad, x, grads.vectors);
        weigh(window, vectors.data, a_grad, lower, columns);
        std::mem::swap(upper, lower);
        linear::backward(
            &self.inner,
            packed,
            n,
            w,
            &from.inner,
            upper,
            lower,
            grads.sums,
            true,
        );
        let into = &mut grads.vectors[vectors.candidate_start()..];
        add_strided(
            columns,
            Rows::new(upper, columns),
            into,
            vectors.stride(),
            n,
        );
    }
}
