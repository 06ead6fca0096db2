//! The commands of the program, a module each.

mod encode;
mod evaluate;
mod export;
mod generate;
mod inspect;
mod prepare;
mod profile;
mod replay;
mod report;
mod shell;
mod train;
mod verify;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{CommandFactory, Parser, Subcommand};

use crate::say;

/// Train recommendation models whose embedding tables outgrow the fast device.
///
/// Raw logs become a packed data set (`prepare`), rows that serve most lookups are found
/// (`profile`), and DLRM or TBSM is trained with these rows on the device and the others on the CPU
/// (`train`).
#[derive(Parser)]
#[command(
    name = "fae",
    version = crate::version::version(),
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Examples:
  fae prepare criteo-kaggle --raw train.txt --out kaggle
  fae inspect kaggle
  fae train --data kaggle --preset criteo-kaggle --json results.json
  fae train --data kaggle --preset criteo-kaggle --placement fae --budget 256MiB

`fae COMMAND --help` explains a command.
Exit codes: 0 done; 1 a comparison or a check failed; 2 bad usage, bad input or a failed output; 130
(Ctrl-C), 143 (SIGTERM) or 129 (a terminal that closed) where a signal ended the program."
)]
pub(crate) struct Program {
    #[command(subcommand)]
    command: Command,
}

// What they say about themselves stands at their arguments.
#[derive(Subcommand)]
enum Command {
    Prepare(prepare::Arguments),
    Encode(encode::Arguments),
    Import(prepare::Import),
    Export(export::Arguments),
    Generate(generate::Arguments),
    Inspect(inspect::Arguments),
    Verify(verify::Arguments),
    Profile(profile::Arguments),
    Train(Box<train::Arguments>),
    Evaluate(Box<evaluate::Arguments>),
    Replay(replay::Arguments),
    Report(report::Arguments),
    Completions(shell::Completions),
    Man(shell::Man),
}

impl Program {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let code = self.command.run()?;
        match say::failure() {
            None => {}
            Some(failure) if self.command.only_prints() => {
                bail!("cannot write to standard output: {failure}")
            }
            Some(failure) => note!("warning: standard output is not complete: {failure}"),
        }
        Ok(code)
    }
}

impl Command {
    /// Whether what it prints is all that comes of it.
    fn only_prints(&self) -> bool {
        matches!(
            self,
            Self::Inspect(_)
                | Self::Verify(_)
                | Self::Evaluate(_)
                | Self::Replay(_)
                | Self::Completions(_)
        )
    }

    fn run(&self) -> Result<ExitCode> {
        match self {
            Self::Prepare(arguments) => prepare::run(arguments)?,
            Self::Encode(arguments) => encode::run(arguments)?,
            Self::Import(arguments) => prepare::run_import(arguments)?,
            Self::Export(arguments) => export::run(arguments)?,
            Self::Generate(arguments) => generate::run(arguments)?,
            Self::Inspect(arguments) => inspect::run(arguments)?,
            Self::Verify(arguments) => return verify::run(arguments),
            Self::Profile(arguments) => profile::run(arguments)?,
            Self::Train(arguments) => return train::run(arguments),
            Self::Evaluate(arguments) => evaluate::run(arguments)?,
            Self::Replay(arguments) => return replay::run(arguments),
            Self::Report(arguments) => return report::run(arguments),
            Self::Completions(arguments) => shell::completions(arguments, Program::command()),
            Self::Man(arguments) => shell::man(arguments, Program::command())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_program_is_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn commands_in_the_text_of_readme_and_docs_are_ones_of_the_program() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let docs = std::fs::read_dir(format!("{root}/docs")).unwrap();
        let mut pages = vec![format!("{root}/README.md").into()];
        pages.extend(docs.map(|page| page.unwrap().path()));
        pages.retain(|page: &std::path::PathBuf| page.extension().is_some_and(|e| e == "md"));
        let mut parsed = 0;
        for page in pages {
            let text = std::fs::read_to_string(&page).unwrap();
            for span in text.split('`').filter(|span| span.starts_with("fae ")) {
                if span.contains(['…', '|', '\n']) || span.contains("COMMAND") {
                    continue;
                }
                // A mention may leave out what a command needs, and end in an option's name.
                match Program::try_parse_from(span.split_whitespace()) {
                    Ok(_) => parsed += 1,
                    Err(error) => assert!(
                        !matches!(
                            error.kind(),
                            ErrorKind::InvalidSubcommand
                                | ErrorKind::UnknownArgument
                                | ErrorKind::ValueValidation
                                | ErrorKind::ArgumentConflict
                        ),
                        "{}: `{span}`: {error}",
                        page.display()
                    ),
                }
            }
        }
        assert!(parsed > 5, "{parsed}");
    }
}
