//! The program `fae`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fae_cli::main()
}
