//! The options of a training run.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use recsys_data::Order;
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::learning_rate::{LearningRate, LearningRatePolicy};
use crate::loss::{BinaryLoss, Loss};

/// When to stop before the last epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct StopAt {
    /// Stop as soon as the AUC reaches this.
    pub auc: Option<f64>,
    /// Stop as soon as the accuracy reaches this.
    pub accuracy: Option<f64>,
}

/// The options of a training run.
#[derive(Debug, Clone, Serialize)]
pub struct TrainOptions {
    /// How often every training sample is seen.
    pub epochs: u64,
    /// Epochs that were trained before this run. Shuffles differ from epoch to epoch: a caller who
    /// calls [`fit`](crate::fit) once per epoch counts this up, or every call has the same order.
    pub earlier_epochs: u64,
    /// Steps that were taken before this run. Learning rates, [`test_every`](Self::test_every) and
    /// the numbers of steps in events and reports go on from there;
    /// [`max_steps`](Self::max_steps) counts the steps of this run alone.
    pub earlier_steps: u64,
    /// Samples in a mini-batch.
    pub batch_size: usize,
    /// Samples in a mini-batch of an evaluation; changes no result.
    pub test_batch_size: usize,
    /// In which order the training samples come.
    pub order: Order,
    /// Seed of the shuffles.
    pub seed: u64,
    /// The learning rate of embedding rows and, unless they have their own, dense parameters.
    pub learning_rate: f64,
    /// The learning rate of dense parameters; `None` for that of the rows. With 0 they are frozen,
    /// whatever the policy says: they and their optimizer's state stay as they are, bit for bit.
    pub dense_learning_rate: Option<f64>,
    /// How both learning rates change over the steps.
    #[serde(serialize_with = "policy")]
    pub policy: Arc<dyn LearningRate>,
    /// The loss.
    #[serde(serialize_with = "loss")]
    pub loss: Arc<dyn Loss>,
    /// Evaluate whenever this many steps were taken, besides the end of every epoch; `None` for the
    /// ends alone.
    pub test_every: Option<u64>,
    /// End the run after this many steps.
    pub max_steps: Option<u64>,
    /// When to stop early, judged on the selection set (validation where there is one, else test).
    pub stop_at: StopAt,
    /// Threads that read batches ahead and plan them; one for every four cores unless set.
    pub loader_threads: usize,
    /// Batches read ahead; three for every such thread, and one, unless set.
    pub prefetch: usize,
    /// Coming batches whose plans the store sees ahead of their turn, so that it can fetch their
    /// rows meanwhile; changes no result. 0 for none, `None` for as many as the store makes use of
    /// ([`Tiered::lookahead`](embedding_store::Tiered::lookahead)).
    pub lookahead: Option<usize>,
    /// Samples of the evaluation set that the loss is taken on at a change of the schedule's side.
    pub swap_samples: u64,
    /// Set to true, by a handler of signals or another thread, it ends the run after the current
    /// step: with a checkpoint where the run has them, and without an evaluation.
    /// [`RunReport::interrupted_at`](crate::RunReport::interrupted_at) tells.
    #[serde(skip)]
    pub stop: Arc<AtomicBool>,
}

fn policy<S: Serializer>(
    policy: &Arc<dyn LearningRate>,
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    policy.describe().serialize(to)
}

fn loss<S: Serializer>(loss: &Arc<dyn Loss>, to: S) -> std::result::Result<S::Ok, S::Error> {
    loss.describe().serialize(to)
}

impl Default for TrainOptions {
    /// One epoch in file order, batches of 128, learning rate 0.1, cross-entropy: the reference's
    /// Kaggle script.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let loader_threads = cores.div_ceil(4).min(MAX_LOADER_THREADS);
        Self {
            epochs: 1,
            earlier_epochs: 0,
            earlier_steps: 0,
            batch_size: 128,
            test_batch_size: 2048,
            order: Order::File,
            seed: 0,
            learning_rate: 0.1,
            dense_learning_rate: None,
            policy: Arc::new(LearningRatePolicy::default()),
            loss: Arc::new(BinaryLoss::default()),
            test_every: None,
            max_steps: None,
            stop_at: StopAt::default(),
            loader_threads,
            prefetch: 3 * loader_threads + 1,
            lookahead: None,
            swap_samples: 1 << 14,
            stop: Arc::default(),
        }
    }
}

/// Epochs and steps are counted on from there.
const MAX_EARLIER: u64 = 1 << 62;
/// More threads than any machine has cores for.
const MAX_LOADER_THREADS: usize = 1 << 12;
/// Batches read ahead take memory, each as much as a batch.
const MAX_PREFETCH: usize = 1 << 16;
/// Batches whose plans the store sees are held, too; stores keep the rows of a few.
pub(crate) const MAX_LOOKAHEAD: usize = 1 << 10;

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
        zero("prefetch", self.prefetch as u64)?;
        zero("samples of a swap's loss", self.swap_samples)?;
        for (option, value, most, remedy) in [
            (
                "loader threads",
                self.loader_threads,
                MAX_LOADER_THREADS,
                "give at most 4096",
            ),
            (
                "prefetch",
                self.prefetch,
                MAX_PREFETCH,
                "give at most 65536 batches",
            ),
            (
                "lookahead",
                self.lookahead.unwrap_or(0),
                MAX_LOOKAHEAD,
                "give at most 1024 batches",
            ),
        ] {
            if value > most {
                return Err(Error::Option {
                    option,
                    value: value.to_string(),
                    remedy,
                });
            }
        }
        for (option, value) in [
            ("earlier epochs", self.earlier_epochs),
            ("earlier steps", self.earlier_steps),
        ] {
            if value > MAX_EARLIER {
                return Err(Error::Option {
                    option,
                    value: value.to_string(),
                    remedy: "give at most 4611686018427387904, which is 2 to the power of 62",
                });
            }
        }
        let bad = |option, value: f64, remedy| {
            Err(Error::Option {
                option,
                value: value.to_string(),
                remedy,
            })
        };
        let is_rate = |rate: f64| rate.is_finite() && rate > 0.0;
        if !is_rate(self.learning_rate) {
            return bad(
                "learning rate",
                self.learning_rate,
                "give a positive number",
            );
        }
        if let Some(rate) = self.dense_learning_rate
            && !(is_rate(rate) || rate == 0.0)
        {
            let remedy = "give a positive number, or 0 to freeze dense parameters";
            return bad("dense learning rate", rate, remedy);
        }
        self.loss.validate()?;
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

    /// The learning rate of dense parameters before the policy.
    pub(crate) fn dense_base(&self) -> f64 {
        self.dense_learning_rate.unwrap_or(self.learning_rate)
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
        let text = message(|o| {
            o.loss = Arc::new(BinaryLoss {
                threshold: 2.0,
                ..BinaryLoss::bce()
            });
        });
        assert!(text.starts_with("loss threshold is 2"), "{text}");
        let text = message(|o| o.dense_learning_rate = Some(-1.0));
        assert_eq!(
            text,
            "dense learning rate is -1; give a positive number, or 0 to freeze dense parameters"
        );
        let frozen = TrainOptions {
            dense_learning_rate: Some(0.0),
            ..TrainOptions::default()
        };
        assert!(frozen.validate().is_ok());
        assert!(message(|o| o.learning_rate = 0.0).starts_with("learning rate is 0"));
        assert!(message(|o| o.earlier_epochs = u64::MAX).starts_with("earlier epochs is 184"));
        assert!(message(|o| o.earlier_steps = u64::MAX).starts_with("earlier steps is 184"));
        assert!(message(|o| o.stop_at.auc = Some(1.5)).starts_with("target AUC is 1.5"));
        assert!(message(|o| o.test_every = Some(0)).starts_with("test interval is 0"));
    }

    /// Found by a user of the library: the first panicked, the second aborted.
    #[test]
    fn numbers_of_batches_beyond_any_memory_are_refused_with_the_bound() {
        for most in [usize::MAX, 1 << 40] {
            let message = |change: &dyn Fn(&mut TrainOptions)| {
                let mut options = TrainOptions::default();
                change(&mut options);
                options.validate().unwrap_err().to_string()
            };
            let text = message(&|o| o.lookahead = Some(most));
            assert_eq!(
                text,
                format!("lookahead is {most}; give at most 1024 batches")
            );
            let text = message(&|o| o.prefetch = most);
            assert_eq!(
                text,
                format!("prefetch is {most}; give at most 65536 batches")
            );
            let text = message(&|o| o.loader_threads = most);
            assert_eq!(text, format!("loader threads is {most}; give at most 4096"));
        }
    }

    #[test]
    fn the_built_in_loss_and_policy_are_written_as_before_they_were_traits() {
        let json = serde_json::to_value(TrainOptions::default()).unwrap();
        let loss = serde_json::json!({"kind": "bce", "threshold": 0.0, "input": "logit"});
        assert_eq!(json["loss"], loss);
        let policy =
            serde_json::json!({"warmup_steps": 0, "decay_start_step": 0, "decay_steps": 0});
        assert_eq!(json["policy"], policy);
    }
}
