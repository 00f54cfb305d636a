//! The sections of `docs/proof.md` that are written by tools: the text between two comments of one name is replaced, all
//! else is left as somebody wrote it.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

/// Puts a text in the place of the section of this name.
///
/// # Errors
/// The file cannot be read or written, or has no such section.
pub fn record(file: &Path, section: &str, text: &str) -> io::Result<()> {
    let all = fs::read_to_string(file)?;
    fs::write(file, replaced(&all, section, text).ok_or_else(|| no_section(file, section))?)
}

/// The commit that is checked out in the folder of this process.
///
/// # Errors
/// Something besides that file differs from it, or git does not say.
pub fn commit(file: &Path) -> io::Result<String> {
    let git = |arguments: &[&str]| -> io::Result<String> {
        let output = Command::new("git").args(arguments).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let is_other = |line: &&str| !file.ends_with(line.get(2..).unwrap_or_default().trim());
    if let Some(first) = changed.lines().find(is_other) {
        let detail = format!("expected all that was run to be committed, found {first}: commit or stash it first");
        return Err(io::Error::other(detail));
    }
    git(&["rev-parse", "--short", "HEAD"])
}

/// The text of the section of this name.
///
/// # Errors
/// As [`record`].
pub fn recorded(file: &Path, section: &str) -> io::Result<String> {
    let all = fs::read_to_string(file)?;
    let (begin, end) = marks(section);
    let text =
        all.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(text, _)| text.trim().to_owned());
    text.ok_or_else(|| no_section(file, section))
}

fn marks(section: &str) -> (String, String) {
    (format!("<!-- {section} -->"), format!("<!-- /{section} -->"))
}

fn no_section(file: &Path, section: &str) -> io::Error {
    let detail = format!("expected <!-- {section} --> and <!-- /{section} --> in {}", file.display());
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

fn replaced(all: &str, section: &str, text: &str) -> Option<String> {
    let (begin, end) = marks(section);
    let (before, rest) = all.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_changes() {
        let all = "head\n<!-- runs -->\nold\n<!-- /runs -->\ntail\n";
        assert_eq!(replaced(all, "runs", "new\n").unwrap(), "head\n<!-- runs -->\nnew\n<!-- /runs -->\ntail\n");
        assert_eq!(replaced(all, "other", "new"), None);
    }
}
