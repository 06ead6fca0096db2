//! Everything that one forward and backward pass writes: kept and reused, so that a step allocates
//! nothing.

use crate::DlrmConfig;
use crate::interaction::{InteractionLayer, InteractionScratch, SLACK};
use crate::layout::Layout;

/// Lanes of a pass, that is parameter gradients of 4 bytes per parameter each. It bounds memory at
/// large batches.
pub(crate) const LARGEST_LANES: usize = 16;

/// Workspaces of a [`Network`](crate::Network): activations of every slice and parameter gradients.
///
/// Any pass serves any network and batch size; it grows to what is needed and stays there. Memory:
/// about 8 KB per sample at the Criteo shape, and one set of parameter gradients per slice, at most
/// 16 sets.
#[derive(Debug, Default)]
pub struct Pass {
    /// Whose activations these are.
    pub(crate) config: Option<DlrmConfig>,
    /// Samples of the forward pass that the activations belong to.
    pub(crate) batch: Option<usize>,
    /// Lanes with valid gradients, after backward.
    pub(crate) graded: usize,
    pub(crate) lanes: Vec<Lane>,
}

/// Consecutive slices that one thread works through at a time, and their summed parameter
/// gradients.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) gradients: Vec<f32>,
    pub(crate) slices: Vec<Activations>,
    pub(crate) workspace: Workspace,
}

/// What backward needs again of one slice's forward pass.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    /// Per bottom layer `[slice, outputs]`.
    pub(crate) bottom: Vec<Vec<f32>>,
    /// `[slice, stride]` of the interaction.
    pub(crate) interaction: Vec<f32>,
    /// Per top layer `[slice, outputs]`.
    pub(crate) top: Vec<Vec<f32>>,
}

/// What a lane needs while it works on a slice.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) interaction: InteractionScratch,
    /// Gradients of one layer's output and of its input, in turns.
    pub(crate) upper: Vec<f32>,
    pub(crate) lower: Vec<f32>,
}

/// How a batch is cut: a function of the batch and the configuration, never of the threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Samples per slice.
    pub(crate) slice: usize,
    /// Slices per lane.
    pub(crate) slices: usize,
    pub(crate) lanes: usize,
}

impl Cut {
    pub(crate) fn new(config: &DlrmConfig, batch: usize) -> Self {
        let slice = config.slice.samples(batch).min(batch);
        let count = batch.div_ceil(slice);
        let slices = count.div_ceil(LARGEST_LANES);
        Self {
            slice,
            slices,
            lanes: count.div_ceil(slices),
        }
    }
}

impl Pass {
    /// The parameter gradients of the last backward pass, each flat and complete for its share of
    /// the batch. The batch's gradient is their sum, taken in this order. One per slice; above
    /// 16 slices, neighbours share one.
    ///
    /// Empty before the first backward pass.
    pub fn gradients(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.lanes[..self.graded]
            .iter()
            .map(|lane| lane.gradients.as_slice())
    }

    /// Makes room for a forward pass cut as `cut`; with `keep`, for the activations of every slice.
    pub(crate) fn fit(
        &mut self,
        layout: &Layout,
        interaction: &InteractionLayer,
        cut: Cut,
        keep: bool,
    ) {
        self.batch = None;
        self.graded = 0;
        if self.lanes.len() < cut.lanes {
            self.lanes.resize_with(cut.lanes, Lane::default);
        }
        let slices = if keep { cut.slices } else { 1 };
        for lane in &mut self.lanes[..cut.lanes] {
            if lane.slices.len() < slices {
                lane.slices.resize_with(slices, Activations::default);
            }
            for activations in &mut lane.slices[..slices] {
                grow(
                    &mut activations.interaction,
                    cut.slice * interaction.stride + SLACK,
                );
                for (buffers, layers) in [
                    (&mut activations.bottom, &layout.bottom),
                    (&mut activations.top, &layout.top),
                ] {
                    if buffers.len() < layers.len() {
                        buffers.resize_with(layers.len(), Vec::new);
                    }
                    for (buffer, layer) in buffers.iter_mut().zip(layers) {
                        grow(buffer, cut.slice * layer.outputs);
                    }
                }
            }
        }
    }

    /// Makes room for the backward pass of what [`Pass::fit`] prepared.
    pub(crate) fn fit_backward(
        &mut self,
        layout: &Layout,
        interaction: &InteractionLayer,
        cut: Cut,
    ) {
        let widest = layout
            .bottom
            .iter()
            .chain(&layout.top)
            .map(|layer| layer.outputs.max(layer.inputs));
        let widest = widest.max().unwrap_or(0).max(interaction.stride);
        for lane in &mut self.lanes[..cut.lanes] {
            lane.gradients.resize(layout.parameters, 0.0);
            grow(&mut lane.workspace.upper, cut.slice * widest);
            grow(&mut lane.workspace.lower, cut.slice * widest);
        }
    }
}

fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}
