//! Dense optimizer state is saved by name: a resumed run is the uninterrupted one, whatever order
//! the model lists its parameters in.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod skewed;

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor, Var, safetensors};
use candle_nn::{Init, Module, VarBuilder, VarMap, linear};
use embedding_store::{CpuStore, Encoding, Optimizer, StoreOptions, TableSpec};
use recsys_data::{Dataset, Order};
use recsys_model::{Model, VarMapModel};
use skewed::{DIM, ROWS, Skewed};
use trainer::{
    CheckpointEvery, Checkpoints, Error, Evaluations, Event, Observer, Replicas, Result,
    TrainOptions, Trainer, fit, fit_with_checkpoints, load_weights, save_weights,
};

/// A model that lists its parameters in another order: rotated by some places.
struct Rotated(Box<dyn Model>, usize);

impl Model for Rotated {
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> recsys_model::Result<Tensor> {
        self.0.forward(dense, rows)
    }

    fn named_parameters(&self) -> Vec<(String, Var)> {
        let mut named = self.0.named_parameters();
        let places = self.1 % named.len().max(1);
        named.rotate_left(places);
        named
    }
}

/// Two layers of equal size, whose state could be exchanged unnoticed, and one behind them.
fn model(rotated: usize) -> Rotated {
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let width = 2 + ROWS.len() * DIM;
    // Of the same values in every model.
    let weight = |name: &str, shape: (usize, usize), scale: f64| {
        let init = Init::Const(0.0);
        let weight = builder
            .get_with_hints(shape, &format!("{name}.weight"), init)
            .unwrap();
        let count = (shape.0 * shape.1) as f32;
        let values = Tensor::arange(0f32, count, &Device::Cpu)
            .unwrap()
            .reshape(shape)
            .unwrap();
        let values = ((values.sin().unwrap() * scale).unwrap() + 0.01).unwrap();
        variables.data().lock().unwrap()[&format!("{name}.weight")]
            .set(&values)
            .unwrap();
        drop(weight);
        linear(shape.1, shape.0, builder.pp(name)).unwrap()
    };
    let (a, b) = (weight("a", (6, width), 0.2), weight("b", (6, width), -0.3));
    let last = weight("last", (1, 6), 0.4);
    for name in ["a.bias", "b.bias", "last.bias"] {
        let bias = &variables.data().lock().unwrap()[name];
        bias.set(&bias.zeros_like().unwrap()).unwrap();
    }
    let forward = move |dense: &Tensor, rows: &Tensor| {
        let x = Tensor::cat(&[dense, &rows.flatten_from(1)?], 1)?;
        let x = (a.forward(&x)?.relu()? + b.forward(&x)?.relu()?)?;
        Ok(last.forward(&x)?.squeeze(1)?)
    };
    Rotated(Box::new(VarMapModel::new(variables, forward)), rotated)
}

type Plain = Trainer<Replicas<Rotated>, CpuStore>;

fn trainer(rotations: &[usize]) -> Plain {
    let tables = ROWS.iter().map(|&rows| TableSpec {
        rows,
        encoding: Encoding::Full,
    });
    let options = StoreOptions {
        dim: DIM,
        optimizer: Optimizer::adagrad().into(),
        ..StoreOptions::default()
    };
    let store = CpuStore::new(tables.collect(), options).unwrap();
    let models = rotations.iter().map(|&by| (model(by), Device::Cpu));
    let replicas = Replicas::new(models.collect()).unwrap();
    Trainer::new(replicas, store, Device::Cpu)
}

struct StopAfter(u64, Arc<AtomicBool>);

impl Observer for StopAfter {
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        if let Event::Step { step, .. } = event
            && *step == self.0
        {
            self.1.store(true, Ordering::Relaxed);
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn run(trainer: &mut Plain, checkpoints: Option<&Checkpoints>, last: u64) {
    let stop = Arc::<AtomicBool>::default();
    let options = TrainOptions {
        stop: stop.clone(),
        batch_size: 7,
        order: Order::Shuffled,
        learning_rate: 0.05,
        ..TrainOptions::default()
    };
    let data = Arc::new(Skewed::new(60, 2)) as Arc<dyn Dataset>;
    let none = Evaluations::default();
    let observer = &mut StopAfter(last, stop);
    fit_with_checkpoints(trainer, data, &none, &options, checkpoints, observer).unwrap();
}

fn checkpoints(folder: &Path, resume: bool) -> Checkpoints {
    Checkpoints {
        every: CheckpointEvery::Steps(u64::MAX),
        resume,
        ..Checkpoints::new(folder)
    }
}

/// Weights and state of every parameter of every replica, as bits by name.
fn by_name(trainer: &Plain) -> BTreeMap<(String, usize), Vec<u32>> {
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits);
    let parameters = trainer.model().named_parameters();
    let replicas = trainer.model().models().len();
    let distinct = parameters.len() / replicas;
    let numbered = parameters.into_iter().enumerate();
    numbered
        .map(|(index, (name, parameter))| {
            let weights = parameter.flatten_all().unwrap().to_vec1().unwrap();
            let state = trainer.optimizer().state(index).unwrap().unwrap();
            let all = bits(weights).chain(bits(state)).collect();
            ((name, index / distinct), all)
        })
        .collect()
}

/// `VarMap::all_vars` has the order of a hash map: state by number went to other parameters, and
/// the run went on silently.
#[test]
fn parameters_listed_in_another_order_resume_bit_for_bit() {
    for replicas in [1, 2] {
        let mut whole = trainer(&vec![0; replicas]);
        run(&mut whole, None, u64::MAX);
        for rotation in 0..6 {
            let folder = tempfile::tempdir().unwrap();
            let first = checkpoints(folder.path(), false);
            run(&mut trainer(&vec![0; replicas]), Some(&first), 4);
            let mut rest = trainer(&vec![rotation; replicas]);
            run(&mut rest, Some(&checkpoints(folder.path(), true)), u64::MAX);
            assert!(by_name(&whole) == by_name(&rest), "{replicas} {rotation}");
        }
    }
}

#[test]
fn replicas_that_list_their_parameters_differently_stay_equal() {
    let (mut same, mut mixed) = (trainer(&[0, 0, 0]), trainer(&[0, 2, 5]));
    run(&mut same, None, u64::MAX);
    run(&mut mixed, None, u64::MAX);
    assert!(by_name(&same) == by_name(&mixed));
}

/// A model with two parameters of one name, whose weights have names of their own.
struct Twice(Var);

impl Model for Twice {
    fn forward(&self, dense: &Tensor, _: &Tensor) -> recsys_model::Result<Tensor> {
        Ok(dense.sum(1)?.broadcast_mul(self.0.as_tensor())?)
    }

    fn named_parameters(&self) -> Vec<(String, Var)> {
        vec![("w".into(), self.0.clone()), ("w".into(), self.0.clone())]
    }

    fn named_weights(&self) -> recsys_model::Result<Vec<(String, Tensor)>> {
        Ok(vec![("all".into(), self.0.as_tensor().clone())])
    }
}

/// The start of a run told nobody: its first checkpoint did.
#[test]
fn two_parameters_of_one_name_are_an_error_before_anything_moves() {
    let variable = Var::ones(1, DType::F32, &Device::Cpu).unwrap();
    let twice = || Twice(variable.clone());
    let duplicate = recsys_model::Error::DuplicateName { name: "w".into() };
    let refused = |error: Error| assert_eq!(error.to_string(), duplicate.to_string());
    refused(Replicas::new(vec![(twice(), Device::Cpu)]).err().unwrap());
    let store = || {
        let tables = ROWS.map(TableSpec::full).to_vec();
        CpuStore::new(tables, StoreOptions::default()).unwrap()
    };
    let own = Trainer::new(twice(), store(), Device::Cpu).with_dense_optimizer(Optimizer::Sgd);
    refused(own.err().unwrap());
    let mut trainer = Trainer::new(twice(), store(), Device::Cpu);
    let data = Arc::new(Skewed::new(60, 2));
    let (none, options) = (Evaluations::default(), TrainOptions::default());
    let all = data.clone() as Arc<dyn Dataset>;
    let run = fit(&mut trainer, all, &none, &options, &mut ());
    refused(run.unwrap_err());
    assert!(data.seen.lock().unwrap().is_empty());
    assert_eq!(variable.to_vec1::<f32>().unwrap(), [1.0]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    refused(save_weights(&path, &trainer).unwrap_err());
    assert!(!path.exists());
    let saved = HashMap::from([("all", Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap())]);
    safetensors::save(&saved, &path).unwrap();
    refused(load_weights(&path, &mut trainer).unwrap_err());
    assert_eq!(variable.to_vec1::<f32>().unwrap(), [1.0]);
}
