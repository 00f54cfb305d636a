//! Any saga among participants that do what they are asked, refuse it, ignore it, answer late or twice, with events in any
//! order, crashes, pauses and people: each instance ends completed, or everything that took place is undone.

mod driver;
mod oracle;
mod shape;
mod world;

use std::fmt;

use proptest::prelude::*;

use shape::{Shape, declare, shapes};
use world::World;

/// Bytes that decide what happens next; when they are used up, they are gone through again, stirred.
#[derive(Clone)]
pub struct Dice {
    bytes: Vec<u8>,
    at: usize,
}

impl Dice {
    /// A number below `below`.
    pub fn roll(&mut self, below: usize) -> usize {
        let round = self.at / self.bytes.len();
        let byte = usize::from(self.bytes[self.at % self.bytes.len()]);
        // As they are at first, so that a failure can be made small.
        let byte = if round == 0 { byte } else { (byte + self.at).wrapping_mul(0x9e37_79b1) >> 11 };
        self.at += 1;
        byte % below.max(1)
    }

    pub fn is_one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == sides - 1
    }
}

/// On one line, since a failure shows it.
impl fmt::Debug for Dice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

/// As its declaration.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let declaration = serde_json::to_string(&declare(self).steps).unwrap();
        write!(f, "waits {} twins {} names {} {declaration}", self.waits, self.twins, self.names)
    }
}

fn dice(bytes: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Dice> {
    prop::collection::vec(any::<u8>(), bytes).prop_map(|bytes| Dice { bytes, at: 0 })
}

/// What a run is made of.
#[derive(Clone)]
pub struct Setting {
    pub shapes: Vec<Shape>,
    /// A person is asked when a step fails.
    pub waits: bool,
    /// All steps send and wait for the same types.
    pub twins: bool,
    /// Answers name their command, where they have to.
    pub names: bool,
}

fn setting() -> impl Strategy<Value = Setting> {
    (shapes(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(shapes, waits, twins, names)| Setting {
        shapes,
        waits,
        twins,
        names,
    })
}

fn run(setting: &Setting, dice: Dice, steps: usize) {
    let mut world = World::new(setting, dice);
    for _ in 0..steps {
        world.step();
    }
    world.drain();
    oracle::judge(&world);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn each_instance_ends_completed_or_all_that_took_place_is_undone(
        setting in setting(),
        dice in dice(1..400),
        steps in 1usize..250,
    ) {
        run(&setting, dice, steps);
    }
}

/// What the property does not check if it never happens.
#[test]
fn the_world_sees_every_kind_of_note_and_end() {
    use std::collections::BTreeMap;

    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..1_500 {
        let (setting, dice) = (setting(), dice(100..400)).new_tree(&mut runner).unwrap().current();
        let mut world = World::new(&setting, dice);
        for _ in 0..200 {
            world.step();
        }
        world.drain();
        for note in &world.ledger.notes {
            *seen.entry(format!("{:?}", note.what)).or_default() += 1;
        }
        *seen.entry(format!("{:?}", world.ledger.state.status().unwrap())).or_default() += 1;
    }
    for expected in [
        "Begun",
        "Tried",
        "Finished",
        "Refused",
        "TimedOut",
        "NotSent",
        "GivenUp",
        "Failed",
        "UndoTried",
        "Undone",
        "UndoRefused",
        "UndoTimedOut",
        "Asks",
        "LateSuccess",
        "LateRefusal",
        "Repeated",
        "Ambiguous",
        "NotAsked",
        "KeptEarly",
        "Decided",
        "MappingFailed",
        "Cancelled",
        "Paused",
        "Resumed",
        "Retried",
        "Skipped",
        "Resolved",
        "Ended",
        "Reopened",
        "Ended(Completed)",
        "Ended(Compensated)",
        "Ended(Cancelled)",
        "Ended(Resolved)",
        "Ended(Failed)",
    ] {
        assert!(seen.get(expected).is_some_and(|times| *times >= 5), "{expected}: {seen:#?}");
    }
}

/// The declaration of a run, to look at.
#[test]
fn every_shape_is_a_declaration_that_is_taken() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    for _ in 0..200 {
        let setting = setting().new_tree(&mut runner).unwrap().current();
        let saga = declare(&setting);
        assert!(crate::saga::Plan::compile(&saga).is_ok(), "{}", serde_json::to_string(&saga).unwrap());
    }
}
