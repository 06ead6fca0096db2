//! The programs around hot rows as users run them, at the edges: what is defined there, and what is
//! refused.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod programs;

use std::path::{Path, PathBuf};

use programs::command;
use recsys_data::SplitRows;
use recsys_data::generate::{Planted, PlantedOptions, write_packed};
use serde_json::Value;

/// Runs a program; returns its exit code and what it wrote to standard error.
fn run(name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(name).args(arguments).output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A small data set.
    fn data(&self, name: &str, seed: u64, train: u64) -> String {
        let options = PlantedOptions {
            samples: train + 400,
            seed,
            ..PlantedOptions::default()
        };
        let planted = Planted::new(options.with_scale(0.02)).unwrap();
        let rows = SplitRows {
            train,
            validation: 200,
            test: 200,
        };
        let path = self.path(name);
        write_packed(
            &planted,
            planted.options(),
            rows,
            Path::new(&path),
            false,
            &(),
        )
        .unwrap();
        path
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }
}

const SMALL: [&str; 6] = [
    "--bottom-mlp",
    "13-16",
    "--top-mlp",
    "16-1",
    "--batch-size",
    "50",
];

fn train(place: &Place, data: &str, more: &[&str]) -> (Option<i32>, String) {
    let json = place.path("results.json");
    let mut arguments = vec!["--data", data, "--json", &json];
    arguments.extend(SMALL);
    arguments.extend(more);
    if !more.contains(&"--placement") {
        arguments.extend(["--placement", "fae"]);
    }
    run("train", &arguments)
}

#[test]
fn budgets_from_nothing_to_everything_train_on_every_input() {
    let place = Place::new();
    let data = place.data("data", 1, 1000);
    for (budget, hot) in [
        ("0", Some(0)),
        ("63", Some(0)),
        ("20%", None),
        ("100%", Some(1000)),
        ("1TiB", Some(1000)),
    ] {
        for placement in ["fae", "mixed"] {
            let (code, message) = train(
                &place,
                &data,
                &["--budget", budget, "--placement", placement],
            );
            assert_eq!(code, Some(0), "{budget} {placement}: {message}");
            let results = place.json("results.json");
            assert_eq!(results["train"]["samples"], 1000);
            let set = &results["hot_set"];
            assert_eq!(
                set["hot_inputs"].as_u64().unwrap() + set["cold_inputs"].as_u64().unwrap(),
                1000
            );
            if let Some(hot) = hot {
                assert_eq!(set["hot_inputs"], hot, "{budget}");
            }
        }
    }
}

#[test]
fn one_sample_and_more_replicas_than_samples_train() {
    let place = Place::new();
    let data = place.data("data", 1, 1);
    let (code, message) = train(&place, &data, &["--replicas", "3"]);
    assert_eq!(code, Some(0), "{message}");
    assert_eq!(place.json("results.json")["train"]["samples"], 1);
    let empty = place.data("empty", 1, 0);
    let (code, message) = train(&place, &empty, &[]);
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("no sample") || message.contains("no training"),
        "{message}"
    );
}

#[test]
fn hot_sets_of_other_data_and_edited_ones_are_refused() {
    let place = Place::new();
    let (data, other) = (place.data("data", 1, 500), place.data("other", 2, 500));
    let hot_set = place.path("hotset.json");
    let (code, message) = run(
        "profile",
        &["--data", &data, "--budget", "25%", "--out", &hot_set],
    );
    assert_eq!(code, Some(0), "{message}");
    let (code, message) = train(&place, &data, &["--hot-set", &hot_set]);
    assert_eq!(code, Some(0), "{message}");
    let (code, message) = train(&place, &other, &["--hot-set", &hot_set]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("hotset.json"), "{message}");
    // Rows of another width or with another state do not take its bytes.
    let wider = ["--hot-set", &hot_set, "--optimizer", "adagrad"];
    let (code, message) = train(&place, &data, &wider);
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("64 bytes") && message.contains("128"),
        "{message}"
    );
    for choice in [
        ["--budget", "1MiB"],
        ["--strategy", "frequency"],
        ["--sample", "0.5"],
    ] {
        let both = [&["--hot-set", &hot_set], &choice[..]].concat();
        let (code, message) = train(&place, &data, &both);
        assert_eq!(code, Some(2), "{message}");
        assert!(
            message.contains("cannot be used with") && message.contains(choice[0]),
            "{message}"
        );
    }
    let text = std::fs::read_to_string(&hot_set).unwrap();
    std::fs::write(
        &hot_set,
        text.replacen("\"hot_rows\": ", "\"hot_rows\": 1", 1),
    )
    .unwrap();
    let (code, message) = train(&place, &data, &["--hot-set", &hot_set]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("hotset.json"), "{message}");
}

#[test]
fn options_without_meaning_are_refused_by_name() {
    let place = Place::new();
    let data = place.data("data", 1, 100);
    let cases: [(&[&str], &str); 19] = [
        (&["--sample", "0"], "sampl"),
        (&["--sample", "1.5"], "sampl"),
        (&["--budget", "lots"], "256MiB"),
        (&["--rate", "0"], "rate"),
        (&["--schedule", "original", "--rate", "20"], "--rate"),
        (
            &["--schedule", "cold-hot", "--first", "hot"],
            "--first belongs to the schedule shuffle or",
        ),
        (
            &["--schedule", "interleave", "--patience", "3"],
            "--patience belongs to the schedule shuffle;",
        ),
        (
            &["--placement", "mixed", "--rate-floor", "3"],
            "--rate-floor belongs to the schedule shuffle;",
        ),
        (
            &["--placement", "mixed", "--rate-increase", "3"],
            "--rate-increase belongs",
        ),
        (
            &["--placement", "cpu", "--device", "cuda"],
            "placement cpu uses no device",
        ),
        (
            &["--placement", "cpu", "--replicas", "2"],
            "--replicas stands for several devices",
        ),
        (
            &["--placement", "cpu", "--budget", "1MiB"],
            "--budget is about hot rows",
        ),
        (&["--replicas", "0"], "replicas"),
        (&["--threads", "0"], "--threads is 0; give 1 to 1024"),
        (&["--threads", "99999999"], "give 1 to 1024"),
        (&["--epochs", "0"], "epochs"),
        (&["--device-rows", "fp16"], "f32 or bf16"),
        (
            &["--device-rows", "bf16", "--placement", "cpu"],
            "--placement to fae or mixed",
        ),
        (
            &["--device-rows", "bf16", "--placement", "cpu-device"],
            "--placement to fae or mixed",
        ),
    ];
    for (more, expected) in cases {
        let (code, message) = train(&place, &data, more);
        assert_eq!(code, Some(2), "{more:?}: {message}");
        assert!(message.contains(expected), "{more:?}: {message}");
    }
    if !candle_core::utils::cuda_is_available() {
        for placement in ["fae", "cpu-device", "mixed"] {
            let more = [
                "--data",
                &data,
                "--device",
                "cuda",
                "--placement",
                placement,
            ];
            let (code, message) = run("train", &more);
            assert_eq!(code, Some(2), "{message}");
            assert!(message.contains("--features cuda"), "{message}");
        }
    }
}

#[test]
fn a_budget_holds_twice_the_rows_in_bf16_and_they_learn_as_well() {
    let place = Place::new();
    let data = place.data("data", 1, 8000);
    let results = |placement, format| {
        let (code, message) = train(
            &place,
            &data,
            &[
                "--budget",
                "32KiB",
                "--placement",
                placement,
                "--schedule",
                "original",
                "--device-rows",
                format,
            ],
        );
        assert_eq!(code, Some(0), "{message}");
        let results = place.json("results.json");
        assert_eq!(results["config"]["placing"]["device_rows"], format);
        assert!(results["hot_set"]["hot_bytes"].as_u64().unwrap() <= 32 << 10);
        let hot = results["hot_set"]["hot_rows"].as_array().unwrap();
        let hot: u64 = hot.iter().map(|rows| rows.as_u64().unwrap()).sum();
        let test = &results["test"];
        let number = |key: &str| test[key].as_f64().unwrap();
        (hot, number("log_loss"), number("auc"))
    };
    for placement in ["mixed", "fae"] {
        let (rows, log_loss, auc) = results(placement, "f32");
        let (more, rounded_loss, rounded_auc) = results(placement, "bf16");
        // Rows of 16 floats; each set is within a row or so of the budget.
        assert!(
            rows.abs_diff(512) < 8 && more.abs_diff(1024) < 16,
            "{rows} {more}"
        );
        // The same samples in the same order: what differs is the rounding.
        assert!(log_loss != rounded_loss);
        let (loss_apart, auc_apart) = ((log_loss - rounded_loss).abs(), (auc - rounded_auc).abs());
        assert!(loss_apart < 0.005, "{placement}: {log_loss} {rounded_loss}");
        assert!(auc_apart < 0.01, "{placement}: {auc} {rounded_auc}");
        assert!(rounded_auc > 0.55, "{rounded_auc}");
    }
}

#[test]
fn the_placements_of_a_data_set_agree() {
    let place = Place::new();
    let data = place.data("data", 1, 600);
    let mut expected = None;
    for placement in ["cpu", "cpu-device", "mixed", "fae"] {
        let json = place.path("results.json");
        let mut arguments = vec![
            "--data",
            &data,
            "--json",
            &json,
            "--placement",
            placement,
            "--schedule",
            "original",
        ];
        if !placement.starts_with("cpu") {
            arguments.extend(["--budget", "30%"]);
        }
        arguments.extend(SMALL);
        let (code, message) = run("train", &arguments);
        assert_eq!(code, Some(0), "{message}");
        let found = place.json("results.json")["epochs"].clone();
        assert_eq!(*expected.get_or_insert(found.clone()), found, "{placement}");
    }
    let missing: PathBuf = place.folder.path().join("absent");
    let (code, message) = run("train", &["--data", missing.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("there is no such folder"), "{message}");
}
