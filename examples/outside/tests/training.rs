//! All parts from outside together: every placement gives the same bits, and a run that was ended and
//! goes on gives those of the run that was not.

use std::path::Path;
use std::sync::Arc;

use embedding_store::RowOptimizer;
use embedding_store::candle_core::Device;
use embedding_store::{
    CpuStore, EmbeddingStore, Initialization, Optimizer, StoreOptions, TableSpec,
};
use outside::{
    Clicks, DIM, Focal, HOT_ROWS, LazyAdam, MapStore, Sawtooth, StopAfter, Thirds, tables,
    wide_and_deep,
};
use recsys_model::Model;
use trainer::{
    Checkpoint, CheckpointEvery, Checkpoints, Error, Evaluations, Inputs, Placement, TableRows,
    TrainOptions, Trainer, fit_with_checkpoints,
};

const SAMPLES: u64 = 1000;
/// Steps of a run: two epochs of 250 hot and 750 cold samples in batches of 32.
const STEPS: u64 = 2 * (8 + 24);

type Anything = Trainer<Box<dyn Model>, Box<dyn EmbeddingStore>>;

fn options() -> TrainOptions {
    TrainOptions {
        epochs: 2,
        batch_size: 32,
        learning_rate: 0.01,
        policy: Arc::new(Sawtooth { period: 7 }),
        loss: Arc::new(Focal { scale: 2.0 }),
        ..TrainOptions::default()
    }
}

fn placed(placement: Placement, tables: Vec<TableSpec>) -> Box<dyn EmbeddingStore> {
    let options = StoreOptions {
        dim: DIM,
        optimizer: RowOptimizer::external(LazyAdam::default()),
        initialization: Initialization::Zeros,
        ..StoreOptions::default()
    };
    placement
        .store(tables, options, &[Device::Cpu], Some(&HOT_ROWS))
        .unwrap()
}

fn trainer(store: Box<dyn EmbeddingStore>) -> Anything {
    Trainer::new(Box::new(wide_and_deep().unwrap()), store, Device::Cpu)
}

fn own_store(tables: Vec<TableSpec>) -> Box<dyn EmbeddingStore> {
    let rule = RowOptimizer::external(LazyAdam::default());
    Box::new(MapStore::try_new(tables, DIM, rule).unwrap())
}

/// Trains, as far as the observer lets it.
fn train(
    trainer: &mut Anything,
    last: u64,
    checkpoints: Option<&Checkpoints>,
) -> trainer::Result<StopAfter> {
    let (hot, cold) = Clicks::new(SAMPLES).split();
    let mut schedule = Thirds::default();
    let inputs = Inputs::Split {
        hot,
        cold,
        schedule: &mut schedule,
    };
    let evaluations = Evaluations {
        validation: Some(Arc::new(Clicks::new(200))),
        ..Evaluations::default()
    };
    let mut observer = StopAfter { last, seen: 0 };
    fit_with_checkpoints(
        trainer,
        inputs,
        &evaluations,
        &options(),
        checkpoints,
        &mut observer,
    )?;
    Ok(observer)
}

fn bits(values: &[f32]) -> impl Iterator<Item = u32> {
    values.iter().map(|value| value.to_bits())
}

/// Every weight of the model, and every row with its state.
fn everything(trainer: &Anything) -> Vec<u32> {
    let mut all = Vec::new();
    for (_, weight) in trainer.model().named_weights().unwrap() {
        all.extend(bits(&weight.flatten_all().unwrap().to_vec1().unwrap()));
    }
    for (number, part) in trainer.store().parts().iter().enumerate() {
        let rows = trainer.store().export(number, 0..part.rows).unwrap();
        all.extend(bits(&rows.weights));
        all.extend(bits(&rows.state));
    }
    all
}

fn checkpoints(folder: &Path, resume: bool) -> Checkpoints {
    Checkpoints {
        every: CheckpointEvery::Steps(1000),
        resume,
        ..Checkpoints::new(folder)
    }
}

#[test]
fn every_placement_and_an_own_store_train_to_the_same_bits() {
    let mut own = trainer(own_store(tables()));
    let before = everything(&own);
    assert_eq!(train(&mut own, u64::MAX, None).unwrap().seen, STEPS);
    let expected = everything(&own);
    assert!(expected != before);
    for placement in Placement::ALL {
        let mut trainer = trainer(placed(placement, tables()));
        train(&mut trainer, u64::MAX, None).unwrap();
        assert!(everything(&trainer) == expected, "{placement}");
    }
}

#[test]
fn a_run_that_the_observer_ended_goes_on_bit_for_bit() {
    let stores = |case: usize| match Placement::ALL.get(case) {
        Some(&placement) => placed(placement, tables()),
        None => own_store(tables()),
    };
    for case in 0..=Placement::ALL.len() {
        let mut whole = trainer(stores(case));
        train(&mut whole, u64::MAX, None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (last, resume) in [(13, false), (STEPS / 2 + 3, true), (u64::MAX, true)] {
            let checkpoints = checkpoints(folder.path(), resume);
            let mut trainer = trainer(stores(case));
            train(&mut trainer, last, Some(&checkpoints)).unwrap();
            let done = everything(&trainer) == everything(&whole);
            assert_eq!(done, last == u64::MAX, "case {case}, until {last}");
        }
    }
}

#[test]
fn tables_that_grew_go_on_from_a_checkpoint_with_their_state() {
    let grown_tables = || {
        let mut grown = tables();
        grown.iter_mut().for_each(|table| table.rows += 9);
        grown
    };
    let front = |trainer: &Anything| {
        let tables = tables().into_iter().enumerate();
        let rows = tables.map(|(part, table)| trainer.store().export(part, 0..table.rows).unwrap());
        rows.collect::<Vec<_>>()
    };
    for case in 0..=Placement::ALL.len() {
        let store = |tables| match Placement::ALL.get(case) {
            Some(&placement) => placed(placement, tables),
            None => own_store(tables),
        };
        let folder = tempfile::tempdir().unwrap();
        let mut small = trainer(store(tables()));
        train(
            &mut small,
            u64::MAX,
            Some(&checkpoints(folder.path(), false)),
        )
        .unwrap();
        let checkpoint = Checkpoint::newest(folder.path(), &mut |_, _| Ok(())).unwrap();
        let checkpoint = checkpoint.unwrap();
        let mut grown = trainer(store(grown_tables()));
        assert!(checkpoint.load_weights(&mut grown).is_err());
        let absent = checkpoint.load_with_state(&mut grown, TableRows::Grown);
        assert_eq!(absent.unwrap(), 9 * tables().len() as u64);
        assert!(front(&grown) == front(&small), "case {case}");
        train(&mut small, u64::MAX, None).unwrap();
        train(&mut grown, u64::MAX, None).unwrap();
        assert!(front(&grown) == front(&small), "case {case}");
    }
}

#[test]
fn errors_from_outside_pass_through() {
    let (hot, _) = Clicks::new(10).split();
    let error = hot.read(&[1 << 40], &mut recsys_data::Batch::default());
    assert!(error.is_err());

    let mut trainer = trainer(own_store(tables()));
    let broken = TrainOptions {
        loss: Arc::new(Focal { scale: -1.0 }),
        ..options()
    };
    let data: Arc<dyn recsys_data::Dataset> = Arc::new(Clicks::new(10));
    let none = Evaluations::default();
    let error = trainer::fit(&mut trainer, data, &none, &broken, &mut ()).unwrap_err();
    assert!(matches!(error, Error::External(_)), "{error}");

    let options = StoreOptions {
        optimizer: RowOptimizer::external(LazyAdam { betas: [2.0, 0.5] }),
        ..StoreOptions::default()
    };
    let error = CpuStore::new(tables(), options).unwrap_err().to_string();
    assert!(error.contains("betas are [2.0, 0.5]"), "{error}");
}

#[test]
fn rows_and_dense_weights_have_optimizers_of_their_own_and_a_table_can_be_frozen() {
    let options = StoreOptions {
        dim: DIM,
        optimizer: RowOptimizer::from(Optimizer::Sgd).with_factors(&[1.0, 0.0, 0.5]),
        ..StoreOptions::default()
    };
    for placement in Placement::ALL {
        let store = placement.store(tables(), options.clone(), &[Device::Cpu], Some(&HOT_ROWS));
        let store = trainer(store.unwrap()).with_dense_optimizer(Optimizer::adagrad());
        let mut trainer = store.unwrap();
        let rows = |trainer: &Anything, part: usize| {
            let rows = trainer.store().parts()[part].rows;
            trainer.store().export(part, 0..rows).unwrap().weights
        };
        let before: Vec<Vec<f32>> = (0..3).map(|part| rows(&trainer, part)).collect();
        train(&mut trainer, u64::MAX, None).unwrap();
        for (part, before) in before.iter().enumerate() {
            assert_eq!(
                rows(&trainer, part) == *before,
                part == 1,
                "{placement} {part}"
            );
        }
    }
}
