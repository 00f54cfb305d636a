//! What a seek says before it is made is what it does.

use std::collections::BTreeSet;
use std::sync::Arc;

use quipu_domain::StartAt;
use quipu_domain::delivery::{Failure, Reason};
use quipu_engine::{Answer, DeadLetterFilter, Handed, Published, SeekPreview, Tenant};
use tempfile::TempDir;

use crate::support::*;

const KEYS: [&str; 5] = ["done", "flight", "wait", "parked", "redriven"];

fn preview(tenant: &Tenant, to: &StartAt) -> (u64, u64, u64) {
    let SeekPreview { again, skipped, forgotten } = tenant.preview_seek("s", to).unwrap().unwrap();
    (again, skipped, forgotten)
}

fn answer(tenant: &Tenant, name: &str, handed: &Handed, answer: Answer) {
    tenant.answer(name, vec![(handed.id, handed.token, answer)]).unwrap().remove(0).unwrap();
}

fn give_up() -> Answer {
    Answer::GiveUp { failure: Failure::new("no"), reason: Reason::GivenUpByConsumer }
}

fn subscribe(tenant: &Arc<Tenant>, name: &str, definition: &str) {
    tenant.create_subscription(name, serde_json::from_str(definition).unwrap()).unwrap();
}

/// Everything that is handed out from now on, acknowledged.
fn drain(tenant: &Tenant) -> Vec<u64> {
    let mut positions = Vec::new();
    while let handed = tenant.pull("s", 100).unwrap()
        && !handed.is_empty()
    {
        handed.iter().for_each(|one| answer(tenant, "s", one, Answer::Ack));
        positions.extend(handed.iter().map(|one| one.id.position));
    }
    positions.sort_unstable();
    positions
}

#[test]
fn what_was_looked_at_and_handed_to_nobody_is_skipped_by_a_seek_forward_and_not_repeated_by_one_back() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    subscribe(&tenant, "s", r#"{"start":"beginning","ordering":"none"}"#);
    let events: Vec<_> = (0..1_500).map(|id| event(&id.to_string(), "x")).collect();
    publish_all(&tenant, &events);
    assert_eq!(tenant.pull("s", 1).unwrap().len(), 1);
    assert_eq!(preview(&tenant, &StartAt::Now), (0, 1_499, 1));
    assert_eq!(preview(&tenant, &StartAt::Beginning), (1, 0, 0));
    assert_eq!(preview(&tenant, &StartAt::Position(1_000)), (0, 998, 1));
    tenant.seek_subscription("s", &StartAt::Now).unwrap();
    assert_eq!(drain(&tenant), [0; 0]);
    assert_eq!(preview(&tenant, &StartAt::Beginning), (1_500, 0, 0));
}

/// A subscription with deliveries of every kind, and events behind them that wait, are ready, or were not looked at.
struct Case {
    folder: TempDir,
    tenant: Arc<Tenant>,
    /// Positions of events that match.
    matching: BTreeSet<u64>,
    /// Those that somebody was handed.
    had: BTreeSet<u64>,
    /// Those of them that are not finished.
    unfinished: BTreeSet<u64>,
}

impl Case {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let tenant = open(folder.path(), small()).unwrap();
        let (matching, had, unfinished) = Default::default();
        let mut case = Self { folder, tenant, matching, had, unfinished };
        let definition = r#"{"start":"beginning","pattern":{"type":["t.a"]},"deadletter":{"key":"park"}}"#;
        subscribe(&case.tenant, "s", definition);
        subscribe(&case.tenant, "other", r#"{"start":"beginning","pattern":{"type":["t.b"]}}"#);
        case.publish(1);
        case.work();
        case.publish(3);
        // They are looked at, and nobody is handed any.
        assert!(case.tenant.pull("s", 0).unwrap().is_empty());
        case.publish(2);
        case
    }

    /// So many of each key.
    fn publish(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for key in KEYS {
                for kind in ["t.a", "t.b"] {
                    let id = format!("{kind}{key}{}", self.tenant.position());
                    let Published::Recorded(place) = publish(&self.tenant, &event_of(kind, &id, key, "1")) else {
                        panic!("{id} is new")
                    };
                    let is_one = kind == "t.a";
                    self.matching.extend(Some(place.position).filter(|_| is_one));
                }
            }
        }
    }

    fn work(&mut self) {
        let handed = self.tenant.pull("s", 100).unwrap();
        self.had = handed.iter().map(|one| one.id.position).collect();
        self.unfinished = self.had.clone();
        for one in &handed {
            match one.recorded.event().subject().unwrap() {
                "done" => {
                    answer(&self.tenant, "s", one, Answer::Ack);
                    self.unfinished.remove(&one.id.position);
                }
                "wait" => {
                    let failure = Failure::new("later");
                    answer(&self.tenant, "s", one, Answer::Nack { failure, delay_ms: Some(60_000) });
                }
                "parked" | "redriven" => answer(&self.tenant, "s", one, give_up()),
                _ => {}
            }
        }
        let foreign = self.tenant.pull("other", 1).unwrap();
        answer(&self.tenant, "other", &foreign[0], give_up());
        self.tenant.checkpoint_deliveries().unwrap();
        for line in self.tenant.dead_letters(&DeadLetterFilter::default(), 0, 100) {
            let (letter, _) = self.tenant.dead_letter(line.id).unwrap();
            match (letter.subscription.as_str(), letter.subject.as_deref()) {
                ("other", _) => self.tenant.redrive(line.id, Some("s")).unwrap(),
                (_, Some("redriven")) => self.tenant.redrive(line.id, None).unwrap(),
                _ => {}
            }
        }
    }

    fn restart(mut self) -> Self {
        self.tenant.checkpoint_deliveries().unwrap();
        let empty = TempDir::new().unwrap();
        self.tenant = open(empty.path(), small()).unwrap();
        self.tenant = open(self.folder.path(), small()).unwrap();
        self
    }

    fn check(&self, position: u64) {
        let comes = |event: &&u64| **event >= position;
        let again = self.had.iter().filter(comes).count();
        let skipped = self.matching.difference(&self.had).filter(|event| !comes(event)).count();
        // And the dead letter of the other one, which is redriven beside its event.
        let forgotten = self.unfinished.iter().filter(|event| !comes(event)).count() + 1;
        let to = StartAt::Position(position);
        assert_eq!(preview(&self.tenant, &to), (again as u64, skipped as u64, forgotten as u64), "{position}");
        self.tenant.seek_subscription("s", &to).unwrap();
        assert_eq!(drain(&self.tenant), self.matching.iter().filter(comes).copied().collect::<Vec<_>>(), "{position}");
    }
}

#[test]
fn a_seek_counts_each_kind_of_delivery_for_what_becomes_of_it() {
    for position in (1..=61).step_by(4) {
        Case::new().check(position);
    }
}

#[test]
fn a_seek_counts_the_same_after_a_restart_when_what_waits_is_read_from_the_log() {
    for position in (1..=61).step_by(4) {
        Case::new().restart().check(position);
    }
}

#[test]
fn what_an_earlier_pattern_found_and_the_new_one_does_not_want_is_skipped_by_a_seek_back() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    subscribe(&tenant, "s", r#"{"start":"beginning","ordering":"none","pattern":{"type":["a","b"]}}"#);
    let kinds = ["a", "b", "a", "b"];
    let events: Vec<_> = (1..).zip(kinds).map(|(id, kind)| event_of(kind, &format!("{id}"), "x", "1")).collect();
    publish_all(&tenant, &events);
    assert_eq!(tenant.pull("s", 1).unwrap().len(), 1);
    let narrowed = r#"{"start":"beginning","ordering":"none","pattern":{"type":["a"]}}"#;
    tenant.update_subscription("s", serde_json::from_str(narrowed).unwrap()).unwrap();
    assert_eq!(preview(&tenant, &StartAt::Beginning), (1, 2, 0));
    tenant.seek_subscription("s", &StartAt::Beginning).unwrap();
    assert_eq!(drain(&tenant), [1, 3]);
}

#[test]
fn what_was_handed_out_by_an_earlier_pattern_and_the_new_one_does_not_want_is_forgotten_by_a_seek_back() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    subscribe(&tenant, "s", r#"{"start":"beginning","ordering":"none","pattern":{"type":["a","b"]}}"#);
    let kinds = ["a", "b", "a", "b", "b"];
    let events: Vec<_> = (1..).zip(kinds).map(|(id, kind)| event_of(kind, &format!("{id}"), "x", "1")).collect();
    publish_all(&tenant, &events);
    assert_eq!(tenant.pull("s", 4).unwrap().len(), 4);
    let narrowed = r#"{"start":"beginning","ordering":"none","pattern":{"type":["a"]}}"#;
    tenant.update_subscription("s", serde_json::from_str(narrowed).unwrap()).unwrap();
    // Position 5 was handed to nobody.
    assert_eq!(preview(&tenant, &StartAt::Beginning), (2, 1, 2));
    assert_eq!(preview(&tenant, &StartAt::Position(3)), (1, 1, 3));
    assert_eq!(preview(&tenant, &StartAt::Now), (0, 1, 4));
    tenant.seek_subscription("s", &StartAt::Position(3)).unwrap();
    assert_eq!(drain(&tenant), [3]);
}
