//! Refusals that are to be written: each kind once a minute, with how often it was repeated, and no more kinds than have room.
//! Strangers have a window of their own: they cannot take the room of those who are known.

use std::collections::HashMap;

use quipu_domain::{Event, Timestamp};

use super::act::{Act, Actor, Ended};

/// For so long the same refusal is counted instead of written, microseconds.
const WINDOW_US: i64 = 60 * 1_000_000;
/// Different refusals that are written in that time, of strangers and of those who are known. About 150 MB a day at the most.
const KINDS_MAX: usize = 100;
/// Of each who is known so many at the most: one does not take the room of all.
const KINDS_OF_ONE_MAX: usize = 20;
/// Those whose other refusals are counted for each of them.
const ACTORS_MAX: usize = 1_000;

/// The refusals of a tenant.
#[derive(Default)]
pub(super) struct Refusals {
    strangers: Window,
    known: Window,
}

#[derive(Default)]
struct Window {
    began: Option<Timestamp>,
    seen: HashMap<Kind, Noted>,
    /// Those that are to be written now.
    new: Vec<Noted>,
    /// How many of those are of whom.
    of: HashMap<Actor, usize>,
    /// The last one of each that had no room, and how many there were.
    others: HashMap<Actor, Noted>,
}

/// What makes two refusals the same.
#[derive(PartialEq, Eq, Hash)]
struct Kind {
    actor: Actor,
    address: Option<String>,
    operation: String,
    subject: String,
    code: Option<String>,
    /// On a connection with many requests it tells them apart.
    detail: Option<String>,
}

/// A refusal that is to be written.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    act: Act,
    ended: Ended,
    /// How often it came again since it was written; nothing for one that was not.
    again: Option<u64>,
}

impl Noted {
    /// What is written of it; `id` is that of an act, if it needs one of its own.
    pub fn event(&self, id: String, now: Timestamp) -> Event<'static> {
        match self.again {
            None => self.act.ended(&self.ended, now),
            Some(count) => Act { id, ..self.act.clone() }.repeated(&self.ended, count, now),
        }
    }
}

impl Refusals {
    pub fn note(&mut self, now: Timestamp, act: Act, ended: Ended) {
        let window = if act.actor.is_stranger() { &mut self.strangers } else { &mut self.known };
        window.note(now, act, ended);
    }

    /// What is to be written now.
    pub fn due(&mut self, now: Timestamp) -> Vec<Noted> {
        [&mut self.strangers, &mut self.known].into_iter().flat_map(|window| window.due(now)).collect()
    }

    /// Everything.
    pub fn all(&mut self) -> Vec<Noted> {
        [&mut self.strangers, &mut self.known].into_iter().flat_map(Window::end).collect()
    }

    /// Takes back what could not be written.
    pub fn give_back(&mut self, noted: Vec<Noted>) {
        for noted in noted {
            let window = if noted.act.actor.is_stranger() { &mut self.strangers } else { &mut self.known };
            // Where nothing can be written for long, the newest are counted only.
            if window.new.len() < 2 * KINDS_MAX {
                window.new.push(noted);
            } else {
                window.other(noted.act, noted.ended, noted.again.unwrap_or(1));
            }
        }
    }
}

impl Window {
    fn note(&mut self, now: Timestamp, act: Act, ended: Ended) {
        let kind = Kind {
            actor: act.actor.clone(),
            address: act.address.clone(),
            operation: act.operation.clone(),
            subject: act.subject.clone(),
            code: ended.code.clone(),
            detail: ended.detail.clone(),
        };
        self.began.get_or_insert(now);
        let of_one = self.of.get(&kind.actor).copied().unwrap_or(0);
        let has_room = self.seen.len() < KINDS_MAX && (of_one < KINDS_OF_ONE_MAX || kind.actor.is_stranger());
        if let Some(seen) = self.seen.get_mut(&kind) {
            *seen = Noted { act, ended, again: Some(seen.again.unwrap_or(0) + 1) };
        } else if has_room {
            self.of.insert(kind.actor.clone(), of_one + 1);
            let noted = Noted { act, ended, again: None };
            self.new.push(noted.clone());
            self.seen.insert(kind, noted);
        } else {
            self.other(act, ended, 1);
        }
    }

    /// One more that has no room: the last one stands for all, from wherever they came.
    fn other(&mut self, act: Act, ended: Ended, count: u64) {
        let is_known = self.others.contains_key(&act.actor) || self.others.len() < ACTORS_MAX;
        let actor = if is_known { act.actor.clone() } else { Actor { id: "others".into(), name: None } };
        let before = self.others.get(&actor).and_then(|others| others.again).unwrap_or(0);
        let others =
            Noted { act: Act { actor: actor.clone(), address: None, ..act }, ended, again: Some(before + count) };
        self.others.insert(actor, others);
    }

    fn due(&mut self, now: Timestamp) -> Vec<Noted> {
        // A clock that was set back must not hold them up.
        let is_over = |began: Timestamp| !(0..WINDOW_US).contains(&now.0.saturating_sub(began.0));
        if self.began.is_some_and(is_over) { self.end() } else { std::mem::take(&mut self.new) }
    }

    fn end(&mut self) -> Vec<Noted> {
        self.began = None;
        self.of.clear();
        let repeated = self.seen.drain().map(|(_, noted)| noted).filter(|noted| noted.again.is_some());
        let mut ended = std::mem::take(&mut self.new);
        ended.extend(repeated);
        ended.extend(self.others.drain().map(|(_, noted)| noted));
        ended
    }
}

impl Actor {
    /// Somebody who has not said who he is, or not so that it could be believed.
    pub fn stranger() -> Self {
        Self { id: "stranger".into(), name: None }
    }

    fn is_stranger(&self) -> bool {
        *self == Self::stranger()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn act(actor: &str, operation: &str) -> Act {
        Act {
            id: "1".into(),
            operation: operation.into(),
            actor: Actor { id: actor.into(), name: None },
            address: None,
            subject: "x".into(),
            correlation: None,
            details: Value::Null,
        }
    }

    fn counts(noted: &[Noted]) -> Vec<Option<u64>> {
        let mut counts: Vec<_> = noted.iter().map(|noted| noted.again).collect();
        counts.sort_unstable();
        counts
    }

    #[test]
    fn the_same_refusal_is_written_once_a_minute_and_then_how_often_it_came_again() {
        let mut refusals = Refusals::default();
        let refused = || Ended::refused(Some("forbidden"), "no");
        (0..50).for_each(|n| refusals.note(Timestamp(n), act("key:1", "key.create"), refused()));
        assert_eq!(counts(&refusals.due(Timestamp(50))), [None]);
        assert!(refusals.due(Timestamp(WINDOW_US - 1)).is_empty());
        refusals.note(Timestamp(51), act("key:2", "key.create"), refused());
        assert_eq!(counts(&refusals.due(Timestamp(WINDOW_US))), [None, Some(49)]);
        assert!(refusals.all().is_empty());
        // The clock was set back: what waits does not wait longer.
        refusals.note(Timestamp(500), act("key:1", "key.create"), refused());
        refusals.note(Timestamp(500), act("key:1", "key.create"), refused());
        assert_eq!(counts(&refusals.due(Timestamp(400))), [None, Some(1)]);
    }

    #[test]
    fn kinds_that_have_no_room_are_counted_and_strangers_take_nobodys_room() {
        let mut refusals = Refusals::default();
        for n in 0..10_000 {
            let stranger = Act { address: Some(n.to_string()), ..act("stranger", "key.create") };
            refusals.note(Timestamp(0), stranger, Ended::refused(None, "no"));
        }
        refusals.note(Timestamp(0), act("key:1", "key.create"), Ended::refused(None, "no"));
        let written = refusals.due(Timestamp(1));
        assert_eq!(written.len(), KINDS_MAX + 1);
        assert!(written.iter().any(|noted| noted.act.actor.id == "key:1"));
        let ended = refusals.all();
        assert_eq!(counts(&ended), [Some(10_000 - KINDS_MAX as u64)]);
        // One who is known does not take the room of another.
        for n in 0..1_000 {
            refusals.note(Timestamp(0), act("key:1", &n.to_string()), Ended::refused(None, "no"));
        }
        refusals.note(Timestamp(0), act("key:2", "key.create"), Ended::refused(None, "no"));
        let written = refusals.due(Timestamp(1));
        assert_eq!(written.iter().filter(|noted| noted.act.actor.id == "key:1").count(), KINDS_OF_ONE_MAX);
        assert!(written.iter().any(|noted| noted.act.actor.id == "key:2"));
        assert_eq!(refusals.all().iter().map(|noted| noted.again.unwrap_or(0)).sum::<u64>(), 980);
        // What somebody asks for is a part of what he is refused.
        for subject in ["keys/a", "keys/b"] {
            let asked = Act { subject: subject.into(), ..act("key:1", "key.revoke") };
            refusals.note(Timestamp(0), asked, Ended::refused(None, "no"));
        }
        assert_eq!(counts(&refusals.all()), [None, None]);
        // A disk that is full for long does not fill the memory, and nothing is forgotten.
        for n in 0..1_000 {
            refusals.note(Timestamp(0), act(&n.to_string(), "a"), Ended::refused(None, "no"));
            let all = refusals.all();
            refusals.give_back(all);
        }
        let all = refusals.all();
        assert!(all.len() <= 2 * KINDS_MAX + ACTORS_MAX + 1);
        assert_eq!(all.iter().map(|noted| noted.again.unwrap_or(1)).sum::<u64>(), 1_000);
    }
}
