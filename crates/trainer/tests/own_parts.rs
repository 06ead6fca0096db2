//! What users write themselves (losses, learning rates, schedules, observers) decides a run where it
//! keeps to its contract, and ends it with a reason where it does not.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod skewed;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor, Var};
use dlrm::SliceSize;
use embedding_store::{CpuStore, EmbeddingStore, Optimizer, Plan, Side, StoreOptions, Tiered};
use recsys_data::{Batch, Dataset, Order};
use serde_json::{Value, json};
use skewed::{AnyTrainer, Skewed, bits, is_low, part, tables, weights, with_options};
use trainer::{
    ApplyGradient, BinaryLoss, CheckpointEvery, Checkpoints, Error, Evaluations, Event, Inputs,
    LearningRate, LearningRatePolicy, LearningRates, Loss, LossGradient, Model, Observer,
    Placement, Result, RunReport, Schedule, SideBatches, Stretch, TrainOptions, Trainer, fit,
    fit_with_checkpoints,
};

const SAMPLES: u64 = 120;

fn trainer(placement: Placement, replicas: usize) -> AnyTrainer {
    let options = StoreOptions {
        optimizer: Optimizer::adagrad().into(),
        ..StoreOptions::default()
    };
    with_options(SliceSize::Fixed(8), placement, options, [6; 4], replicas)
}

fn options() -> TrainOptions {
    TrainOptions {
        batch_size: 8,
        order: Order::Shuffled,
        learning_rate: 0.05,
        ..TrainOptions::default()
    }
}

fn data() -> Arc<dyn Dataset> {
    Arc::new(Skewed::new(SAMPLES, 2))
}

fn evaluations() -> Evaluations {
    Evaluations {
        validation: Some(part(&Arc::new(Skewed::new(SAMPLES, 2)), |sample| {
            sample < 40
        })),
        test: None,
    }
}

fn train(trainer: &mut AnyTrainer, options: &TrainOptions) -> Result<RunReport> {
    fit(trainer, data(), &evaluations(), options, &mut ())
}

/// Every weight and every optimizer state.
fn everything(trainer: &AnyTrainer) -> Vec<u32> {
    let mut all = bits(&weights(trainer));
    for index in 0..trainer.model().named_parameters().len() {
        let state = trainer.optimizer().state(index).unwrap();
        all.extend(bits(&state.unwrap_or_default()));
    }
    all
}

/// The focal loss of a logit (Lin et al., 2017) with γ = 2, or what goes wrong with one.
#[derive(Debug, Clone, Copy, Default)]
struct Focal {
    scale: f64,
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
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

fn focal() -> Focal {
    Focal {
        scale: 1.0,
        fault: None,
    }
}

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

/// A rate that halves at a step, or a wrong one from there on.
#[derive(Debug)]
struct Halved {
    from: u64,
    wrong: Option<f64>,
}

impl LearningRate for Halved {
    fn rate(&self, base: f64, step: u64) -> Result<f64> {
        if step < self.from {
            return Ok(base);
        }
        match self.wrong {
            Some(wrong) if wrong == 7.0 => Err(Error::external("the table of rates is gone")),
            Some(wrong) => Ok(wrong),
            None => Ok(base / 2.0),
        }
    }

    fn describe(&self) -> Value {
        json!({"name": "halved", "from": self.from})
    }
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

/// Answers stretches from a list, again in every epoch; an error where there is `None`.
struct Listed(Vec<Option<Stretch>>, usize);

impl Schedule for Listed {
    fn begin(&mut self, _: SideBatches) -> Result<()> {
        self.1 = 0;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Stretch>> {
        let next = self.0.get(self.1).copied();
        self.1 += 1;
        match next {
            Some(None) => Err(Error::external("the plan of the day is missing")),
            Some(stretch) => Ok(stretch),
            None => Ok(None),
        }
    }
}

fn run_listed(stretches: &[Option<(Side, u64)>]) -> Result<RunReport> {
    let data = Arc::new(Skewed::new(SAMPLES, 2));
    let stretch = |(side, batches)| Stretch { side, batches };
    let mut schedule = Listed(stretches.iter().map(|of| of.map(stretch)).collect(), 0);
    let inputs = Inputs::Split {
        hot: part(&data, is_low),
        cold: part(&data, |sample| !is_low(sample)),
        schedule: &mut schedule,
    };
    let mut trainer = trainer(Placement::Fae, 1);
    fit(&mut trainer, inputs, &evaluations(), &options(), &mut ())
}

/// Batches of both sides of an epoch.
fn side_batches() -> (u64, u64) {
    let hot = (0..SAMPLES).filter(|&sample| is_low(sample)).count() as u64;
    (hot.div_ceil(8), (SAMPLES - hot).div_ceil(8))
}

#[test]
fn a_schedule_without_a_rate_runs_every_batch_once() {
    let (hot, cold) = side_batches();
    let report = run_listed(&[
        Some((Side::Cold, 1)),
        Some((Side::Cold, 2)),
        Some((Side::Hot, hot)),
        Some((Side::Cold, cold - 3)),
    ])
    .unwrap();
    assert_eq!(
        (report.train.samples, report.train.steps),
        (SAMPLES, hot + cold)
    );
    assert_eq!(report.swaps.len(), 2);
    assert!(report.swaps.iter().all(|swap| swap.rate.is_none()));
}

fn refusal(stretches: &[Option<(Side, u64)>]) -> String {
    match run_listed(stretches).unwrap_err() {
        Error::Schedule { problem } => problem,
        other => other.to_string(),
    }
}

/// Found by a user of the library: the run hung.
#[test]
fn a_schedule_that_gives_a_stretch_of_no_batches_is_refused() {
    let problem = refusal(&[Some((Side::Cold, 1)), Some((Side::Hot, 0))]);
    assert_eq!(problem, "answered a stretch of 0 hot batches");
}

/// Found by a user of the library: the run hung.
#[test]
fn a_schedule_that_gives_more_batches_than_there_are_is_refused() {
    let (hot, cold) = side_batches();
    for more in [1, u64::MAX - cold] {
        let asked = cold - 2 + more;
        let problem = refusal(&[Some((Side::Cold, 2)), Some((Side::Cold, asked))]);
        let left = cold - 2;
        assert_eq!(
            problem,
            format!("answered a stretch of {asked} cold batches where {left} are left")
        );
    }
    let problem = refusal(&[Some((Side::Hot, hot)), Some((Side::Hot, 1))]);
    assert_eq!(
        problem,
        "answered a stretch of 1 hot batches where 0 are left"
    );
}

/// Found by a user of the library: the run was fine after 0 of 600 samples.
#[test]
fn a_schedule_that_ends_before_the_epoch_is_refused() {
    let (hot, cold) = side_batches();
    let problem = refusal(&[]);
    assert_eq!(
        problem,
        format!("ended the epoch with {hot} hot and {cold} cold batches left")
    );
    let problem = refusal(&[Some((Side::Cold, cold))]);
    assert_eq!(
        problem,
        format!("ended the epoch with {hot} hot and 0 cold batches left")
    );
}

#[test]
fn an_error_of_a_schedule_ends_the_run_as_it_is() {
    assert_eq!(refusal(&[None]), "the plan of the day is missing");
}

/// Ends a run at an event, and keeps all that it heard.
struct Ends {
    at: fn(&Event<'_>) -> bool,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Observer for Ends {
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        let name = format!("{event:?}");
        let name = name.split_whitespace().next().unwrap().to_string();
        self.heard.lock().unwrap().push(name);
        Ok(match (self.at)(event) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    }
}

fn ends(at: fn(&Event<'_>) -> bool) -> (Ends, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ends = Ends {
        at,
        heard: heard.clone(),
    };
    (ends, heard)
}

#[test]
fn an_observer_ends_a_run_in_good_order() {
    let (mut observer, heard) = ends(|event| matches!(event, Event::Step { step: 5, .. }));
    let mut stopped = trainer(Placement::Mixed, 1);
    let options = TrainOptions {
        epochs: 3,
        ..options()
    };
    let sets = evaluations();
    let report = fit(&mut stopped, data(), &sets, &options, &mut observer).unwrap();
    assert!(report.stopped_by_observer && !report.stopped_early);
    assert_eq!((report.train.steps, report.epochs.len()), (5, 1));
    assert_eq!(report.validation.unwrap().samples, 40);
    let heard = heard.lock().unwrap();
    let last = &heard[heard.len() - 4..];
    assert_eq!(last, ["Step", "Evaluated", "EpochEnded", "Finished"]);
    // As a run of that many steps.
    let limited = TrainOptions {
        max_steps: Some(5),
        ..options
    };
    let mut expected = trainer(Placement::Mixed, 1);
    let report = fit(&mut expected, data(), &sets, &limited, &mut ()).unwrap();
    assert!(!report.stopped_by_observer);
    assert!(everything(&stopped) == everything(&expected));
}

#[test]
fn an_observer_may_end_a_run_at_any_event() {
    let whole = SAMPLES.div_ceil(8);
    let cases: [(fn(&Event<'_>) -> bool, u64, usize); 4] = [
        (|event| matches!(event, Event::Started { .. }), 0, 0),
        (|event| matches!(event, Event::Evaluated { .. }), 4, 1),
        (|event| matches!(event, Event::EpochEnded { .. }), whole, 1),
        (
            |event| matches!(event, Event::Finished { .. }),
            3 * whole,
            3,
        ),
    ];
    for (at, steps, epochs) in cases {
        let options = TrainOptions {
            epochs: 3,
            test_every: Some(4).filter(|_| steps == 4),
            ..options()
        };
        let (mut observer, heard) = ends(at);
        let mut trainer = trainer(Placement::Cpu, 1);
        let report = fit(
            &mut trainer,
            data(),
            &evaluations(),
            &options,
            &mut observer,
        )
        .unwrap();
        assert_eq!((report.train.steps, report.epochs.len()), (steps, epochs));
        assert_eq!(report.stopped_by_observer, steps < 3 * whole);
        assert_eq!(heard.lock().unwrap().last().unwrap(), "Finished");
    }
}

fn checkpoints(folder: &Path, resume: bool) -> Checkpoints {
    Checkpoints {
        every: CheckpointEvery::Steps(u64::MAX),
        resume,
        settings: json!("own parts"),
        ..Checkpoints::new(folder)
    }
}

#[test]
fn a_run_that_an_observer_ended_goes_on_bit_for_bit() {
    let options = TrainOptions {
        epochs: 2,
        test_every: Some(6),
        dense_learning_rate: Some(0.01),
        policy: Arc::new(Halved {
            from: 9,
            wrong: None,
        }),
        loss: Arc::new(focal()),
        ..options()
    };
    let fresh = || {
        let trainer = trainer(Placement::Mixed, 1);
        trainer.with_dense_optimizer(Optimizer::Sgd).unwrap()
    };
    let mut whole = fresh();
    let expected = fit(&mut whole, data(), &evaluations(), &options, &mut ()).unwrap();
    let at: [fn(&Event<'_>) -> bool; 4] = [
        |event| matches!(event, Event::Step { step: 1, .. }),
        |event| matches!(event, Event::Evaluated { .. }),
        |event| matches!(event, Event::Step { step: 15, .. }),
        |event| matches!(event, Event::Step { step: 20, .. }),
    ];
    for at in at {
        let folder = tempfile::tempdir().unwrap();
        let run = |resume, observer: &mut dyn Observer| {
            let mut trainer = fresh();
            let checkpoints = checkpoints(folder.path(), resume);
            let sets = evaluations();
            let some = Some(&checkpoints);
            let report =
                fit_with_checkpoints(&mut trainer, data(), &sets, &options, some, observer);
            (trainer, report.unwrap())
        };
        let (mut observer, _) = ends(at);
        let (_, report) = run(false, &mut observer);
        assert!(report.stopped_by_observer && report.interrupted_at.is_none());
        let (trainer, report) = run(true, &mut ());
        assert!(everything(&trainer) == everything(&whole));
        assert_eq!(
            (report.best, &report.epochs),
            (expected.best, &expected.epochs)
        );
        assert!(!report.stopped_by_observer);
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

/// Found by a user of the library: every call had the shuffle of the first epoch.
#[test]
fn a_call_for_each_epoch_gives_the_bits_of_one_call() {
    let base = TrainOptions {
        policy: Arc::new(LearningRatePolicy {
            warmup_steps: 20,
            ..Default::default()
        }),
        test_every: Some(7),
        ..options()
    };
    let mut whole = trainer(Placement::Cpu, 1);
    let epochs = TrainOptions {
        epochs: 3,
        ..base.clone()
    };
    let expected = train(&mut whole, &epochs).unwrap();
    let run = |counted: bool| {
        let mut trainer = trainer(Placement::Cpu, 1);
        let (mut steps, mut reports) = (0, Vec::new());
        for epoch in 0..3 {
            let options = TrainOptions {
                earlier_epochs: if counted { epoch } else { 0 },
                earlier_steps: if counted { steps } else { 0 },
                ..base.clone()
            };
            let report = train(&mut trainer, &options).unwrap();
            steps += report.train.steps;
            reports.extend(report.epochs);
        }
        (everything(&trainer), reports)
    };
    assert!(run(true) == (everything(&whole), expected.epochs));
    assert!(run(false).0 != everything(&whole));
}

/// Found by a user of the library: `Mixed` fetched nothing ahead unless told.
#[test]
fn epochs_and_steps_before_a_run_that_cannot_be_counted_on_are_refused() {
    for many in [u64::MAX, u64::MAX - 1] {
        let refused = [
            TrainOptions {
                earlier_epochs: many,
                ..options()
            },
            TrainOptions {
                earlier_steps: many,
                ..options()
            },
        ];
        for options in refused {
            let result = train(&mut trainer(Placement::Cpu, 1), &options);
            assert!(matches!(result, Err(Error::Option { .. })), "{result:?}");
        }
    }
}

#[test]
fn stores_are_shown_as_many_batches_ahead_as_they_make_use_of() {
    let ahead = |placement| {
        let trainer = trainer(placement, 1);
        trainer.store().tiers().map_or(0, Tiered::lookahead)
    };
    assert_eq!(ahead(Placement::Mixed), 1);
    assert_eq!(ahead(Placement::Cpu), 0);
    let run = |lookahead| {
        let mut trainer = trainer(Placement::Mixed, 1);
        let options = TrainOptions {
            lookahead,
            ..options()
        };
        train(&mut trainer, &options).unwrap();
        everything(&trainer)
    };
    let expected = run(None);
    for lookahead in [0, 1, 3, 1 << 10] {
        assert!(run(Some(lookahead)) == expected);
    }
}
