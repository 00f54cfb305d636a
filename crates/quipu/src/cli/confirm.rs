//! Asking before something is done that cannot be taken back. A person at a terminal is asked; a script says `--yes`, and
//! nothing is done without either.

use std::io::{self, BufRead, IsTerminal};

use clap::Args;

use super::exit::Failure;

#[derive(Clone, Copy, Debug, Args)]
pub struct Confirm {
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

impl Confirm {
    /// Whether there is somebody to say yes, or somebody has.
    pub fn is_possible(self) -> bool {
        self.yes || io::stdin().is_terminal()
    }

    /// Whether somebody has said yes before being asked.
    pub fn is_given(self) -> bool {
        self.yes
    }

    /// Goes on if that is wanted. What it means has been said before, on either output.
    pub fn ask(self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::usage("nothing was changed; to do it: the same command with --yes"));
        }
        eprint!("{what}? [y/N] ");
        if is_yes(&mut io::stdin().lock()) { Ok(()) } else { Err(Failure::failed("nothing was changed")) }
    }
}

/// An answer that cannot be read is none.
fn is_yes(input: &mut impl BufRead) -> bool {
    let mut line = String::new();
    input.read_line(&mut line).is_ok() && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (text, expected) in [("y\n", true), ("Yes\n", true), ("", false), ("\n", false), ("yeah\n", false)] {
            assert_eq!(is_yes(&mut text.as_bytes()), expected, "{text:?}");
        }
    }
}
