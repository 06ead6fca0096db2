//! Models of sequences train in every placement, with one number for each.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use candle_core::Device;
use dlrm::{DlrmConfig, SliceSize};
use embedding_store::{EmbeddingStore, Optimizer, StoreOptions, TableSpec};
use fae_profiler::Partition;
use recsys_data::generate::{PlantedSequences, PlantedSequencesOptions};
use recsys_data::views::LastPositions;
use recsys_data::{Dataset, Order};
use tbsm::{FusedTbsm, Inner, Mechanism, SequenceLayer, Tbsm, TbsmConfig};
use trainer::{
    Error, Evaluations, Inputs, Interleave, Model, Placement, Replicas, RunReport, Schedule,
    ShuffleOptions, ShuffleScheduler, TrainOptions, Trainer, fit, load_weights, save_weights,
};

type AnyTrainer = Trainer<Replicas<FusedTbsm>, Box<dyn EmbeddingStore>>;

const HISTORY: u32 = 6;
const HOT_ROWS: [u64; 3] = [150, 250, 12];

fn data(samples: u64) -> Arc<dyn Dataset> {
    let options = PlantedSequencesOptions {
        samples,
        users: 200,
        items: 400,
        categories: 20,
        history: HISTORY,
        ..PlantedSequencesOptions::default()
    };
    Arc::new(PlantedSequences::new(options).unwrap())
}

fn tsl(heads: usize) -> SequenceLayer {
    SequenceLayer::Tsl {
        heads,
        inner: Inner::Def,
        mechanism: Mechanism::Mlp,
        mlp: vec![5],
        sequential: heads > 1,
    }
}

fn config(sequence: SequenceLayer) -> TbsmConfig {
    let default = TbsmConfig::default();
    TbsmConfig {
        tower: DlrmConfig {
            dim: 8,
            bottom: vec![1, 8],
            top: vec![7, 5],
            slice: SliceSize::Fixed(8),
            ..default.tower
        },
        history: HISTORY as usize,
        sequence,
        head: vec![6, 1],
        ..default
    }
}

fn trainer(
    sequence: SequenceLayer,
    placement: Placement,
    optimizer: Optimizer,
    replicas: usize,
) -> AnyTrainer {
    let config = config(sequence);
    let tables = data(1).schema().table_rows();
    let tables = tables.into_iter().map(TableSpec::full).collect();
    let options = StoreOptions {
        dim: config.tower.dim,
        optimizer: optimizer.into(),
        ..StoreOptions::default()
    };
    let devices = vec![Device::Cpu; replicas];
    let store = placement
        .store(tables, options, &devices, Some(&HOT_ROWS))
        .unwrap();
    let model = || FusedTbsm::new(Tbsm::new(config.clone(), 1, &Device::Cpu).unwrap());
    let models = (0..replicas).map(|_| (model(), Device::Cpu)).collect();
    Trainer::new(Replicas::new(models).unwrap(), store, Device::Cpu)
}

/// The bits of every dense weight, row and optimizer state of a row.
fn bits(trainer: &AnyTrainer) -> Vec<u32> {
    let mut all: Vec<f32> = Vec::new();
    for (_, tensor) in trainer.model().named_weights().unwrap() {
        all.extend(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }
    for (index, part) in trainer.store().parts().iter().enumerate() {
        let rows = trainer.store().export(index, 0..part.rows).unwrap();
        all.extend(rows.weights);
        all.extend(rows.state);
    }
    all.into_iter().map(f32::to_bits).collect()
}

fn run<'a>(trainer: &mut AnyTrainer, inputs: impl Into<Inputs<'a>>) -> RunReport {
    let options = TrainOptions {
        batch_size: 48,
        epochs: 2,
        order: Order::Shuffled,
        learning_rate: 0.05,
        ..TrainOptions::default()
    };
    fit(trainer, inputs, &Evaluations::default(), &options, &mut ()).unwrap()
}

#[test]
fn every_placement_gives_the_cpu_numbers() {
    for optimizer in [
        Optimizer::Sgd,
        Optimizer::adagrad(),
        Optimizer::rowwise_adagrad(),
    ] {
        let mut cpu = trainer(tsl(1), Placement::Cpu, optimizer, 1);
        let report = run(&mut cpu, data(500));
        assert_eq!(report.train.samples, 1000);
        let expected = bits(&cpu);
        for placement in [Placement::CpuDevice, Placement::Fae, Placement::Mixed] {
            for replicas in [1, 2] {
                let mut other = trainer(tsl(1), placement, optimizer, replicas);
                run(&mut other, data(500));
                assert!(
                    bits(&other) == expected,
                    "{placement} {optimizer:?}, {replicas} replicas"
                );
            }
        }
    }
}

#[test]
fn hot_and_cold_sequences_by_turns_train_alike_in_one_store_and_in_two() {
    let data = data(600);
    let partition = Arc::new(Partition::classify(&*data, &HOT_ROWS).unwrap());
    assert!(partition.hot_len() > 50 && partition.cold_len() > 50);
    let schedules: [fn() -> Box<dyn Schedule>; 2] = [
        || Box::new(ShuffleScheduler::try_new(ShuffleOptions::default()).unwrap()),
        || Box::new(Interleave::try_new(20.0, embedding_store::Side::Hot).unwrap()),
    ];
    for schedule in schedules {
        let run = |placement| {
            let mut trainer = trainer(tsl(3), placement, Optimizer::adagrad(), 1);
            let (hot, cold) = partition.sides(&data).unwrap();
            let inputs = Inputs::Split {
                hot: Arc::new(hot),
                cold: Arc::new(cold),
                schedule: &mut *schedule(),
            };
            assert_eq!(run(&mut trainer, inputs).train.samples, 1200);
            bits(&trainer)
        };
        let expected = run(Placement::Cpu);
        for placement in [Placement::CpuDevice, Placement::Fae, Placement::Mixed] {
            assert!(run(placement) == expected, "{placement}");
        }
    }
}

#[test]
fn all_parameters_of_every_sequence_layer_change() {
    let layers = [
        tsl(1),
        tsl(2),
        SequenceLayer::Mha { heads: 2 },
        SequenceLayer::Rnn { layers: 2 },
    ];
    for layer in layers {
        let mut trainer = trainer(layer.clone(), Placement::Cpu, Optimizer::Sgd, 1);
        let weights = |trainer: &AnyTrainer| -> HashMap<String, Vec<f32>> {
            let named = trainer.model().named_weights().unwrap().into_iter();
            named
                .map(|(name, tensor)| (name, tensor.flatten_all().unwrap().to_vec1().unwrap()))
                .collect()
        };
        let before = weights(&trainer);
        run(&mut trainer, data(300));
        for (name, after) in weights(&trainer) {
            assert!(after != before[&name], "{layer:?}: {name} did not change");
        }
    }
}

#[test]
fn weights_are_saved_under_the_reference_names_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut trained = trainer(tsl(1), Placement::Mixed, Optimizer::Sgd, 1);
    run(&mut trained, data(200));
    save_weights(&path, &trained).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for name in [
        "dlrm.emb_l.0.weight",
        "dlrm.bot_l.0.weight",
        "ams.0.A",
        "mlps.0.0.bias",
    ] {
        assert!(file.names().contains(&name), "{name}");
    }
    let mut fresh = trainer(tsl(1), Placement::Cpu, Optimizer::Sgd, 1);
    load_weights(&path, &mut fresh).unwrap();
    assert!(bits(&fresh) == bits(&trained));
}

#[test]
fn data_of_another_length_are_refused() {
    let mut trainer = trainer(tsl(1), Placement::Cpu, Optimizer::Sgd, 1);
    let shorter = LastPositions::new(data(50), NonZeroU32::new(4).unwrap()).unwrap();
    let options = TrainOptions::default();
    let error = fit(
        &mut trainer,
        Arc::new(shorter) as Arc<dyn Dataset>,
        &Evaluations::default(),
        &options,
        &mut (),
    );
    match error.err().unwrap() {
        Error::Mismatch {
            what, model, data, ..
        } => {
            assert_eq!(
                (what.as_str(), model, data),
                ("positions of a sample", 7, 4)
            );
        }
        other => panic!("{other}"),
    }
}
