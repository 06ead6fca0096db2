//! A run that was ended and goes on from its checkpoint is the run that was not, bit for bit.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod skewed;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dlrm::SliceSize;
use embedding_store::{EmbeddingStore, Optimizer, RowFormat, Side, StoreOptions};
use recsys_data::{Dataset, Order};
use recsys_model::simd::SimdLevel;
use skewed::{AnyTrainer, Skewed, bits, is_low, part, weights, with_options};
use trainer::{
    Checkpoint, CheckpointEvery, Checkpoints, Error, Evaluations, Event, Inputs, Interleave, Model,
    Observer, Phases, Placement, Result, RunReport, Schedule, ShuffleOptions, ShuffleScheduler,
    TrainOptions, fit_with_checkpoints, load_weights,
};

/// In which order inputs come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Split {
    Unsplit,
    Shuffle,
    Interleave,
}

/// Everything that a run is made of.
#[derive(Debug, Clone, Copy)]
struct Setup {
    placement: Placement,
    optimizer: Optimizer,
    split: Split,
    order: Order,
    replicas: usize,
    hot: [u64; 4],
    epochs: u64,
    device_rows: RowFormat,
}

impl Setup {
    fn trainer(&self) -> AnyTrainer {
        let options = StoreOptions {
            optimizer: self.optimizer.into(),
            device_rows: self.device_rows,
            ..StoreOptions::default()
        };
        let slice = SliceSize::Fixed(8);
        with_options(slice, self.placement, options, self.hot, self.replicas)
    }

    fn options(&self) -> TrainOptions {
        TrainOptions {
            epochs: self.epochs,
            batch_size: 7,
            order: self.order,
            learning_rate: 0.05,
            test_every: Some(4),
            ..TrainOptions::default()
        }
    }

    fn run(
        &self,
        trainer: &mut AnyTrainer,
        checkpoints: Option<&Checkpoints>,
        observer: &mut dyn Observer,
    ) -> Result<RunReport> {
        self.run_until(Arc::default(), trainer, checkpoints, observer)
    }

    fn run_until(
        &self,
        stop: Arc<AtomicBool>,
        trainer: &mut AnyTrainer,
        checkpoints: Option<&Checkpoints>,
        observer: &mut dyn Observer,
    ) -> Result<RunReport> {
        let data = Arc::new(Skewed::new(60, 2));
        let evaluations = Evaluations {
            validation: Some(part(&data, |sample| sample.is_multiple_of(5))),
            test: None,
        };
        let options = TrainOptions {
            stop,
            ..self.options()
        };
        let mut schedule: Box<dyn Schedule> = match self.split {
            Split::Unsplit => {
                let all = data as Arc<dyn Dataset>;
                return fit_with_checkpoints(
                    trainer,
                    all,
                    &evaluations,
                    &options,
                    checkpoints,
                    observer,
                );
            }
            Split::Shuffle => {
                Box::new(ShuffleScheduler::try_new(ShuffleOptions::default()).unwrap())
            }
            Split::Interleave => Box::new(Interleave::try_new(40.0, Side::Hot).unwrap()),
        };
        let inputs = Inputs::Split {
            hot: part(&data, is_low),
            cold: part(&data, |sample| !is_low(sample)),
            schedule: &mut *schedule,
        };
        fit_with_checkpoints(
            trainer,
            inputs,
            &evaluations,
            &options,
            checkpoints,
            observer,
        )
    }
}

/// Sets the stop flag at a step.
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

/// Collects what is said about checkpoints.
#[derive(Default)]
struct Said {
    damaged: Vec<String>,
    resumed: Vec<u64>,
    saved: Vec<u64>,
}

impl Observer for Said {
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        match event {
            Event::CheckpointDamaged { problem, .. } => self.damaged.push((*problem).into()),
            Event::Resumed { step, .. } => self.resumed.push(*step),
            Event::Saved { step, .. } => self.saved.push(*step),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn never(folder: &Path) -> Checkpoints {
    Checkpoints {
        every: CheckpointEvery::Steps(u64::MAX),
        ..Checkpoints::new(folder)
    }
}

fn resuming(folder: &Path) -> Checkpoints {
    Checkpoints {
        resume: true,
        ..never(folder)
    }
}

/// Runs until a step.
fn stop_after(step: u64, setup: Setup, checkpoints: Checkpoints) -> RunReport {
    let stop = Arc::<AtomicBool>::default();
    let report = setup.run_until(
        stop.clone(),
        &mut setup.trainer(),
        Some(&checkpoints),
        &mut StopAfter(step, stop),
    );
    report.unwrap()
}

/// Everything that a trainer and a report hold, as bits; times and traffic apart.
fn everything(trainer: &AnyTrainer, mut report: RunReport) -> (Vec<u32>, RunReport) {
    let mut bits = bits(&weights(trainer));
    for model in trainer.model().models() {
        for (_, parameter) in model.named_parameters() {
            let values = parameter.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            bits.extend(values.iter().map(|value| value.to_bits()));
        }
    }
    for index in 0..trainer.model().named_parameters().len() {
        let state = trainer
            .optimizer()
            .state(index)
            .unwrap()
            .unwrap_or_default();
        bits.extend(state.iter().map(|value| value.to_bits()));
    }
    (report.train.seconds, report.train.samples_per_second) = (0.0, 0.0);
    let Phases {
        unsplit, hot, cold, ..
    } = &mut report.phases;
    for phase in [unsplit, hot, cold].into_iter().flatten() {
        let (steps, samples) = (phase.steps, phase.samples);
        *phase = Default::default();
        (phase.steps, phase.samples) = (steps, samples);
    }
    (bits, report)
}

fn whole_run(setup: Setup) -> (Vec<u32>, RunReport) {
    let mut trainer = setup.trainer();
    let report = setup.run(&mut trainer, None, &mut ()).unwrap();
    everything(&trainer, report)
}

/// Stops after `step` with `first`, goes on with `second`.
fn in_two_parts(step: u64, first: Setup, second: Setup) -> (Vec<u32>, RunReport) {
    let folder = tempfile::tempdir().unwrap();
    let report = stop_after(step, first, never(folder.path()));
    assert_eq!(report.interrupted_at, Some(step));
    let mut trainer = second.trainer();
    let mut said = Said::default();
    let report = second.run(&mut trainer, Some(&resuming(folder.path())), &mut said);
    assert_eq!(said.resumed, [step]);
    everything(&trainer, report.unwrap())
}

const BASE: Setup = Setup {
    placement: Placement::Cpu,
    optimizer: Optimizer::Sgd,
    split: Split::Unsplit,
    order: Order::File,
    replicas: 1,
    hot: [6; 4],
    epochs: 2,
    device_rows: RowFormat::F32,
};

fn optimizers() -> [Optimizer; 3] {
    [
        Optimizer::Sgd,
        Optimizer::adagrad(),
        Optimizer::rowwise_adagrad(),
    ]
}

/// What is rounded at random goes on with the same bits, wherever a run with hot rows in bf16 was
/// stopped.
#[test]
fn a_run_with_rounded_rows_in_two_parts_is_the_run_in_one() {
    for (placement, replicas) in [
        (Placement::Fae, 1),
        (Placement::Fae, 2),
        (Placement::Mixed, 1),
    ] {
        for optimizer in optimizers() {
            for split in [Split::Unsplit, Split::Shuffle, Split::Interleave] {
                let setup = Setup {
                    placement,
                    optimizer,
                    split,
                    replicas,
                    device_rows: RowFormat::Bf16,
                    ..BASE
                };
                let whole = whole_run(setup);
                let exact = Setup {
                    device_rows: RowFormat::F32,
                    ..setup
                };
                assert!(whole.0 != whole_run(exact).0);
                for step in (1..whole.1.train.steps).step_by(3) {
                    assert!(
                        in_two_parts(step, setup, setup) == whole,
                        "{setup:?}, step {step}"
                    );
                }
            }
        }
    }
}

/// The number of updates is written down where something depends on it: other checkpoints are as
/// they were before there was one.
#[test]
fn checkpoints_count_updates_only_where_rows_are_rounded() {
    for (device_rows, expected) in [(RowFormat::F32, None), (RowFormat::Bf16, Some(5))] {
        let setup = Setup {
            placement: Placement::Mixed,
            device_rows,
            ..BASE
        };
        let folder = tempfile::tempdir().unwrap();
        stop_after(5, setup, never(folder.path()));
        let manifest = folder.path().join("step-0000000005/checkpoint.json");
        let text = std::fs::read_to_string(manifest).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        let found = manifest.get("updates").map(|found| found.as_u64().unwrap());
        assert_eq!(found, expected);
    }
}

/// Every placement under every optimizer and order of inputs, stopped after steps that lie in
/// stretches, at evaluations and at the ends of epochs.
#[test]
fn a_run_in_two_parts_is_the_run_in_one() {
    let placements = [
        (Placement::Cpu, 1),
        (Placement::CpuDevice, 1),
        (Placement::Fae, 1),
        (Placement::Fae, 3),
        (Placement::Mixed, 1),
    ];
    for (placement, replicas) in placements {
        for (index, optimizer) in optimizers().into_iter().enumerate() {
            for split in [Split::Unsplit, Split::Shuffle, Split::Interleave] {
                let order = match index % 2 {
                    0 => Order::Shuffled,
                    _ => Order::File,
                };
                let setup = Setup {
                    placement,
                    optimizer,
                    split,
                    order,
                    replicas,
                    ..BASE
                };
                let whole = whole_run(setup);
                let steps = whole.1.train.steps;
                for step in (1 + index as u64..steps).step_by(4).chain([steps / 2]) {
                    assert!(
                        in_two_parts(step, setup, setup) == whole,
                        "{setup:?}, step {step}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_run_may_go_on_elsewhere() {
    for optimizer in [Optimizer::Sgd, Optimizer::adagrad()] {
        let fae = Setup {
            placement: Placement::Fae,
            optimizer,
            split: Split::Shuffle,
            ..BASE
        };
        let whole = whole_run(fae);
        let cpu = Setup {
            placement: Placement::Cpu,
            ..fae
        };
        let mixed = Setup {
            placement: Placement::Mixed,
            hot: [40, 6, 0, 10],
            ..fae
        };
        let wider = Setup {
            hot: [40, 6, 90, 25],
            ..fae
        };
        let replicated = Setup { replicas: 3, ..fae };
        for (first, second) in [
            (fae, cpu),
            (cpu, fae),
            (fae, mixed),
            (mixed, wider),
            (wider, cpu),
        ] {
            for step in [1, 5, 9, 14] {
                assert!(
                    in_two_parts(step, first, second) == whole,
                    "{first:?} {second:?} {step}"
                );
            }
        }
        // With three devices there are more copies of the weights to compare, and each must be the
        // one device's.
        let many = whole_run(replicated);
        for step in [3, 8] {
            assert!(in_two_parts(step, fae, replicated) == many);
            assert!(in_two_parts(step, replicated, fae) == whole);
        }
    }
}

#[test]
fn a_finished_run_goes_on_with_more_epochs() {
    let setup = Setup {
        optimizer: Optimizer::adagrad(),
        split: Split::Shuffle,
        ..BASE
    };
    let folder = tempfile::tempdir().unwrap();
    let short = Setup { epochs: 1, ..setup };
    let mut first = short.trainer();
    let report = short.run(&mut first, Some(&never(folder.path())), &mut ());
    assert!(everything(&first, report.unwrap()) == whole_run(short));
    let mut first = setup.trainer();
    let report = setup.run(&mut first, Some(&resuming(folder.path())), &mut ());
    let finished = everything(&first, report.unwrap());
    assert!(finished == whole_run(setup));
    // Nothing is left to do, and the report is the same.
    let mut again = setup.trainer();
    let report = setup.run(&mut again, Some(&resuming(folder.path())), &mut ());
    assert!(everything(&again, report.unwrap()) == finished);
}

fn folders(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_last_and_the_best_stay() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".step-0000000001.partial-1")).unwrap();
    let checkpoints = Checkpoints {
        every: CheckpointEvery::Steps(3),
        keep: 2,
        ..Checkpoints::new(folder.path())
    };
    let mut said = Said::default();
    let report = BASE
        .run(&mut BASE.trainer(), Some(&checkpoints), &mut said)
        .unwrap();
    let best = report.best.unwrap().step;
    let last = report.train.steps;
    assert!(said.saved.contains(&3) && said.saved.contains(&best) && said.saved.contains(&last));
    let mut kept: Vec<u64> = said.saved.iter().rev().take(2).copied().collect();
    kept.push(best);
    kept.sort();
    kept.dedup();
    let mut expected = vec![".lock".to_owned()];
    expected.extend(kept.iter().map(|step| format!("step-{step:010}")));
    assert_eq!(folders(folder.path()), expected);
}

#[test]
fn a_folder_belongs_to_one_run() {
    let folder = tempfile::tempdir().unwrap();
    stop_after(3, BASE, never(folder.path()));
    let run = |checkpoints: &Checkpoints| {
        BASE.run(&mut BASE.trainer(), Some(checkpoints), &mut ())
            .unwrap_err()
    };
    assert!(matches!(
        run(&never(folder.path())),
        Error::CheckpointsExist { step: 3, .. }
    ));
    let lock = std::fs::File::open(folder.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(
        run(&resuming(folder.path())),
        Error::CheckpointsInUse { .. }
    ));
}

#[test]
fn other_settings_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    stop_after(3, BASE, never(folder.path()));
    let other = |setup: Setup, checkpoints: &Checkpoints| {
        let mut trainer = setup.trainer();
        let error = setup.run(&mut trainer, Some(checkpoints), &mut ());
        error.unwrap_err().to_string()
    };
    let settings = Checkpoints {
        settings: serde_json::json!({"dim": 4}),
        ..resuming(folder.path())
    };
    let message = other(BASE, &settings);
    assert!(message.contains("was null and is {\"dim\":4}"), "{message}");
    let adagrad = Setup {
        optimizer: Optimizer::adagrad(),
        ..BASE
    };
    let message = other(adagrad, &resuming(folder.path()));
    assert!(
        message.contains("optimizer was \"sgd\" and is"),
        "{message}"
    );
    let shuffled = Setup {
        order: Order::Shuffled,
        ..BASE
    };
    let message = other(shuffled, &resuming(folder.path()));
    assert!(message.contains("order was "), "{message}");
    // In the middle of an epoch, inputs cannot be split another way.
    let split = Setup {
        split: Split::Interleave,
        ..BASE
    };
    let message = other(split, &resuming(folder.path()));
    assert!(message.contains("batches"), "{message}");
}

#[test]
fn at_the_end_of_an_epoch_another_order_may_follow() {
    let per_epoch = 60u64.div_ceil(7);
    let split = Setup {
        split: Split::Interleave,
        placement: Placement::Fae,
        ..BASE
    };
    let (_, report) = in_two_parts(per_epoch, BASE, split);
    assert_eq!(report.epochs.len(), 2);
    assert_eq!(report.epochs[0].step, per_epoch);
    let Phases {
        unsplit, hot, cold, ..
    } = report.phases;
    assert_eq!(unsplit.unwrap().samples, 60);
    assert_eq!(hot.unwrap().samples + cold.unwrap().samples, 60);
}

/// Copies a folder of checkpoints.
fn copy(from: &Path, to: &Path) {
    for name in folders(from).iter().filter(|name| !name.starts_with('.')) {
        std::fs::create_dir_all(to.join(name)).unwrap();
        for file in folders(&from.join(name)) {
            std::fs::copy(from.join(name).join(&file), to.join(name).join(&file)).unwrap();
        }
    }
}

#[test]
fn damage_is_found_and_the_checkpoint_before_is_used() {
    let setup = Setup {
        optimizer: Optimizer::adagrad(),
        ..BASE
    };
    let whole = whole_run(setup);
    let kept = tempfile::tempdir().unwrap();
    let every = Checkpoints {
        every: CheckpointEvery::Steps(5),
        keep: 9,
        ..Checkpoints::new(kept.path())
    };
    stop_after(10, setup, every);
    let newest = kept.path().join("step-0000000010");
    for name in ["checkpoint.json", "model.safetensors", "tables.safetensors"] {
        let bytes = std::fs::read(newest.join(name)).unwrap();
        let mut damages: Vec<Option<Vec<u8>>> = vec![None, Some(Vec::new())];
        for at in [0, 9, bytes.len() / 3, bytes.len() / 2, bytes.len() - 3] {
            damages.push(Some(bytes[..at].to_vec()));
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            damages.push(Some(flipped));
        }
        for (case, damage) in damages.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            copy(kept.path(), folder.path());
            let path: PathBuf = folder.path().join("step-0000000010").join(name);
            match &damage {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let mut trainer = setup.trainer();
            let mut said = Said::default();
            let report = setup.run(&mut trainer, Some(&resuming(folder.path())), &mut said);
            assert!(everything(&trainer, report.unwrap()) == whole);
            // What changes spaces alone is harmless.
            if said.damaged.is_empty() {
                assert_eq!(name, "checkpoint.json", "case {case}");
            } else {
                assert!(said.resumed[0] < 10);
                assert!(said.damaged[0].contains(name), "{:?}", said.damaged);
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(kept.path(), folder.path());
    for name in folders(folder.path()) {
        std::fs::remove_file(folder.path().join(name).join("model.safetensors")).unwrap();
    }
    let error = setup.run(
        &mut setup.trainer(),
        Some(&resuming(folder.path())),
        &mut (),
    );
    assert!(matches!(
        error.unwrap_err(),
        Error::NoUsableCheckpoint { .. }
    ));
}

#[test]
fn every_bit_of_the_description_is_guarded() {
    let folder = tempfile::tempdir().unwrap();
    stop_after(4, BASE, never(folder.path()));
    let checkpoint = folder.path().join("step-0000000004");
    let path = checkpoint.join("checkpoint.json");
    let bytes = std::fs::read(&path).unwrap();
    let meaning: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, &flipped).unwrap();
        if Checkpoint::open(&checkpoint).is_ok() {
            let read: serde_json::Value = serde_json::from_slice(&flipped).unwrap();
            assert_eq!(read, meaning, "byte {at}");
        }
    }
}

#[test]
fn weights_alone_load_into_another_optimizers_store() {
    let folder = tempfile::tempdir().unwrap();
    let adagrad = Setup {
        optimizer: Optimizer::adagrad(),
        ..BASE
    };
    let mut first = adagrad.trainer();
    let checkpoints = never(folder.path());
    adagrad
        .run(&mut first, Some(&checkpoints), &mut ())
        .unwrap();
    let mut second = BASE.trainer();
    let newest = Checkpoint::newest(folder.path(), &mut |_, _| Ok(())).unwrap();
    newest.unwrap().load_weights(&mut second).unwrap();
    let rows = |trainer: &AnyTrainer| trainer.store().export(0, 0..40).unwrap().weights;
    assert_eq!(rows(&first), rows(&second));
    assert_eq!(
        first.model().named_weights().unwrap()[0].1.to_string(),
        second.model().named_weights().unwrap()[0].1.to_string()
    );
    let none = Checkpoint::newest(&folder.path().join("none"), &mut |_, _| Ok(())).unwrap();
    assert!(none.is_none());
}

/// `tests/checkpoint_v1` was written by the last program whose checkpoints knew dense parameters by
/// number: a run of 60 samples stopped after step 5, and the weights of the run that was not.
#[test]
fn a_checkpoint_of_version_1_is_read_and_its_run_goes_on() {
    let setup = Setup {
        placement: Placement::Cpu,
        optimizer: Optimizer::adagrad(),
        split: Split::Unsplit,
        order: Order::Shuffled,
        replicas: 1,
        hot: [0; 4],
        epochs: 1,
        device_rows: RowFormat::F32,
    };
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoint_v1");
    for replicas in [1, 3] {
        let setup = Setup { replicas, ..setup };
        let folder = tempfile::tempdir().unwrap();
        let step = folder.path().join("step-0000000005");
        std::fs::create_dir(&step).unwrap();
        for file in std::fs::read_dir(sample.join("step-0000000005")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), step.join(file.file_name())).unwrap();
        }
        let mut said = Said::default();
        let mut trainer = setup.trainer();
        let checkpoints = resuming(folder.path());
        setup
            .run(&mut trainer, Some(&checkpoints), &mut said)
            .unwrap();
        assert_eq!(said.resumed, [5]);
        assert!(said.damaged.is_empty(), "{:?}", said.damaged);
        let mut expected = setup.trainer();
        load_weights(&sample.join("weights.safetensors"), &mut expected).unwrap();
        let values = |trainer: &AnyTrainer| -> Vec<f32> {
            let dense = trainer.model().named_weights().unwrap().into_iter();
            let dense = dense.map(|(_, weight)| weight.flatten_all().unwrap());
            let dense = dense.flat_map(|weight| weight.to_vec1().unwrap());
            let parts = trainer.store().parts().iter().enumerate();
            let rows = parts.flat_map(|(index, part)| {
                trainer.store().export(index, 0..part.rows).unwrap().weights
            });
            dense.chain(rows).collect()
        };
        let (found, expected) = (values(&trainer), values(&expected));
        // The sample was written with AVX2; other levels round differently.
        if replicas == 1 && recsys_model::simd::level() == SimdLevel::Avx2 {
            assert_eq!(bits(&found), bits(&expected));
        }
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
        assert!(found.iter().zip(&expected).all(close));
    }
}

/// What other people keep in the folder stays there, whatever it is called.
#[test]
fn only_what_is_provably_a_checkpoint_is_removed() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let foreign = [
        "step-0000000001/weights.bin",
        "step-0000000002/checkpoint.json",
        "step-0000000003/model.safetensors",
        ".step-0000000007.partial-1/notes.txt",
        ".step-of-mine.partial-solution/checkpoint.json",
    ];
    for name in foreign {
        write(name, "somebody else's");
    }
    // One of ours to which somebody added a file.
    let earlier = tempfile::tempdir().unwrap();
    stop_after(3, BASE, never(earlier.path()));
    for name in ["checkpoint.json", "model.safetensors", "tables.safetensors"] {
        let from = earlier.path().join("step-0000000003").join(name);
        let to = place.path().join("step-0000000004").join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }
    write("step-0000000004/notes.txt", "the good one");
    write(
        ".step-0000000009.partial-1/model.safetensors",
        "remains of a killed run",
    );

    let every = Checkpoints {
        every: CheckpointEvery::Steps(1),
        keep: 1,
        ..resuming(place.path())
    };
    let report = BASE
        .run(&mut BASE.trainer(), Some(&every), &mut ())
        .unwrap();
    assert_eq!(report.unsaved, None);
    for name in foreign.into_iter().chain(["step-0000000004/notes.txt"]) {
        assert!(place.path().join(name).exists(), "{name}");
    }
    assert!(!place.path().join(".step-0000000009.partial-1").exists());

    // In the way of a checkpoint, it stays, and that is said.
    let place = tempfile::tempdir().unwrap();
    let blocked = &mut Blocked(place.path());
    let report = BASE.run(&mut BASE.trainer(), Some(&never(place.path())), blocked);
    let unsaved = report.unwrap().unsaved.unwrap();
    assert!(
        unsaved.contains("holds something else; move it away"),
        "{unsaved}"
    );
}

/// Puts something where the last checkpoint belongs.
struct Blocked<'a>(&'a Path);

impl Observer for Blocked<'_> {
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        if let Event::Started { steps, .. } = event {
            let path = self.0.join(format!("step-{steps:010}"));
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("thesis.txt"), "all of it").unwrap();
        }
        Ok(ControlFlow::Continue(()))
    }
}
