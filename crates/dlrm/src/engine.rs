//! The network as an engine that a candle operator can run.

use candle_core::Shape;
use recsys_model::Engine;

use crate::{Network, Pass};

impl Engine for Network {
    type Pass = Pass;
    type Error = crate::Error;
    const NAME: &'static str = "dlrm";

    fn output_shape(&self, batch: usize) -> Shape {
        match self.config().output_width() {
            1 => Shape::from(batch),
            outputs => Shape::from((batch, outputs)),
        }
    }

    fn forward(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        pass: &mut Pass,
        output: &mut [f32],
    ) -> crate::Result<()> {
        Network::forward(self, parameters, dense, rows, pass, output)
    }

    fn infer(
        &self,
        parameters: &[f32],
        dense: &[f32],
        rows: &[f32],
        pass: &mut Pass,
        output: &mut [f32],
    ) -> crate::Result<()> {
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
    ) -> crate::Result<()> {
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
