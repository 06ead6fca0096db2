//! Networks that compute a whole step on plain slices, as trainable models.

use std::collections::HashMap;

use candle_core::{DType, Tensor, Var};
use recsys_device::{read_slices, write_slice};

use crate::autograd::autograd;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::model::{ApplyGradient, Gradient, InputShape, LossGradient, Model};

/// A network whose engine runs forward and backward on slices of host memory, and which is a candle
/// graph on other devices.
pub trait FusedNetwork: Send + Sync {
    /// Its engine.
    type Engine: Engine<Pass: Sync, Error: Into<Error>>;

    /// Memory of its training steps on a device.
    type DevicePass: Default + Send + Sync;

    /// The engine.
    fn engine(&self) -> &Self::Engine;

    /// All parameters, flat.
    fn parameters(&self) -> &Var;

    /// As [`Model::forward`].
    ///
    /// # Errors
    /// Inputs of other shapes than the network's.
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor>;

    /// As [`Model::infer`].
    ///
    /// # Errors
    /// As [`FusedNetwork::forward`].
    fn infer(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor>;

    /// As [`Model::named_weights`].
    ///
    /// # Errors
    /// A failing tensor operation.
    fn named_weights(&self) -> Result<Vec<(String, Tensor)>>;

    /// As [`Model::load_weights`].
    ///
    /// # Errors
    /// A missing weight, or one of another shape.
    fn load_weights(&self, weights: &HashMap<String, Tensor>) -> Result<()>;

    /// What the network takes.
    fn input_shape(&self) -> InputShape;

    /// As [`Model::table_prefix`].
    fn table_prefix(&self) -> &'static str {
        ""
    }

    /// As [`Model::piece`].
    fn piece(&self, batch: usize) -> usize;

    /// A training step on a device: as [`Model::forward_backward`], but `loss` gets the logits of
    /// the whole batch, and the gradient of the parameters is returned. `None`, and nothing is
    /// done, where the network has no such step, which is the default.
    ///
    /// # Errors
    /// As [`Model::forward_backward`].
    fn step_on_device(
        &self,
        dense: &Tensor,
        rows: &Tensor,
        rows_grad: &Tensor,
        pass: &mut Self::DevicePass,
        loss: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Option<Tensor>> {
        let _ = (dense, rows, rows_grad, pass, loss);
        Ok(None)
    }

    /// As [`Model::step_memory`].
    fn step_memory(pass: &Self::DevicePass, batch: usize) -> Option<u64> {
        let _ = (pass, batch);
        None
    }
}

/// Name of the one flat variable, under which its optimizer state is saved.
const PARAMETERS: &str = "parameters";

type PassOf<N> = <<N as FusedNetwork>::Engine as Engine>::Pass;

/// A network with the workspace of its training steps.
///
/// On the CPU a step runs the whole network forward and backward on slices of the batch, without
/// candle's autograd: the gradient of the rows goes straight into the caller's tensor, and
/// parameter gradients stay in one buffer per slice, which the optimizer adds up. After the first
/// step of a batch size it allocates nothing that grows with the batch.
pub struct Fused<N: FusedNetwork> {
    network: N,
    pass: PassOf<N>,
    device_pass: N::DevicePass,
    /// Of the last batch size on the CPU.
    logits: Option<Tensor>,
}

impl<N: FusedNetwork> Fused<N> {
    /// Makes a network trainable.
    pub fn new(network: N) -> Self {
        Self {
            network,
            pass: PassOf::<N>::default(),
            device_pass: N::DevicePass::default(),
            logits: None,
        }
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }
}

impl<N: FusedNetwork> Model for Fused<N> {
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        self.network.forward(dense, rows)
    }

    fn infer(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        self.network.infer(dense, rows)
    }

    fn named_parameters(&self) -> Vec<(String, Var)> {
        vec![(PARAMETERS.to_owned(), self.network.parameters().clone())]
    }

    fn named_weights(&self) -> Result<Vec<(String, Tensor)>> {
        self.network.named_weights()
    }

    fn load_weights(&self, weights: &HashMap<String, Tensor>) -> Result<()> {
        self.network.load_weights(weights)
    }

    fn input_shape(&self) -> Option<InputShape> {
        Some(self.network.input_shape())
    }

    fn table_prefix(&self) -> &str {
        self.network.table_prefix()
    }

    fn piece(&self, batch: usize) -> usize {
        self.network.piece(batch)
    }

    fn step_memory(&self, batch: usize) -> Option<u64> {
        N::step_memory(&self.device_pass, batch)
    }

    fn forward_backward(
        &mut self,
        dense: &Tensor,
        rows: &Tensor,
        rows_grad: &Tensor,
        loss: &mut LossGradient<'_>,
        apply: &mut ApplyGradient<'_>,
    ) -> Result<()> {
        let parameters = self.network.parameters().clone();
        if !rows.device().is_cpu() {
            let (network, pass) = (&self.network, &mut self.device_pass);
            let mut whole = |logits: &Tensor| loss(0..logits.dim(0)?, logits);
            if let Some(gradient) =
                network.step_on_device(dense, rows, rows_grad, pass, &mut whole)?
            {
                return apply(0, &parameters, Gradient::Tensor(&gradient));
            }
            let forward = |rows: &Tensor| self.forward(dense, rows);
            return autograd(forward, [&parameters], rows, rows_grad, loss, apply);
        }
        let Self {
            network,
            pass,
            logits,
            ..
        } = self;
        let engine = network.engine();
        let batch = dense.dim(0)?;
        let logits = match logits {
            Some(logits) if logits.elem_count() == batch => logits.clone(),
            kept => kept
                .insert(Tensor::zeros(batch, DType::F32, rows.device())?)
                .clone(),
        };
        let inputs = [parameters.as_tensor(), dense, rows];
        read_slices(inputs, |[weights, dense, rows]| {
            write_slice(&logits, |logits| {
                engine.forward(weights, dense, rows, pass, logits)
            })
        })??
        .map_err(Into::into)?;
        let slope = loss(0..batch, &logits)?.contiguous()?;
        let inputs = [parameters.as_tensor(), dense, rows, &slope];
        read_slices(inputs, |[weights, dense, rows, slope]| {
            write_slice(rows_grad, |rows_grad| {
                engine.backward(weights, dense, rows, slope, pass, rows_grad, None)
            })
        })??
        .map_err(Into::into)?;
        let slices: Vec<&[f32]> = N::Engine::gradients(pass).collect();
        apply(0, &parameters, Gradient::Slices(&slices))
    }
}
