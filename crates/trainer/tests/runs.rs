//! Whole runs on small data: what they promise, and how they end when something is wrong.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::Device;
use dlrm::{Dlrm, DlrmConfig, FusedDlrm, Interaction, SliceSize};
use embedding_store::{CpuStore, EmbeddingStore, Encoding, Optimizer, StoreOptions, TableSpec};
use recsys_data::{Batch, Dataset, Error as DataError, Order, Schema, TableSchema};
use trainer::{
    BinaryLoss, Error, Evaluations, Event, JsonLines, LossKind, Model, Observer, Phases, Result,
    RunReport, SelectedBy, StopAt, TrainOptions, Trainer, fit, load_weights, save_weights,
};

const ROWS: [u64; 3] = [50, 7, 200];

/// Samples made from their number: a click where the first table's id is small, more or less.
struct Made {
    schema: Schema,
    samples: u64,
    labels: fn(u64) -> f32,
}

fn noisy(sample: u64) -> f32 {
    let id = sample.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    f32::from(u8::from((id % 50 < 15) != id.is_multiple_of(11)))
}

fn made(samples: u64, labels: fn(u64) -> f32) -> Arc<dyn Dataset> {
    let tables = ROWS.iter().enumerate().map(|(table, &rows)| TableSchema {
        name: format!("C{table}"),
        rows,
    });
    let schema = Schema {
        dense: vec!["I0".into(), "I1".into()],
        tables: tables.collect(),
        ..Schema::default()
    };
    Arc::new(Made {
        schema,
        samples,
        labels,
    })
}

impl Dataset for Made {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> u64 {
        self.samples
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> std::result::Result<(), DataError> {
        into.clear();
        for &sample in samples {
            let id = sample.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            into.label.push((self.labels)(sample));
            into.dense
                .extend([(id % 5) as f32 / 5.0, (sample % 3) as f32]);
            into.sparse
                .ids
                .extend(ROWS.iter().map(|rows| (id % rows) as u32));
        }
        Ok(())
    }
}

fn trainer_for(optimizer: Optimizer) -> Trainer<FusedDlrm, CpuStore> {
    let config = DlrmConfig {
        tables: 3,
        dim: 4,
        bottom: vec![2, 8, 4],
        top: vec![8, 1],
        interaction: Interaction::Dot { with_self: false },
        slice: SliceSize::Fixed(16),
        ..DlrmConfig::default()
    };
    let tables = ROWS
        .iter()
        .map(|&rows| TableSpec {
            rows,
            encoding: Encoding::Full,
        })
        .collect();
    let store = CpuStore::new(
        tables,
        StoreOptions {
            dim: 4,
            optimizer: optimizer.into(),
            ..StoreOptions::default()
        },
    )
    .unwrap();
    Trainer::new(
        FusedDlrm::new(Dlrm::new(config, 1, &Device::Cpu).unwrap()),
        store,
        Device::Cpu,
    )
}

fn evaluations() -> Evaluations {
    Evaluations {
        validation: Some(made(300, noisy)),
        test: Some(made(200, noisy)),
    }
}

/// Every weight of model and store, as bits.
fn weights<M: Model>(trainer: &Trainer<M, CpuStore>) -> Vec<u32> {
    let mut bits = Vec::new();
    for (_, tensor) in trainer.model().named_weights().unwrap() {
        bits.extend(
            tensor
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
                .iter()
                .map(|weight| weight.to_bits()),
        );
    }
    for (index, part) in trainer.store().parts().iter().enumerate() {
        let rows = trainer.store().export(index, 0..part.rows).unwrap();
        bits.extend(rows.weights.iter().map(|weight| weight.to_bits()));
    }
    bits
}

fn without_time(mut report: RunReport) -> RunReport {
    (report.train.seconds, report.train.samples_per_second) = (0.0, 0.0);
    report.phases = Phases::default();
    report
}

#[test]
fn a_run_learns_and_reports_every_epoch() {
    let options = TrainOptions {
        epochs: 3,
        batch_size: 32,
        test_every: Some(20),
        ..TrainOptions::default()
    };
    let mut trainer = trainer_for(Optimizer::adagrad());
    let report = fit(
        &mut trainer,
        made(1000, noisy),
        &evaluations(),
        &options,
        &mut (),
    )
    .unwrap();
    assert_eq!(report.epochs.len(), 3);
    // 31 full batches and one of 8 in every epoch.
    assert_eq!((report.train.steps, report.train.samples), (96, 3000));
    assert!(report.epochs[2].train_loss < report.epochs[0].train_loss);
    let (best, test) = (report.best.unwrap(), report.test.unwrap());
    assert!(test.auc.unwrap() > 0.8, "{test:?}");
    assert_eq!(
        (best.selected_by, test.samples),
        (SelectedBy::ValidationAuc, 200)
    );
    assert_eq!(report.validation_and_test.unwrap().samples, 500);
    assert!(best.validation.unwrap().auc >= report.validation.unwrap().auc);
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    for optimizer in [Optimizer::Sgd, Optimizer::adagrad()] {
        let run = |threads| {
            let options = TrainOptions {
                batch_size: 50,
                order: Order::Shuffled,
                epochs: 2,
                seed: 3,
                ..TrainOptions::default()
            };
            let options = TrainOptions {
                loader_threads: threads,
                ..options
            };
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
                .install(|| {
                    let mut trainer = trainer_for(optimizer);
                    let report = fit(
                        &mut trainer,
                        made(777, noisy),
                        &evaluations(),
                        &options,
                        &mut (),
                    )
                    .unwrap();
                    (without_time(report), weights(&trainer))
                })
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
    }
}

/// The loop that `Model::forward_backward` has by default, over the same network.
struct Plain(FusedDlrm);

impl Model for Plain {
    fn forward(
        &self,
        dense: &candle_core::Tensor,
        rows: &candle_core::Tensor,
    ) -> recsys_model::Result<candle_core::Tensor> {
        self.0.forward(dense, rows)
    }

    fn named_parameters(&self) -> Vec<(String, candle_core::Var)> {
        self.0.named_parameters()
    }

    fn named_weights(&self) -> recsys_model::Result<Vec<(String, candle_core::Tensor)>> {
        self.0.named_weights()
    }

    fn load_weights(
        &self,
        weights: &std::collections::HashMap<String, candle_core::Tensor>,
    ) -> recsys_model::Result<()> {
        self.0.load_weights(weights)
    }
}

#[test]
fn the_fused_step_equals_candles_autograd() {
    let options = TrainOptions {
        batch_size: 40,
        ..TrainOptions::default()
    };
    let mut fused = trainer_for(Optimizer::Sgd);
    fit(
        &mut fused,
        made(400, noisy),
        &Evaluations::default(),
        &options,
        &mut (),
    )
    .unwrap();
    let (model, store) = trainer_for(Optimizer::Sgd).into_parts();
    let mut plain = Trainer::new(Plain(model), store, Device::Cpu);
    fit(
        &mut plain,
        made(400, noisy),
        &Evaluations::default(),
        &options,
        &mut (),
    )
    .unwrap();
    for (a, b) in weights(&fused).into_iter().zip(weights(&plain)) {
        let (a, b) = (f32::from_bits(a), f32::from_bits(b));
        assert!((a - b).abs() <= 1e-5 + 1e-4 * b.abs(), "{a} {b}");
    }
}

#[test]
fn a_target_ends_the_run() {
    let stop_at = StopAt {
        auc: Some(0.6),
        accuracy: None,
    };
    let options = TrainOptions {
        epochs: 50,
        batch_size: 32,
        stop_at,
        test_every: Some(10),
        ..TrainOptions::default()
    };
    let mut trainer = trainer_for(Optimizer::adagrad());
    let report = fit(
        &mut trainer,
        made(1000, noisy),
        &evaluations(),
        &options,
        &mut (),
    )
    .unwrap();
    assert!(report.stopped_early && report.train.steps < 1600);
    assert!(report.validation.unwrap().auc.unwrap() >= 0.6);
}

#[test]
fn a_test_set_of_one_class_has_no_auc_and_is_judged_by_log_loss() {
    let sets = Evaluations {
        validation: None,
        test: Some(made(100, |_| 1.0)),
    };
    let options = TrainOptions::default();
    let report = fit(
        &mut trainer_for(Optimizer::Sgd),
        made(256, noisy),
        &sets,
        &options,
        &mut (),
    )
    .unwrap();
    assert_eq!(report.test.unwrap().auc, None);
    assert_eq!(report.best.unwrap().selected_by, SelectedBy::TestLogLoss);
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_with_the_step() {
    let options = TrainOptions {
        learning_rate: 1e30,
        batch_size: 16,
        ..TrainOptions::default()
    };
    let error = fit(
        &mut trainer_for(Optimizer::Sgd),
        made(400, noisy),
        &evaluations(),
        &options,
        &mut (),
    )
    .unwrap_err();
    assert!(
        matches!(error, Error::Diverged { step: 2.., .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("lower the learning rate"),
        "{error}"
    );
}

#[test]
fn options_and_data_that_do_not_fit_are_refused_with_both_values() {
    let message = |options: TrainOptions, data: Arc<dyn Dataset>| {
        fit(
            &mut trainer_for(Optimizer::Sgd),
            data,
            &Evaluations::default(),
            &options,
            &mut (),
        )
        .unwrap_err()
        .to_string()
    };
    let options = TrainOptions {
        batch_size: 0,
        ..TrainOptions::default()
    };
    assert!(message(options, made(10, noisy)).starts_with("batch size is 0"));
    assert!(message(TrainOptions::default(), made(0, noisy)).contains("no sample"));
    let other = |dense: usize, tables: &[u64]| {
        let tables = tables
            .iter()
            .map(|&rows| TableSchema {
                name: "C".into(),
                rows,
            })
            .collect();
        let schema = Schema {
            dense: vec!["I".into(); dense],
            tables,
            ..Schema::default()
        };
        Arc::new(Made {
            schema,
            samples: 10,
            labels: noisy,
        }) as Arc<dyn Dataset>
    };
    let text = message(TrainOptions::default(), other(5, &ROWS));
    assert!(
        text.contains("dense features: the model has 2, the data set has 5"),
        "{text}"
    );
    let text = message(TrainOptions::default(), other(2, &[50, 7]));
    assert!(
        text.contains("the model has 3, the data set has 2"),
        "{text}"
    );
    let text = message(TrainOptions::default(), other(2, &[50, 8, 200]));
    assert!(
        text.contains("rows of table C: the model has 7, the data set has 8"),
        "{text}"
    );
}

#[test]
fn every_loss_trains() {
    for kind in [
        LossKind::Bce,
        LossKind::Mse,
        LossKind::WeightedBce {
            negative: 0.5,
            positive: 2.0,
        },
    ] {
        let options = TrainOptions {
            loss: Arc::new(BinaryLoss {
                kind,
                threshold: 1e-3,
                ..BinaryLoss::default()
            }),
            epochs: 4,
            ..TrainOptions::default()
        };
        let mut trainer = trainer_for(Optimizer::adagrad());
        let report = fit(
            &mut trainer,
            made(1000, noisy),
            &evaluations(),
            &options,
            &mut (),
        )
        .unwrap();
        assert!(
            report.epochs[3].train_loss < report.epochs[0].train_loss,
            "{kind:?}"
        );
    }
}

#[test]
fn weights_come_back_bit_for_bit_under_the_reference_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut trainer = trainer_for(Optimizer::Sgd);
    fit(
        &mut trainer,
        made(300, noisy),
        &Evaluations::default(),
        &TrainOptions::default(),
        &mut (),
    )
    .unwrap();
    save_weights(&path, &trainer).unwrap();
    let mut fresh = trainer_for(Optimizer::Sgd);
    load_weights(&path, &mut fresh).unwrap();
    assert_eq!(weights(&trainer), weights(&fresh));
    let names = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    for name in [
        "bot_l.0.weight",
        "bot_l.2.bias",
        "top_l.0.weight",
        "emb_l.2.weight",
    ] {
        assert!(names.contains_key(name), "{name}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no temporary file stays"
    );
}

#[test]
fn damaged_weights_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut trainer = trainer_for(Optimizer::Sgd);
    let message = |trainer: &mut _| load_weights(&path, trainer).unwrap_err().to_string();
    assert!(message(&mut trainer).contains("cannot read"));
    std::fs::write(&path, b"nothing of the kind").unwrap();
    assert!(message(&mut trainer).contains("is not a weights file"));
    let tensor = candle_core::Tensor::zeros((3, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    let named = std::collections::HashMap::from([("bot_l.0.weight".to_string(), tensor)]);
    candle_core::safetensors::save(&named, &path).unwrap();
    let text = message(&mut trainer);
    assert!(
        text.contains("weight `bot_l.0.weight` is F32 [3, 3], the model needs [8, 2]"),
        "{text}"
    );
    candle_core::safetensors::save(
        &std::collections::HashMap::<String, candle_core::Tensor>::new(),
        &path,
    )
    .unwrap();
    assert!(message(&mut trainer).contains("is missing"));
}

#[test]
fn json_lines_hold_evaluations_and_every_so_many_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    let mut log = JsonLines::create(&path, 10).unwrap();
    let options = TrainOptions {
        batch_size: 10,
        ..TrainOptions::default()
    };
    fit(
        &mut trainer_for(Optimizer::Sgd),
        made(250, noisy),
        &evaluations(),
        &options,
        &mut log,
    )
    .unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let count = |name: &str| {
        text.lines()
            .filter(|line| line.contains(&format!("\"event\":\"{name}\"")))
            .count()
    };
    assert_eq!(
        ["started", "step", "evaluated", "epoch_ended", "finished"].map(count),
        [1, 2, 1, 1, 1]
    );
}

#[test]
fn an_error_of_an_observer_ends_the_run_as_it_is() {
    struct Stop;
    impl Observer for Stop {
        fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
            match event {
                Event::Step { step: 3, .. } => Err(Error::external("the disk is full")),
                _ => Ok(ControlFlow::Continue(())),
            }
        }
    }
    let mut trainer = trainer_for(Optimizer::Sgd);
    let ended = fit(
        &mut trainer,
        made(2000, noisy),
        &evaluations(),
        &TrainOptions::default(),
        &mut Stop,
    );
    assert_eq!(ended.unwrap_err().to_string(), "the disk is full");
}
