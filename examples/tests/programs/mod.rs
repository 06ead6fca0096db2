//! The programs as users run them.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::process::Command;

/// A program that `cargo test` builds beside the tests.
pub(crate) fn command(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let programs = tests.ancestors().nth(2).unwrap().join("examples");
    Command::new(programs.join(name))
}
