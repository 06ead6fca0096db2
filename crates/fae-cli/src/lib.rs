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

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::Parser;

pub use console::Console;
pub use progress::Bars;

/// The version, and the features that the program was built with.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let features = [
            ("cuda", cfg!(feature = "cuda")),
            ("nccl", cfg!(feature = "nccl")),
            ("parquet", cfg!(feature = "parquet")),
        ];
        let features: Vec<&str> = features
            .iter()
            .filter_map(|(name, built)| built.then_some(*name))
            .collect();
        let version = env!("CARGO_PKG_VERSION");
        match features.is_empty() {
            true => format!("{version} (without features)"),
            false => format!("{version} (features {})", features.join(", ")),
        }
    });
    &VERSION
}

/// The program `fae`.
pub fn main() -> ExitCode {
    process::exit_code(commands::Program::parse().run())
}
