//! A run with parts of one's own: its trainer, data and options, a loss, and a policy.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by test binaries that each use some of it; a test ends where something fails"
)]

use std::path::Path;
use std::sync::Arc;

use dlrm::SliceSize;
use embedding_store::{Optimizer, StoreOptions};
use recsys_data::{Dataset, Order};
use serde_json::{Value, json};
use trainer::{
    CheckpointEvery, Checkpoints, Error, Evaluations, LearningRate, Loss, Model, Placement, Result,
    RunReport, TrainOptions, fit,
};

use crate::skewed::{AnyTrainer, Skewed, bits, part, weights, with_options};

pub(crate) const SAMPLES: u64 = 120;

pub(crate) fn trainer(placement: Placement, replicas: usize) -> AnyTrainer {
    let options = StoreOptions {
        optimizer: Optimizer::adagrad().into(),
        ..StoreOptions::default()
    };
    with_options(SliceSize::Fixed(8), placement, options, [6; 4], replicas)
}

pub(crate) fn options() -> TrainOptions {
    TrainOptions {
        batch_size: 8,
        order: Order::Shuffled,
        learning_rate: 0.05,
        ..TrainOptions::default()
    }
}

pub(crate) fn data() -> Arc<dyn Dataset> {
    Arc::new(Skewed::new(SAMPLES, 2))
}

pub(crate) fn evaluations() -> Evaluations {
    Evaluations {
        validation: Some(part(&Arc::new(Skewed::new(SAMPLES, 2)), |sample| {
            sample < 40
        })),
        test: None,
    }
}

pub(crate) fn train(trainer: &mut AnyTrainer, options: &TrainOptions) -> Result<RunReport> {
    fit(trainer, data(), &evaluations(), options, &mut ())
}

/// Every weight and every optimizer state.
pub(crate) fn everything(trainer: &AnyTrainer) -> Vec<u32> {
    let mut all = bits(&weights(trainer));
    for index in 0..trainer.model().named_parameters().len() {
        let state = trainer.optimizer().state(index).unwrap();
        all.extend(bits(&state.unwrap_or_default()));
    }
    all
}

/// The focal loss of a logit (Lin et al., 2017) with γ = 2, or what goes wrong with one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Focal {
    pub(crate) scale: f64,
    pub(crate) fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    Error,
    Value,
    Slope,
}

impl Loss for Focal {
    fn evaluate(
        &self,
        logits: &[f32],
        labels: &[f32],
        batch: usize,
        grad: &mut [f32],
    ) -> Result<f64> {
        assert_eq!((logits.len(), labels.len()), (grad.len(), grad.len()));
        assert!(grad.iter().all(|&slope| slope == 0.0));
        if self.fault == Some(Fault::Error) {
            return Err(Error::external("no such label"));
        }
        let mut sum = 0.0;
        for ((&z, &label), grad) in logits.iter().zip(labels).zip(grad) {
            let sign = if label > 0.5 { 1.0 } else { -1.0 };
            let right = 1.0 / (1.0 + (-sign * f64::from(z)).exp());
            let wrong = 1.0 - right;
            sum -= wrong * wrong * right.ln();
            let slope = 2.0 * wrong * wrong * right * right.ln() - wrong.powi(3);
            *grad = (self.scale * sign * slope / batch as f64) as f32;
            match self.fault {
                Some(Fault::Value) => sum = f64::INFINITY,
                Some(Fault::Slope) => *grad = f32::NAN,
                _ => {}
            }
        }
        Ok(self.scale * sum / batch as f64)
    }

    fn describe(&self) -> Value {
        json!({"name": "focal", "gamma": 2, "scale": self.scale})
    }

    fn validate(&self) -> Result<()> {
        match self.scale > 0.0 {
            true => Ok(()),
            false => Err(Error::external("the scale must be positive")),
        }
    }
}

pub(crate) fn focal() -> Focal {
    Focal {
        scale: 1.0,
        fault: None,
    }
}

/// A rate that halves at a step, or a wrong one from there on.
#[derive(Debug)]
pub(crate) struct Halved {
    pub(crate) from: u64,
    pub(crate) wrong: Option<f64>,
}

impl LearningRate for Halved {
    fn rate(&self, base: f64, step: u64) -> Result<f64> {
        if step < self.from {
            return Ok(base);
        }
        match self.wrong {
            Some(7.0) => Err(Error::external("the table of rates is gone")),
            Some(wrong) => Ok(wrong),
            None => Ok(base / 2.0),
        }
    }

    fn describe(&self) -> Value {
        json!({"name": "halved", "from": self.from})
    }
}

pub(crate) fn checkpoints(folder: &Path, resume: bool) -> Checkpoints {
    Checkpoints {
        every: CheckpointEvery::Steps(u64::MAX),
        resume,
        settings: json!("own parts"),
        ..Checkpoints::new(folder)
    }
}
