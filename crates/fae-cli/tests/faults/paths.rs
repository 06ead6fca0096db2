//! Two writers together, folders that cannot be written, names that are not plain words.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use recsys_data::generate::{Planted, PlantedOptions};
use recsys_data::output_file::OutputFile;
use recsys_data::packed::{PackedDataset, PackedWriter, WriterOptions};
use recsys_data::{Schema, SplitRows};

use crate::programs::command;
use crate::table::{Line, Outcome, check, contents, names};

fn write_rows(path: &Path) {
    let planted = Planted::new(PlantedOptions::default().with_scale(0.01)).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let file = std::io::BufWriter::new(file);
    planted.write_criteo_text(0..100, file).unwrap();
}

fn prepare(raw: &Path, out: &Path) -> Command {
    let mut command = command("prepare");
    command.arg("criteo-kaggle").arg("--raw").arg(raw);
    command.arg("--out").arg(out);
    command
}

/// Exit code and messages.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), message)
}

/// Whether a run was refused with these words, and the folder holds what it held.
fn refused(command: &mut Command, words: &[&str], folder: &Path, before: &[&str]) -> Outcome {
    let (code, message) = run(command);
    let mut left = names(folder);
    left.sort();
    if code == Some(2) && words.iter().all(|word| message.contains(word)) && left == before {
        return Outcome::Detected;
    }
    Outcome::Lost(format!("exit code {code:?}, {left:?}: {message}"))
}

fn done(command: &mut Command, judge: impl FnOnce() -> bool) -> Outcome {
    let (code, message) = run(command);
    if code == Some(0) && judge() {
        return Outcome::Harmless;
    }
    Outcome::Lost(format!("exit code {code:?}: {message}"))
}

#[test]
fn a_second_writer_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let (raw, out) = (folder.join("clicks.txt"), folder.join("out"));
    write_rows(&raw);
    let rows = SplitRows::default();
    let writer =
        PackedWriter::create(&out, Schema::default(), rows, WriterOptions::default()).unwrap();
    let partial = format!(".out.partial-{}", std::process::id());
    let held = [".out.lock", &partial, "clicks.txt"];
    let words = [
        "out is being written by another process",
        "wait",
        "another folder",
    ];
    let mut outcomes = vec![
        refused(&mut prepare(&raw, &out), &words, folder, &held),
        refused(prepare(&raw, &out).arg("--force"), &words, folder, &held),
    ];
    drop(writer);
    outcomes.push(done(&mut prepare(&raw, &out), || names(folder).len() == 2));

    let set = folder.join("hotset.json");
    let mut profile = command("profile");
    profile.arg("--data").arg(&out).arg("--out").arg(&set);
    let file = OutputFile::create(&set).unwrap();
    let held = [".hotset.json.partial", "clicks.txt", "out"];
    let words = ["hotset.json", "another process is writing it"];
    outcomes.push(refused(&mut profile, &words, folder, &held));
    drop(file);
    outcomes.push(done(&mut profile, || names(folder).len() == 3));
    check(&[Line::new("two writers", "prepare, profile", outcomes)]);
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let (raw, closed) = (folder.join("clicks.txt"), folder.join("closed"));
    write_rows(&raw);
    let below_a_file = raw.join("out");
    let held = ["clicks.txt"];
    let mut outcomes = vec![refused(
        &mut prepare(&raw, &below_a_file),
        &["clicks.txt"],
        folder,
        &held,
    )];

    let mode = |path: &Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
    };
    std::fs::create_dir(&closed).unwrap();
    mode(&closed, 0o555);
    mode(folder, 0o755);
    // Permissions do not bind root, so the program runs as nobody there.
    // SAFETY: the call only reads an attribute of the process.
    let is_root = unsafe { libc::geteuid() } == 0;
    let as_user = |command: &mut Command| {
        if is_root {
            command.uid(65_534).gid(65_534);
        }
    };
    let mut trial = command("prepare");
    as_user(trial.arg("--version"));
    if trial.output().is_ok_and(|output| output.status.success()) {
        for out in [closed.clone(), closed.join("out"), closed.join("new/out")] {
            let mut command = prepare(&raw, &out);
            as_user(&mut command);
            outcomes.push(refused(
                &mut command,
                &["closed", "ermission denied"],
                &closed,
                &[],
            ));
        }
    } else {
        println!("folder without write permission: skipped, nobody may not run the programs here");
    }
    mode(&closed, 0o755);
    check(&[Line::new(
        "folder that cannot be written",
        "prepare",
        outcomes,
    )]);
}

#[test]
fn names_may_be_any_the_system_allows() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let raw = folder.join("clicks.txt");
    write_rows(&raw);
    let plain = folder.join("plain");
    assert_eq!(run(&mut prepare(&raw, &plain)).0, Some(0));
    // The manifest names the raw file, so it differs with that name.
    let samples = |out: &Path| {
        let mut all = contents(out);
        all.remove(Path::new("dataset.json")).unwrap();
        all
    };
    let mut spellings = vec![
        OsStr::new("Ausgabe für das Modell, дані 数据"),
        OsStr::new("it's \"here\" $HOME"),
    ];
    if cfg!(target_os = "linux") {
        spellings.push(OsStr::from_bytes(b"no text: \xff\xfe"));
    }
    let mut outcomes = Vec::new();
    for spelling in spellings {
        let below = folder.join(spelling);
        std::fs::create_dir(&below).unwrap();
        let (raw_here, out, set) = (
            below.join(spelling),
            below.join("out"),
            below.join("hot set"),
        );
        std::fs::copy(&raw, &raw_here).unwrap();
        let out_here = out.join(spelling);
        outcomes.push(done(&mut prepare(&raw_here, &out_here), || {
            let data = PackedDataset::open(&out_here);
            data.and_then(|data| data.verify()).is_ok() && samples(&out_here) == samples(&plain)
        }));
        let mut profile = command("profile");
        profile
            .arg("--data")
            .arg(&out_here)
            .arg("--out")
            .arg(set.join(spelling));
        outcomes.push(done(&mut profile, || names(&set).len() == 1));
        let mut train = command("train");
        train
            .arg("--data")
            .arg(&out_here)
            .arg("--save-weights")
            .arg(below.join("weights"));
        train.args(["--bottom-mlp", "13-16", "--top-mlp", "16-1"]);
        outcomes.push(done(&mut train, || below.join("weights").exists()));
    }
    check(&[Line::new(
        "spaces, letters, no text",
        "prepare, profile, train",
        outcomes,
    )]);
}
