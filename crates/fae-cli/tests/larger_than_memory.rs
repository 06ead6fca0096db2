//! Training with `--mapped-rows` as users run it: the numbers of rows in memory, also where memory
//! is too small for them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod programs;

use std::path::Path;
use std::process::{Command, Output};

use programs::command;
use recsys_data::SplitRows;
use recsys_data::generate::{Planted, PlantedOptions, write_packed};
use testing::MemoryLimit;

/// A planted data set whose tables have that many times the rows of the smallest.
fn data(folder: &Path, scale: f64) -> String {
    let options = PlantedOptions {
        samples: 3_000,
        ..PlantedOptions::default()
    };
    let planted = Planted::new(options.with_scale(scale)).unwrap();
    let rows = SplitRows {
        train: 2_600,
        validation: 200,
        test: 200,
    };
    let path = folder.join("data");
    write_packed(&planted, planted.options(), rows, &path, false, &()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn assert_success(output: &Output) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{error}", output.status);
}

#[test]
fn mapped_rows_change_no_weight_in_any_placement() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 0.05);
    let rows = folder.path().join("rows of größte Tabelle");
    for (placement, more, optimizer) in [
        ("cpu", "", "sgd"),
        ("cpu-device", "", "rowwise-adagrad"),
        ("fae", "--budget 20%", "adagrad"),
        ("mixed", "--budget 20%", "sgd"),
    ] {
        let mut weights = Vec::new();
        for mapped in [false, true] {
            let file = folder
                .path()
                .join(format!("{placement}-{mapped}.safetensors"));
            let mut run = command(&format!("train --placement {placement} {more}"));
            run.args(["--data", &data, "--optimizer", optimizer])
                .args(["--threads", "2"])
                .arg("--save-weights")
                .arg(&file);
            if mapped {
                run.arg("--mapped-rows").arg(&rows);
            }
            let output = run.output().unwrap();
            assert_success(&output);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(said.contains("on disk"), mapped, "{said}");
            weights.push(std::fs::read(file).unwrap());
        }
        assert!(weights[0] == weights[1], "{placement}");
    }
    assert_eq!(std::fs::read_dir(&rows).unwrap().count(), 0);
}

/// Kilobytes of private memory that the limited runs get. `ulimit -d` counts no shared file maps;
/// `ulimit -v` counts addresses, and so cannot hold what this is about.
const LIMIT_KIB: u64 = 192 << 10;

/// The arguments of a run whose rows need over three times the limit.
fn arguments(data: &str, weights: &Path, rows: Option<&Path>) -> Vec<String> {
    let mut arguments: Vec<String> = ["--data", data, "--dim", "64", "--threads", "2"]
        .map(String::from)
        .into();
    let mlp = ["--bottom-mlp", "13-64-64", "--top-mlp", "64-1"];
    arguments.extend(mlp.map(String::from));
    arguments.extend(["--optimizer".into(), "adagrad".into()]);
    arguments.extend(["--save-weights".into(), weights.display().to_string()]);
    if let Some(rows) = rows {
        arguments.extend(["--mapped-rows".into(), rows.display().to_string()]);
    }
    arguments
}

/// Runs a program below a limit of its private memory.
fn limited(arguments: &[String], before: &str) -> Output {
    let program = command("train").get_program().to_owned();
    Command::new("sh")
        .arg("-c")
        .arg(format!("{before} && exec \"$@\""))
        .arg("sh")
        .arg(program)
        .arg("train")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn tables_of_three_times_the_memory_train_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), 11.0);
    let in_memory = folder.path().join("memory.safetensors");
    let run = command("train")
        .args(arguments(&data, &in_memory, None))
        .output();
    assert_success(&run.unwrap());
    let expected = std::fs::read(&in_memory).unwrap();
    // Weights and as many floats of state.
    assert!(
        2 * expected.len() as u64 > 3 * (LIMIT_KIB << 10),
        "{}",
        expected.len()
    );

    let ulimit = format!("ulimit -d {LIMIT_KIB}");
    let refused = limited(&arguments(&data, &in_memory, None), &ulimit);
    assert!(!refused.status.success(), "the limit does not hold");

    let rows = folder.path().join("rows");
    let mapped = folder.path().join("mapped.safetensors");
    assert_success(&limited(&arguments(&data, &mapped, Some(&rows)), &ulimit));
    assert!(std::fs::read(&mapped).unwrap() == expected);

    let Some(group) = MemoryLimit::new(LIMIT_KIB << 10) else {
        eprintln!("no memory control group can be made here: that limit is not tried");
        return;
    };
    std::fs::remove_file(&mapped).unwrap();
    let enter = format!("echo $$ > '{}'", group.processes().display());
    assert_success(&limited(&arguments(&data, &mapped, Some(&rows)), &enter));
    assert!(std::fs::read(&mapped).unwrap() == expected);
}
