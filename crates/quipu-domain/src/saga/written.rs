//! Sagas that are written in Rust: what they listen to is declared, what follows is asked of their code. The machine around it is the
//! same for all of them: one question at a time, timers by name, and what the code wants done becomes effects of the same commit.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::act::NotPossible;
use super::attempt::{Attempt, Purpose};
use super::compile::Compiler;
use super::declaration::Again;
use super::effect::{Effect, NOTE_BYTES_MAX, Note, Step, What};
use super::finding::{Finding, Level};
use super::input::{Act, ActKind, Input, Told};
use super::key::Key;
use super::plan::{Doing, Kind, Listen, Node, Plan, Role, WAIT_MS_MAX};
use super::state::{Due, Outcome, Paused, Phase, State, VARIABLES_BYTES_MAX};
use super::which::Which;
use crate::Timestamp;
use crate::limits::TYPE_BYTES_MAX;

/// Most timers that an instance of such a saga has at once.
pub const WRITTEN_TIMERS_MAX: usize = 64;
/// Most events that one step of its code publishes.
pub const WRITTEN_SENDS_MAX: usize = 64;
/// Longest name of a timer, bytes.
pub const WRITTEN_TIMER_NAME_BYTES_MAX: usize = 128;

/// Since when a timer waits that waits for a time of the clock and not for so long.
const AT_A_TIME: Timestamp = Timestamp(i64::MIN);

/// What a saga that is written in Rust declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Its name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    pub saga: String,
    /// Which version of its code. Instances stay with the one that they began with.
    pub version: u32,
    /// Which events begin an instance.
    pub starts_on: Which,
    /// Which other events of its key it is told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hears: Option<Which>,
    /// Where the key of the instance stands: `correlationid`, another attribute, or a path such as `data.orderId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What an event that starts does where an instance of its key has ended and is remembered.
    #[serde(default)]
    pub again: Again,
}

/// What the code of a saga is asked about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Asked {
    /// The event at this position: the one that began the instance, or one that it hears of.
    Event {
        /// Where it is in the log.
        position: u64,
    },
    /// The time of a timer has come.
    Timer {
        /// Its name.
        name: Box<str>,
        /// When it was due: it may be set anew meanwhile.
        at: Timestamp,
    },
    /// What it wanted to publish was not taken.
    NotSent {
        /// The type of the event.
        kind: Box<str>,
        /// Why.
        reason: Box<str>,
    },
    /// Somebody, or the saga that began it, wants it undone.
    Cancel {
        /// Why.
        reason: Box<str>,
    },
}

/// What the code of a saga wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Its state from now on, as JSON.
    pub state: Box<str>,
    /// Events to publish, in this order.
    pub sends: Vec<Sending>,
    /// Timers to set, in place of those of the same name, or to cancel.
    pub timers: Vec<(Box<str>, Option<Wait>)>,
    /// How it ends, if it does. Its timers are cancelled then.
    pub ends: Option<Outcome>,
}

/// An event that the code of a saga publishes.
#[derive(Clone, Debug, PartialEq)]
pub struct Sending {
    /// Its type.
    pub kind: Box<str>,
    /// Its subject; that of the event that began the instance, if none is given.
    pub subject: Option<Box<str>>,
    /// Its data.
    pub data: Option<Json>,
}

/// How long a timer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// So many milliseconds: no later, if the clock is set back meanwhile.
    Ms(u64),
    /// Until this time.
    Until(Timestamp),
}

/// What an instance of such a saga has beside its variables, which are the state of its code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Coded {
    timers: Vec<(Box<str>, Due)>,
    /// Events that it has published.
    sent: u16,
    /// What its code is still to be asked, the first of it now. Empty at the end of a commit unless the code has failed.
    asked: VecDeque<Asked>,
    /// The code failed at the first of these.
    has_failed: bool,
    /// What is being published. Empty at the end of a commit.
    #[serde(skip)]
    outbox: Vec<(u16, Sending)>,
}

impl Plan {
    /// Compiles what a saga written in Rust declares.
    ///
    /// # Errors
    /// Everything that is refused.
    pub fn of_written(written: &Written) -> Result<Plan, Vec<Finding>> {
        let mut compiler = Compiler::default();
        compiler.check_name("/saga", &written.saga);
        let start = compiler.pattern("/starts_on", &written.starts_on);
        let hears = written.hears.as_ref().map(|hears| compiler.pattern("/hears", hears));
        let key = written.key.as_deref().map_or(Ok(Key::Correlation), Key::parse);
        let key = compiler.take("/key", key);
        let (Some(start), Some(key)) = (start, key) else { return Err(compiler.findings) };
        let name = written.saga.as_str().into();
        compiler.push(Node { name, parent: None, end: 1, rounds: 1, doing: Doing::Written, set: None });
        let mut plan = compiler.plan(Kind::Saga, &written.saga, start, key.clone());
        plan.again = written.again;
        plan.listens.extend(hears.flatten().map(|pattern| Listen { role: Role::Reply(0), pattern, key }));
        let is_refused = compiler.findings.iter().any(|finding| finding.level == Level::Refused);
        if is_refused { Err(compiler.findings) } else { Ok(plan) }
    }

    /// Whether it is written in Rust.
    pub fn is_written(&self) -> bool {
        matches!(self.nodes.first().map(|node| &node.doing), Some(Doing::Written))
    }
}

impl State {
    /// What its code is asked now.
    pub fn asked(&self) -> Option<&Asked> {
        self.coded.as_ref()?.asked.front()
    }

    /// What its code publishes by this attempt.
    pub fn sending(&self, attempt: Attempt) -> Option<&Sending> {
        let outbox = &self.coded.as_ref()?.outbox;
        outbox.iter().find(|(number, _)| *number == attempt.iteration).map(|(_, sending)| sending)
    }

    /// The timers that its code has set, with their names.
    pub fn timers(&self) -> impl Iterator<Item = (&str, Due)> {
        self.coded.iter().flat_map(|coded| coded.timers.iter().map(|(name, due)| (&**name, *due)))
    }

    pub(super) fn asked_positions(&self) -> impl Iterator<Item = u64> {
        let asked = self.coded.iter().flat_map(|coded| &coded.asked);
        asked.filter_map(|asked| if let Asked::Event { position } = asked { Some(*position) } else { None })
    }

    /// Whether its code failed, so that a person is asked.
    pub fn has_code_failed(&self) -> bool {
        self.coded.as_ref().is_some_and(|coded| coded.has_failed)
    }
}

impl Wanted {
    /// Whether it is within the limits.
    ///
    /// # Errors
    /// What was expected, and what was found.
    pub fn check(&self) -> Result<(), String> {
        let most = |what: &str, limit: usize, found: usize| match found <= limit {
            true => Ok(()),
            false => Err(format!("expected at most {limit} {what}, found {found}")),
        };
        most("bytes of state", VARIABLES_BYTES_MAX, self.state.len())?;
        most("events of one step", WRITTEN_SENDS_MAX, self.sends.len())?;
        for (name, wait) in &self.timers {
            most("bytes in the name of a timer", WRITTEN_TIMER_NAME_BYTES_MAX, name.len())?;
            if let Some(Wait::Ms(ms)) = wait
                && *ms > WAIT_MS_MAX
            {
                return Err(format!("expected a timer within 365 days, found one in {ms} ms"));
            }
        }
        for Sending { kind, .. } in &self.sends {
            if kind.is_empty() || kind.len() > TYPE_BYTES_MAX || kind.contains(crate::is_forbidden_char) {
                let shown: String = kind.chars().take(64).collect();
                return Err(format!("expected the type of an event such as order.failed, found {shown:?}"));
            }
        }
        Ok(())
    }
}

/// As [`super::may`], of a saga that is written in Rust.
pub(super) fn may(state: &State, act: ActKind) -> Result<(), NotPossible> {
    let is_over = matches!(state.phase, Phase::Ended | Phase::New);
    let has_failed = state.has_code_failed();
    match act {
        ActKind::Undo => Ok(()),
        _ if is_over => Err(NotPossible::Ended),
        ActKind::Retry { from: Some(_) } => Err(NotPossible::NoSuchStep),
        // Whatever it waits for: its code may be gone.
        ActKind::Resolve => Ok(()),
        ActKind::Retry { .. } | ActKind::Skip if has_failed => Ok(()),
        ActKind::Retry { .. } | ActKind::Skip => Err(NotPossible::NobodyAsked),
        ActKind::Resume if state.paused.is_some() && !has_failed => Ok(()),
        ActKind::Resume => Err(NotPossible::NotPaused),
        _ if state.paused.is_some() => Err(NotPossible::Paused),
        ActKind::Cancel | ActKind::Pause { .. } => Ok(()),
    }
}

/// As [`super::step`], of a saga that is written in Rust.
pub(super) fn step(state: State, input: Input<'_>, now: Timestamp) -> Step {
    let mut machine = Machine { state, now, effects: Vec::new(), notes: Vec::new() };
    machine.feed(input);
    machine.close();
    Step { state: machine.state, effects: machine.effects, notes: machine.notes }
}

struct Machine {
    state: State,
    now: Timestamp,
    effects: Vec<Effect>,
    notes: Vec<Note>,
}

impl Machine {
    fn coded(&mut self) -> &mut Coded {
        self.state.coded.get_or_insert_default()
    }

    fn feed(&mut self, input: Input<'_>) {
        if let Input::Start { number, position, parent, variables } = input {
            if self.state.phase != Phase::New {
                return self.note(What::AlreadyOpen, position, "");
            }
            let variables = variables.map(Into::into);
            let (phase, coded) = (Phase::Forward, Some(Box::default()));
            self.state =
                State { phase, number, start: position, last: position, parent, variables, coded, ..State::default() };
            self.note(What::Begun, position, "");
            return self.ask(Asked::Event { position });
        }
        let is_outside = matches!(input, Input::Event { .. } | Input::Due { .. });
        if self.state.phase == Phase::New || (is_outside && self.state.paused.is_some()) {
            return;
        }
        match input {
            // It would have begun it, and is nothing else to it.
            Input::Event { roles: [], .. } => {}
            Input::Event { position, .. } if self.state.phase == Phase::Ended => {
                self.note(What::NotAsked, position, "")
            }
            Input::Event { position, .. } => {
                self.state.last = position;
                self.ask(Asked::Event { position });
            }
            Input::Due { until } => self.due(until),
            Input::Sent { attempt } => {
                self.state.sending = self.state.sending.saturating_sub(1);
                self.coded().outbox.retain(|(number, _)| *number != attempt.iteration);
            }
            Input::NotSent { attempt, reason } => self.not_sent(attempt, reason),
            Input::Told { told, .. } => self.told(told),
            Input::Act(act) => self.act(act),
            // It begins none and calls nobody.
            Input::Start { .. } | Input::Answered { .. } | Input::Child { .. } => {}
        }
    }

    /// Asks the code, once it has answered what it was asked before.
    fn ask(&mut self, asked: Asked) {
        let coded = self.coded();
        coded.asked.push_back(asked);
        if coded.asked.len() == 1 {
            self.effects.push(Effect::Ask { node: 0, iteration: 0 });
        }
    }

    fn ask_next(&mut self) {
        // What another answer cancelled does not fire any more.
        let coded = self.coded();
        while let Some(Asked::Timer { name, at }) = coded.asked.front() {
            if coded.timers.iter().any(|(other, due)| other == name && due.at == *at) {
                break;
            }
            coded.asked.pop_front();
        }
        if !self.coded().asked.is_empty() {
            self.effects.push(Effect::Ask { node: 0, iteration: 0 });
        }
    }

    fn due(&mut self, until: Timestamp) {
        let mut due: Vec<_> = self.coded().timers.iter().filter(|(_, due)| due.at <= until).cloned().collect();
        due.sort_by_key(|(_, due)| due.at);
        due.into_iter().for_each(|(name, due)| self.ask(Asked::Timer { name, at: due.at }));
    }

    fn not_sent(&mut self, attempt: Attempt, reason: &str) {
        self.state.sending = self.state.sending.saturating_sub(1);
        let outbox = &mut self.coded().outbox;
        let Some(at) = outbox.iter().position(|(number, _)| *number == attempt.iteration) else { return };
        let (number, Sending { kind, .. }) = outbox.remove(at);
        self.note_of(What::NotSent, (number, 1), 0, reason);
        // What it says at its end it may not take back.
        if self.state.outcome.is_none() {
            self.ask(Asked::NotSent { kind, reason: reason.into() });
        }
    }

    fn told(&mut self, told: Told<'_>) {
        if self.state.asked().is_none() {
            return;
        }
        let wanted = match told {
            Told::Wanted(wanted) => wanted.check().and_then(|()| self.has_room(wanted)).map(|()| wanted),
            Told::Failed(reason) => Err(reason.to_owned()),
            Told::Holds(_) | Told::Variables(_) => return,
        };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(reason) => return self.failed(&reason),
        };
        let Some(asked) = self.coded().asked.pop_front() else { return };
        match &asked {
            Asked::Event { position } => self.note(What::Stepped, *position, ""),
            Asked::Timer { name, .. } => {
                self.coded().timers.retain(|(other, _)| other != name);
                self.note(What::Stepped, 0, &format!("timer {name}"));
            }
            Asked::NotSent { kind, .. } => self.note(What::Stepped, 0, &format!("{kind} was not published")),
            Asked::Cancel { .. } => self.note(What::Stepped, 0, "cancelled"),
        }
        self.state.variables = Some(wanted.state.clone());
        let now = self.now;
        for (name, wait) in &wanted.timers {
            let timers = &mut self.coded().timers;
            timers.retain(|(other, _)| other != name);
            let due = match wait {
                Some(Wait::Ms(ms)) => Due { since: now, at: now.plus_ms(i64::try_from(*ms).unwrap_or(i64::MAX)) },
                Some(Wait::Until(at)) => Due { since: AT_A_TIME, at: *at },
                None => continue,
            };
            timers.push((name.clone(), due));
        }
        for sending in &wanted.sends {
            self.send(sending.clone());
        }
        if let Some(outcome) = wanted.ends {
            self.state.outcome = Some(outcome);
            self.coded().timers.clear();
            self.coded().asked.clear();
        }
        self.ask_next();
    }

    /// Whether the limits of an instance hold after it.
    fn has_room(&mut self, wanted: &Wanted) -> Result<(), String> {
        let coded = self.coded();
        if usize::from(coded.sent) + wanted.sends.len() > usize::from(u16::MAX) {
            return Err(format!("expected at most {} events of an instance, found more", u16::MAX));
        }
        let mut names: Vec<&str> = coded.timers.iter().map(|(name, _)| &**name).collect();
        names.extend(wanted.timers.iter().map(|(name, _)| &**name));
        names.sort_unstable();
        names.dedup();
        match names.len() {
            0..=WRITTEN_TIMERS_MAX => Ok(()),
            found => Err(format!("expected at most {WRITTEN_TIMERS_MAX} timers of an instance, found {found}")),
        }
    }

    fn send(&mut self, sending: Sending) {
        let coded = self.coded();
        coded.sent += 1;
        let number = coded.sent;
        coded.outbox.push((number, sending));
        self.state.sending = self.state.sending.saturating_add(1);
        self.note_of(What::Tried, (number, 1), 0, "");
        let attempt = Attempt { node: 0, iteration: number, number: 1, purpose: Purpose::Command };
        self.effects.push(Effect::Send(attempt));
    }

    /// The code failed: nothing of what it was asked is lost, and events are read again from where it stopped.
    fn failed(&mut self, reason: &str) {
        self.note(What::MappingFailed, 0, reason);
        self.note(What::Asks, 0, "");
        self.coded().has_failed = true;
        self.state.paused = Some(Paused { since: self.now, place: self.state.last });
    }

    fn act(&mut self, Act { what, operation, reason }: Act<'_>) {
        if let Err(not_possible) = may(&self.state, what) {
            return self.note_of(What::NotDone, (0, 0), operation, &not_possible.to_string());
        }
        let done = match what {
            ActKind::Cancel => What::Cancelled,
            ActKind::Pause { .. } => What::Paused,
            ActKind::Resume => What::Resumed,
            ActKind::Retry { .. } => What::Retried,
            ActKind::Skip => What::Skipped,
            ActKind::Resolve => What::Resolved,
            ActKind::Undo => What::UndoneByParent,
        };
        match (what, self.state.phase, self.state.outcome) {
            // It did nothing that stands, or says that it does.
            (ActKind::Undo, Phase::Ended, Some(outcome)) if outcome != Outcome::Completed => {
                let tell = self.state.parent.map(|parent| Effect::Tell { parent, outcome });
                return self.effects.extend(tell);
            }
            _ => self.note_of(done, (0, 0), operation, reason),
        }
        match what {
            ActKind::Cancel => self.ask(Asked::Cancel { reason: reason.into() }),
            ActKind::Undo => {
                self.resume();
                (self.state.phase, self.state.outcome) = (Phase::Forward, None);
                self.ask(Asked::Cancel { reason: reason.into() });
            }
            ActKind::Pause { place } => self.state.paused = Some(Paused { since: self.now, place }),
            ActKind::Resume | ActKind::Retry { .. } => self.resume(),
            ActKind::Skip => {
                if let Some(Asked::Timer { name, .. }) = self.coded().asked.pop_front() {
                    self.coded().timers.retain(|(other, _)| *other != name);
                }
                self.resume();
            }
            ActKind::Resolve => {
                self.state.outcome = Some(Outcome::Resolved);
                self.state.paused = None;
                *self.coded() = Coded { sent: self.coded().sent, ..Coded::default() };
            }
        }
    }

    /// Timers move by how long it stood still; what the code failed at is asked again.
    fn resume(&mut self) {
        let Some(paused) = self.state.paused.take() else { return };
        let stood_us = self.now.0.saturating_sub(paused.since.0).max(0);
        let coded = self.coded();
        // What failed did not stop the clock for the others.
        if !std::mem::take(&mut coded.has_failed) {
            for (_, due) in coded.timers.iter_mut().filter(|(_, due)| due.since != AT_A_TIME) {
                due.since.0 = due.since.0.saturating_add(stood_us);
                due.at.0 = due.at.0.saturating_add(stood_us);
            }
        }
        self.ask_next();
    }

    /// Ends the instance if its code has said so, and all is published that it wanted.
    fn close(&mut self) {
        let Some(outcome) = self.state.outcome else { return };
        if self.state.phase == Phase::Ended || self.state.sending > 0 {
            return;
        }
        self.state.phase = Phase::Ended;
        self.note(What::Ended, 0, outcome.as_str());
        let tell = self.state.parent.map(|parent| Effect::Tell { parent, outcome });
        self.effects.extend(tell);
    }

    fn note(&mut self, what: What, position: u64, text: &str) {
        self.note_of(what, (0, 0), position, text);
    }

    fn note_of(&mut self, what: What, (iteration, attempt): (u16, u16), position: u64, text: &str) {
        let text = (!text.is_empty()).then(|| text[..text.floor_char_boundary(NOTE_BYTES_MAX)].into());
        self.notes.push(Note { what, node: 0, iteration, attempt, position, text });
    }
}

#[cfg(test)]
#[path = "tests/written.rs"]
mod tests;
