//! A device that repeats the steps that it has recorded trains to the same bits as one that is
//! submitted anew at every step.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use dlrm::{Dlrm, DlrmConfig, FusedDlrm, Output};
use embedding_store::{EmbeddingStore, Optimizer, StoreOptions, TableSpec};
use recsys_data::generate::{
    PlantedSequences, PlantedSequencesOptions, RandomData, RandomDataOptions,
};
use recsys_data::{Dataset, Order};
use recsys_device::cuda_device;
use tbsm::{FusedTbsm, Inner, Mechanism, SequenceLayer, Tbsm, TbsmConfig};
use trainer::{
    ApplyGradient, Evaluations, InputShape, LossGradient, Model, Placement, TrainOptions, Trainer,
    fit,
};

const HISTORY: u32 = 4;
/// Rows of users, items and categories.
const ROWS: [u32; 3] = [60, 120, 9];
/// The last batch of an epoch is smaller.
const SAMPLES: u64 = 150;
const BATCH: usize = 16;

/// A model whose steps are asked for one by one.
struct Unrecorded<M>(M);

impl<M: Model> Model for Unrecorded<M> {
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> recsys_model::Result<Tensor> {
        self.0.forward(dense, rows)
    }

    fn infer(&self, dense: &Tensor, rows: &Tensor) -> recsys_model::Result<Tensor> {
        self.0.infer(dense, rows)
    }

    fn named_parameters(&self) -> Vec<(String, Var)> {
        self.0.named_parameters()
    }

    fn named_weights(&self) -> recsys_model::Result<Vec<(String, Tensor)>> {
        self.0.named_weights()
    }

    fn load_weights(&self, weights: &HashMap<String, Tensor>) -> recsys_model::Result<()> {
        self.0.load_weights(weights)
    }

    fn input_shape(&self) -> Option<InputShape> {
        self.0.input_shape()
    }

    fn forward_backward(
        &mut self,
        dense: &Tensor,
        rows: &Tensor,
        rows_grad: &Tensor,
        loss: &mut LossGradient<'_>,
        apply: &mut ApplyGradient<'_>,
    ) -> recsys_model::Result<()> {
        self.0.forward_backward(dense, rows, rows_grad, loss, apply)
    }
}

fn sequences() -> Arc<dyn Dataset> {
    let options = PlantedSequencesOptions {
        samples: SAMPLES,
        users: ROWS[0],
        items: ROWS[1],
        categories: ROWS[2],
        history: HISTORY,
        ..PlantedSequencesOptions::default()
    };
    Arc::new(PlantedSequences::new(options).unwrap())
}

fn tower() -> DlrmConfig {
    DlrmConfig {
        tables: ROWS.len(),
        dim: 4,
        bottom: vec![1, 4],
        top: vec![6, 5],
        ..TbsmConfig::default().tower
    }
}

fn sequence_model(sequence: SequenceLayer, device: &Device) -> FusedTbsm {
    let config = TbsmConfig {
        tower: tower(),
        history: HISTORY as usize,
        sequence,
        head: vec![6, 1],
        ..TbsmConfig::default()
    };
    FusedTbsm::new(Tbsm::new(config, 1, device).unwrap())
}

fn tsl(heads: usize) -> SequenceLayer {
    SequenceLayer::Tsl {
        heads,
        inner: Inner::Def,
        mechanism: Mechanism::Mlp,
        mlp: vec![3],
        sequential: heads > 1,
    }
}

/// The losses of the epochs, every weight and optimizer state, and whether the device was given
/// whole steps.
fn train<M: Model>(
    model: M,
    data: Arc<dyn Dataset>,
    device: &Device,
) -> (Vec<f64>, Vec<f32>, bool) {
    let placement = match device {
        Device::Cpu => Placement::Cpu,
        _ => Placement::Mixed,
    };
    let tables = ROWS.map(|rows| TableSpec::full(rows.into())).to_vec();
    let options = StoreOptions {
        dim: tower().dim,
        optimizer: Optimizer::adagrad().into(),
        ..StoreOptions::default()
    };
    let store = placement
        .store(
            tables,
            options,
            std::slice::from_ref(device),
            Some(&[20, 50, 9]),
        )
        .unwrap();
    let mut trainer = Trainer::new(model, store, device.clone());
    let options = TrainOptions {
        epochs: 4,
        batch_size: BATCH,
        order: Order::Shuffled,
        learning_rate: 0.05,
        lookahead: Some(1),
        ..TrainOptions::default()
    };
    let evaluations = Evaluations::default();
    let report = fit(&mut trainer, data, &evaluations, &options, &mut ()).unwrap();
    let losses = report.epochs.iter().map(|epoch| epoch.train_loss);
    let mut weights = Vec::new();
    for (_, tensor) in trainer.model().named_weights().unwrap() {
        weights.extend(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }
    for (index, part) in trainer.store().parts().iter().enumerate() {
        let rows = trainer.store().export(index, 0..part.rows).unwrap();
        weights.extend(rows.weights);
        weights.extend(rows.state);
    }
    let whole = trainer.model().step_memory(BATCH).is_some();
    (losses.collect(), weights, whole)
}

fn compare<M: Model>(model: impl Fn(&Device) -> M, data: &Arc<dyn Dataset>, whole: bool) {
    let device = match cuda_device(0) {
        Ok(device) => device,
        Err(error) => return eprintln!("skipped: no NVIDIA device: {error}"),
    };
    let recorded = train(model(&device), data.clone(), &device);
    let asked = train(Unrecorded(model(&device)), data.clone(), &device);
    assert_eq!((recorded.2, asked.2), (whole, false));
    let bits = |weights: &[f32]| weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>();
    assert_eq!(recorded.0, asked.0);
    assert!(bits(&recorded.1) == bits(&asked.1));
    let (expected, on_host, _) = train(model(&Device::Cpu), data.clone(), &Device::Cpu);
    for (found, expected) in recorded.0.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
    // Small gradients make large steps of Adagrad, so that single weights may go another way.
    let far = recorded.1.iter().zip(&on_host);
    let far = far.filter(|(found, expected)| (*found - *expected).abs() > 1e-3);
    assert!(far.count() * 100 < on_host.len());
}

#[test]
fn recorded_steps_of_a_dlrm_are_those_asked_for() {
    let data = RandomData::new(RandomDataOptions {
        samples: SAMPLES,
        dense: 1,
        table_rows: ROWS.map(u64::from).to_vec(),
        lookups: 2,
        round_targets: true,
        ..RandomDataOptions::default()
    });
    let data: Arc<dyn Dataset> = Arc::new(data.unwrap());
    let model = |device: &Device| {
        let config = DlrmConfig {
            top: vec![6, 1],
            output: Output::Linear,
            ..tower()
        };
        FusedDlrm::new(Dlrm::new(config, 1, device).unwrap())
    };
    compare(model, &data, true);
}

#[test]
fn recorded_steps_of_a_tbsm_are_those_asked_for() {
    for heads in [1, 2] {
        compare(
            |device| sequence_model(tsl(heads), device),
            &sequences(),
            true,
        );
    }
}

#[test]
fn a_model_without_such_a_step_trains_as_a_graph() {
    // Not `mha`, whose keys' biases have no gradient but rounding, which Adagrad makes steps of.
    let layer = SequenceLayer::Rnn { layers: 1 };
    compare(
        |device| sequence_model(layer.clone(), device),
        &sequences(),
        false,
    );
}
