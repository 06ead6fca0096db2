//! Signals: what can be written is, and the exit code tells.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::cases::Inputs;
use crate::programs::command;
use crate::table::{Line, Outcome, check};

/// A run that ends after hours, or after a few seconds; it has taken steps when this returns.
fn start(
    inputs: &Inputs,
    out: &Path,
    checkpoints: bool,
    epochs: &str,
    ignored: Option<i32>,
) -> Child {
    let mut command =
        command("train --batch-size 20 --threads 1 --bottom-mlp 13-16 --top-mlp 16-1");
    command
        .arg("--data")
        .arg(inputs.old())
        .args(["--epochs", epochs]);
    for (flag, name) in [
        ("--save-weights", "weights"),
        ("--json", "json"),
        ("--log", "log"),
    ] {
        command.arg(flag).arg(out.join(name));
    }
    if checkpoints {
        command.arg("--checkpoint").arg(out.join("checkpoints"));
    }
    // SAFETY: between fork and exec the child calls nothing but `signal`, which may be called
    // there.
    unsafe {
        command.pre_exec(move || {
            // Whoever started this test may ignore them.
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                let action = match ignored {
                    Some(ignored) if ignored == signal => libc::SIG_IGN,
                    _ => libc::SIG_DFL,
                };
                libc::signal(signal, action);
            }
            Ok(())
        });
    }
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    // The log tells of the first epoch.
    while !fs::read_to_string(out.join("log")).is_ok_and(|log| log.contains("epoch_ended")) {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "no step was taken"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn send(child: &Child, signal: i32) {
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: the process is this test's child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(id, signal) }, 0);
}

#[test]
fn a_signal_ends_a_run_with_its_outputs_and_a_code_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let inputs = Inputs::new(place.path().join("in"));
    let mut lines = Vec::new();
    for (name, signal) in [
        ("Ctrl-C", libc::SIGINT),
        ("SIGTERM", libc::SIGTERM),
        ("terminal closed", libc::SIGHUP),
    ] {
        let run = |checkpoints: bool| {
            let out = place.path().join(format!("{signal} {checkpoints}"));
            fs::create_dir(&out).unwrap();
            let child = start(&inputs, &out, checkpoints, "1000000", None);
            send(&child, signal);
            let output = child.wait_with_output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            let json = fs::read_to_string(out.join("json")).unwrap_or_default();
            let results: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
            let whole = results["interrupted_at"].is_u64()
                && out.join("weights").exists()
                && out.join("checkpoints").exists() == checkpoints;
            match output.status.code() {
                Some(code) if code == 128 + signal && whole && printed.contains("interrupted") => {
                    Outcome::Detected
                }
                code => Outcome::Lost(format!("exit code {code:?}, outputs: {whole}: {printed}")),
            }
        };
        lines.push(Line::new(name, "train", [run(false), run(true)]));
    }

    // As `nohup` does it, and as a shell's script does with what it starts in the background.
    let ignored = [libc::SIGHUP, libc::SIGINT].map(|signal| {
        let out = place.path().join(format!("ignored {signal}"));
        fs::create_dir(&out).unwrap();
        let child = start(&inputs, &out, false, "40", Some(signal));
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) if out.join("weights").exists() => Outcome::Harmless,
            code => Outcome::Lost(format!("signal {signal} ended it: exit code {code:?}")),
        }
    });
    lines.push(Line::new("signal that is ignored", "train", ignored));
    check(&lines);
}
