#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod arguments;
pub mod charts;
mod commands;
mod console;
pub mod flags;
pub mod numbers;
pub mod process;
mod progress;
pub mod speedup;
pub mod text;
mod version;

use std::process::ExitCode;

use clap::Parser;

pub use console::Console;
pub use progress::Bars;

/// The program `fae`.
pub fn main() -> ExitCode {
    process::exit_code(commands::Program::parse().run())
}
