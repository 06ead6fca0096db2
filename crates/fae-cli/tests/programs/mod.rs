//! The program as users run it.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::process::Command;

/// A command of the program, with the options that stand behind its name.
pub(crate) fn command(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fae"));
    command.args(words.split_whitespace());
    command
}
