//! The `prepare` program as users run it: exit codes, a full disk, a kill in the middle.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod programs;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use programs::command;
use recsys_data::generate::{Planted, PlantedOptions};
use recsys_data::packed::PackedDataset;

fn raw(folder: &Path, rows: u64) -> PathBuf {
    let planted = Planted::new(PlantedOptions::default().with_scale(0.1)).unwrap();
    let path = folder.join("train.txt");
    let file = std::fs::File::create(&path).unwrap();
    planted
        .write_criteo_text(0..rows, std::io::BufWriter::new(file))
        .unwrap();
    path
}

fn arguments(raw: &Path, out: &Path) -> Vec<String> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let words = ["criteo-kaggle", "--raw", &text(raw), "--out", &text(out)];
    words.map(str::to_owned).to_vec()
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn bad_input_is_exit_code_two_with_one_line_that_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.txt");
    std::fs::write(&path, "0\t1\n").unwrap();
    let (code, message) =
        run(command("prepare").args(arguments(&path, &folder.path().join("out"))));
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("bad.txt, line 1: 2 fields"), "{message}");
    assert_eq!(message.trim().lines().count(), 1, "{message}");
    assert_eq!(names(folder.path()), ["bad.txt"]);
    let (code, message) = run(command("prepare").args(["criteo-kaggle", "--out", "x"]));
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("--raw"), "{message}");
}

#[test]
fn events_become_sequences_or_one_line_that_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.csv");
    let mut text: String = (0..300)
        .map(|event| format!("{},{event},{},pv,{event}\n", event % 3, event % 7))
        .collect();
    std::fs::write(&path, &text).unwrap();
    let out = folder.path().join("out");
    let taobao = |more: &[&str]| {
        let mut command = command("prepare");
        command.arg("taobao").arg("--raw").arg(&path);
        command.arg("--out").arg(&out).args(more);
        run(&mut command)
    };
    let (code, message) = taobao(&["--split", "user", "--test", "0.4", "--memory", "1MiB"]);
    assert_eq!(code, Some(0), "{message}");
    let data = PackedDataset::open(&out).unwrap();
    data.verify().unwrap();
    assert_eq!(data.schema().positions(), 21);

    let (code, message) = taobao(&["--rules", "reference", "--test", "0.4", "--force"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("leave --test out"), "{message}");
    text.push_str("1,2,3,look,4\n");
    std::fs::write(&path, &text).unwrap();
    let (code, message) = taobao(&["--force"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("events.csv, line 301: behaviour (field 4) is \"look\""),
        "{message}"
    );
    assert_eq!(names(folder.path()), ["events.csv", "out"]);
}

/// A limit on the size of files stands in for a full disk: the system refuses the reservation in
/// the same way.
#[test]
fn a_disk_that_fills_up_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw(folder.path(), 20_000);
    let script = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(programs::command("prepare").get_program())
        .arg("prepare")
        .args(arguments(&raw, &folder.path().join("out")));
    let (code, message) = run(&mut command);
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("cannot reserve disk space") && message.contains("free some space"),
        "{message}"
    );
    assert_eq!(names(folder.path()), ["train.txt"]);
}

#[test]
fn a_killed_run_leaves_no_data_set_and_does_not_disturb_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw(folder.path(), 150_000);
    let out = folder.path().join("out");
    let mut killed = 0;
    // Later and later, until a run gets to its end.
    for wait in (1..).map(|step| std::time::Duration::from_millis(15 * step * step)) {
        let mut child = command("prepare")
            .args(arguments(&raw, &out))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(wait);
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if ended.is_some() || status.success() {
            assert!(status.success());
            break;
        }
        killed += 1;
        // Complete, where the kill came after the rename; absent otherwise.
        if out.exists() {
            PackedDataset::open(&out).unwrap().verify().unwrap();
            break;
        }
    }
    assert!(killed > 0);
    PackedDataset::open(&out).unwrap().verify().unwrap();
    assert_eq!(
        names(folder.path()),
        ["out", "train.txt"],
        "remains of a killed run were not removed"
    );
}
