//! The `quipu` binary. All of it is in [`cli`]; this only turns the outcome into an exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main().into()
}
