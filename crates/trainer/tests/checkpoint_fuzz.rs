//! No file of a checkpoint makes reading it panic, loop or take much memory, whether its hashes
//! were made to fit or not.
//!
//! `RECSYS_FUZZ_SECONDS=600 cargo test --release -p trainer --test checkpoint_fuzz -- --nocapture`
//! tries new ones for ten minutes.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod skewed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dlrm::SliceSize;
use embedding_store::{Optimizer, Side, StoreOptions};
use serde_json::{Value, json};
use skewed::{AnyTrainer, Skewed, is_low, part, with_options};
use testing::fuzzing::{Target, run};
use trainer::{
    Checkpoint, CheckpointEvery, Checkpoints, Evaluations, Inputs, Interleave, Placement, Result,
    RunReport, TrainOptions, fit_with_checkpoints,
};
use xxhash_rust::xxh3::xxh3_64;

#[global_allocator]
static ALLOCATOR: testing::Counting = testing::Counting;

/// Nothing takes longer, whatever is in the file.
const LONGEST: Duration = Duration::from_secs(10);

fn trainer() -> AnyTrainer {
    let options = StoreOptions {
        optimizer: Optimizer::adagrad().into(),
        ..StoreOptions::default()
    };
    with_options(SliceSize::Fixed(8), Placement::Fae, options, [6; 4], 1)
}

/// A run of hot and cold inputs, which stops after some steps in all.
fn go_on(folder: &Path, resume: bool, max_steps: u64) -> Result<RunReport> {
    let data = Arc::new(Skewed::new(60, 2));
    let evaluations = Evaluations {
        validation: Some(part(&data, |sample| sample.is_multiple_of(5))),
        test: None,
    };
    let options = TrainOptions {
        batch_size: 7,
        epochs: 2,
        max_steps: Some(max_steps),
        ..TrainOptions::default()
    };
    let checkpoints = Checkpoints {
        every: CheckpointEvery::Steps(u64::MAX),
        resume,
        ..Checkpoints::new(folder)
    };
    let mut schedule = Interleave::try_new(40.0, Side::Hot).unwrap();
    let inputs = Inputs::Split {
        hot: part(&data, is_low),
        cold: part(&data, |sample| !is_low(sample)),
        schedule: &mut schedule,
    };
    let mut trainer = trainer();
    fit_with_checkpoints(
        &mut trainer,
        inputs,
        &evaluations,
        &options,
        Some(&checkpoints),
        &mut (),
    )
}

/// A checkpoint in the middle of an epoch, and its files.
struct Saved {
    place: tempfile::TempDir,
    files: [(&'static str, Vec<u8>); 3],
}

const NAMES: [&str; 3] = ["checkpoint.json", "model.safetensors", "tables.safetensors"];

impl Saved {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        go_on(place.path(), false, 5).unwrap();
        let step = place.path().join("step-0000000005");
        let files = NAMES.map(|name| (name, std::fs::read(step.join(name)).unwrap()));
        Self { place, files }
    }

    fn bytes(&self, name: &str) -> &[u8] {
        &self
            .files
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap()
            .1
    }

    /// The folder with one file in the place of its own, and no other checkpoint beside it.
    fn with(&self, name: &str, bytes: &[u8]) -> PathBuf {
        for entry in std::fs::read_dir(self.place.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
        let step = self.place.path().join("step-0000000005");
        std::fs::create_dir(&step).unwrap();
        for (known, own) in &self.files {
            let bytes = if *known == name { bytes } else { own };
            std::fs::write(step.join(known), bytes).unwrap();
        }
        step
    }

    /// The description with the size and the hash of another file.
    fn sealed_around(&self, name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut manifest: Value = serde_json::from_slice(self.bytes(NAMES[0])).unwrap();
        let files = manifest["files"].as_array_mut().unwrap();
        let file = files.iter_mut().find(|file| file["name"] == name).unwrap();
        file["bytes"] = json!(bytes.len());
        file["xxh3"] = json!(format!("{:016x}", xxh3_64(bytes)));
        sealed(manifest)
    }
}

/// A description with its hash.
fn sealed(mut manifest: Value) -> Vec<u8> {
    if let Some(fields) = manifest.as_object_mut() {
        fields.remove("xxh3");
        let hash = xxh3_64(manifest.to_string().as_bytes());
        manifest["xxh3"] = json!(format!("{hash:016x}"));
    }
    manifest.to_string().into_bytes()
}

/// Whether a checkpoint is read, on its own and by a run that goes on from it.
fn is_read(step: &Path) -> bool {
    let start = Instant::now();
    let read =
        Checkpoint::open(step).and_then(|checkpoint| checkpoint.load_weights(&mut trainer()));
    let resumed = go_on(step.parent().unwrap(), true, 8);
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    read.is_ok() && resumed.is_ok()
}

#[test]
fn damaged_and_forged_checkpoints_are_refused_or_read() {
    let saved = Saved::new();
    let (saved, [manifest, model, tables]) = (&saved, NAMES);
    let forged = |name: &'static str| Target {
        name,
        seeds: vec![saved.bytes(name).to_vec()],
        executions: 400,
        check: Box::new(move |bytes: &[u8]| {
            let step = saved.with(name, bytes);
            std::fs::write(step.join(manifest), saved.sealed_around(name, bytes)).unwrap();
            is_read(&step)
        }),
    };
    run(&mut [
        Target {
            name: "checkpoint.json, damaged",
            seeds: vec![saved.bytes(manifest).to_vec()],
            executions: 400,
            check: Box::new(|bytes: &[u8]| is_read(&saved.with(manifest, bytes))),
        },
        Target {
            name: "checkpoint.json, forged",
            seeds: vec![saved.bytes(manifest).to_vec()],
            executions: 800,
            check: Box::new(|bytes: &[u8]| {
                let Ok(value) = serde_json::from_slice(bytes) else {
                    return false;
                };
                is_read(&saved.with(manifest, &sealed(value)))
            }),
        },
        forged(model),
        forged(tables),
    ]);
}

/// Makes a description one that no run has written.
type Forge = fn(&mut Value);

/// Positions that no run has written: an error, and never a loop, a panic or a run that skips its
/// batches.
#[test]
fn forged_positions_end_in_an_error() {
    let saved = Saved::new();
    let manifest: Value = serde_json::from_slice(saved.bytes(NAMES[0])).unwrap();
    let lanes = manifest["order"]["lanes"].clone();
    let forgeries: [(&str, Forge); 7] = [
        ("turn.batches", |all| {
            all["progress"]["epoch"]["turn"]["batches"] = json!(u64::MAX)
        }),
        ("turn.lane", |all| {
            all["progress"]["epoch"]["turn"] = json!({"side": "hot", "batches": 1, "lane": 99});
        }),
        ("turn.side", |all| {
            all["progress"]["epoch"]["turn"] = json!({"side": "cold", "batches": 1, "lane": 0});
        }),
        ("done", |all| {
            all["progress"]["epoch"]["done"] = json!([u64::MAX, u64::MAX])
        }),
        ("order.lanes, none", |all| all["order"]["lanes"] = json!([])),
        ("order.lanes, few", |all| {
            all["order"]["lanes"][0]["batches"] = json!(0)
        }),
        ("order.lanes, many", |all| {
            all["order"]["lanes"][0]["batches"] = json!(u64::MAX);
            all["progress"]["epoch"]["done"] = json!([u64::MAX, 0]);
            all["progress"]["epoch"]["turn"] =
                json!({"side": "hot", "batches": u64::MAX, "lane": 0});
        }),
    ];
    for (what, forge) in forgeries {
        let mut forged = manifest.clone();
        forge(&mut forged);
        let step = saved.with(NAMES[0], &sealed(forged));
        let start = Instant::now();
        let error = go_on(step.parent().unwrap(), true, 8);
        assert!(error.is_err(), "{what}, {lanes}: {error:?}");
        assert!(start.elapsed() < LONGEST, "{what}");
    }
}

/// A FIFO would be waited for, and `/dev/zero` read without end.
#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused() {
    let saved = Saved::new();
    for name in NAMES {
        for device in [true, false] {
            let step = saved.with("", &[]);
            let path = step.join(name);
            std::fs::remove_file(&path).unwrap();
            if device {
                std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            } else if !std::process::Command::new("mkfifo")
                .arg(&path)
                .status()
                .is_ok_and(|s| s.success())
            {
                continue;
            }
            assert!(Checkpoint::open(&step).is_err(), "{name}");
        }
    }
}
