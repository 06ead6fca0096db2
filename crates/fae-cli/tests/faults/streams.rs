//! Standard output and error that nobody reads or that are full, and outputs that cannot be written
//! or are no regular files.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::cases::Inputs;
use crate::programs::command;
use crate::table::{Line, Outcome, check, contents};

/// A model small enough to be trained many times.
const MODEL: [&str; 4] = ["--bottom-mlp", "13-16", "--top-mlp", "16-1"];

/// Adds a command's arguments: raw data, a data set and the folder of outputs.
type Arguments = fn(&mut Command, &Path, &Path, &Path);
/// Gives a command other streams.
type Disturb = fn(&mut Command);

struct Place {
    folder: tempfile::TempDir,
    inputs: Inputs,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs::new(folder.path().join("in"));
        Self { folder, inputs }
    }

    /// A new empty folder of this name.
    fn clear(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    /// Training on the small data set, with these outputs below `out`.
    fn train(&self, out: &Path, outputs: &[(&str, &str)]) -> Command {
        let mut command = command("train --batch-size 20 --threads 1");
        command.arg("--data").arg(self.inputs.old()).args(MODEL);
        for (flag, name) in outputs {
            command.arg(flag).arg(out.join(name));
        }
        command
    }
}

const OUTPUTS: [(&str, &str); 4] = [
    ("--save-weights", "weights"),
    ("--json", "json"),
    ("--log", "log"),
    ("--checkpoint", "checkpoints"),
];

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_stream_that_nobody_reads_or_that_is_full_loses_nothing() {
    let place = Place::new();
    let data = place.inputs.old();
    let raw = place.inputs.folder.join("clicks.txt");
    // What only prints has no outputs; the others have these.
    let commands: [(&str, bool, Arguments); 6] = [
        ("prepare criteo-kaggle", false, |command, raw, _, out| {
            command
                .arg("--raw")
                .arg(raw)
                .arg("--out")
                .arg(out.join("packed"));
            command.arg("--json").arg(out.join("json"));
        }),
        ("profile", false, |command, _, data, out| {
            command
                .arg("--data")
                .arg(data)
                .arg("--out")
                .arg(out.join("set"));
            command.arg("--report").arg(out.join("report"));
        }),
        ("train", false, |command, _, data, out| {
            command.arg("--data").arg(data).args(MODEL);
            for (flag, name) in OUTPUTS {
                command.arg(flag).arg(out.join(name));
            }
        }),
        ("inspect", true, |command, _, data, _| {
            command.arg(data);
        }),
        ("verify", true, |command, _, data, _| {
            command.arg(data);
        }),
        ("completions bash", true, |_, _, _, _| {}),
    ];
    let streams: [(&str, Disturb); 4] = [
        ("standard output closed", |command| {
            command.stdout(closed());
        }),
        ("standard error closed", |command| {
            command.stderr(closed());
        }),
        ("standard output full", |command| {
            command.stdout(full());
        }),
        ("standard error full", |command| {
            command.stderr(full());
        }),
    ];
    let mut lines = Vec::new();
    for (name, only_prints, arguments) in commands {
        let run = |disturb: Option<Disturb>| {
            let out = place.clear("out");
            let mut command = command(name);
            arguments(&mut command, &raw, &data, &out);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            if let Some(disturb) = disturb {
                disturb(&mut command);
            }
            let output = command.output().unwrap();
            (output, contents(&out).into_keys().collect::<Vec<_>>())
        };
        let (_, expected) = run(None);
        for (stream, disturb) in streams {
            let (output, found) = run(Some(disturb));
            let lost = only_prints && stream == "standard output full";
            let outcome = match output.status.code() {
                _ if found != expected => Outcome::Lost(format!("{found:?} of {expected:?}")),
                Some(0) if !lost => Outcome::Harmless,
                Some(2) if lost && said(&output).contains("standard output") => Outcome::Detected,
                code => Outcome::Lost(format!("exit code {code:?}: {}", said(&output))),
            };
            lines.push(Line::new(stream, name, [outcome]));
        }
    }
    check(&lines);
}

#[test]
fn outputs_that_cannot_be_written_are_noticed_before_the_first_step() {
    let place = Place::new();
    let mut lines = Vec::new();
    let refused = |command: &mut Command, words: &[&str], out: &Path, left: &[&str]| {
        let output = command.output().unwrap();
        let mut found: Vec<_> = contents(out).into_keys().collect();
        found.retain(|name| !left.iter().any(|left| name.starts_with(left)));
        match output.status.code() {
            Some(2)
                if found.is_empty() && words.iter().all(|word| said(&output).contains(word)) =>
            {
                Outcome::Detected
            }
            code => Outcome::Lost(format!("exit code {code:?}, {found:?}: {}", said(&output))),
        }
    };
    for (flag, _) in OUTPUTS {
        let out = place.clear("out");
        let file = place.folder.path().join("file");
        fs::write(&file, "in the way").unwrap();
        let others = OUTPUTS
            .iter()
            .filter(|(other, _)| *other != flag && *other != "--checkpoint");
        let others: Vec<_> = others.copied().collect();
        let mut command = place.train(&out, &others);
        command.arg(flag).arg(file.join("below"));
        let words = ["file/below"];
        // The log is there from the start.
        let outcome = refused(&mut command, &words, &out, &["log"]);
        lines.push(Line::new("output that cannot be written", flag, [outcome]));
    }
    // A file of the data set, and one file for two outputs.
    let data = place.inputs.old();
    let before = contents(&data);
    for flag in ["--save-weights", "--json", "--log"] {
        let out = place.clear("out");
        let mut command = place.train(&out, &[]);
        command.arg(flag).arg(data.join("dataset.json"));
        let words = [flag, "is a file of the data set"];
        let outcome = match refused(&mut command, &words, &out, &[]) {
            Outcome::Detected if contents(&data) != before => {
                Outcome::Lost("the data set was changed".into())
            }
            outcome => outcome,
        };
        lines.push(Line::new("output over the data set", flag, [outcome]));
    }
    let out = place.clear("out");
    let mut same = place.train(&out, &[("--save-weights", "same"), ("--json", "same")]);
    let outcome = refused(
        &mut same,
        &["--save-weights and --json are both"],
        &out,
        &[],
    );
    lines.push(Line::new("two outputs of one name", "train", [outcome]));

    // What fails on the way: the others are written, and it is said.
    let out = place.clear("out");
    let mut logged = place.train(&out, &OUTPUTS[..2]);
    let output = logged.args(["--log", "/dev/full"]).output().unwrap();
    let whole = ["json", "weights"]
        .iter()
        .all(|name| out.join(name).exists());
    let outcome = match output.status.code() {
        Some(2) if whole && said(&output).contains("/dev/full") => Outcome::Detected,
        code => Outcome::Lost(format!("exit code {code:?}: {}", said(&output))),
    };
    lines.push(Line::new("log on a full disk", "train", [outcome]));

    let out = place.clear("out");
    let program = place.train(&out, &OUTPUTS[..1]);
    let words: Vec<_> = program
        .get_args()
        .map(|word| word.to_str().unwrap())
        .collect();
    let limited = format!("ulimit -f 1; exec {} \"$@\"", env!("CARGO_BIN_EXE_fae"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &limited, "sh"]).args(words);
    let outcome = refused(&mut shell, &["weights", "too large"], &out, &[]);
    lines.push(Line::new("file beyond ulimit -f", "train", [outcome]));
    check(&lines);
}

#[test]
fn what_is_no_regular_file_is_written_into() {
    let place = Place::new();
    let out = place.clear("out");
    let json = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text);
    let mut outcomes = Vec::new();
    let mut judge = |what: &str, sound: bool| {
        outcomes.push(match sound {
            true => Outcome::Harmless,
            false => Outcome::Lost(what.into()),
        });
    };

    let done = |command: &mut Command| command.output().unwrap().status.success();
    let null = done(place.train(&out, &[]).args(["--json", "/dev/null"]));
    let kind = fs::metadata("/dev/null").unwrap().file_type();
    judge("/dev/null", null && kind.is_char_device());

    let output = place
        .train(&out, &[])
        .args(["--json", "/dev/stdout"])
        .output()
        .unwrap();
    let end = output.stdout.iter().position(|&byte| byte == b'}');
    let text = String::from_utf8(output.stdout).unwrap();
    judge(
        "/dev/stdout, a pipe",
        end.is_some() && text.contains("trained on"),
    );

    // A shell's `>`: the JSON stands before what is printed, and neither overwrites the other.
    let printed = out.join("printed");
    let mut into_file = place.train(&out, &[]);
    into_file
        .args(["--json", "/dev/stdout"])
        .stdout(File::create(&printed).unwrap());
    let sound = into_file.status().unwrap().success();
    let text = fs::read_to_string(&printed).unwrap();
    judge(
        "/dev/stdout, a file",
        sound && text.starts_with('{') && text.contains("trained on"),
    );

    let fifo = out.join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    if made.is_ok_and(|made| made.success()) {
        let path = fifo.clone();
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            File::open(path).unwrap().read_to_end(&mut text).unwrap();
            text
        });
        let written = done(place.train(&out, &[]).arg("--json").arg(&fifo));
        let text = reader.join().unwrap();
        let kept = fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo();
        judge("FIFO", written && kept && json(&text).is_ok());
    }
    check(&[Line::new(
        "output that is no regular file",
        "train",
        outcomes,
    )]);
}
