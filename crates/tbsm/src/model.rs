//! The model as users meet it: tensors in, logits out.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use recsys_model::{EngineOp, PassPool, flat_parameters, named_tensors};

use crate::init::initial_parameters;
use crate::{Network, Pass, Result, TbsmConfig, graph};

/// A time-based sequence model: the tower, the sequence layer and the head MLPs. Embedding rows
/// come in as an argument, already gathered and pooled; where they live is not the model's
/// business.
#[derive(Debug, Clone)]
pub struct Tbsm {
    network: Arc<Network>,
    /// The tower's engine, for the plain graph.
    tower: Arc<dlrm::Network>,
    parameters: Var,
    passes: PassPool<Pass>,
}

impl Tbsm {
    /// A model with freshly drawn parameters. Layers as in a DLRM: weights `N(0, sqrt(2 / (outputs
    /// + inputs)))`, biases `N(0, sqrt(1 / outputs))`; `A`, `Q`, `K` and `V` `N(0, sqrt(1 /
    /// width))`; the rest of `mha` and `rnn` as PyTorch draws it. The same seed gives the same
    /// parameters on every platform and device.
    ///
    /// # Errors
    /// Those of [`TbsmConfig::validate`], and candle's where the device cannot hold the parameters.
    pub fn new(config: TbsmConfig, seed: u64, device: &Device) -> Result<Self> {
        let network = Network::new(config)?;
        let tower = dlrm::Network::new(network.config().tower.clone())?;
        let parameters = initial_parameters(network.layout(), seed)?;
        let count = parameters.len();
        let parameters = Var::from_tensor(&Tensor::from_vec(parameters, count, device)?)?;
        Ok(Self {
            network: Arc::new(network),
            tower: Arc::new(tower),
            parameters,
            passes: PassPool::default(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &TbsmConfig {
        self.network.config()
    }

    /// The engine, for training loops that work on slices and read the parameter gradients where
    /// they are made.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// All parameters in one flat variable, laid out as [`TbsmConfig::parameters`] says: the
    /// tower's first.
    pub fn parameters(&self) -> &Var {
        &self.parameters
    }

    /// From `dense [batch, positions, dense features]` and `rows [batch, positions, tables, dim]`,
    /// the candidate in the last position, to logits `[batch]`. On the CPU this is one
    /// differentiable operator, on NVIDIA devices a graph of fused ones, elsewhere the plain
    /// graph; gradients reach the parameters, `dense` and `rows`, whichever of them are tracked.
    ///
    /// # Errors
    /// When a shape or an element type does not fit the model, or candle fails.
    pub fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        self.run(dense, rows, self.parameters.as_tensor(), true)
    }

    /// The values of [`Tbsm::forward`] without a graph: for evaluation and serving. On the CPU,
    /// memory beside the output does not grow with the batch.
    ///
    /// # Errors
    /// Those of [`Tbsm::forward`].
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
        if !parameters.device().is_cpu() {
            let fused = parameters.device().is_cuda();
            return self.graph(parameters, dense, rows, fused);
        }
        // No copy where the tensor is contiguous already.
        let (dense, rows) = (dense.contiguous()?, rows.contiguous()?);
        let operator = EngineOp::new(self.network.clone(), self.passes.clone(), keep);
        Ok(parameters.apply_op3(&dense, &rows, operator)?)
    }

    /// The same values as [`Tbsm::forward`] (up to rounding) from a plain candle graph on the same
    /// parameters: the readable reference, much slower.
    ///
    /// # Errors
    /// Those of [`Tbsm::forward`].
    pub fn forward_graph(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        self.check(dense, rows)?;
        self.graph(self.parameters.as_tensor(), dense, rows, false)
    }

    fn graph(
        &self,
        parameters: &Tensor,
        dense: &Tensor,
        rows: &Tensor,
        fused: bool,
    ) -> Result<Tensor> {
        graph::Graph {
            config: self.config(),
            layout: self.network.layout(),
            tower: &self.tower,
            parameters,
            fused,
        }
        .forward(dense, rows)
    }

    fn check(&self, dense: &Tensor, rows: &Tensor) -> Result<()> {
        let config = self.config();
        for (what, tensor) in [("dense", dense), ("rows", rows)] {
            if tensor.dtype() != DType::F32 {
                return Err(recsys_model::Error::ElementType {
                    what,
                    found: tensor.dtype().as_str(),
                }
                .into());
            }
        }
        let (positions, features) = (config.positions(), config.tower.dense_features());
        let shape = |what, expected: String, tensor: &Tensor| recsys_model::Error::Shape {
            what,
            expected,
            found: tensor.dims().to_vec(),
        };
        let batch = match *dense.dims() {
            [batch, p, f] if p == positions && f == features => batch,
            _ => {
                let expected = format!("[batch, positions {positions}, dense features {features}]");
                return Err(shape("dense", expected, dense).into());
            }
        };
        if batch == 0 {
            return Err(recsys_model::Error::EmptyBatch.into());
        }
        let (tables, dim) = (config.tower.tables, config.tower.dim);
        if *rows.dims() != [batch, positions, tables, dim] {
            let expected =
                format!("[batch {batch}, positions {positions}, tables {tables}, dim {dim}]");
            return Err(shape("rows", expected, rows).into());
        }
        Ok(())
    }

    /// Copies of the parameters under the names of the reference program (`dlrm.bot_l.0.weight
    /// [outputs, inputs]`, `ams.0.A [1, width, width]`, …), in the order of the flat buffer.
    /// Embedding tables belong to the store.
    ///
    /// # Errors
    /// candle's, where the device fails.
    pub fn named_parameters(&self) -> Result<Vec<(String, Tensor)>> {
        let specs = self.network.layout().specs.clone();
        Ok(named_tensors(&self.parameters.as_detached_tensor(), specs)?)
    }

    /// Replaces all parameters. Either all are replaced or, on an error, none.
    ///
    /// # Errors
    /// When names are missing or unknown (all of them are listed), when a shape differs, or when
    /// candle fails.
    pub fn load_named(&self, parameters: &HashMap<String, Tensor>) -> Result<()> {
        let specs = self.network.layout().specs.clone();
        let flat = flat_parameters(specs, parameters, self.parameters.device())?;
        Ok(self.parameters.set(&flat)?)
    }
}
