//! What the workspace depends on: licences, sources and versions of one crate twice, as deny.toml allows them. `scripts/deny`
//! says the same and more; this needs nothing but cargo, so that a dependency that is not allowed fails the test command.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// A crate that is built on the one system that deny.toml names: its name, its version, its licence.
type Dependency = (String, String, String);

/// What is built, also for tests. The list of `cargo metadata` has more: what a feature that nobody has on would bring.
fn dependencies() -> BTreeSet<Dependency> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(repository()).args(["tree", "--workspace", "--all-features", "--locked", "--offline"]);
    cargo.args(["--target", "x86_64-unknown-linux-gnu", "--edges", "normal,build,dev", "--prefix", "none"]);
    let output = cargo.args(["--format", "{p}|{l}|"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let dependency = |line: &str| {
        let (package, rest) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap().strip_prefix('v').unwrap());
        (name.to_owned(), version.to_owned(), rest.split('|').next().unwrap().to_owned())
    };
    let all: BTreeSet<_> = text.lines().filter(|line| !line.is_empty()).map(dependency).collect();
    assert!(all.len() > 100, "this is no list of all dependencies: {}", all.len());
    all
}

fn repository() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn policy() -> toml::Table {
    std::fs::read_to_string(repository().join("deny.toml")).unwrap().parse().unwrap()
}

/// Whether what is allowed is enough for a licence expression (SPDX, annex D). Before there were such, `/` was the `OR`.
fn is_enough(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let enough = any(&mut words, allowed);
    assert_eq!(words.next(), None, "no licence expression: {expression}");
    enough
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut enough = every(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        enough |= every(words, allowed);
    }
    enough
}

fn every(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut enough = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        enough &= one(words, allowed);
    }
    enough
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let word = words.next().unwrap_or_default();
    if word == "(" {
        let enough = any(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return enough;
    }
    // A licence with an exception is another licence.
    match words.next_if_eq(&"WITH") {
        Some(_) => allowed.contains(format!("{word} WITH {}", words.next().unwrap_or_default()).as_str()),
        None => allowed.contains(word),
    }
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let policy = policy();
    let allowed = policy["licenses"]["allow"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    for (name, version, license) in dependencies() {
        assert!(is_enough(&license, &allowed), "{name} {version} has the licence {license:?}");
    }
}

#[test]
fn a_licence_is_enough_if_a_choice_of_it_is_allowed() {
    let allowed = BTreeSet::from(["MIT", "ISC"]);
    for (expression, enough) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("", false),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only/MIT", true),
        ("GPL-3.0-only AND MIT", false),
        ("ISC AND MIT", true),
        ("(GPL-3.0-only OR MIT) AND ISC", true),
        ("GPL-3.0-only OR MIT AND BSL-1.0", false),
        ("MIT WITH Linux-syscall-note", false),
    ] {
        assert_eq!(is_enough(expression, &allowed), enough, "{expression}");
    }
}

#[test]
fn every_dependency_comes_from_the_public_registry() {
    let policy = policy();
    let registries = policy["sources"]["allow-registry"].as_array().unwrap();
    let lock: toml::Table = std::fs::read_to_string(repository().join("Cargo.lock")).unwrap().parse().unwrap();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(source) = package.get("source").and_then(|source| source.as_str()) else {
            assert!(name.starts_with("quipu"), "{name} comes from a folder");
            continue;
        };
        let is_known = registries.iter().any(|one| source == format!("registry+{}", one.as_str().unwrap()));
        assert!(is_known, "{name} comes from {source}");
        assert!(package.get("checksum").is_some(), "{name} has no checksum");
    }
}

#[test]
fn a_crate_is_there_in_one_version_unless_it_is_said_why() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, version, _) in dependencies() {
        versions.entry(name).or_default().insert(version);
    }
    let policy = policy();
    let mut excused: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for skip in policy["bans"]["skip"].as_array().unwrap() {
        assert!(skip["reason"].as_str().is_some_and(|reason| reason.len() > 3), "{skip}");
        let (name, version) = skip["crate"].as_str().unwrap().split_once('@').unwrap();
        excused.entry(name).or_default().push(version);
    }
    for (name, versions) in &versions {
        let is_excused = |version: &str| {
            excused.get(name.as_str()).into_iter().flatten().any(|begin| version.starts_with(&format!("{begin}.")))
        };
        let others: Vec<_> = versions.iter().filter(|version| !is_excused(version)).collect();
        assert!(others.len() <= 1, "{name} is there as {versions:?}");
    }
    for (name, begins) in excused {
        let found = versions.get(name).map_or(0, BTreeSet::len);
        assert_eq!(found, begins.len() + 1, "{name} is excused in deny.toml and is there {found} times");
    }
}
