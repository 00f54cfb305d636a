//! Proves that the checkers can fail: makes each mistake of the mutation list in a copy of the sources, and looks whether
//! what must catch it does. Before that, all of it must pass on the copy without a mistake.
//!
//! `mutate [--only NAME]... [--record FILE]`; `--record` writes the table into that file's section `mutations`, after each
//! mistake; what was not run stays as it was recorded before.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Instant;
use std::{fmt, fs};

use quipu_testkit::mutation::{Catcher, Mutation, root};
use quipu_testkit::proof;

#[derive(Default)]
struct Arguments {
    only: Vec<String>,
    record: Option<PathBuf>,
}

/// What became of a mistake.
enum Outcome {
    /// In so many seconds, with what the catcher said first.
    Caught { seconds: f64, said: String },
    /// It passed, or something else failed.
    Survived { found: String },
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}\nusage: mutate [--only NAME]... [--record FILE]");
            return ExitCode::from(2);
        }
    };
    run(&arguments).unwrap_or_else(|failure| {
        eprintln!("{failure}");
        ExitCode::FAILURE
    })
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("expected a value after {word}"));
        match word.as_str() {
            "--only" => arguments.only.push(value()?),
            "--record" => arguments.record = Some(value()?.into()),
            _ => return Err(format!("expected an option, found {word}")),
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> io::Result<ExitCode> {
    let all = Mutation::all()?;
    let mut mutations = all.clone();
    mutations.retain(|mutation| arguments.only.is_empty() || arguments.only.contains(&mutation.name));
    if mutations.is_empty() {
        return Err(io::Error::other(format!("expected a mutation of the list, found {:?}", arguments.only)));
    }
    let tree = Tree::copy()?;
    tree.passes_without(&mutations)?;
    let mut table = arguments.record.as_deref().map(Table::recorded).transpose()?;
    let mut survived = 0;
    for (index, mutation) in mutations.iter().enumerate() {
        let outcome = tree.mutate(mutation)?;
        println!("{}/{} {}: {outcome}", index + 1, mutations.len(), mutation.name);
        survived += usize::from(matches!(outcome, Outcome::Survived { .. }));
        if let Some(table) = &mut table {
            table.record(mutation, &outcome, &all)?;
        }
    }
    println!("{} of {} mutations were caught", mutations.len() - survived, mutations.len());
    Ok(if survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is known of each mistake, in the file that it is recorded in.
struct Table<'f> {
    file: &'f Path,
    /// By how they begin.
    rows: BTreeMap<String, String>,
}

impl<'f> Table<'f> {
    const SECTION: &'static str = "mutations";

    fn recorded(file: &'f Path) -> io::Result<Self> {
        let text = proof::recorded(file, Self::SECTION)?;
        let begin = |line: &str| Some(format!("|{}|", line.split('|').nth(1)?));
        let rows = text.lines().filter_map(|line| Some((begin(line)?, format!("{line}\n"))));
        Ok(Self { file, rows: rows.collect() })
    }

    fn record(&mut self, mutation: &Mutation, outcome: &Outcome, all: &[Mutation]) -> io::Result<()> {
        let begin = |mutation: &Mutation| format!("| {} |", mutation.mistake);
        self.rows.insert(begin(mutation), row(mutation, outcome));
        let rows: String =
            all.iter().filter_map(|mutation| self.rows.get(&begin(mutation)).map(String::as_str)).collect();
        let table = format!("| The mistake | What caught it | In |\n|---|---|---|\n{rows}");
        proof::record(self.file, Self::SECTION, &table)
    }
}

fn row(mutation: &Mutation, outcome: &Outcome) -> String {
    let by = match &mutation.caught_by {
        Catcher::Simulation { world, checker, .. } if world == "appends" => format!("simulation, checker `{checker}`"),
        Catcher::Simulation { world, checker, .. } => format!("simulation of {world}, checker `{checker}`"),
        Catcher::Test { name, .. } => format!("test `{name}`"),
    };
    match outcome {
        Outcome::Caught { seconds, said } => {
            let said = said.replace('|', "\\|");
            format!("| {} | {by}: {said} | {seconds:.1} s |\n", mutation.mistake)
        }
        Outcome::Survived { .. } => format!("| {} | **nothing** (expected: {by}) | |\n", mutation.mistake),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught { seconds, said } => write!(f, "caught in {seconds:.1} s: {said}"),
            Self::Survived { found } => write!(f, "SURVIVED: {found}"),
        }
    }
}

/// A copy of the sources, which may be spoiled, and a target folder of its own.
struct Tree {
    folder: PathBuf,
}

impl Tree {
    /// Files that are as they should be are left alone, so that what was built of them stands.
    fn copy() -> io::Result<Self> {
        let root = root().canonicalize()?;
        let folder = root.join("target/mutate/tree");
        let listed = Command::new("git").current_dir(&root).args(["ls-files", "-z"]).output()?;
        for path in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|path| !path.is_empty()) {
            let (from, to) = (root.join(path), folder.join(path));
            if from.is_file() {
                write_if_other(&to, &fs::read(from)?)?;
            }
        }
        Ok(Self { folder })
    }

    /// Runs what is to catch the mistakes where there is none.
    fn passes_without(&self, mutations: &[Mutation]) -> io::Result<()> {
        // Of simulations the longest of each kind: the others begin as it does.
        let mut catchers: BTreeMap<String, &Catcher> = BTreeMap::new();
        for Mutation { caught_by, .. } in mutations {
            let (kind, length) = kind(caught_by);
            let known = catchers.entry(kind).or_insert(caught_by);
            if self::kind(known).1 < length {
                *known = caught_by;
            }
        }
        for catcher in catchers.into_values() {
            let words = words(catcher);
            eprintln!("without a mistake: cargo {}", words.join(" "));
            let output = self.cargo(&words)?;
            if !output.status.success() {
                return Err(io::Error::other(format!("expected it to pass without a mistake:\n{}", text(&output))));
            }
        }
        Ok(())
    }

    fn mutate(&self, mutation: &Mutation) -> io::Result<Outcome> {
        let mut originals = Vec::new();
        for edit in &mutation.edits {
            let path = self.folder.join(&edit.file);
            let original = fs::read_to_string(&path)?;
            let spoiled = edit.apply(&original).map_err(|e| io::Error::other(format!("{}: {e}", mutation.name)))?;
            fs::write(&path, spoiled)?;
            originals.push((path, original));
        }
        let outcome = self.try_to_catch(&mutation.caught_by);
        for (path, original) in originals.into_iter().rev() {
            fs::write(path, original)?;
        }
        outcome
    }

    fn try_to_catch(&self, catcher: &Catcher) -> io::Result<Outcome> {
        let words = words(catcher);
        let split = words.iter().position(|word| word == "--").unwrap_or(words.len());
        // A mistake that does not compile is none.
        let mut build = words[..split].to_vec();
        match build[0].as_str() {
            "run" => build[0] = "build".into(),
            _ => build.push("--no-run".into()),
        }
        let built = self.cargo(&build)?;
        if !built.status.success() {
            return Ok(Outcome::Survived { found: format!("it does not compile:\n{}", text(&built)) });
        }
        let begin = Instant::now();
        let output = self.cargo(&words)?;
        let seconds = begin.elapsed().as_secs_f64();
        let all = text(&output);
        let said = match catcher {
            Catcher::Simulation { checker, .. } => all.lines().find_map(|line| {
                let (seed, violation) = line.strip_prefix("seed ")?.split_once(": ")?;
                violation.starts_with(&format!("{checker}: ")).then(|| format!("seed {seed}"))
            }),
            Catcher::Test { name, .. } => {
                let failed = format!("test {name} ... FAILED");
                all.lines().any(|line| line.starts_with(&failed)).then(|| "it failed".to_owned())
            }
        };
        Ok(match said {
            Some(said) => Outcome::Caught { seconds, said },
            None => Outcome::Survived { found: all.lines().rev().take(12).collect::<Vec<_>>().join("\n") },
        })
    }

    fn cargo(&self, words: &[String]) -> io::Result<Output> {
        Command::new("cargo")
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", self.folder.join("../target"))
            .args(words)
            .output()
    }
}

/// What makes two of them one check, and how long it is.
fn kind(catcher: &Catcher) -> (String, u64) {
    match catcher {
        Catcher::Simulation { world, seeds, .. } => (format!("simulation {world}"), *seeds),
        Catcher::Test { package, name } => (format!("test {package} {name}"), 0),
    }
}

fn words(catcher: &Catcher) -> Vec<String> {
    let line = match catcher {
        Catcher::Simulation { world, seeds, .. } => {
            format!("run -q --profile mutate -p quipu-testkit --bin simulate -- --{world} --from 0 --seeds {seeds}")
        }
        Catcher::Test { package, name } => format!("test --profile mutate -p {package} --tests {name} -- --exact"),
    };
    line.split(' ').map(str::to_owned).collect()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn write_if_other(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, bytes)
}
