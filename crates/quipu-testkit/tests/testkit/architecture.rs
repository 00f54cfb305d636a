//! Holds the code to `ARCHITECTURE.md`, and the documents to the code: the crate graph is the table's, the lower crates
//! have neither clocks nor randomness nor `async`, and what a document names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Graph = BTreeMap<String, BTreeSet<String>>;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The columns `crate` and `depends on` of the table of crates.
fn graph_of_table() -> Graph {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| crate |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
            (names(cells[0]).pop_first().expect("a crate in the first cell"), names(cells[2]))
        })
        .collect()
}

/// What the manifests of all crates say.
fn packages() -> Vec<serde_json::Value> {
    let cargo = std::env::var("CARGO").unwrap_or("cargo".into());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    std::mem::take(metadata["packages"].as_array_mut().unwrap())
}

/// What each crate's manifest says that it depends on, of ours and of others, without dev-dependencies.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    packages()
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            (name(package), dependencies.filter(|d| d["kind"] != "dev").map(name).collect())
        })
        .collect()
}

#[test]
fn the_crate_graph_is_the_one_in_the_table() {
    let manifests = manifests();
    let ours: BTreeSet<&String> = manifests.keys().collect();
    let graph: Graph = manifests
        .iter()
        .map(|(name, all)| (name.clone(), all.iter().filter(|d| ours.contains(d)).cloned().collect()))
        .collect();
    assert_eq!(graph, graph_of_table(), "left: the manifests; right: the table in ARCHITECTURE.md");
}

#[test]
fn the_testkit_is_in_no_product() {
    for (name, dependencies) in manifests() {
        assert!(!dependencies.contains("quipu-testkit"), "{name} depends on quipu-testkit, which is for tests only");
    }
}

/// The crates that are handed time, randomness and storage.
const SYNCHRONOUS: [&str; 3] = ["quipu-domain", "quipu-store", "quipu-engine"];
/// What would bring a clock, randomness or a runtime of its own.
const CRATES_FORBIDDEN: [&str; 12] = [
    "async-trait",
    "chrono",
    "fastrand",
    "futures",
    "futures-util",
    "getrandom",
    "jiff",
    "rand",
    "tokio",
    "ureq",
    "uuid",
    "smol",
];
/// Paths and words as they stand in code. `Instant::now` and the like are found under any path.
const WORDS_FORBIDDEN: [&str; 11] = [
    "async",
    "await",
    "Future",
    "Instant",
    "SystemTime",
    "now_utc",
    "now_local",
    "getrandom",
    "rand",
    "thread_rng",
    "RandomState",
];

#[test]
fn domain_store_and_engine_have_no_async_no_clock_and_no_randomness() {
    let manifests = manifests();
    for name in SYNCHRONOUS {
        let is_without_a_clock = |forbidden: &&str| (name, *forbidden) == ("quipu-domain", "jiff");
        for forbidden in CRATES_FORBIDDEN.into_iter().filter(|forbidden| !is_without_a_clock(forbidden)) {
            assert!(!manifests[name].contains(forbidden), "{name} depends on {forbidden}");
        }
        for path in files(&repository().join("crates").join(name).join("src"), "rs") {
            for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                if let Some(word) = forbidden_word(line) {
                    panic!("{}:{}: expected to be handed it, found `{word}`", path.display(), number + 1);
                }
            }
        }
    }
}

/// Without `std` there is no clock in it and no environment, so it cannot be asked for either.
#[test]
fn the_zones_of_the_domain_come_without_a_clock() {
    let packages = packages();
    let domain = packages.iter().find(|package| package["name"] == "quipu-domain").unwrap();
    let jiff =
        domain["dependencies"].as_array().unwrap().iter().find(|dependency| dependency["name"] == "jiff").unwrap();
    assert_eq!(jiff["uses_default_features"], false);
    assert_eq!(jiff["features"], serde_json::json!(["alloc", "tz-fat", "tzdb-bundle-always"]));
    let others = manifests().into_iter().filter(|(_, dependencies)| dependencies.contains("jiff"));
    assert_eq!(
        others.map(|(name, _)| name).collect::<Vec<_>>(),
        ["quipu-domain"],
        "features are those of all together"
    );
}

fn forbidden_word(line: &str) -> Option<&str> {
    let code = line.split("//").next().unwrap_or(line);
    let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.find(|word| WORDS_FORBIDDEN.contains(word))
}

#[test]
fn a_forbidden_word_is_found_in_code_and_not_in_comments() {
    assert_eq!(forbidden_word("let at = std::time::Instant::now();"), Some("Instant"));
    assert_eq!(forbidden_word("    pub async fn read() {"), Some("async"));
    assert_eq!(forbidden_word("use rand::Rng;"), Some("rand"));
    assert_eq!(forbidden_word("/// Nothing here is async, and rand is far."), None);
    assert_eq!(forbidden_word("let operand = asynchronous();"), None);
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<PathBuf> {
    let root = repository();
    let mut documents = files(&root.join("docs"), "md");
    let at_root = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
    documents.extend(at_root.filter(|path| path.extension().is_some_and(|e| e == "md")));
    documents
}

/// The links of a document, as text and target.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices("](").filter_map(|(at, _)| {
        let label = &text[text[..at].rfind('[')? + 1..at];
        let target = &text[at + 2..];
        Some((label, &target[..target.find(')')?]))
    })
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (label, target) in links(&text).filter(|(_, target)| !target.contains("://")) {
            let file = target.split('#').next().unwrap_or(target);
            if file.is_empty() {
                continue;
            }
            let path = document.parent().unwrap().join(file);
            assert!(path.exists(), "{}: the link [{label}]({target}) leads nowhere", document.display());
            // A link to a test is written [`name_of_the_test`](its file).
            let name = label.trim_matches('`');
            if label.starts_with('`') && name.contains('_') && !name.contains(['/', '.']) && file.ends_with(".rs") {
                let code = fs::read_to_string(&path).unwrap();
                assert!(code.contains(&format!("fn {name}(")), "{}: {file} has no `{name}`", document.display());
            }
        }
    }
}

#[test]
fn every_source_file_that_the_documents_name_exists() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let names =
            text.split('`').skip(1).step_by(2).filter(|name| name.starts_with("crates/") && !name.contains('*'));
        for name in names {
            assert!(repository().join(name).exists(), "{} names {name}, which does not exist", document.display());
        }
    }
}
