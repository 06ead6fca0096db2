//! The options of a training run.

use recsys_data::Order;
use serde::Serialize;

use crate::{Error, LearningRatePolicy, Loss, Result};

/// When to stop before the last epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct StopAt {
    /// Stop as soon as the AUC reaches this.
    pub auc: Option<f64>,
    /// Stop as soon as the accuracy reaches this.
    pub accuracy: Option<f64>,
}

/// The options of a training run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainOptions {
    /// How often every training sample is seen.
    pub epochs: u64,
    /// Samples in a mini-batch.
    pub batch_size: usize,
    /// Samples in a mini-batch of an evaluation; changes no result.
    pub test_batch_size: usize,
    /// In which order the training samples come.
    pub order: Order,
    /// Seed of the shuffles.
    pub seed: u64,
    /// The learning rate of dense parameters and embedding rows alike.
    pub learning_rate: f64,
    /// How the learning rate changes over the steps.
    pub policy: LearningRatePolicy,
    /// The loss.
    pub loss: Loss,
    /// Evaluate after every so many steps, besides the end of every epoch; `None` for the ends alone.
    pub test_every: Option<u64>,
    /// End the run after so many steps.
    pub max_steps: Option<u64>,
    /// When to stop early, judged on the selection set (validation where there is one, else test).
    pub stop_at: StopAt,
    /// Threads that read batches ahead and plan them; one for every four cores unless set.
    pub loader_threads: usize,
    /// Batches read ahead; three for every such thread, and one, unless set.
    pub prefetch: usize,
    /// Coming batches whose plans the store sees ahead of their turn, so that it can fetch their rows meanwhile.
    pub lookahead: usize,
    /// Samples of the evaluation set that the loss is taken on at a change of the schedule's side.
    pub swap_samples: u64,
}

impl Default for TrainOptions {
    /// One epoch in file order, batches of 128, learning rate 0.1, cross-entropy: the reference's Kaggle script.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let loader_threads = cores.div_ceil(4);
        Self {
            epochs: 1,
            batch_size: 128,
            test_batch_size: 2048,
            order: Order::File,
            seed: 0,
            learning_rate: 0.1,
            policy: LearningRatePolicy::default(),
            loss: Loss::default(),
            test_every: None,
            max_steps: None,
            stop_at: StopAt::default(),
            loader_threads,
            prefetch: 3 * loader_threads + 1,
            lookahead: 0,
            swap_samples: 1 << 14,
        }
    }
}

impl TrainOptions {
    /// Checks every option.
    ///
    /// # Errors
    /// The first that makes no sense, with its value and what would be accepted.
    pub fn validate(&self) -> Result<()> {
        let zero = |option, value: u64| {
            let remedy = "give a number of at least 1";
            if value == 0 {
                Err(Error::Option {
                    option,
                    value: "0".into(),
                    remedy,
                })
            } else {
                Ok(())
            }
        };
        zero("batch size", self.batch_size as u64)?;
        zero("test batch size", self.test_batch_size as u64)?;
        zero("epochs", self.epochs)?;
        zero("test interval", self.test_every.unwrap_or(1))?;
        zero("number of steps", self.max_steps.unwrap_or(1))?;
        zero("loader threads", self.loader_threads as u64)?;
        zero("samples of a swap's loss", self.swap_samples)?;
        let bad = |option, value: f64, remedy| {
            Err(Error::Option {
                option,
                value: value.to_string(),
                remedy,
            })
        };
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return bad(
                "learning rate",
                self.learning_rate,
                "give a positive number",
            );
        }
        if !(0.0..1.0).contains(&self.loss.threshold) {
            return bad(
                "loss threshold",
                self.loss.threshold.into(),
                "give a number from 0 (off) to below 1",
            );
        }
        for (option, target) in [
            ("target AUC", self.stop_at.auc),
            ("target accuracy", self.stop_at.accuracy),
        ] {
            if let Some(target) = target.filter(|target| !(0.0..=1.0).contains(target)) {
                return bad(option, target, "give a number from 0 to 1");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_each_nonsense_is_named() {
        assert!(TrainOptions::default().validate().is_ok());
        let message = |change: fn(&mut TrainOptions)| {
            let mut options = TrainOptions::default();
            change(&mut options);
            options.validate().unwrap_err().to_string()
        };
        assert!(message(|o| o.batch_size = 0).starts_with("batch size is 0"));
        assert!(message(|o| o.learning_rate = f64::NAN).starts_with("learning rate is NaN"));
        assert!(message(|o| o.loss.threshold = 2.0).starts_with("loss threshold is 2"));
        assert!(message(|o| o.stop_at.auc = Some(1.5)).starts_with("target AUC is 1.5"));
        assert!(message(|o| o.test_every = Some(0)).starts_with("test interval is 0"));
    }
}
