//! Where the bottom output and the embedding rows meet, forward and backward, on the samples of one
//! slice.

use crate::dot::{DotScratch, DotShape, dot_backward, dot_forward};
use crate::{DlrmConfig, Interaction};

/// The interaction layer of one model.
#[derive(Debug, Clone)]
pub struct InteractionLayer {
    kind: Interaction,
    tables: usize,
    dim: usize,
    /// Values of the bottom output: `dim`, or 0 where there is none.
    lead: usize,
    width: usize,
    /// Values from one sample to the next in the layer's output: the width, rounded up to whole
    /// vectors.
    pub(crate) stride: usize,
}

/// Room that the dot kernels use, reused from sample to sample.
pub type InteractionScratch = DotScratch;

/// Values behind the last sample that a buffer of outputs needs: kernels store whole vectors.
pub const SLACK: usize = 8;

impl InteractionLayer {
    /// The layer of a valid configuration.
    pub fn new(config: &DlrmConfig) -> Self {
        let width = config.interaction_width();
        Self {
            kind: config.interaction,
            tables: config.tables,
            dim: config.dim,
            lead: config.lead(),
            width,
            stride: width.next_multiple_of(8),
        }
    }

    /// Values from one sample to the next in the output: the width, rounded up to whole vectors.
    /// What lies between the two is unspecified.
    pub fn stride(&self) -> usize {
        self.stride
    }

    fn dot(&self, with_self: bool) -> DotShape {
        DotShape {
            tables: self.tables,
            dim: self.dim,
            lead: self.lead,
            with_self,
            stride: self.stride,
        }
    }

    /// From `bottom [n, dim]` (empty without a bottom MLP) and `rows [n, tables, dim]` to `output`,
    /// `width` values every `stride`, with [`SLACK`] values of room behind the last sample.
    ///
    /// # Panics
    /// When a slice is too short.
    pub fn forward(
        &self,
        n: usize,
        bottom: &[f32],
        rows: &[f32],
        scratch: &mut InteractionScratch,
        output: &mut [f32],
    ) {
        let (lead, sample_rows) = (self.lead, self.tables * self.dim);
        let (bottom, rows) = (&bottom[..n * lead], &rows[..n * sample_rows]);
        match self.kind {
            Interaction::Dot { with_self } => {
                let output = &mut output[..n * self.stride + SLACK];
                dot_forward(self.dot(with_self), bottom, rows, scratch, output);
            }
            Interaction::Cat => {
                let samples = rows.chunks_exact(sample_rows).enumerate();
                for (output, (s, rows)) in output.chunks_mut(self.stride).zip(samples) {
                    output[..lead].copy_from_slice(&bottom[s * lead..][..lead]);
                    output[lead..self.width].copy_from_slice(rows);
                }
            }
        }
    }

    /// From `output_grad` (strided as the output) the gradients of `bottom` and `rows`, which are
    /// overwritten.
    ///
    /// # Panics
    /// When a slice is too short.
    pub fn backward(
        &self,
        n: usize,
        bottom: &[f32],
        rows: &[f32],
        output_grad: &[f32],
        scratch: &mut InteractionScratch,
        bottom_grad: &mut [f32],
        rows_grad: &mut [f32],
    ) {
        let (lead, sample_rows) = (self.lead, self.tables * self.dim);
        let (bottom, rows) = (&bottom[..n * lead], &rows[..n * sample_rows]);
        let (bottom_grad, rows_grad) = (
            &mut bottom_grad[..n * lead],
            &mut rows_grad[..n * sample_rows],
        );
        match self.kind {
            Interaction::Dot { with_self } => {
                dot_backward(
                    self.dot(with_self),
                    bottom,
                    rows,
                    output_grad,
                    scratch,
                    bottom_grad,
                    rows_grad,
                );
            }
            Interaction::Cat => {
                let samples = rows_grad.chunks_exact_mut(sample_rows).enumerate();
                for (grad, (s, rows_grad)) in output_grad.chunks(self.stride).zip(samples) {
                    bottom_grad[s * lead..][..lead].copy_from_slice(&grad[..lead]);
                    rows_grad.copy_from_slice(&grad[lead..self.width]);
                }
            }
        }
    }
}
