//! What a shell and `man` need to know about the program.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Program;

/// Print a shell's completions.
#[derive(Args)]
#[command(
    after_help = "Example:\n  fae completions bash > ~/.local/share/bash-completion/completions/fae"
)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Write the manual pages: fae.1, and one for each command.
#[derive(Args)]
#[command(after_help = "Example:\n  fae man --out ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Folder of the pages, which is made if it does not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn completions(arguments: &Completions) {
    let mut program = Program::command();
    clap_complete::generate(arguments.shell, &mut program, "fae", &mut io::stdout());
}

pub(crate) fn man(arguments: &Man) -> Result<()> {
    let wrong = || format!("cannot write manual pages into {}", arguments.out.display());
    std::fs::create_dir_all(&arguments.out).with_context(wrong)?;
    clap_mangen::generate_to(Program::command(), &arguments.out).with_context(wrong)
}
