//! What was set and not cancelled is published once, as it was set and not before its time; what was cancelled never is.
//!
//! A [`Ledger`] is told what was asked, each commit as it is on the disk, and the answers. What an operation comes to follows from
//! the commits before it, so each commit is held against what its operation has to leave, and each answer against its commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use quipu_domain::{Event, Refusal, Timestamp};
use quipu_engine::{Published, Scheduled, TimerInfo, TimerName};
use quipu_store::body;

use crate::checker::{Verdict, Violation, violated};
use crate::{Part, TimerPart, Written};

const NAME: &str = "timers";
/// So much sooner or later may a timer be that was there when the clock was set back: less is not noticed.
const SET_BACK_US: i64 = 20_000;

/// An event of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The event.
    pub event: Event<'static>,
    /// What it waits for; nothing if it is recorded at once.
    pub waits: Option<Wait>,
}

/// What an event waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// When it is due.
    pub due: Timestamp,
    /// When it was set, if it waits for so long.
    pub since: Option<Timestamp>,
    /// Its key.
    pub key: Option<String>,
    /// Whether it takes the place of another with that key.
    pub replaces: bool,
}

/// An operation.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Each item stands for itself; else all of it is one append.
    pub is_publish: bool,
    /// Events first.
    pub items: Vec<Item>,
    /// Timers to cancel.
    pub cancels: Vec<TimerName>,
    /// A condition does not hold: nothing of it may be done.
    pub fails: bool,
}

/// What it was answered.
#[derive(Clone, Debug)]
pub enum Told {
    /// The commit, of each item what became of it, and the timers that were cancelled.
    Done {
        /// The number of the commit; 0 of a publish.
        commit: u64,
        /// Of each item.
        items: Vec<Option<Published>>,
        /// Of each cancellation.
        cancelled: Vec<Option<u64>>,
        /// It repeats an earlier one.
        is_duplicate: bool,
    },
    /// It is not allowed.
    Refused(Refusal),
}

#[derive(Clone, Debug)]
struct Timer {
    set: u64,
    event: Event<'static>,
    bytes: Vec<u8>,
    wait: Wait,
    /// The commit that ended it, and whether it fired.
    ended: Option<(u64, bool)>,
    /// It may fire when the clock shows this.
    floor: Timestamp,
    /// It must when it shows this.
    ceiling: Timestamp,
}

#[derive(Debug)]
struct Pending {
    asked: Asked,
    /// The last commit that was known.
    after: u64,
    /// The commit that it made, with the timers that it set and cancelled.
    made: Option<(u64, Made)>,
    said: Said,
}

/// Which commit the answer of an operation says that it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    /// It has none yet.
    Nothing,
    /// This one.
    Commit(u64),
    /// One, but not which.
    Some,
    /// None.
    None,
}

/// What an operation has to leave behind as the log stands.
#[derive(Clone, Debug, Default)]
struct Made {
    parts: Vec<Expected>,
    cancelled: Vec<Option<u64>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Event(usize),
    Set(usize),
    Cancelled(Vec<u64>),
}

/// What is known of all timers of a tenant.
#[derive(Debug, Default)]
pub struct Ledger {
    commits: Vec<Written>,
    timers: BTreeMap<u64, Timer>,
    live: BTreeSet<u64>,
    keys: BTreeMap<String, u64>,
    /// Timers by the ids of their events.
    waiting: BTreeMap<String, u64>,
    events: BTreeMap<String, u64>,
    operations: Vec<Pending>,
    open: Vec<usize>,
    /// The latest time that the clock has shown since the commits were read.
    latest: Timestamp,
    /// By which it was looked whether something is due.
    looked: Timestamp,
    /// Nothing has failed in this process.
    pub is_calm: bool,
    /// The clock was never set back.
    pub is_ordered: bool,
}

fn wrong(detail: impl Into<String>) -> Violation {
    violated(NAME, detail)
}

/// When what waits for so long is due by a clock that shows this.
fn due_at(wait: &Wait, now: Timestamp) -> Timestamp {
    match wait.since {
        Some(since) if since > now => Timestamp(now.0 + (wait.due.0 - since.0).max(0)).min(wait.due),
        _ => wait.due,
    }
}

impl Ledger {
    /// One of an empty log.
    pub fn new(now: Timestamp) -> Self {
        Self { latest: now, looked: now, is_calm: true, is_ordered: true, ..Self::default() }
    }

    /// How many commits are known.
    pub fn commits(&self) -> u64 {
        self.commits.len() as u64
    }

    /// How many timers have fired.
    pub fn fired(&self) -> u64 {
        self.timers.values().filter(|timer| matches!(timer.ended, Some((_, true)))).count() as u64
    }

    /// How many were set.
    pub fn set(&self) -> u64 {
        self.timers.len() as u64
    }

    /// How many events are recorded.
    pub fn events(&self) -> u64 {
        self.events.len() as u64
    }

    /// The event that was recorded under this id.
    pub fn position(&self, id: &str) -> Option<u64> {
        self.events.get(id).copied()
    }

    /// When the last of those that wait is due.
    pub fn last_due(&self) -> Option<Timestamp> {
        self.live.iter().map(|number| self.timers[number].ceiling).max()
    }

    /// The clock shows this now.
    pub fn clock(&mut self, now: Timestamp) {
        self.latest = self.latest.max(now);
        for number in &self.live {
            let timer = self.timers.get_mut(number).expect("it waits");
            timer.floor = timer.floor.min(due_at(&timer.wait, now));
        }
    }

    /// It was looked whether something is due, at this time.
    pub fn looked(&mut self, now: Timestamp) {
        if self.looked.0 > now.0 + SET_BACK_US {
            self.wind(now);
        }
        self.looked = now;
    }

    /// A process began at this time.
    pub fn opened(&mut self, now: Timestamp) {
        // What nobody was answered and is not there never will be.
        self.open.clear();
        self.looked = now;
        // Of some that it finds only now it is known that they were set.
        self.clock(now);
        self.wind(now);
    }

    fn wind(&mut self, now: Timestamp) {
        for number in &self.live {
            let timer = self.timers.get_mut(number).expect("it waits");
            timer.ceiling = due_at(&timer.wait, now);
        }
    }

    /// Something is asked; its number.
    pub fn asked(&mut self, asked: Asked) -> usize {
        let (after, at) = (self.commits(), self.operations.len());
        self.operations.push(Pending { asked, after, made: None, said: Said::Nothing });
        self.open.push(at);
        at
    }

    /// An answer has come, and the commits that it is about are yet to be read.
    pub fn told(&mut self, at: usize, told: &Told) {
        let is_new = |item: &Option<Published>| match item {
            Some(Published::Scheduled(scheduled)) => !scheduled.is_duplicate,
            other => matches!(other, Some(Published::Recorded(_))),
        };
        self.operations[at].said = match told {
            Told::Done { commit: 0, items, .. } if items.iter().any(is_new) => Said::Some,
            Told::Done { commit: 0, .. } | Told::Refused(_) => Said::None,
            Told::Done { commit, .. } => Said::Commit(*commit),
        };
    }

    /// A commit is on the disk: the next, or one that is known and must still be the same.
    ///
    /// # Errors
    /// It must not be.
    pub fn written(&mut self, written: Written) -> Verdict {
        if let Some(known) = self.commits.get(written.number as usize - 1) {
            return if *known == written {
                Ok(())
            } else {
                Err(wrong(format!("commit {} has changed", written.number)))
            };
        }
        let is_ours = |part: &&Part| !matches!(part, Part::Other(_));
        let parts: Vec<&Part> = written.parts.iter().filter(is_ours).collect();
        if parts.iter().any(|part| matches!(part, Part::Timer(TimerPart::Fired { .. }))) {
            self.fire(written.number, &parts)?;
        } else if !parts.is_empty() {
            self.take(written.number, &parts)?;
        }
        self.commits.push(written);
        Ok(())
    }

    /// All that is on the disk is known.
    pub fn read(&mut self, now: Timestamp) {
        self.latest = now;
    }

    fn fire(&mut self, commit: u64, parts: &[&Part]) -> Verdict {
        let Some((Part::Timer(TimerPart::Fired { timers }), events)) = parts.split_last() else {
            return Err(wrong(format!("commit {commit} does not end with the timers that fired in it")));
        };
        if timers.len() != events.len() {
            return Err(wrong(format!("commit {commit} has {} events, and {timers:?} fired", events.len())));
        }
        let mut before = None;
        for (number, part) in timers.iter().zip(events) {
            let Part::Event(position, bytes) = part else {
                return Err(wrong(format!("{part:?} stands in commit {commit}")));
            };
            let timer = self.end(*number, commit, true)?;
            if timer.bytes != *bytes {
                return Err(wrong(format!("timer {number} was set with another event than is at {position}")));
            }
            let (floor, id) = (timer.floor, timer.event.id().to_owned());
            let place = (timer.wait.due, *number);
            if self.latest < floor {
                return Err(wrong(format!("timer {number} fired at {} at the latest, before {floor}", self.latest)));
            }
            if self.is_calm && self.is_ordered && before.is_some_and(|before| before > place) {
                return Err(wrong(format!("timer {number} fired behind one that was due later: {timers:?}")));
            }
            before = Some(place);
            self.recorded(id, *position)?;
        }
        Ok(())
    }

    /// The timer does not wait any more.
    fn end(&mut self, number: u64, commit: u64, fired: bool) -> Result<&Timer, Violation> {
        let what = if fired { "fired" } else { "cancelled" };
        let Some(timer) = self.timers.get_mut(&number) else {
            return Err(wrong(format!("timer {number} is {what} in commit {commit}, and was never set")));
        };
        if let Some((before, fired)) = timer.ended {
            let how = if fired { "fired" } else { "was cancelled" };
            return Err(wrong(format!("timer {number} is {what} in commit {commit}, and {how} in commit {before}")));
        }
        timer.ended = Some((commit, fired));
        self.live.remove(&number);
        self.waiting.remove(timer.event.id());
        if let Some(key) = &timer.wait.key {
            self.keys.remove(key);
        }
        Ok(timer)
    }

    fn recorded(&mut self, id: String, position: u64) -> Verdict {
        match self.events.insert(id.clone(), position) {
            None => Ok(()),
            Some(before) => Err(wrong(format!("{id} is at {before} and at {position}"))),
        }
    }

    /// The timer that a name means.
    fn named(&self, name: &TimerName) -> Option<u64> {
        match name {
            TimerName::Number(number) => self.live.get(number).copied(),
            TimerName::Key(key) => self.keys.get(key).copied(),
        }
    }

    /// What an operation leaves if it is taken now.
    fn made(&self, asked: &Asked) -> Made {
        let cancelled: Vec<Option<u64>> = asked.cancels.iter().map(|name| self.named(name)).collect();
        let mut gone: Vec<u64> = Vec::new();
        cancelled.iter().flatten().for_each(|number| {
            if !gone.contains(number) {
                gone.push(*number)
            }
        });
        let is_known = |item: &Item| item.waits.is_none() && self.events.contains_key(item.event.id());
        if !asked.is_publish && asked.items.iter().any(is_known) {
            // It repeats an earlier one, and leaves nothing.
            return Made { parts: Vec::new(), cancelled: vec![None; cancelled.len()] };
        }
        let mut parts: Vec<Expected> =
            (!gone.is_empty()).then(|| Expected::Cancelled(gone.clone())).into_iter().collect();
        for (at, item) in asked.items.iter().enumerate() {
            let id = item.event.id();
            let waits = self.waiting.get(id).is_some_and(|number| !gone.contains(number));
            if self.events.contains_key(id) || waits {
                continue;
            }
            let Some(wait) = &item.waits else {
                parts.push(Expected::Event(at));
                continue;
            };
            let holder = wait.key.as_ref().and_then(|key| self.keys.get(key)).filter(|number| !gone.contains(number));
            if let Some(holder) = holder {
                if !wait.replaces {
                    // All of it is refused.
                    return Made::default();
                }
                gone.push(*holder);
                parts.push(Expected::Cancelled(vec![*holder]));
            }
            parts.push(Expected::Set(at));
        }
        Made { parts, cancelled }
    }

    /// A commit of somebody's operation.
    fn take(&mut self, commit: u64, parts: &[&Part]) -> Verdict {
        let fits = |at: &&usize, is_told: bool| {
            let Pending { asked, said, .. } = &self.operations[**at];
            let made = self.made(asked);
            let is_whole = made.parts.len() == parts.len();
            let is_it = match said {
                Said::Nothing => !is_told,
                Said::Commit(said) => is_told && *said == commit,
                Said::Some => is_told,
                Said::None => false,
            };
            is_it
                && !asked.fails
                && is_whole
                && made.parts.iter().zip(parts).all(|(expected, found)| fits(asked, expected, found))
        };
        // Of two that ask for the same it is the one that was told so, if one was.
        let found = self.open.iter().find(|at| fits(at, true)).or_else(|| self.open.iter().find(|at| fits(at, false)));
        let Some(at) = found.copied() else {
            let mut detail = format!("commit {commit} is of no operation:");
            parts.iter().for_each(|part| _ = write!(detail, " {}", told(part)));
            for at in &self.open {
                let _ = write!(detail, "; asked {:?}", self.made(&self.operations[*at].asked).parts);
            }
            return Err(wrong(detail));
        };
        self.open.retain(|open| *open != at);
        let asked = self.operations[at].asked.clone();
        let made = self.made(&asked);
        for (expected, part) in made.parts.iter().zip(parts) {
            match (expected, part) {
                (Expected::Event(item), Part::Event(position, _)) => {
                    self.recorded(asked.items[*item].event.id().to_owned(), *position)?;
                }
                (Expected::Set(item), Part::Timer(TimerPart::Set { event, .. })) => {
                    self.set_one(commit, &asked.items[*item], event);
                }
                (Expected::Cancelled(numbers), _) => {
                    numbers.iter().try_for_each(|number| self.end(*number, commit, false).map(drop))?;
                }
                _ => unreachable!("it fits"),
            }
        }
        self.operations[at].made = Some((commit, made));
        Ok(())
    }

    fn set_one(&mut self, commit: u64, item: &Item, bytes: &[u8]) {
        let number = self.timers.len() as u64 + 1;
        let (wait, event) = (item.waits.clone().expect("it waits"), item.event.clone());
        self.live.insert(number);
        self.waiting.insert(event.id().to_owned(), number);
        wait.key.iter().for_each(|key| _ = self.keys.insert(key.clone(), number));
        let (floor, ceiling) = (wait.due, wait.due);
        self.timers
            .insert(number, Timer { set: commit, event, bytes: bytes.to_vec(), wait, ended: None, floor, ceiling });
    }

    /// An operation was answered, and all commits up to then are known.
    ///
    /// # Errors
    /// The answer is not what happened.
    pub fn answered(&mut self, at: usize, told: &Told) -> Verdict {
        let pending = &self.operations[at];
        let verdict = match told {
            Told::Refused(refusal) => self.refused(pending, refusal),
            Told::Done { .. } if pending.asked.fails => Err("its condition does not hold".to_owned()),
            Told::Done { commit, items, cancelled, is_duplicate } => {
                self.done(pending, *commit, items, cancelled, *is_duplicate)
            }
        };
        verdict.map_err(|why| wrong(format!("{:?} was answered {told:?}: {why}", pending.asked)))?;
        self.open.retain(|open| *open != at);
        Ok(())
    }

    fn refused(&self, pending: &Pending, refusal: &Refusal) -> Result<(), String> {
        if let Some((commit, _)) = pending.made {
            return Err(format!("it is commit {commit}"));
        }
        let asked = &pending.asked;
        let is_right = match refusal {
            Refusal::ConditionsFailed(_) => asked.fails,
            Refusal::TimerExists { key, timer } => {
                let wanted = asked.items.iter().filter_map(|item| item.waits.as_ref());
                let wants = wanted.filter(|wait| !wait.replaces).any(|wait| wait.key.as_ref() == Some(key));
                let has = |timer: &Timer| {
                    timer.wait.key.as_ref() == Some(key) && timer.ended.is_none_or(|(commit, _)| commit > pending.after)
                };
                wants && self.timers.get(timer).is_some_and(has)
            }
            _ => false,
        };
        if is_right { Ok(()) } else { Err("nothing forbids it".to_owned()) }
    }

    fn done(
        &self,
        pending: &Pending,
        commit: u64,
        items: &[Option<Published>],
        cancelled: &[Option<u64>],
        is_duplicate: bool,
    ) -> Result<(), String> {
        let asked = &pending.asked;
        if items.len() != asked.items.len() || cancelled.len() != asked.cancels.len() {
            return Err("it has other parts than were asked for".to_owned());
        }
        let made = pending.made.as_ref();
        if let Some((made, _)) = made
            && !asked.is_publish
            && (*made != commit || is_duplicate)
        {
            return Err(format!("it is commit {made}"));
        }
        for (name, (at, told)) in asked.cancels.iter().zip(cancelled.iter().enumerate()) {
            match (made, told) {
                (Some((_, made)), told) if made.cancelled[at] != *told => {
                    return Err(format!("{:?} is cancelled in its commit", made.cancelled[at]));
                }
                (None, Some(_)) => return Err("its cancellation is not in the log".to_owned()),
                (None, None) if !is_duplicate => {
                    let waits = self.named(name).filter(|number| self.timers[number].set <= pending.after);
                    waits.map_or(Ok(()), |number| Err(format!("timer {number} waits, and waited all the time")))?;
                }
                _ => {}
            }
        }
        for (at, (item, told)) in asked.items.iter().zip(items).enumerate() {
            let is_made = made.is_some_and(|(_, made)| {
                made.parts.iter().any(|part| matches!(part, Expected::Event(item) | Expected::Set(item) if *item == at))
            });
            self.item(item, told.as_ref(), is_made, is_duplicate)?;
        }
        Ok(())
    }

    fn item(&self, item: &Item, told: Option<&Published>, is_made: bool, is_repeat: bool) -> Result<(), String> {
        let id = item.event.id();
        match told {
            Some(Published::Recorded(place)) if (is_made || is_repeat) && item.waits.is_none() => {
                match self.position(id) {
                    Some(position) if position == place.position => Ok(()),
                    other => Err(format!("{id} is at {other:?}")),
                }
            }
            Some(Published::Duplicate(place)) if !is_made => match self.position(id) {
                Some(position) if position == place.position => Ok(()),
                other => Err(format!("{id} is at {other:?}")),
            },
            Some(Published::Scheduled(Scheduled { timer, due, is_duplicate })) if *is_duplicate != is_made => {
                match self.timers.get(timer) {
                    Some(found) if found.event == item.event && found.wait.due == *due => Ok(()),
                    other => Err(format!("timer {timer} is {other:?}")),
                }
            }
            // It was cancelled since.
            None if is_repeat && item.waits.is_some() && !self.waiting.contains_key(id) => Ok(()),
            _ => Err(format!("{id}, made {is_made}, is told {told:?}")),
        }
    }

    /// What the tenant says that waits, what fires first first.
    ///
    /// # Errors
    /// Something else does.
    pub fn listed(&self, found: &[TimerInfo]) -> Verdict {
        let mut live: Vec<(Timestamp, u64)> =
            self.live.iter().map(|number| (self.timers[number].wait.due, *number)).collect();
        live.sort_unstable();
        let shown: Vec<(Timestamp, u64)> = found.iter().map(|one| (one.due, one.timer)).collect();
        if shown != live {
            return Err(wrong(format!("expected {live:?} to wait, found {shown:?}")));
        }
        for one in found {
            let timer = &self.timers[&one.timer];
            if one.event() != timer.event || one.key() != timer.wait.key.as_deref() {
                return Err(wrong(format!(
                    "timer {} is shown with another event or key than it was set with",
                    one.timer
                )));
            }
        }
        Ok(())
    }

    /// Everything had its chance to fire at this time.
    ///
    /// # Errors
    /// Something that is due waits.
    pub fn had_their_chance(&self, now: Timestamp) -> Verdict {
        let late = |number: &&u64| self.timers[number].ceiling.0 + 1_000 <= now.0;
        match self.live.iter().find(late) {
            None => Ok(()),
            Some(number) => {
                let ceiling = self.timers[number].ceiling;
                Err(wrong(format!("timer {number} was due at {ceiling} and waits at {now}")))
            }
        }
    }

    /// Nothing is left to fire.
    ///
    /// # Errors
    /// Something is.
    pub fn ended(&self) -> Verdict {
        match self.live.first() {
            None => Ok(()),
            Some(number) => {
                Err(wrong(format!("timer {number} was set, was not cancelled, and has not fired in the end")))
            }
        }
    }
}

fn fits(asked: &Asked, expected: &Expected, found: &Part) -> bool {
    let is = |at: usize, bytes: &[u8]| body::decode(bytes).is_some_and(|event| event == asked.items[at].event);
    match (expected, found) {
        (Expected::Event(at), Part::Event(_, bytes)) => is(*at, bytes),
        (Expected::Set(at), Part::Timer(TimerPart::Set { due, since, key, event, .. })) => {
            let wait = asked.items[*at].waits.as_ref();
            wait.is_some_and(|wait| (wait.due, wait.since, &wait.key) == (*due, *since, key)) && is(*at, event)
        }
        (Expected::Cancelled(numbers), Part::Timer(TimerPart::Cancelled { timers })) => numbers == timers,
        _ => false,
    }
}

fn told(part: &Part) -> String {
    let id = |bytes: &[u8]| body::decode(bytes).map_or_else(String::new, |event| event.id().to_owned());
    match part {
        Part::Event(position, bytes) => format!("event {} at {position}", id(bytes)),
        Part::Timer(TimerPart::Set { event, due, key, .. }) => format!("timer of {} at {due} under {key:?}", id(event)),
        other => format!("{other:?}"),
    }
}
