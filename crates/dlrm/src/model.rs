//! The model as users meet it: tensors in, logits out.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use recsys_model::{EngineOp, Error, ParameterSpec, PassPool, flat_parameters, named_tensors};

use crate::config::DlrmConfig;
use crate::error::Result;
use crate::init::initial_parameters;
use crate::network::Network;
use crate::pass::Pass;

/// A deep learning recommendation model: the MLPs and the interaction. Embedding rows come in as an
/// argument, already gathered and pooled; where they live is not the model's business.
#[derive(Debug, Clone)]
pub struct Dlrm {
    network: Arc<Network>,
    parameters: Var,
    passes: PassPool<Pass>,
}

impl Dlrm {
    /// A model with freshly drawn parameters: weights `N(0, sqrt(2 / (outputs + inputs)))`, biases
    /// `N(0, sqrt(1 / outputs))`. The same seed gives the same parameters on every platform and
    /// device.
    ///
    /// # Errors
    /// Those of [`DlrmConfig::validate`], and candle's where the device cannot hold the parameters.
    pub fn new(config: DlrmConfig, seed: u64, device: &Device) -> Result<Self> {
        let network = Network::new(config)?;
        let parameters = initial_parameters(network.layout(), seed)?;
        let count = parameters.len();
        let parameters = Var::from_tensor(&Tensor::from_vec(parameters, count, device)?)?;
        Ok(Self {
            network: Arc::new(network),
            parameters,
            passes: PassPool::default(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &DlrmConfig {
        self.network.config()
    }

    /// The engine, for training loops that work on slices and read the parameter gradients where
    /// they are made.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// All parameters in one flat variable, laid out as [`DlrmConfig::parameters`] says.
    pub fn parameters(&self) -> &Var {
        &self.parameters
    }

    /// From `dense [batch, dense features]` and `rows [batch, tables, dim]` to logits: `[batch]`
    /// where the top MLP ends in width 1, `[batch, outputs]` otherwise. On the CPU and on
    /// NVIDIA devices this is one differentiable operator, elsewhere the plain graph; gradients
    /// reach the parameters, `dense` and `rows`, whichever of them are tracked.
    ///
    /// # Errors
    /// When a shape or an element type does not fit the model, or candle fails.
    pub fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        self.run(dense, rows, self.parameters.as_tensor(), true)
    }

    /// The values of [`Dlrm::forward`] without a graph: for evaluation and serving. On the CPU,
    /// memory beside the output does not grow with the batch.
    ///
    /// # Errors
    /// Those of [`Dlrm::forward`].
    pub fn infer(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        self.run(
            &dense.detach(),
            &rows.detach(),
            &self.parameters.as_detached_tensor(),
            false,
        )
    }

    fn run(
        &self,
        dense: &Tensor,
        rows: &Tensor,
        parameters: &Tensor,
        keep: bool,
    ) -> Result<Tensor> {
        self.check(dense, rows)?;
        if parameters.device().is_cuda() {
            let output = self.network.forward_layers(parameters, dense, rows)?;
            return self.shaped(output);
        }
        if !parameters.device().is_cpu() {
            return self.graph(parameters, dense, rows);
        }
        // No copy where the tensor is contiguous already.
        let (dense, rows) = (dense.contiguous()?, rows.contiguous()?);
        let operator = EngineOp::new(self.network.clone(), self.passes.clone(), keep);
        Ok(parameters.apply_op3(&dense, &rows, operator)?)
    }

    /// The same values as [`Dlrm::forward`] (up to rounding) from a plain candle graph on the same
    /// parameters: the readable reference, much slower.
    ///
    /// # Errors
    /// Those of [`Dlrm::forward`].
    pub fn forward_graph(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        self.check(dense, rows)?;
        self.graph(self.parameters.as_tensor(), dense, rows)
    }

    fn graph(&self, parameters: &Tensor, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        self.shaped(self.network.forward_graph(parameters, dense, rows)?)
    }

    /// `[batch, outputs]` as [`Dlrm::forward`] gives it.
    fn shaped(&self, output: Tensor) -> Result<Tensor> {
        Ok(if self.config().output_width() == 1 {
            output.squeeze(1)?
        } else {
            output
        })
    }

    fn check(&self, dense: &Tensor, rows: &Tensor) -> Result<()> {
        let config = self.config();
        for (what, tensor) in [("dense", dense), ("rows", rows)] {
            if tensor.dtype() != DType::F32 {
                return Err(Error::ElementType {
                    what,
                    found: tensor.dtype().as_str(),
                }
                .into());
            }
        }
        let features = config.dense_features();
        let shape = |what, expected, tensor: &Tensor| Error::Shape {
            what,
            expected,
            found: tensor.dims().to_vec(),
        };
        let batch = match *dense.dims() {
            [batch, found] if found == features => batch,
            _ => {
                return Err(shape(
                    "dense",
                    format!("[batch, dense features {features}]"),
                    dense,
                )
                .into());
            }
        };
        if batch == 0 {
            return Err(Error::EmptyBatch.into());
        }
        let (tables, dim) = (config.tables, config.dim);
        if *rows.dims() != [batch, tables, dim] {
            return Err(shape(
                "rows",
                format!("[batch {batch}, tables {tables}, dim {dim}]"),
                rows,
            )
            .into());
        }
        Ok(())
    }

    fn specs(&self) -> Vec<ParameterSpec> {
        self.network.layout().specs()
    }

    /// Copies of the parameters under the names of the reference program (`bot_l.0.weight [outputs,
    /// inputs]`, …), in the order of the flat buffer.
    ///
    /// # Errors
    /// candle's, where the device fails.
    pub fn named_parameters(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(named_tensors(
            &self.parameters.as_detached_tensor(),
            self.specs(),
        )?)
    }

    /// Replaces all parameters. Either all are replaced or, on an error, none.
    ///
    /// # Errors
    /// When names are missing or unknown (all of them are listed), when a shape differs, or when
    /// candle fails.
    pub fn load_named(&self, parameters: &HashMap<String, Tensor>) -> Result<()> {
        let flat = flat_parameters(self.specs(), parameters, self.parameters.device())?;
        Ok(self.parameters.set(&flat)?)
    }
}
