//! The mutation list follows the code: `mutate` takes too long for every run, but what it would change must be there.

use std::collections::BTreeSet;
use std::fs;

use quipu_testkit::mutation::{Mutation, root};

#[test]
fn every_mutation_finds_what_it_spoils() {
    for mutation in Mutation::all().unwrap() {
        assert!(!mutation.edits.is_empty(), "{} changes nothing", mutation.name);
        for edit in &mutation.edits {
            let text = fs::read_to_string(root().join(&edit.file)).unwrap();
            let spoiled = edit.apply(&text).unwrap_or_else(|e| panic!("{}: {e}", mutation.name));
            assert_ne!(text, spoiled, "{} changes nothing in {}", mutation.name, edit.file);
        }
    }
}

#[test]
fn no_two_mutations_have_one_name() {
    let mut names = BTreeSet::new();
    for mutation in Mutation::all().unwrap() {
        assert!(names.insert(mutation.name.clone()), "{} is there twice", mutation.name);
    }
}
