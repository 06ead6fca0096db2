//! Losses, learning rates and models that users write themselves, and rates of dense parameters,
//! decide a run where they keep to their contract, and end it with a reason where they do not.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod own;
mod skewed;

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use embedding_store::{CpuStore, Optimizer, Plan, StoreOptions};
use own::{
    Fault, Focal, Halved, checkpoints, data, evaluations, everything, focal, options, train,
    trainer,
};
use recsys_data::Batch;
use serde_json::{Value, json};
use skewed::{AnyTrainer, bits, tables, weights};
use trainer::{
    ApplyGradient, BinaryLoss, Error, Evaluations, Event, LearningRatePolicy, LearningRates, Loss,
    LossGradient, Model, Observer, Placement, Result, TrainOptions, Trainer, fit,
    fit_with_checkpoints,
};

#[test]
fn an_own_loss_trains_to_the_same_bits_on_every_placement() {
    let options = TrainOptions {
        loss: Arc::new(focal()),
        epochs: 4,
        ..options()
    };
    let mut expected = None;
    for (placement, replicas) in [
        (Placement::Cpu, 1),
        (Placement::CpuDevice, 1),
        (Placement::Fae, 1),
        (Placement::Mixed, 1),
        (Placement::CpuDevice, 3),
    ] {
        let mut trainer = trainer(placement, replicas);
        let report = train(&mut trainer, &options).unwrap();
        assert!(report.epochs[3].train_loss < report.epochs[0].train_loss);
        let found = bits(&weights(&trainer));
        let expected = expected.get_or_insert_with(|| found.clone());
        assert!(found == *expected, "{placement} {replicas}");
    }
}

#[test]
fn a_loss_that_asks_the_built_in_one_gives_its_bits() {
    #[derive(Debug)]
    struct Wrapped(BinaryLoss);
    impl Loss for Wrapped {
        fn evaluate(&self, z: &[f32], y: &[f32], batch: usize, grad: &mut [f32]) -> Result<f64> {
            self.0.evaluate(z, y, batch, grad)
        }
        fn describe(&self) -> Value {
            json!({"name": "wrapped", "loss": self.0})
        }
    }
    let run = |loss: Arc<dyn Loss>| {
        let mut trainer = trainer(Placement::Mixed, 1);
        train(&mut trainer, &TrainOptions { loss, ..options() }).unwrap();
        everything(&trainer)
    };
    let own = run(Arc::new(Wrapped(BinaryLoss::bce())));
    assert!(own == run(Arc::new(BinaryLoss::bce())));
}

#[test]
fn what_a_loss_returns_is_checked_and_its_errors_pass_through() {
    let error = |loss: Focal| {
        let options = TrainOptions {
            loss: Arc::new(loss),
            ..options()
        };
        train(&mut trainer(Placement::Cpu, 1), &options).unwrap_err()
    };
    let faulty = |fault| Focal {
        fault: Some(fault),
        ..focal()
    };
    assert!(matches!(error(faulty(Fault::Error)), Error::External(_)));
    assert_eq!(error(faulty(Fault::Error)).to_string(), "no such label");
    assert!(matches!(
        error(faulty(Fault::Value)),
        Error::Diverged { step: 1, .. }
    ));
    assert!(matches!(
        error(faulty(Fault::Slope)),
        Error::Diverged { step: 1, .. }
    ));
    let refused = error(Focal::default()).to_string();
    assert_eq!(refused, "the scale must be positive");
}

/// Answers two logits for every sample.
struct Twice(Var);

impl Model for Twice {
    fn forward(&self, _: &Tensor, rows: &Tensor) -> recsys_model::Result<Tensor> {
        let sums = rows.sum((1, 2))?.broadcast_add(self.0.as_tensor())?;
        Ok(Tensor::cat(&[&sums, &sums], 0)?)
    }

    fn named_parameters(&self) -> Vec<(String, Var)> {
        vec![("bias".into(), self.0.clone())]
    }
}

#[test]
fn a_model_that_answers_another_number_of_logits_is_refused() {
    let store = CpuStore::new(tables(), StoreOptions::default()).unwrap();
    let model = Twice(Var::zeros(1, DType::F32, &Device::Cpu).unwrap());
    let mut trainer = Trainer::new(model, store, Device::Cpu);
    let none = Evaluations::default();
    let error = fit(&mut trainer, data(), &none, &options(), &mut ()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("logits of a batch: the model has 16, the data set has 8"),
        "{text}"
    );
}

/// The rates that a run was told of, step by step.
#[derive(Default)]
struct Rates(Vec<(f64, Option<f64>)>);

impl Observer for Rates {
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        if let Event::Step {
            learning_rate,
            dense_learning_rate,
            ..
        } = event
        {
            self.0.push((*learning_rate, *dense_learning_rate));
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn an_own_policy_gives_the_rates_and_is_checked() {
    let run = |wrong| {
        let options = TrainOptions {
            policy: Arc::new(Halved { from: 9, wrong }),
            max_steps: Some(12),
            ..options()
        };
        let (mut trainer, mut rates) = (trainer(Placement::Cpu, 1), Rates::default());
        fit(&mut trainer, data(), &evaluations(), &options, &mut rates).map(|_| rates.0)
    };
    let rates = run(None).unwrap();
    assert!(rates[..8].iter().all(|rate| *rate == (0.05, None)));
    assert!(rates[8..].iter().all(|rate| *rate == (0.025, None)));
    for wrong in [-0.1, f64::NAN, f64::INFINITY] {
        let error = run(Some(wrong)).unwrap_err();
        assert!(
            matches!(error, Error::LearningRate { step: 9, .. }),
            "{error}"
        );
    }
    let error = run(Some(7.0)).unwrap_err();
    assert_eq!(error.to_string(), "the table of rates is gone");
}

/// Found by a user of the library: one rate and one kind of optimizer was for all.
#[test]
fn dense_parameters_may_have_an_optimizer_and_a_rate_of_their_own() {
    let run = |optimizer: Option<Optimizer>, dense: Option<f64>| {
        let mut trainer = trainer(Placement::Cpu, 1);
        if let Some(optimizer) = optimizer {
            trainer = trainer.with_dense_optimizer(optimizer).unwrap();
        }
        let options = TrainOptions {
            dense_learning_rate: dense,
            ..options()
        };
        let mut rates = Rates::default();
        fit(&mut trainer, data(), &evaluations(), &options, &mut rates).unwrap();
        let has_state = trainer.optimizer().has_state();
        (everything(&trainer), has_state, rates.0[0].1)
    };
    let usual = run(None, None);
    assert!(usual == run(Some(Optimizer::adagrad()), Some(0.05)));
    let sgd = run(Some(Optimizer::Sgd), None);
    assert!(sgd.0 != usual.0 && !sgd.1);
    let slower = run(None, Some(0.001));
    assert!(slower.0 != usual.0);
    assert_eq!(slower.2, Some(0.001));
    let error = trainer(Placement::Cpu, 1).with_dense_optimizer(Optimizer::Adagrad {
        epsilon: f64::NAN,
        initial_accumulator: 0.0,
    });
    assert!(error.is_err());
}

/// A least rate of the policy, state that grows at a rate of 0, and zeros with a sign are what
/// could move something.
#[test]
fn dense_parameters_at_a_rate_of_0_stay_bit_for_bit() {
    let dense = |trainer: &AnyTrainer| {
        let mut all = Vec::new();
        for (index, (_, parameter)) in trainer.model().named_parameters().iter().enumerate() {
            all.extend(bits(&parameter.flatten_all().unwrap().to_vec1().unwrap()));
            all.push(u32::from(
                trainer.optimizer().state(index).unwrap().is_some(),
            ));
        }
        all
    };
    let decaying = LearningRatePolicy {
        warmup_steps: 2,
        decay_start_step: 4,
        decay_steps: 3,
    };
    for (placement, replicas) in [
        (Placement::Cpu, 1),
        (Placement::CpuDevice, 1),
        (Placement::Fae, 1),
        (Placement::Mixed, 1),
        (Placement::CpuDevice, 3),
    ] {
        for own in [None, Some(Optimizer::Sgd)] {
            let mut trainer = trainer(placement, replicas);
            if let Some(own) = own {
                trainer = trainer.with_dense_optimizer(own).unwrap();
            }
            for (_, parameter) in trainer.model().named_parameters() {
                let mut values: Vec<f32> = parameter.flatten_all().unwrap().to_vec1().unwrap();
                values.iter_mut().step_by(5).for_each(|value| *value = -0.0);
                let changed = Tensor::from_vec(values, parameter.shape(), &Device::Cpu).unwrap();
                parameter.set(&changed).unwrap();
            }
            let options = TrainOptions {
                dense_learning_rate: Some(0.0),
                policy: Arc::new(decaying),
                ..options()
            };
            let (before, rows) = (dense(&trainer), trainer.store().export(0, 0..40).unwrap());
            let mut rates = Rates::default();
            fit(&mut trainer, data(), &evaluations(), &options, &mut rates).unwrap();
            assert!(dense(&trainer) == before, "{placement} {replicas} {own:?}");
            assert!(trainer.store().export(0, 0..40).unwrap() != rows);
            assert!(rates.0.iter().all(|&(_, dense)| dense == Some(0.0)));
        }
    }
}

#[test]
fn rows_and_dense_parameters_take_a_step_at_their_own_rates() {
    let batch = || {
        let (mut batch, mut plan) = (Batch::default(), Plan::default());
        data().read(&[1, 2, 3, 4], &mut batch).unwrap();
        let trainer = trainer(Placement::Cpu, 1);
        trainer.plan(&batch, &mut plan).unwrap();
        (trainer, batch, plan)
    };
    let dense = |trainer: &AnyTrainer| {
        let parameter = trainer.model().named_parameters()[0].1.clone();
        bits(&parameter.flatten_all().unwrap().to_vec1::<f32>().unwrap())
    };
    let rows = |trainer: &AnyTrainer| {
        let rows = trainer.store().parts()[0].rows;
        bits(&trainer.store().export(0, 0..rows).unwrap().weights)
    };
    let (fresh, ..) = batch();
    for (rates, moves) in [
        (
            LearningRates {
                rows: 0.1,
                dense: 0.0,
            },
            (true, false),
        ),
        (
            LearningRates {
                rows: 0.0,
                dense: 0.1,
            },
            (false, true),
        ),
    ] {
        let (mut trainer, batch, plan) = batch();
        trainer
            .step(&batch, &plan, &BinaryLoss::bce(), rates)
            .unwrap();
        let moved = (
            rows(&trainer) != rows(&fresh),
            dense(&trainer) != dense(&fresh),
        );
        assert_eq!(moved, moves);
    }
}

#[test]
fn a_step_at_a_rate_that_is_not_finite_moves_nothing() {
    let (mut batch, mut plan) = (Batch::default(), Plan::default());
    data().read(&[1, 2, 3, 4], &mut batch).unwrap();
    let mut trainer = trainer(Placement::Cpu, 1);
    trainer.plan(&batch, &mut plan).unwrap();
    let before = everything(&trainer);
    for wrong in [f64::NAN, f64::INFINITY, 1e300] {
        for (rows, dense) in [(wrong, 0.1), (0.1, wrong)] {
            let rates = LearningRates { rows, dense };
            let step = trainer.step(&batch, &plan, &BinaryLoss::bce(), rates);
            assert!(
                step.unwrap_err()
                    .to_string()
                    .contains("give a finite number")
            );
        }
    }
    assert!(everything(&trainer) == before);
}

/// Asks for the loss of samples that the batch does not have.
struct Elsewhere(Twice, std::ops::Range<usize>);

impl Model for Elsewhere {
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> recsys_model::Result<Tensor> {
        self.0.forward(dense, rows)
    }

    fn named_parameters(&self) -> Vec<(String, Var)> {
        self.0.named_parameters()
    }

    fn forward_backward(
        &mut self,
        _: &Tensor,
        rows: &Tensor,
        _: &Tensor,
        loss: &mut LossGradient<'_>,
        _: &mut ApplyGradient<'_>,
    ) -> recsys_model::Result<()> {
        loss(self.1.clone(), &rows.sum((1, 2))?)?;
        Ok(())
    }
}

#[test]
fn a_model_that_asks_for_the_loss_of_samples_that_are_not_there_is_refused() {
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "what a faulty model may answer"
    )]
    for samples in [0..9, 8..16, 5..3, usize::MAX - 7..usize::MAX] {
        let store = CpuStore::new(tables(), StoreOptions::default()).unwrap();
        let bias = Var::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let model = Elsewhere(Twice(bias), samples);
        let mut trainer = Trainer::new(model, store, Device::Cpu);
        let none = Evaluations::default();
        assert!(fit(&mut trainer, data(), &none, &options(), &mut ()).is_err());
    }
}

#[test]
fn a_resume_with_another_loss_policy_or_dense_optimizer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let base = TrainOptions {
        loss: Arc::new(focal()),
        max_steps: Some(3),
        ..options()
    };
    let run = |options: &TrainOptions, resume, own: Option<Optimizer>| {
        let mut trainer = trainer(Placement::Cpu, 1);
        if let Some(own) = own {
            trainer = trainer.with_dense_optimizer(own).unwrap();
        }
        let checkpoints = checkpoints(folder.path(), resume);
        let (sets, some) = (evaluations(), Some(&checkpoints));
        fit_with_checkpoints(&mut trainer, data(), &sets, options, some, &mut ())
    };
    run(&base, false, None).unwrap();
    let refused = |options: TrainOptions, own| run(&options, true, own).unwrap_err().to_string();
    let text = refused(
        TrainOptions {
            loss: Arc::new(Focal {
                scale: 2.0,
                ..focal()
            }),
            ..base.clone()
        },
        None,
    );
    assert!(text.contains("loss.scale was 1.0 and is 2.0"), "{text}");
    let text = refused(
        TrainOptions {
            policy: Arc::new(LearningRatePolicy {
                warmup_steps: 5,
                ..Default::default()
            }),
            ..base.clone()
        },
        None,
    );
    assert!(
        text.contains("policy.warmup_steps was 0 and is 5"),
        "{text}"
    );
    let text = refused(
        TrainOptions {
            dense_learning_rate: Some(0.5),
            ..base.clone()
        },
        None,
    );
    assert!(
        text.contains("dense_learning_rate was null and is 0.5"),
        "{text}"
    );
    let text = refused(base.clone(), Some(Optimizer::Sgd));
    assert!(
        text.contains("dense_optimizer was null and is \"sgd\""),
        "{text}"
    );
    run(&base, true, Some(Optimizer::adagrad())).unwrap();
}
