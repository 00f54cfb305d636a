//! Replays the corpus of the fuzz targets, and a few thousand mutations of it, on a stable compiler.

use std::fs;
use std::path::{Path, PathBuf};

use quipu_testkit::Dice;

#[path = "../../../../fuzz/src/lib.rs"]
mod fuzz;

/// A fuzz target: its name, and what it does, which says whether the bytes meant something.
type Target = (&'static str, fn(&[u8]) -> bool);

macro_rules! targets {
    ($($name:ident)*) => { &[$((stringify!($name), fuzz::$name)),*] };
}

const DECODERS: &[Target] = targets![
    asyncapi envelope events headers frame body query cursor append request subscription control socket webhook secrets negotiation
    retry segment run snapshot records credential token grants
];
const IN_PIECES: &[Target] = targets![lines ahead messages];
const PATTERNS: &[Target] = targets![pattern];
const TRANSFORMATIONS: &[Target] = targets![transform];

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn replay_all(targets: &[Target]) {
    targets.iter().for_each(|(target, run)| replay(target, *run));
}

fn replay(target: &str, run: fn(&[u8]) -> bool) {
    let folder = fuzz_folder().join("corpus").join(target);
    let mut inputs: Vec<Vec<u8>> =
        fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{target} has a corpus");
    let mut dice = Dice::new(1);
    let mut meant = 0;
    for input in &inputs {
        meant += usize::from(run(input));
        for _ in 0..300 {
            run(&mutated(input, &mut dice));
        }
    }
    assert!(meant > 0, "nothing in the corpus of {target} means anything: did its format change?");
}

/// One to three small changes: a flipped bit, a cut, a repeated or removed stretch, another byte.
fn mutated(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..dice.between(1, 3) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = dice.below(bytes.len() as u64) as usize;
        let end = (at + dice.between(1, 8) as usize).min(bytes.len());
        match dice.below(5) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = *dice.pick(b"\"\\{}[]:,\n\0\xff0%"),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            _ => {
                let stretch = bytes[at..end].to_vec();
                bytes.splice(at..at, stretch);
            }
        }
    }
    bytes
}

#[test]
fn every_fuzz_target_is_replayed() {
    let entries = fs::read_dir(fuzz_folder().join("fuzz_targets")).unwrap();
    let mut files: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let mut replayed: Vec<&str> =
        [DECODERS, IN_PIECES, PATTERNS, TRANSFORMATIONS].concat().into_iter().map(|(target, _)| target).collect();
    replayed.sort_unstable();
    assert_eq!(files, replayed.iter().map(|target| format!("{target}.rs")).collect::<Vec<_>>());

    let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for target in replayed {
        let program = fs::read_to_string(fuzz_folder().join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(program.contains(&format!("quipu_fuzz::{target}(bytes)")), "{target}: {program}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target} is not built");
    }
}

#[test]
fn no_decoder_panics_and_what_is_read_is_written_again() {
    replay_all(DECODERS);
}

#[test]
fn what_is_read_does_not_depend_on_the_pieces_that_it_comes_in() {
    replay_all(IN_PIECES);
}

#[test]
fn a_set_of_patterns_answers_as_each_pattern_alone() {
    replay_all(PATTERNS);
}

#[test]
fn a_transformation_gives_one_outcome_in_the_format_that_it_promised() {
    replay_all(TRANSFORMATIONS);
}
