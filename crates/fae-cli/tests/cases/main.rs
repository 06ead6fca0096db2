//! Inputs of real users, each with the right answer: the folders of `cases` that `RECSYS_SHARED`
//! holds, run as users run them.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]
#![allow(dead_code, reason = "every case uses some of these")]

mod arrays;
mod ids;
mod runs;
mod tables;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Settings of the small model that most cases train.
const SMALL: &str = "--dim 4 --bottom-mlp 13-8-4 --top-mlp 8-1 --threads 1";

/// A case: its folder, and one of the test's own for outputs.
struct Case {
    inputs: PathBuf,
    outputs: tempfile::TempDir,
}

/// What a program did.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Case {
    /// The case of a name; `None`, and a line that says why, where there are no cases.
    fn real_data(name: &str) -> Option<Self> {
        let Some(shared) = std::env::var_os("RECSYS_SHARED") else {
            println!("skipped: set RECSYS_SHARED to the folder that holds `cases`");
            return None;
        };
        let inputs = Path::new(&shared).join("cases").join(name);
        assert!(inputs.is_dir(), "{} is missing", inputs.display());
        let inputs = inputs.canonicalize().unwrap();
        let outputs = tempfile::tempdir().unwrap();
        Some(Self { inputs, outputs })
    }

    /// Where an output goes.
    fn out(&self, name: &str) -> PathBuf {
        self.outputs.path().join(name)
    }

    /// A command in the folder of the case; in its words `OUT` is the folder of outputs.
    fn command(&self, words: &str) -> Command {
        let out = self.outputs.path().to_str().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fae"));
        command.args(
            words
                .split_whitespace()
                .map(|word| word.replace("OUT", out)),
        );
        command.current_dir(&self.inputs);
        command
    }

    /// Runs a command.
    fn run(&self, words: &str) -> Outcome {
        let output = self.command(words).output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that succeeds; returns what it prints on standard output.
    fn done(&self, words: &str) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code, Some(0), "{words}: {outcome:?}");
        outcome.stdout
    }

    /// Runs a command that must refuse its input with exit code 2 and a message that holds all of
    /// these.
    fn refused(&self, words: &str, parts: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code, Some(2), "{words}: {outcome:?}");
        for part in parts {
            assert!(outcome.stderr.contains(part), "{part:?}: {outcome:?}");
        }
        outcome.stderr
    }
}
