//! The whole network on plain slices: forward and backward, the batch cut into slices that run in
//! parallel.

use crate::interaction::InteractionLayer;
use crate::layout::Layout;
use crate::mlp::Samples;
use crate::pass::{Activations, Cut, Lane, Pass, Workspace};
use crate::{DlrmConfig, Error, Result};

/// The engine of a DLRM: holds the shape, not the parameters, and is never changed.
///
/// A batch is cut into slices whose size follows from the configuration and the batch alone. Each
/// slice runs through all layers on one thread of the current rayon pool, with its own workspace
/// and its own parameter gradients, so the numbers do not depend on how many threads there are.
#[derive(Debug, Clone)]
pub struct Network {
    config: DlrmConfig,
    layout: Layout,
    interaction: InteractionLayer,
}

/// The shared arguments of one pass.
#[derive(Clone, Copy)]
struct Shared<'a> {
    network: &'a Network,
    parameters: &'a [f32],
    cut: Cut,
}

impl Network {
    /// The engine for a configuration.
    ///
    /// # Errors
    /// Those of [`DlrmConfig::validate`].
    pub fn new(config: DlrmConfig) -> Result<Self> {
        config.validate()?;
        let layout = Layout::new(&config);
        let interaction = InteractionLayer::new(&config);
        Ok(Self {
            config,
            layout,
            interaction,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &DlrmConfig {
        &self.config
    }

    /// Number of values in the flat parameter buffer.
    pub fn parameter_count(&self) -> usize {
        self.layout.parameters
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// From `dense [batch, dense features]` and `rows [batch, tables, dim]` to `output [batch,
    /// outputs]` (logits, unless the configuration ends in ReLU). `parameters` is flat, as
    /// [`DlrmConfig::parameters`] describes it. What backward needs is kept in `pass`.
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
        self.check_output("output", batch, output.len())?;
        let cut = Cut::new(&self.config, batch);
        pass.fit(&self.layout, &self.interaction, cut, keep);
        let shared = Shared {
            network: self,
            parameters,
            cut,
        };
        Forward {
            shared,
            lanes: &mut pass.lanes[..cut.lanes],
            dense,
            rows,
            output,
            keep,
        }
        .run();
        Ok(batch)
    }

    /// From `output_grad [batch, outputs]` the parameter gradients, which stay in `pass` (see
    /// [`Pass::gradients`]), the gradient of the rows in `rows_grad [batch, tables, dim]`, and
    /// if given, that of the dense features in `dense_grad [batch, dense features]`; all
    /// are overwritten. `parameters`, `dense` and `rows` must be those of the forward pass that
    /// `pass` holds. May be repeated.
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
        self.check_output("output_grad", batch, output_grad.len())?;
        self.check_rows("rows_grad", batch, rows_grad.len())?;
        if let Some(dense_grad) = &dense_grad {
            let features = self.config.dense_features();
            let shape = || format!("[batch {batch}, dense features {features}]");
            check("dense_grad", batch * features, dense_grad.len(), shape)?;
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
        pass.fit_backward(&self.layout, &self.interaction, cut);
        let shared = Shared {
            network: self,
            parameters,
            cut,
        };
        let lanes = &mut pass.lanes[..cut.lanes];
        Backward {
            shared,
            lanes,
            dense,
            rows,
            output_grad,
            rows_grad,
            dense_grad,
        }
        .run();
        pass.graded = cut.lanes;
        Ok(())
    }

    fn check_inputs(&self, parameters: &[f32], dense: &[f32], rows: &[f32]) -> Result<usize> {
        let features = self.config.dense_features();
        // Without dense features the rows tell how many samples there are.
        let (values, of_sample) = match features {
            0 => (rows.len(), self.config.tables * self.config.dim),
            _ => (dense.len(), features),
        };
        if values == 0 {
            return Err(recsys_model::Error::EmptyBatch.into());
        }
        if !dense.len().is_multiple_of(features) {
            return Err(Error::RaggedDense {
                found: dense.len(),
                features,
            });
        }
        let batch = values / of_sample;
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
        let (tables, dim) = (self.config.tables, self.config.dim);
        check(what, batch * tables * dim, found, || {
            format!("[batch {batch}, tables {tables}, dim {dim}]")
        })
    }

    fn check_output(&self, what: &'static str, batch: usize, found: usize) -> Result<()> {
        let outputs = self.config.output_width();
        check(what, batch * outputs, found, || {
            format!("[batch {batch}, outputs {outputs}]")
        })
    }

    fn forward_slice(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        activations: &mut Activations,
        workspace: &mut Workspace,
        output: &mut [f32],
    ) {
        let n = rows.len() / (self.config.tables * self.config.dim);
        let mut input = Samples {
            data: dense,
            stride: self.config.dense_features(),
        };
        for (layer, y) in self.layout.bottom.iter().zip(&mut activations.bottom) {
            layer.forward(parameters, n, input, y);
            input = Samples {
                data: y,
                stride: layer.outputs,
            };
        }
        self.interaction.forward(
            n,
            input.data,
            rows,
            &mut workspace.interaction,
            &mut activations.interaction,
        );
        let mut input = Samples {
            data: &activations.interaction,
            stride: self.interaction.stride,
        };
        for (layer, y) in self.layout.top.iter().zip(&mut activations.top) {
            layer.forward(parameters, n, input, y);
            input = Samples {
                data: y,
                stride: layer.outputs,
            };
        }
        output.copy_from_slice(&input.data[..output.len()]);
    }

    fn backward_slice(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        output_grad: &[f32],
        activations: &Activations,
        workspace: &mut Workspace,
        gradients: &mut [f32],
        accumulate: bool,
        rows_grad: &mut [f32],
        mut dense_grad: Option<&mut [f32]>,
    ) {
        let n = rows.len() / (self.config.tables * self.config.dim);
        let Workspace {
            interaction: scratch,
            upper,
            lower,
        } = workspace;
        upper[..output_grad.len()].copy_from_slice(output_grad);
        for (k, layer) in self.layout.top.iter().enumerate().rev() {
            let x = match k {
                0 => Samples {
                    data: &activations.interaction,
                    stride: self.interaction.stride,
                },
                _ => Samples {
                    data: &activations.top[k - 1],
                    stride: layer.inputs,
                },
            };
            let dx = Some((lower.as_mut_slice(), x.stride));
            layer.backward(
                parameters,
                n,
                x,
                &activations.top[k],
                upper,
                dx,
                gradients,
                accumulate,
            );
            std::mem::swap(upper, lower);
        }
        let bottom: &[f32] = match self.layout.bottom.len() {
            0 => &[],
            layers => &activations.bottom[layers - 1],
        };
        self.interaction
            .backward(n, bottom, rows, upper, scratch, lower, rows_grad);
        std::mem::swap(upper, lower);
        for (k, layer) in self.layout.bottom.iter().enumerate().rev() {
            let (x, dx) = match k {
                0 => (
                    Samples {
                        data: dense,
                        stride: layer.inputs,
                    },
                    dense_grad.as_deref_mut().map(|dx| (dx, layer.inputs)),
                ),
                _ => (
                    Samples {
                        data: &activations.bottom[k - 1],
                        stride: layer.inputs,
                    },
                    Some((lower.as_mut_slice(), layer.inputs)),
                ),
            };
            layer.backward(
                parameters,
                n,
                x,
                &activations.bottom[k],
                upper,
                dx,
                gradients,
                accumulate,
            );
            std::mem::swap(upper, lower);
        }
    }
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

/// A forward pass of some lanes: halved until one lane is left, whose slices run one behind the
/// other.
struct Forward<'a> {
    shared: Shared<'a>,
    lanes: &'a mut [Lane],
    dense: &'a [f32],
    rows: &'a [f32],
    output: &'a mut [f32],
    keep: bool,
}

impl Forward<'_> {
    fn run(self) {
        let Shared {
            network,
            parameters,
            cut,
        } = self.shared;
        let sizes = Sizes::of(&network.config);
        if let [lane] = self.lanes {
            let batch = self.rows.len() / sizes.rows;
            let starts = (0..batch).step_by(cut.slice);
            let outputs = self.output.chunks_mut(cut.slice * sizes.output);
            for (k, (start, output)) in starts.zip(outputs).enumerate() {
                let samples = start..batch.min(start + cut.slice);
                let of = |size: usize| samples.start * size..samples.end * size;
                let activations = &mut lane.slices[if self.keep { k } else { 0 }];
                network.forward_slice(
                    parameters,
                    &self.dense[of(sizes.dense)],
                    &self.rows[of(sizes.rows)],
                    activations,
                    &mut lane.workspace,
                    output,
                );
            }
            return;
        }
        let half = self.lanes.len() / 2;
        let samples = half * cut.slices * cut.slice;
        let (lanes, other_lanes) = self.lanes.split_at_mut(half);
        let (dense, other_dense) = self.dense.split_at(samples * sizes.dense);
        let (rows, other_rows) = self.rows.split_at(samples * sizes.rows);
        let (output, other_output) = self.output.split_at_mut(samples * sizes.output);
        let (shared, keep) = (self.shared, self.keep);
        rayon::join(
            || {
                Forward {
                    shared,
                    lanes,
                    dense,
                    rows,
                    output,
                    keep,
                }
                .run()
            },
            || {
                let (lanes, dense, rows, output) =
                    (other_lanes, other_dense, other_rows, other_output);
                Forward {
                    shared,
                    lanes,
                    dense,
                    rows,
                    output,
                    keep,
                }
                .run();
            },
        );
    }
}

/// A backward pass of some lanes, cut in the same way.
struct Backward<'a> {
    shared: Shared<'a>,
    lanes: &'a mut [Lane],
    dense: &'a [f32],
    rows: &'a [f32],
    output_grad: &'a [f32],
    rows_grad: &'a mut [f32],
    dense_grad: Option<&'a mut [f32]>,
}

impl Backward<'_> {
    fn run(mut self) {
        let Shared {
            network,
            parameters,
            cut,
        } = self.shared;
        let sizes = Sizes::of(&network.config);
        if let [lane] = self.lanes {
            let batch = self.rows.len() / sizes.rows;
            for (k, start) in (0..batch).step_by(cut.slice).enumerate() {
                let samples = start..batch.min(start + cut.slice);
                let of = |size: usize| samples.start * size..samples.end * size;
                network.backward_slice(
                    parameters,
                    &self.dense[of(sizes.dense)],
                    &self.rows[of(sizes.rows)],
                    &self.output_grad[of(sizes.output)],
                    &lane.slices[k],
                    &mut lane.workspace,
                    &mut lane.gradients,
                    k > 0,
                    &mut self.rows_grad[of(sizes.rows)],
                    self.dense_grad
                        .as_deref_mut()
                        .map(|grad| &mut grad[of(sizes.dense)]),
                );
            }
            return;
        }
        let half = self.lanes.len() / 2;
        let samples = half * cut.slices * cut.slice;
        let (lanes, other_lanes) = self.lanes.split_at_mut(half);
        let (dense, other_dense) = self.dense.split_at(samples * sizes.dense);
        let (rows, other_rows) = self.rows.split_at(samples * sizes.rows);
        let (output_grad, other_output_grad) = self.output_grad.split_at(samples * sizes.output);
        let (rows_grad, other_rows_grad) = self.rows_grad.split_at_mut(samples * sizes.rows);
        let (dense_grad, other_dense_grad) = self
            .dense_grad
            .map(|grad| grad.split_at_mut(samples * sizes.dense))
            .unzip();
        let shared = self.shared;
        rayon::join(
            || {
                Backward {
                    shared,
                    lanes,
                    dense,
                    rows,
                    output_grad,
                    rows_grad,
                    dense_grad,
                }
                .run()
            },
            || {
                let (lanes, dense, rows, output_grad) =
                    (other_lanes, other_dense, other_rows, other_output_grad);
                let (rows_grad, dense_grad) = (other_rows_grad, other_dense_grad);
                Backward {
                    shared,
                    lanes,
                    dense,
                    rows,
                    output_grad,
                    rows_grad,
                    dense_grad,
                }
                .run();
            },
        );
    }
}

/// Values per sample.
#[derive(Clone, Copy)]
struct Sizes {
    dense: usize,
    rows: usize,
    output: usize,
}

impl Sizes {
    fn of(config: &DlrmConfig) -> Self {
        Self {
            dense: config.dense_features(),
            rows: config.tables * config.dim,
            output: config.output_width(),
        }
    }
}
