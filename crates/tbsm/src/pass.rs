//! Everything that one forward and backward pass writes: kept and reused, so that a step allocates
//! nothing.

use dlrm::parts::InteractionScratch;

use crate::TbsmConfig;
use crate::attention::AttentionActivations;
use crate::layout::{Layout, Sequence};
use crate::linear::{fit, grow, widest};
use crate::lstm::{LstmActivations, LstmScratch};
use crate::multihead::{MultiheadActivations, MultiheadScratch};
use crate::product::padded;
use crate::tower::{Tower, TowerActivations};

/// Lanes of a pass, that is parameter gradients of 4 bytes per parameter each. It bounds memory at
/// large batches.
const LARGEST_LANES: usize = 16;

/// Sequences that run through all layers together: few enough that what one layer writes is in the
/// cache when the next one reads it.
const BLOCK: usize = 16;

/// Workspaces of a [`Network`](crate::Network): activations of every sequence and parameter
/// gradients.
///
/// Any pass serves any network and batch size; it grows to what is needed and stays there. Memory:
/// about 8 KB per sequence at the Taobao shape, and one set of parameter gradients per slice, at
/// most 16 sets.
#[derive(Debug, Default)]
pub struct Pass {
    /// Whose activations these are.
    pub(crate) config: Option<TbsmConfig>,
    /// Sequences of the forward pass that the activations belong to.
    pub(crate) batch: Option<usize>,
    /// Lanes with valid gradients, after backward.
    pub(crate) graded: usize,
    pub(crate) lanes: Vec<Lane>,
    /// The weights, packed for forward and for backward.
    pub(crate) packed: [Vec<f32>; 2],
}

/// Consecutive sequences that one thread works through, and their summed parameter gradients.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) gradients: Vec<f32>,
    /// The gradients in the form of the weights packed for forward.
    pub(crate) sums: Vec<f32>,
    pub(crate) blocks: Vec<Activations>,
    pub(crate) workspace: Workspace,
}

/// What backward needs again of one block's forward pass.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    pub(crate) tower: TowerActivations,
    /// The tower's outputs divided by their lengths, and the lengths; empty without normalisation.
    pub(crate) units: Vec<f32>,
    pub(crate) lengths: Vec<f32>,
    /// One per head of the time-series layer.
    pub(crate) attention: Vec<AttentionActivations>,
    pub(crate) multihead: MultiheadActivations,
    pub(crate) lstm: LstmActivations,
    pub(crate) heads: Vec<HeadActivations>,
    /// The heads' probabilities, where there are several.
    pub(crate) probabilities: Vec<f32>,
    pub(crate) last: Vec<Vec<f32>>,
}

/// A head MLP's input `[context, candidate]` and its outputs.
#[derive(Debug, Default)]
pub(crate) struct HeadActivations {
    pub(crate) joined: Vec<f32>,
    pub(crate) outputs: Vec<Vec<f32>>,
}

/// What a lane needs while it works on a block.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) interaction: InteractionScratch,
    /// Gradients of one layer's output and of its input, in turns.
    pub(crate) upper: Vec<f32>,
    pub(crate) lower: Vec<f32>,
    pub(crate) context: Vec<f32>,
    pub(crate) vectors: Vec<f32>,
    /// Gradients of the heads' probabilities.
    pub(crate) probabilities: Vec<f32>,
    pub(crate) multihead: MultiheadScratch,
    pub(crate) lstm: LstmScratch,
}

/// How a batch is cut: a function of the batch and the configuration, never of the threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Sequences per lane.
    pub(crate) lane: usize,
    pub(crate) lanes: usize,
    /// Sequences per block.
    pub(crate) block: usize,
}

impl Cut {
    pub(crate) fn new(config: &TbsmConfig, batch: usize) -> Self {
        let slice = config.tower.slice.samples(batch).min(batch);
        let count = batch.div_ceil(slice);
        let lane = slice * count.div_ceil(LARGEST_LANES);
        Self {
            lane,
            lanes: batch.div_ceil(lane),
            block: lane.min(BLOCK),
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

    /// Makes room for a forward pass cut as `cut`; with `keep`, for the activations of every block.
    pub(crate) fn fit(
        &mut self,
        config: &TbsmConfig,
        layout: &Layout,
        tower: &Tower,
        cut: Cut,
        keep: bool,
    ) {
        self.batch = None;
        self.graded = 0;
        if self.lanes.len() < cut.lanes {
            self.lanes.resize_with(cut.lanes, Lane::default);
        }
        let blocks = if keep {
            cut.lane.div_ceil(cut.block)
        } else {
            1
        };
        for lane in &mut self.lanes[..cut.lanes] {
            if lane.blocks.len() < blocks {
                lane.blocks.resize_with(blocks, Activations::default);
            }
            for block in &mut lane.blocks[..blocks] {
                block.fit(config, layout, tower, cut.block);
            }
        }
    }

    /// Makes room for the backward pass of what [`Pass::fit`] prepared.
    pub(crate) fn fit_backward(
        &mut self,
        config: &TbsmConfig,
        layout: &Layout,
        tower: &Tower,
        cut: Cut,
    ) {
        let n = cut.block;
        let m = n * config.positions();
        let columns = padded(config.vector_width());
        // Towers, keys and values run over all positions, everything else over sequences.
        let mut long = widest(layout.bottom.iter().chain(&layout.top)).max(tower.widest());
        let mut short =
            widest(&layout.maps).max(padded(config.context_width() + config.vector_width()));
        match &layout.sequence {
            Sequence::Tsl(heads) => {
                for head in heads {
                    short = short.max(head.widest());
                }
            }
            Sequence::Mha(multihead) => long = long.max(multihead.widest()),
            Sequence::Rnn(_) => {}
        }
        long = long.max(columns);
        for lane in &mut self.lanes[..cut.lanes] {
            lane.gradients.resize(layout.parameters, 0.0);
            lane.sums.resize(layout.packed[0], 0.0);
            let workspace = &mut lane.workspace;
            for buffer in [&mut workspace.upper, &mut workspace.lower] {
                grow(buffer, (m * long).max(n * short));
            }
            grow(&mut workspace.vectors, m * columns);
            grow(&mut workspace.context, n * padded(config.context_width()));
            grow(&mut workspace.probabilities, n * padded(config.heads()));
            match &layout.sequence {
                Sequence::Tsl(_) => {}
                Sequence::Mha(multihead) => multihead.fit_backward(n, &mut workspace.multihead),
                Sequence::Rnn(lstm) => lstm.fit_backward(n, &mut workspace.lstm),
            }
        }
    }
}

impl Activations {
    fn fit(&mut self, config: &TbsmConfig, layout: &Layout, tower: &Tower, n: usize) {
        let m = n * config.positions();
        tower.fit(layout, m, &mut self.tower);
        if config.normalise {
            grow(&mut self.units, m * padded(config.vector_width()));
            grow(&mut self.lengths, m);
        }
        match &layout.sequence {
            Sequence::Tsl(heads) => {
                if self.attention.len() < heads.len() {
                    self.attention
                        .resize_with(heads.len(), AttentionActivations::default);
                }
                for (head, activations) in heads.iter().zip(&mut self.attention) {
                    head.fit(n, activations);
                }
            }
            Sequence::Mha(multihead) => multihead.fit(n, &mut self.multihead),
            Sequence::Rnn(lstm) => lstm.fit(n, &mut self.lstm),
        }
        let joined = n * padded(config.context_width() + config.vector_width());
        if self.heads.len() < layout.heads.len() {
            self.heads
                .resize_with(layout.heads.len(), HeadActivations::default);
        }
        for (head, activations) in layout.heads.iter().zip(&mut self.heads) {
            grow(&mut activations.joined, joined);
            fit(head, n, &mut activations.outputs);
        }
        grow(&mut self.probabilities, n * padded(layout.heads.len()));
        fit(&layout.last, n, &mut self.last);
    }
}
