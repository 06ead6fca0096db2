//! The whole network on plain slices: forward and backward, the batch cut into slices that run in
//! parallel.

use rayon::iter::Either;
use rayon::prelude::*;

use crate::layout::Layout;
use crate::pass::{Cut, Pass};
use crate::tower::Tower;
use crate::{Error, Result, TbsmConfig};

/// The engine of a TBSM: holds the shape, not the parameters, and is never changed.
///
/// A batch is cut into slices whose size follows from the configuration (`tower.slice`, in
/// sequences) and the batch alone. Each slice runs through all layers on one thread of the current
/// rayon pool, with its own workspace and its own parameter gradients, so the numbers do not depend
/// on how many threads there are.
#[derive(Debug, Clone)]
pub struct Network {
    pub(crate) config: TbsmConfig,
    pub(crate) layout: Layout,
    pub(crate) tower: Tower,
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

    /// From `dense [batch, positions, dense features]` and `rows [batch, positions, tables, dim]`,
    /// the candidate last, to logits `output [batch]`. `parameters` is flat, as
    /// [`TbsmConfig::parameters`] describes it. What backward needs is kept in `pass`.
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

    /// The same as [`Network::forward`] to the bit, but keeps nothing for a backward pass: memory
    /// does not grow with the batch.
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

    /// From `output_grad [batch]` the parameter gradients, which stay in `pass` (see
    /// [`Pass::gradients`]), the gradient of the rows in `rows_grad [batch, positions, tables,
    /// dim]`, and if given, that of the dense features in `dense_grad [batch, positions,
    /// dense features]`; all are overwritten. `parameters`, `dense` and `rows` must be those of
    /// the forward pass that `pass` holds. May be repeated.
    ///
    /// # Errors
    /// When a slice has the wrong length, or `pass` does not hold a forward pass of this network
    /// and batch size.
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
            return Err(recsys_model::Error::NoForward {
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
            return Err(recsys_model::Error::EmptyBatch.into());
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
        Err(recsys_model::Error::Length {
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
