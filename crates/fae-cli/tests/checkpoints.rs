//! Training programs that are killed and go on: the results are those of a run that was left alone.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod programs;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use programs::command;
use recsys_data::SplitRows;
use recsys_data::generate::{Planted, PlantedOptions, write_packed};
use serde_json::Value;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A small data set called `data`.
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let options = PlantedOptions {
            samples: 3_400,
            ..PlantedOptions::default()
        };
        let planted = Planted::new(options.with_scale(0.02)).unwrap();
        let rows = SplitRows {
            train: 3_000,
            validation: 200,
            test: 200,
        };
        let data = place.path("data");
        write_packed(
            &planted,
            planted.options(),
            rows,
            Path::new(&data),
            false,
            &(),
        )
        .unwrap();
        place
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn program(&self, name: &str, run: &str, more: &[&str]) -> Command {
        self.long_program(name, run, "2", more)
    }

    fn long_program(&self, name: &str, run: &str, epochs: &str, more: &[&str]) -> Command {
        let mut command = command(name);
        command
            .args(["--data", &self.path("data")])
            .args(["--bottom-mlp", "13-16", "--top-mlp", "16-1"])
            .args([
                "--batch-size",
                "10",
                "--epochs",
                epochs,
                "--test-every",
                "70",
            ])
            .args(["--save-weights", &self.path(&format!("{run}.safetensors"))])
            .args(["--json", &self.path(&format!("{run}.json"))])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn weights(&self, run: &str) -> Vec<u8> {
        std::fs::read(self.path(&format!("{run}.safetensors"))).unwrap()
    }

    /// The results, without what a clock or the machine decides.
    fn results(&self, run: &str) -> Value {
        let text = std::fs::read_to_string(self.path(&format!("{run}.json"))).unwrap();
        let mut results: Value = serde_json::from_str(&text).unwrap();
        results["peak_memory_bytes"].take();
        results["hot_set"].take();
        results["train"]["seconds"].take();
        results["train"]["samples_per_second"].take();
        for phase in results["phases"].as_object_mut().unwrap().values_mut() {
            if let Some(phase) = phase.as_object_mut() {
                phase.retain(|key, _| key == "steps" || key == "samples");
            }
        }
        results
    }
}

fn succeeded(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Kills a program at moments that differ from run to run, until it comes to its end.
fn kill_and_resume(place: &Place, name: &str, more: &[&str]) {
    let run = |run: &str, more: &[&str]| place.program(name, run, more);
    succeeded(&run("alone", more).output().unwrap());
    let folder = place.path("checkpoints of a run, Größe 1");
    let mut arguments = more.to_vec();
    arguments.extend([
        "--checkpoint",
        &folder,
        "--checkpoint-every",
        "23",
        "--resume",
    ]);
    for attempt in 0..kills() {
        let mut child = run("killed", &arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(60 + 137 * attempt % 400));
        let _ = child.kill();
        child.wait().unwrap();
    }
    succeeded(&run("killed", &arguments).output().unwrap());
    assert!(place.weights("killed") == place.weights("alone"));
    assert_eq!(place.results("killed"), place.results("alone"));
}

/// How often a run is killed: a few times, or `RECSYS_KILLS`.
fn kills() -> u64 {
    std::env::var("RECSYS_KILLS").map_or(3, |kills| kills.parse().unwrap())
}

#[test]
fn killed_programs_come_to_the_same_end() {
    let placements: [(&str, &[&str]); 3] = [
        ("train", &[]),
        (
            "train --placement fae",
            &["--budget", "20%", "--replicas", "2"],
        ),
        ("train --placement mixed", &["--budget", "20%"]),
    ];
    for (name, placement) in placements {
        for optimizer in ["sgd", "adagrad"] {
            for mapped in [false, true] {
                let place = Place::new();
                let rows = place.path("rows");
                let mut more = [placement, &["--optimizer", optimizer]].concat();
                if mapped {
                    more.extend(["--mapped-rows", &rows]);
                }
                kill_and_resume(&place, name, &more);
            }
        }
    }
}

#[test]
fn killed_programs_with_rounded_rows_come_to_the_same_end() {
    for placement in ["fae", "mixed"] {
        let place = Place::new();
        let rounded = ["--budget", "20%", "--placement", placement, "--device-rows"];
        kill_and_resume(&place, "train", &[&rounded[..], &["bf16"]].concat());
        // What was rounded goes on as it was, not as something else.
        let folder = place.path("checkpoints of a run, Größe 1");
        let other = [&rounded[..], &["f32", "--checkpoint", &folder, "--resume"]].concat();
        let output = place.program("train", "other", &other).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("device_rows was") && said.contains("bf16"),
            "{said}"
        );
    }
}

#[test]
fn a_signal_ends_a_run_with_a_checkpoint_that_can_be_scored() {
    let place = Place::new();
    let folder = place.path("checkpoints");
    let mut program = place.long_program("train", "stopped", "100000", &["--checkpoint", &folder]);
    let child = program.spawn().unwrap();
    // The first evaluation of the run writes the first checkpoint.
    while !Path::new(&folder).is_dir() || std::fs::read_dir(&folder).unwrap().count() < 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: the process is this test's child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(id, libc::SIGTERM) }, 0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("interrupted after step") && said.contains("--resume"));

    let scores = place.path("scores.json");
    let output = command("evaluate")
        .args(["--data", &place.path("data"), "--checkpoint", &folder])
        .args(["--split", "validation", "--json", &scores])
        .output()
        .unwrap();
    succeeded(&output);
    let scores: Value = serde_json::from_str(&std::fs::read_to_string(scores).unwrap()).unwrap();
    assert_eq!(scores["samples"], 200);
    assert!(scores["auc"].as_f64().unwrap() > 0.5);

    // Without --resume, a folder with checkpoints is left alone; with other settings, the
    // difference is named.
    let refused = |more: &[&str]| {
        let output = place.program("train", "refused", more).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--checkpoint", &folder]).contains("holds checkpoints already"));
    let other = [
        "--checkpoint",
        &folder,
        "--resume",
        "--optimizer",
        "adagrad",
    ];
    let message = refused(&other);
    assert!(
        message.contains("optimizer was \"sgd\" and is"),
        "{message}"
    );
}
