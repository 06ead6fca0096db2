//! The programs for sequences as users run them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod programs;

use std::path::Path;

use programs::command;
use serde_json::Value;

/// Runs a program; returns its exit code and all that it wrote.
fn run(name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(name).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn ok(name: &str, arguments: &[&str]) -> String {
    let (code, text) = run(name, arguments);
    assert_eq!(code, Some(0), "{name} {arguments:?}: {text}");
    text
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn sequences_are_profiled_and_trained_in_every_placement() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = path("data");
    ok(
        "generate",
        &[
            "sequences",
            "--rows",
            "4000",
            "--scale",
            "0.01",
            "--out",
            &data,
        ],
    );

    let set = path("set.json");
    ok(
        "profile",
        &[
            "--data",
            &data,
            "--budget",
            "60%",
            "--optimizer",
            "adagrad",
            "--out",
            &set,
            "--report",
            &path("report"),
        ],
    );
    let report = json(&folder.path().join("report/report.json"));
    let points = report["lengths"]["points"].as_array().unwrap();
    assert_eq!(points.last().unwrap()["history"], 20);
    let hot = |point: &Value| point["inputs"]["hot_inputs"].as_u64().unwrap();
    let hot: Vec<u64> = points.iter().map(hot).collect();
    assert!(
        hot.windows(2).all(|pair| pair[1] <= pair[0]) && hot[0] > 2 * hot[hot.len() - 1],
        "longer histories are hot less often: {hot:?}"
    );
    assert!(folder.path().join("report/history_length.svg").exists());

    let results = path("results.json");
    let test_loss = |placement: &str, more: &[&str]| {
        let mut arguments = vec!["--data", &data, "--seed", "3", "--json", &results];
        arguments.extend(["--placement", placement]);
        arguments.extend(more);
        ok("train", &arguments);
        let results = json(Path::new(&results));
        assert_eq!(results["config"]["settings"]["model"]["history"], 20);
        results["test"]["log_loss"].as_f64().unwrap()
    };
    let cpu = test_loss("cpu", &[]);
    assert_eq!(cpu, test_loss("cpu-device", &[]));
    let with =
        |placement: &str| test_loss(placement, &["--hot-set", &set, "--schedule", "original"]);
    assert_eq!(cpu, with("mixed"));
    assert_eq!(cpu, with("fae"));
    let by_turns = test_loss("fae", &["--hot-set", &set]);
    assert!(by_turns.is_finite() && by_turns != cpu);
    for layer in ["mha", "rnn"] {
        assert!(test_loss("cpu", &["--sequence-layer", layer]).is_finite());
    }

    let (code, text) = run("train", &["--data", &data, "--model", "dlrm"]);
    assert!(
        code == Some(2) && text.contains("the model `tbsm`"),
        "{text}"
    );
    let clicks = path("clicks");
    ok(
        "generate",
        &[
            "packed", "--rows", "500", "--scale", "0.02", "--out", &clicks,
        ],
    );
    let (code, text) = run("train", &["--data", &clicks, "--model", "tbsm"]);
    assert!(
        code == Some(2) && text.contains("the model `dlrm`"),
        "{text}"
    );
}

#[test]
fn events_become_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (events, data) = (path("UserBehavior.csv"), path("data"));
    ok(
        "generate",
        &["events", "--events", "3000", "--out", &events],
    );
    ok("prepare", &["taobao", "--raw", &events, "--out", &data]);
    let text = ok(
        "train --placement fae",
        &["--data", &data, "--budget", "50%"],
    );
    assert!(
        text.contains("of the hot inputs are positive"),
        "real negatives are drawn evenly, so hot sequences are mostly positive: {text}"
    );
}

#[test]
fn events_without_a_sequence_are_counted_before_they_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let raw = path("events.csv");
    std::fs::write(&raw, "7,1,3,pv,1511658000\n7,2,3,buy,1511658060\n").unwrap();
    let (code, text) = run(
        "prepare",
        &["taobao", "--raw", &raw, "--out", &path("data")],
    );
    assert_eq!(code, Some(2), "{text}");
    let counts: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for line in [
        ["users", "1"],
        ["items", "2"],
        ["categories", "1"],
        ["buy", "1"],
    ] {
        assert!(counts.contains(&line.to_vec()), "{text}");
    }
    assert!(
        text.contains("none of the 1 users has the 21 events"),
        "{text}"
    );
}
