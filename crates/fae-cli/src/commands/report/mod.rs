//! Reports about a machine.

mod checks;
mod device;
mod lines;
mod rooflines;
mod rows;
mod scaling;
mod shapes;
mod timing;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Measure what this machine does with this project's work.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    report: Report,
}

#[derive(Subcommand)]
enum Report {
    // What they say about themselves stands at their arguments.
    Device(device::Arguments),
    Scaling(scaling::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.report {
        Report::Device(arguments) => device::run(arguments),
        Report::Scaling(arguments) => scaling::run(arguments).map(|()| ExitCode::SUCCESS),
    }
}
