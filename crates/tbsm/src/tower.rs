//! The DLRM tower on the positions of one block of sequences.

use dlrm::parts::{InteractionLayer, InteractionScratch, SLACK};
use dlrm::{DlrmConfig, Interaction};

use crate::layout::Layout;
use crate::linear::{self, grow};
use crate::pairs::{FEATURES, pairs_backward, pairs_forward};
use crate::product::{LANES, Rows, padded};

/// The tower's parts that have no parameters; its layers are in the [`Layout`].
#[derive(Debug, Clone)]
pub(crate) struct Tower {
    interaction: InteractionLayer,
    /// Whether the kernels for few features do.
    few: bool,
    features: usize,
    dense: usize,
    dim: usize,
    /// Values of a position's embedding rows.
    rows: usize,
}

/// What backward needs again, for `m` positions.
#[derive(Debug, Default)]
pub(crate) struct TowerActivations {
    bottom: Vec<Vec<f32>>,
    /// The bottom output without padding, where it has one.
    compact: Vec<f32>,
    interaction: Vec<f32>,
    pub(crate) top: Vec<Vec<f32>>,
}

impl Tower {
    pub(crate) fn new(config: &DlrmConfig) -> Self {
        let features = config.features();
        Self {
            interaction: InteractionLayer::new(config),
            few: config.interaction == Interaction::Dot { with_self: false }
                && FEATURES.contains(&features)
                && config.dim.is_multiple_of(LANES),
            features,
            dense: config.dense_features(),
            dim: config.dim,
            rows: config.tables * config.dim,
        }
    }

    /// The widest row of the interaction.
    pub(crate) fn widest(&self) -> usize {
        self.interaction.stride()
    }

    pub(crate) fn fit(&self, layout: &Layout, m: usize, into: &mut TowerActivations) {
        linear::fit(&layout.bottom, m, &mut into.bottom);
        linear::fit(&layout.top, m, &mut into.top);
        grow(&mut into.interaction, m * self.interaction.stride() + SLACK);
        if !self.dim.is_multiple_of(LANES) {
            grow(&mut into.compact, m * self.dim);
        }
    }

    /// From `dense [m, dense features]` and `rows [m, tables, dim]` to the last top output.
    pub(crate) fn forward(
        &self,
        layout: &Layout,
        packed: &[f32],
        m: usize,
        dense: &[f32],
        rows: &[f32],
        scratch: &mut InteractionScratch,
        into: &mut TowerActivations,
    ) {
        let x = Rows::new(dense, self.dense);
        linear::forward(&layout.bottom, packed, m, x, &mut into.bottom);
        let bottom = linear::end(&layout.bottom, &into.bottom, x);
        let stride = self.interaction.stride();
        if self.few {
            let (bottom, output) = (
                &bottom.data[..m * self.dim],
                &mut into.interaction[..m * stride],
            );
            pairs_forward(self.features, self.dim, bottom, rows, output);
        } else {
            let bottom = match bottom.stride == self.dim {
                true => bottom.data,
                false => {
                    for (from, to) in bottom
                        .data
                        .chunks_exact(bottom.stride)
                        .zip(into.compact[..m * self.dim].chunks_exact_mut(self.dim))
                    {
                        to.copy_from_slice(&from[..self.dim]);
                    }
                    into.compact.as_slice()
                }
            };
            self.interaction
                .forward(m, bottom, rows, scratch, &mut into.interaction);
        }
        let x = Rows::new(&into.interaction, stride);
        linear::forward(&layout.top, packed, m, x, &mut into.top);
    }

    /// From the gradient of the last top output in `upper` those of everything before it.
    pub(crate) fn backward(
        &self,
        layout: &Layout,
        packed: &[f32],
        m: usize,
        dense: &[f32],
        rows: &[f32],
        from: &TowerActivations,
        scratch: &mut InteractionScratch,
        upper: &mut Vec<f32>,
        lower: &mut Vec<f32>,
        sums: &mut [f32],
        rows_grad: &mut [f32],
        dense_grad: Option<&mut [f32]>,
    ) {
        let stride = self.interaction.stride();
        let x = Rows::new(&from.interaction, stride);
        linear::backward(
            &layout.top,
            packed,
            m,
            x,
            &from.top,
            upper,
            lower,
            sums,
            true,
        );
        let x = Rows::new(dense, self.dense);
        let bottom = linear::end(&layout.bottom, &from.bottom, x);
        let len = m * self.dim;
        debug_assert_eq!(rows.len(), m * self.rows);
        if self.few {
            let (grad, bottom_grad) = (&upper[..m * stride], &mut lower[..len]);
            let (features, bottom) = (self.features, &bottom.data[..len]);
            pairs_backward(
                features,
                self.dim,
                bottom,
                rows,
                grad,
                bottom_grad,
                rows_grad,
            );
            std::mem::swap(upper, lower);
        } else {
            let compact = bottom.stride == self.dim;
            let values = if compact { bottom.data } else { &from.compact };
            self.interaction
                .backward(m, values, rows, upper, scratch, lower, rows_grad);
            if compact {
                std::mem::swap(upper, lower);
            } else {
                let columns = bottom.stride;
                let wide = upper[..m * columns].chunks_exact_mut(columns);
                for (to, from) in wide.zip(lower.chunks_exact(self.dim)) {
                    to[..self.dim].copy_from_slice(from);
                    to[self.dim..].fill(0.0);
                }
            }
        }
        let input = dense_grad.is_some();
        linear::backward(
            &layout.bottom,
            packed,
            m,
            x,
            &from.bottom,
            upper,
            lower,
            sums,
            input,
        );
        if let Some(dense_grad) = dense_grad {
            let columns = padded(self.dense);
            let grads = dense_grad.chunks_exact_mut(self.dense);
            for (to, from) in grads.zip(upper.chunks_exact(columns)) {
                to.copy_from_slice(&from[..self.dense]);
            }
        }
    }
}
