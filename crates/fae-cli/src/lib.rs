#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
// `say!` and `note!` end no run where a stream is closed or full.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
pub mod say;

mod arguments;
pub mod charts;
mod commands;
mod console;
pub mod flags;
mod log;
pub mod numbers;
pub mod process;
mod progress;
mod signals;
pub mod speedup;
pub mod text;
mod version;

use std::process::ExitCode;

use clap::Parser;

pub use console::Console;
pub use progress::Bars;

/// The program `fae`.
pub fn main() -> ExitCode {
    process::refuse_no_file_size();
    process::exit_code(commands::Program::parse().run())
}
