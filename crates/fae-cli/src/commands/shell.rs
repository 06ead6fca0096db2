//! What a shell and `man` need to know about the program.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;

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

pub(crate) fn completions(arguments: &Completions, mut program: Command) {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "fae", &mut script);
    say!("{}", String::from_utf8_lossy(&script).trim_end());
}

pub(crate) fn man(arguments: &Man, program: Command) -> Result<()> {
    let wrong = || format!("cannot write manual pages into {}", arguments.out.display());
    std::fs::create_dir_all(&arguments.out).with_context(wrong)?;
    clap_mangen::generate_to(program, &arguments.out).with_context(wrong)
}
