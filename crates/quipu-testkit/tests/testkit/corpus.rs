//! Replays the corpus of the fuzz targets, and a few thousand mutations of it, on a stable compiler.

use std::fs;
use std::path::Path;

use quipu_testkit::Dice;

#[path = "../../../../fuzz/src/lib.rs"]
mod fuzz;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs: Vec<Vec<u8>> =
        fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{target} has a corpus");
    let mut dice = Dice::new(1);
    for input in &inputs {
        run(input);
        for _ in 0..300 {
            run(&mutated(input, &mut dice));
        }
    }
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
fn no_decoder_panics_and_what_is_read_is_written_again() {
    replay("envelope", fuzz::envelope);
    replay("events", fuzz::events);
    replay("headers", fuzz::headers);
    replay("frame", fuzz::frame);
    replay("body", fuzz::body);
    replay("query", fuzz::query);
    replay("cursor", fuzz::cursor);
    replay("append", fuzz::append);
    replay("request", fuzz::request);
    replay("subscription", fuzz::subscription);
    replay("control", fuzz::control);
    replay("socket", fuzz::socket);
    replay("webhook", fuzz::webhook);
    replay("secrets", fuzz::secrets);
    replay("negotiation", fuzz::negotiation);
    replay("retry", fuzz::retry);
    replay("segment", fuzz::segment);
    replay("run", fuzz::run);
    replay("snapshot", fuzz::snapshot);
    replay("records", fuzz::records);
}

#[test]
fn what_is_read_does_not_depend_on_the_pieces_that_it_comes_in() {
    replay("lines", fuzz::lines);
    replay("ahead", fuzz::ahead);
}

#[test]
fn a_set_of_patterns_answers_as_each_pattern_alone() {
    replay("pattern", fuzz::pattern);
}

#[test]
fn a_transformation_gives_one_outcome_in_the_format_that_it_promised() {
    replay("transform", fuzz::transform);
}
