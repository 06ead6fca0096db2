//! The whole table of speeds in one command: this workspace and PyTorch take turns on the same
//! shapes, beside what the machine allows; the results are written as JSON and, from that, into a
//! document.

mod cases;
mod guard;
mod pytorch;
mod report;
mod rows;
mod runner;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use fae_cli::process::exit_on_error;

use crate::cases::Scratch;
use crate::pytorch::Interpreter;
use crate::report::Report;
use crate::runner::{Measure, Peers};

/// Measure this workspace beside PyTorch and beside what the machine allows.
///
/// Every row is measured in turns: a stretch of ours, one of PyTorch's, one of the roofline, and
/// again; rates are medians, ratios the medians of what the turns give. Where no interpreter is
/// named, PyTorch is installed into a virtual environment first, which is a download of gigabytes.
/// The table itself takes about twenty minutes.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release -p benches --bin compare
  cargo run --release -p benches --bin compare -- --only dlrm-train --rounds 25 --python /opt/torch/bin/python
  cargo run --release -p benches --bin compare -- --write-doc docs/performance.md
  cargo run --release -p benches --bin compare -- guard"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    table: TableArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Compare the shares of rooflines with recorded ones and warn where they fell; without
    /// PyTorch, about a minute.
    Guard(guard::Arguments),
    /// One epoch with rows in memory-mapped files, as a process of its own under a limit of memory:
    /// what the row `mapped` runs.
    #[command(hide = true)]
    Mapped(cases::MappedArguments),
}

#[derive(Args)]
struct TableArguments {
    /// Measure rows whose name contains this alone; the others keep what --json holds already.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Turns of every row; rows that take long have fewer.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Seconds of a side's turn, about.
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
    /// Threads of both sides [default: all].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Python interpreter that has PyTorch [default: a virtual environment in the target folder,
    /// made where it is missing].
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Measure our side and the rooflines alone.
    #[arg(long, conflicts_with = "python")]
    without_pytorch: bool,
    /// Where results are written.
    #[arg(long, value_name = "FILE", default_value = "out/compare.json")]
    json: PathBuf,
    /// Document whose part between the marks `<!-- compare -->` and `<!-- /compare -->` is replaced
    /// by the table.
    #[arg(long, value_name = "FILE.md")]
    write_doc: Option<PathBuf>,
    /// Measure nothing: make the table from what --json holds.
    #[arg(long, conflicts_with_all = ["only", "python", "without_pytorch"])]
    from_json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Guard(guard)) => guard::run(guard),
        Some(Command::Mapped(mapped)) => cases::run_mapped(mapped),
        None => table(&arguments.table),
    };
    exit_on_error(done)
}

fn table(arguments: &TableArguments) -> Result<()> {
    let mut failed = Vec::new();
    let report = match arguments.from_json {
        true => Report::read(&arguments.json)?,
        false => measure(arguments, &mut failed)?,
    };
    print!("{}", report.to_text());
    if let Some(path) = &arguments.write_doc {
        let rows = rows::all(1, &Scratch::new()?);
        let row = |name: &str| rows.iter().find(|row| row.name == name);
        report.write_into(path, &|name| row(name).map_or("", |row| row.bound))?;
    }
    ensure!(
        failed.is_empty(),
        "not measured: {}; the reasons are above",
        failed.join(", ")
    );
    Ok(())
}

/// Measures the rows that are asked for; the names of those that cannot be go to `failed`.
fn measure(arguments: &TableArguments, failed: &mut Vec<&'static str>) -> Result<Report> {
    let threads = match arguments.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    ensure!(
        arguments.seconds.is_finite() && arguments.seconds > 0.0,
        "--seconds {} is no time; give a positive number",
        arguments.seconds
    );
    let scratch = Scratch::new()?;
    let wanted = |name: &str| {
        arguments
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    let mut rows = rows::all(threads, &scratch);
    let names: Vec<_> = rows.iter().map(|row| row.name).collect();
    rows.retain(|row| wanted(row.name));
    ensure!(
        !rows.is_empty(),
        "no row's name contains {:?}; leave --only out to see all",
        arguments.only.as_deref().unwrap_or_default()
    );
    let pytorch = match arguments.without_pytorch {
        true => None,
        false => Some(Interpreter::find(arguments.python.as_deref(), threads)?),
    };
    let version = pytorch.as_ref().map(|pytorch| pytorch.version().to_owned());
    let mut peers = Peers::new(threads, pytorch)?;
    let measure = Measure {
        rounds: usize::from(arguments.rounds),
        seconds: arguments.seconds,
    };
    let mut report = Report::new(threads, version);
    if arguments.only.is_some() && arguments.json.exists() {
        let earlier = Report::read(&arguments.json)?;
        report.continue_from(earlier).with_context(|| {
            let path = arguments.json.display();
            format!("cannot add rows to {path}; name another file with --json")
        })?;
    }
    let count = rows.len();
    for (number, row) in rows.iter().enumerate() {
        eprintln!("{} of {count}: {}", number + 1, row.title);
        match row.measure(&mut peers, measure) {
            Ok(measured) => {
                eprintln!("    {}", measured.line());
                report.put(measured);
            }
            Err(error) => {
                eprintln!("    not measured: {error:#}");
                failed.push(row.name);
            }
        }
        // After every row, so that nothing is lost where a later one fails.
        report.write(&arguments.json)?;
    }
    report.sort(&names);
    report.write(&arguments.json)?;
    Ok(report)
}
