//! In the place of `crossing` in builds without CUDA: nothing crosses, and no step is recorded.

use std::ops::Range;

use candle_core::{Device, Tensor};
use recsys_data::Batch;

use crate::{BinaryLoss, Result};

#[derive(Default)]
pub(crate) struct Crossing {}

/// There is none.
pub(crate) enum Sent {}

/// There is none.
#[derive(Debug)]
pub(crate) enum Asked {}

/// There is none.
pub(crate) enum StepKey {}

#[derive(Default)]
pub(crate) struct Recorded {}

impl Sent {
    pub(crate) fn dense(&self) -> &Tensor {
        match *self {}
    }
}

impl Crossing {
    pub(crate) fn send(&mut self, _: &Batch, _: &Tensor) -> Result<Option<Sent>> {
        Ok(None)
    }

    pub(crate) fn release(&mut self, _: Option<Sent>) -> Result<()> {
        Ok(())
    }

    pub(crate) fn loss(
        &mut self,
        _: Option<&BinaryLoss>,
        _: &Tensor,
        _: Option<&Sent>,
        _: Range<usize>,
        _: usize,
    ) -> Result<Option<Tensor>> {
        Ok(None)
    }

    pub(crate) fn ask(&mut self, _: bool) -> Result<Option<Asked>> {
        Ok(None)
    }

    pub(crate) fn sum(&mut self, _: Option<Asked>) -> Result<f64> {
        Ok(0.0)
    }

    pub(crate) fn key(
        &self,
        _: Option<&Sent>,
        _: [&Tensor; 2],
        _: Option<u64>,
        _: usize,
        _: Option<&BinaryLoss>,
        _: f64,
    ) -> Result<Option<StepKey>> {
        Ok(None)
    }
}

impl Recorded {
    pub(crate) fn clear(&mut self) {}

    pub(crate) fn run(
        &mut self,
        _: Option<&StepKey>,
        _: &Device,
        _: impl FnOnce() -> Result<()>,
    ) -> Result<bool> {
        Ok(false)
    }
}
