//! The network as an engine that a candle operator can run.

use candle_core::Shape;
use recsys_model::Engine;

use crate::{Error, Network, Pass, Result};

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
