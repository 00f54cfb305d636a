//! The tables of the README and of docs/security.md in which claims stand with their tests: each claim has one, and each test
//! is where the page says. That it would fail without what is claimed, no test can say.

use std::fs;
use std::path::Path;

/// The tests in a row of a table: name and file.
fn links(row: &str) -> Vec<(&str, &str)> {
    row.split("[`").skip(1).filter_map(|rest| rest.split_once(')')?.0.split_once("`](")).collect()
}

#[test]
fn every_claim_of_the_readme_names_tests_that_there_are() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(repository.join("README.md")).unwrap();
    let (_, promises) = readme.split_once("## What it promises").unwrap();
    let (promises, _) = promises.split_once("\n## ").unwrap();
    let rows: Vec<&str> = promises.lines().filter(|line| line.starts_with("| ")).collect();
    let claims: Vec<&&str> = rows.iter().filter(|row| !row.ends_with("| tests |")).collect();
    assert_eq!(rows.len() - claims.len(), 2, "two tables");
    assert!(claims.len() > 10);
    for row in claims {
        let tests = links(row);
        assert!(!tests.is_empty() || row.contains("| not yet: "), "no test for {row}");
        are_there(&repository, tests);
    }
}

/// Each test is in its file, which is named from that folder on.
fn are_there(folder: &Path, tests: Vec<(&str, &str)>) {
    for (test, file) in tests {
        let text = fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "expected {test} in {file}");
    }
}

#[test]
fn every_defence_names_tests_that_there_are_or_says_that_it_is_none() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = fs::read_to_string(docs.join("security.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let defences: Vec<&&str> = rows.iter().filter(|row| !row.ends_with("| tests |")).collect();
    assert_eq!((rows.len() - defences.len(), defences.len() > 50), (8, true), "eight tables");
    for row in defences {
        let tests = links(row);
        let is_open = ["not yet", "Not yet", "not defended", "`scripts/"].iter().any(|word| row.contains(word));
        assert!(!tests.is_empty() || is_open, "no test for {row}");
        are_there(&docs, tests);
    }
}
