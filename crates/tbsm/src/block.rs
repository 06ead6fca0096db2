//! One block of sequences through all layers, forward and backward.

use crate::Network;
use crate::attention::Vectors;
use crate::gradients::Gradients;
use crate::layout::Sequence;
use crate::linear;
use crate::pass::{Activations, Workspace};
use crate::product::{LANES, Rows, padded};
use crate::vectors::{normalise, normalise_backward};

impl Network {
    /// The vectors of a block, after its tower has run.
    fn vectors<'a>(&self, n: usize, activations: &'a Activations) -> Vectors<'a> {
        let top = &activations.tower.top[self.layout.top.len() - 1];
        Vectors {
            data: if self.config.normalise {
                &activations.units
            } else {
                top
            },
            n,
            positions: self.config.positions(),
            columns: padded(self.config.vector_width()),
        }
    }

    /// From the inputs of a block to its logits; what backward needs goes to `into`.
    pub(crate) fn forward_block(
        &self,
        packed: &[f32],
        dense: &[f32],
        rows: &[f32],
        into: &mut Activations,
        workspace: &mut Workspace,
        output: &mut [f32],
    ) {
        let (config, layout) = (&self.config, &self.layout);
        let n = output.len();
        let m = n * config.positions();
        let (scratch, tower) = (&mut workspace.interaction, &mut into.tower);
        self.tower
            .forward(layout, packed, m, dense, rows, scratch, tower);
        let width = config.vector_width();
        if config.normalise {
            let columns = padded(width);
            let top = &tower.top[layout.top.len() - 1][..m * columns];
            normalise(columns, top, &mut into.units, &mut into.lengths);
        }
        // The heads write beside the vectors, so the vectors are named field by field.
        let vectors = Vectors {
            data: match config.normalise {
                true => &into.units,
                false => &into.tower.top[layout.top.len() - 1],
            },
            n,
            positions: config.positions(),
            columns: padded(width),
        };
        let context = config.context_width();
        let stride = padded(context + width);
        for (h, head) in layout.heads.iter().enumerate() {
            let activations = &mut into.heads[h];
            let joined = &mut activations.joined;
            match &layout.sequence {
                Sequence::Tsl(attention) => {
                    attention[h].forward(packed, vectors, &mut into.attention[h], joined, stride);
                }
                Sequence::Mha(multihead) => {
                    multihead.forward(packed, vectors, &mut into.multihead, joined, stride);
                }
                Sequence::Rnn(lstm) => {
                    lstm.forward(packed, vectors, &mut into.lstm, joined, stride);
                }
            }
            let candidates = vectors.candidates();
            for (s, row) in joined.chunks_exact_mut(stride).take(n).enumerate() {
                let candidate = &candidates.data[s * candidates.stride..][..width];
                row[context..context + width].copy_from_slice(candidate);
            }
            let x = Rows::new(joined, stride);
            linear::forward(head, packed, n, x, &mut activations.outputs);
        }
        let heads = layout.heads.len();
        let ends = |h: usize| &into.heads[h].outputs[layout.heads[h].len() - 1];
        let logits = match heads {
            1 => ends(0),
            _ => {
                let columns = padded(heads);
                for h in 0..heads {
                    for s in 0..n {
                        into.probabilities[s * columns + h] = ends(h)[s * LANES];
                    }
                }
                let x = Rows::new(&into.probabilities, columns);
                linear::forward(&layout.last, packed, n, x, &mut into.last);
                &into.last[layout.last.len() - 1]
            }
        };
        for (output, logit) in output.iter_mut().zip(logits.chunks_exact(LANES)) {
            *output = logit[0];
        }
    }

    /// From the gradient of a block's logits that of its rows and, if given, of its dense
    /// features, and, added to `sums`, of the parameters.
    pub(crate) fn backward_block(
        &self,
        packed: &[f32],
        dense: &[f32],
        rows: &[f32],
        output_grad: &[f32],
        from: &Activations,
        workspace: &mut Workspace,
        sums: &mut [f32],
        rows_grad: &mut [f32],
        dense_grad: Option<&mut [f32]>,
    ) {
        let (config, layout) = (&self.config, &self.layout);
        let n = output_grad.len();
        let m = n * config.positions();
        let vectors = self.vectors(n, from);
        let (width, columns) = (config.vector_width(), vectors.columns);
        let Workspace {
            interaction,
            upper,
            lower,
            context,
            vectors: vectors_grad,
            probabilities,
            multihead: multihead_scratch,
            lstm: lstm_scratch,
        } = workspace;
        let vectors_grad = &mut vectors_grad[..m * columns];
        vectors_grad.fill(0.0);
        let heads = layout.heads.len();
        // The gradient of a single output is the first value of a padded row.
        spread(output_grad.iter().copied(), upper);
        if heads > 1 {
            let len = n * padded(heads);
            let x = Rows::new(&from.probabilities, padded(heads));
            linear::backward(
                &layout.last,
                packed,
                n,
                x,
                &from.last,
                upper,
                lower,
                sums,
                true,
            );
            probabilities[..len].copy_from_slice(&upper[..len]);
        }
        let context_width = config.context_width();
        let (stride, context_columns) = (padded(context_width + width), padded(context_width));
        let context = &mut context[..n * context_columns];
        for (h, head) in layout.heads.iter().enumerate() {
            let activations = &from.heads[h];
            if heads > 1 {
                let of_head = probabilities[..n * padded(heads)].chunks_exact(padded(heads));
                spread(of_head.map(|row| row[h]), upper);
            }
            let x = Rows::new(&activations.joined, stride);
            linear::backward(
                head,
                packed,
                n,
                x,
                &activations.outputs,
                upper,
                lower,
                sums,
                true,
            );
            let joined = upper[..n * stride].chunks_exact(stride);
            let into = context.chunks_exact_mut(context_columns);
            for (s, (joined, context)) in joined.zip(into).enumerate() {
                context[..context_width].copy_from_slice(&joined[..context_width]);
                context[context_width..].fill(0.0);
                let start = s * vectors.stride() + vectors.candidate_start();
                let candidate = &mut vectors_grad[start..][..width];
                for (into, grad) in candidate.iter_mut().zip(&joined[context_width..]) {
                    *into += grad;
                }
            }
            let mut grads = Gradients {
                context,
                upper,
                lower,
                sums,
                vectors: vectors_grad,
            };
            match &layout.sequence {
                Sequence::Tsl(attention) => {
                    attention[h].backward(packed, vectors, &from.attention[h], &mut grads);
                }
                Sequence::Mha(multihead) => {
                    let scratch = &mut *multihead_scratch;
                    multihead.backward(packed, vectors, &from.multihead, scratch, &mut grads);
                }
                Sequence::Rnn(lstm) => {
                    lstm.backward(packed, vectors, &from.lstm, lstm_scratch, &mut grads);
                }
            }
        }
        if config.normalise {
            normalise_backward(columns, &from.units, &from.lengths, vectors_grad);
        }
        upper[..m * columns].copy_from_slice(vectors_grad);
        self.tower.backward(
            layout,
            packed,
            m,
            dense,
            rows,
            &from.tower,
            interaction,
            upper,
            lower,
            sums,
            rows_grad,
            dense_grad,
        );
    }
}

/// Values as first values of padded rows.
fn spread(values: impl Iterator<Item = f32>, into: &mut [f32]) {
    for (value, row) in values.zip(into.chunks_exact_mut(LANES)) {
        row.fill(0.0);
        row[0] = value;
    }
}
