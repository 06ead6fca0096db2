//! The whole network on plain slices: forward and backward, the batch cut into slices that run in parallel.

use candle_core::Shape;
use dlrm::parts::Engine;
use rayon::iter::Either;
use rayon::prelude::*;

use crate::attention::Vectors;
use crate::layout::{Layout, Sequence};
use crate::linear;
use crate::pass::{Activations, Cut, Gradients, Pass, Workspace};
use crate::product::{LANES, Rows, padded};
use crate::tower::Tower;
use crate::vectors::{normalise, normalise_backward};
use crate::{Error, Result, TbsmConfig};

/// The engine of a TBSM: holds the shape, not the parameters, and is never changed.
///
/// A batch is cut into slices whose size follows from the configuration (`tower.slice`, in sequences) and the batch
/// alone. Each slice runs through all layers on one thread of the current rayon pool, with its own workspace and its own
/// parameter gradients, so the numbers do not depend on how many threads there are.
#[derive(Debug, Clone)]
pub struct Network {
    config: TbsmConfig,
    layout: Layout,
    tower: Tower,
    sizes: Sizes,
}

/// Values per sequence.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    dense: usize,
    rows: usize,
}

impl Network {
    /// The engine for a configuration.
    ///
    /// # Errors
    /// Those of [`TbsmConfig::validate`].
    pub fn new(config: TbsmConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            layout: Layout::new(&config),
            tower: Tower::new(&config.tower),
            sizes: Sizes {
                dense: config.positions() * config.tower.dense_features(),
                rows: config.positions() * config.tower.tables * config.tower.dim,
            },
            config,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &TbsmConfig {
        &self.config
    }

    /// Number of values in the flat parameter buffer.
    pub fn parameter_count(&self) -> usize {
        self.layout.parameters
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// From `dense [batch, positions, dense features]` and `rows [batch, positions, tables, dim]`, the candidate last, to
    /// logits `output [batch]`. `parameters` is flat, as [`TbsmConfig::parameters`] describes it. What backward needs is
    /// kept in `pass`.
    ///
    /// # Errors
    /// When a slice has the wrong length or the batch is empty.
    pub fn forward(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        pass: &mut Pass,
        output: &mut [f32],
    ) -> Result<()> {
        let batch = self.run_forward(parameters, dense, rows, pass, output, true)?;
        // Cloning allocates, so it is done once per pass and network.
        if pass.config.as_ref() != Some(&self.config) {
            pass.config = Some(self.config.clone());
        }
        pass.batch = Some(batch);
        Ok(())
    }

    /// The same as [`Network::forward`] to the bit, but keeps nothing for a backward pass: memory does not grow with the
    /// batch.
    ///
    /// # Errors
    /// When a slice has the wrong length or the batch is empty.
    pub fn infer(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        pass: &mut Pass,
        output: &mut [f32],
    ) -> Result<()> {
        self.run_forward(parameters, dense, rows, pass, output, false)
            .map(|_| ())
    }

    fn run_forward(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        pass: &mut Pass,
        output: &mut [f32],
        keep: bool,
    ) -> Result<usize> {
        let batch = self.check_inputs(parameters, dense, rows)?;
        check_batch("output", batch, output.len())?;
        let cut = Cut::new(&self.config, batch);
        pass.fit(&self.config, &self.layout, &self.tower, cut, keep);
        let Pass { lanes, packed, .. } = pass;
        let packed = &mut packed[0];
        clear(packed, self.layout.packed[0]);
        for map in &self.layout.maps {
            map.pack_forward(parameters, packed);
        }
        let (packed, sizes) = (&*packed, self.sizes);
        lanes[..cut.lanes]
            .par_iter_mut()
            .zip(dense.par_chunks(cut.lane * sizes.dense))
            .zip(rows.par_chunks(cut.lane * sizes.rows))
            .zip(output.par_chunks_mut(cut.lane))
            .for_each(|(((lane, dense), rows), output)| {
                let blocks = dense
                    .chunks(cut.block * sizes.dense)
                    .zip(rows.chunks(cut.block * sizes.rows))
                    .zip(output.chunks_mut(cut.block));
                for (k, ((dense, rows), output)) in blocks.enumerate() {
                    let activations = &mut lane.blocks[if keep { k } else { 0 }];
                    self.forward_block(
                        packed,
                        dense,
                        rows,
                        activations,
                        &mut lane.workspace,
                        output,
                    );
                }
            });
        Ok(batch)
    }

    /// From `output_grad [batch]` the parameter gradients, which stay in `pass` (see [`Pass::gradients`]), the gradient of
    /// the rows in `rows_grad [batch, positions, tables, dim]`, and where asked for that of the dense features in
    /// `dense_grad [batch, positions, dense features]`; all are overwritten. `parameters`, `dense` and `rows` must be those
    /// of the forward pass that `pass` holds. May be repeated.
    ///
    /// # Errors
    /// When a slice has the wrong length, or `pass` does not hold a forward pass of this network and batch size.
    pub fn backward(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        output_grad: &[f32],
        pass: &mut Pass,
        rows_grad: &mut [f32],
        dense_grad: Option<&mut [f32]>,
    ) -> Result<()> {
        let batch = self.check_inputs(parameters, dense, rows)?;
        check_batch("output_grad", batch, output_grad.len())?;
        self.check_rows("rows_grad", batch, rows_grad.len())?;
        if let Some(dense_grad) = &dense_grad {
            let (positions, features) =
                (self.config.positions(), self.config.tower.dense_features());
            check(
                "dense_grad",
                batch * self.sizes.dense,
                dense_grad.len(),
                || format!("[batch {batch}, positions {positions}, dense features {features}]"),
            )?;
        }
        let held = pass
            .batch
            .filter(|_| pass.config.as_ref() == Some(&self.config));
        if held != Some(batch) {
            return Err(dlrm::Error::NoForward {
                batch,
                forward: held,
            }
            .into());
        }
        let cut = Cut::new(&self.config, batch);
        pass.fit_backward(&self.config, &self.layout, &self.tower, cut);
        let Pass { lanes, packed, .. } = pass;
        let packed = &mut packed[1];
        clear(packed, self.layout.packed[1]);
        for map in &self.layout.maps {
            map.pack_backward(parameters, packed);
        }
        let (packed, sizes) = (&*packed, self.sizes);
        let lanes = &mut lanes[..cut.lanes];
        let dense_grads = match dense_grad {
            Some(grad) => Either::Left(grad.par_chunks_mut(cut.lane * sizes.dense).map(Some)),
            None => Either::Right((0..cut.lanes).into_par_iter().map(|_| None)),
        };
        lanes
            .par_iter_mut()
            .zip(dense.par_chunks(cut.lane * sizes.dense))
            .zip(rows.par_chunks(cut.lane * sizes.rows))
            .zip(output_grad.par_chunks(cut.lane))
            .zip(rows_grad.par_chunks_mut(cut.lane * sizes.rows))
            .zip(dense_grads)
            .for_each(
                |(((((lane, dense), rows), output_grad), rows_grad), mut dense_grad)| {
                    lane.sums.fill(0.0);
                    for (k, start) in (0..output_grad.len()).step_by(cut.block).enumerate() {
                        let sequences = start..output_grad.len().min(start + cut.block);
                        let of = |size: usize| sequences.start * size..sequences.end * size;
                        self.backward_block(
                            packed,
                            &dense[of(sizes.dense)],
                            &rows[of(sizes.rows)],
                            &output_grad[sequences.clone()],
                            &lane.blocks[k],
                            &mut lane.workspace,
                            &mut lane.sums,
                            &mut rows_grad[of(sizes.rows)],
                            dense_grad
                                .as_deref_mut()
                                .map(|grad| &mut grad[of(sizes.dense)]),
                        );
                    }
                    lane.gradients.fill(0.0);
                    for map in &self.layout.maps {
                        map.add_gradients(&lane.sums, &mut lane.gradients);
                    }
                },
            );
        pass.graded = cut.lanes;
        Ok(())
    }

    fn check_inputs(&self, parameters: &[f32], dense: &[f32], rows: &[f32]) -> Result<usize> {
        if dense.is_empty() {
            return Err(dlrm::Error::EmptyBatch.into());
        }
        if !dense.len().is_multiple_of(self.sizes.dense) {
            return Err(Error::RaggedDense {
                found: dense.len(),
                positions: self.config.positions(),
                features: self.config.tower.dense_features(),
            });
        }
        let batch = dense.len() / self.sizes.dense;
        check(
            "parameters",
            self.layout.parameters,
            parameters.len(),
            || "the flat parameter buffer".to_owned(),
        )?;
        self.check_rows("rows", batch, rows.len())?;
        Ok(batch)
    }

    fn check_rows(&self, what: &'static str, batch: usize, found: usize) -> Result<()> {
        check(what, batch * self.sizes.rows, found, || {
            let (tables, dim) = (self.config.tower.tables, self.config.tower.dim);
            let positions = self.config.positions();
            format!("[batch {batch}, positions {positions}, tables {tables}, dim {dim}]")
        })
    }

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

    fn forward_block(
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

    fn backward_block(
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

/// Zeros, in place.
fn clear(buffer: &mut Vec<f32>, len: usize) {
    buffer.clear();
    buffer.resize(len, 0.0);
}

fn check(
    what: &'static str,
    expected: usize,
    found: usize,
    shape: impl FnOnce() -> String,
) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(dlrm::Error::Length {
            what,
            shape: shape(),
            expected,
            found,
        }
        .into())
    }
}

fn check_batch(what: &'static str, batch: usize, found: usize) -> Result<()> {
    check(what, batch, found, || format!("[batch {batch}]"))
}

impl Engine for Network {
    type Pass = Pass;
    type Error = Error;
    const NAME: &'static str = "tbsm";

    fn output_shape(&self, batch: usize) -> Shape {
        Shape::from(batch)
    }

    fn forward(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        pass: &mut Pass,
        output: &mut [f32],
    ) -> Result<()> {
        Network::forward(self, parameters, dense, rows, pass, output)
    }

    fn infer(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        pass: &mut Pass,
        output: &mut [f32],
    ) -> Result<()> {
        Network::infer(self, parameters, dense, rows, pass, output)
    }

    fn backward(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        output_grad: &[f32],
        pass: &mut Pass,
        rows_grad: &mut [f32],
        dense_grad: Option<&mut [f32]>,
    ) -> Result<()> {
        Network::backward(
            self,
            parameters,
            dense,
            rows,
            output_grad,
            pass,
            rows_grad,
            dense_grad,
        )
    }

    fn gradients(pass: &Pass) -> impl ExactSizeIterator<Item = &[f32]> {
        pass.gradients()
    }
}
