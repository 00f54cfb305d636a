//! The mutation list: mistakes that somebody could make in the product, written down as edits of its source, each with
//! the checker that must catch it. It reads the list and applies an edit to a text; the `mutate` command builds and runs.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

/// One mistake.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// A short name in kebab case, unlike all others.
    pub name: String,
    /// What is done wrong, in a sentence.
    pub mistake: String,
    /// What catches it.
    pub caught_by: Catcher,
    /// What to change. All of it is one mistake.
    #[serde(rename = "edit")]
    pub edits: Vec<Edit>,
}

/// What must fail once the mistake is made, and passes without it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Catcher {
    /// A simulation of a kind finds it within so many seeds, and the checker of this name says so.
    Simulation {
        /// What is simulated, as the option of `simulate` says it.
        world: String,
        /// The name of the checker as a violation gives it.
        checker: String,
        /// From seed 0 on.
        seeds: u64,
    },
    /// A test of a package.
    Test {
        /// The package.
        package: String,
        /// The test, with its modules.
        name: String,
    },
}

/// A change of one file: `find` stands in it exactly once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// From the root of the repository.
    pub file: String,
    /// What stands there.
    pub find: String,
    /// What is put in its place.
    pub replace: String,
}

#[derive(Deserialize)]
struct List {
    mutation: Vec<Mutation>,
}

impl Mutation {
    /// Every mistake of the list, by file and then in the order of writing.
    ///
    /// # Errors
    /// A file cannot be read or is not written as it should be; the message names it.
    pub fn all() -> io::Result<Vec<Self>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mutations");
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        files.sort();
        let mut all = Vec::new();
        for file in files {
            let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", file.display()));
            all.extend(toml::from_str::<List>(&fs::read_to_string(&file)?).map_err(invalid)?.mutation);
        }
        Ok(all)
    }
}

impl Edit {
    /// The text of the file with the mistake in it.
    ///
    /// # Errors
    /// The text to find is not there, or more than once: the code has changed, and the list must follow.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(self.find.as_str()).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            count => Err(format!("expected this once in {}, found it {count} times:\n{}", self.file, self.find)),
        }
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
