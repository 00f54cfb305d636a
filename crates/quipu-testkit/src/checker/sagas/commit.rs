//! One commit: what sagas publish stands in it with the notes that say so, and nothing is told twice.

use std::collections::{BTreeMap, BTreeSet};

use quipu_domain::saga::{Action, Attempt, NodeId, Note, Plan, Purpose, State, Waiting, What, explain};
use quipu_engine::{CALL_ANSWERED, InstanceState};
use quipu_store::body;

use super::{Account, Command, Heard, Ledger, RULES, Run, SOURCE, name_of, run_of, wrong};
use crate::checker::{Verdict, Violation};
use crate::{ChangedPart, Part, StepPart, Written};

impl Ledger {
    pub(super) fn take(&mut self, written: &Written) -> Result<Vec<Command>, Violation> {
        let mut commands = Vec::new();
        let mut step = None;
        let before = self.events.len() as u64;
        for part in &written.parts {
            match part {
                Part::Event(position, bytes) => {
                    let event = body::decode(bytes).ok_or_else(|| wrong(format!("no event at {position}")))?;
                    let heard = Heard::of(*position, written.time, &event);
                    if !self.ids.insert((heard.source.clone(), heard.id.clone())) {
                        return Err(wrong(format!("{} of {} is in the log twice", heard.id, heard.source)));
                    }
                    if heard.kind == CALL_ANSWERED {
                        self.answered(&heard)?;
                    } else if heard.source.starts_with(SOURCE) {
                        let named = name_of(&heard.id);
                        let (number, attempt) = named.ok_or_else(|| wrong(format!("{} names no attempt", heard.id)))?;
                        commands.push(Command { number, attempt, heard: heard.clone() });
                    }
                    self.events.push(heard);
                }
                Part::Declared(declared) => self.declared(declared)?,
                Part::Step(one) if step.is_none() => step = Some(one),
                Part::Step(_) => return Err(wrong(format!("commit {} has two rounds", written.number))),
                _ => {}
            }
        }
        let mut new = self.events[before as usize..].iter();
        let has_published = new.any(|heard| heard.source.starts_with("/quipu/") && heard.kind != CALL_ANSWERED);
        match step {
            Some(step) => self.stepped(written.number, before, step, &commands)?,
            None if has_published => {
                let detail = format!("commit {} has what a saga published, and no state of it", written.number);
                return Err(wrong(detail));
            }
            None => {}
        }
        self.commands += commands.len() as u64;
        Ok(commands)
    }

    fn stepped(&mut self, commit: u64, before: u64, step: &StepPart, commands: &[Command]) -> Verdict {
        if step.to < self.to || step.to > before {
            let detail =
                format!("commit {commit} says that {} events were seen, of {before} and after {}", step.to, self.to);
            return Err(wrong(detail));
        }
        self.to = step.to;
        self.rules_published(before, step)?;
        let mut noted = BTreeSet::new();
        for changed in &step.changed {
            self.changed(commit, step, changed, &mut noted)?;
        }
        let mut published = BTreeSet::new();
        for command in commands {
            let Command { number, attempt, heard } = command;
            if attempt.purpose == Purpose::End {
                self.announced(command, step)?;
            } else {
                published.insert((*number, *attempt));
            }
            let key = heard.id.rsplit_once('/').map(|(run, _)| run);
            if heard.key.as_deref() != key {
                return Err(wrong(format!("{} has the idempotency key {:?}", heard.id, heard.key)));
            }
        }
        if noted != published {
            return Err(wrong(format!("commit {commit} notes that {noted:?} were sent, and has {published:?}")));
        }
        step.forgotten.iter().for_each(|number| _ = self.instances.remove(number));
        Ok(())
    }

    /// What a rule published stands beside a place that is behind what it was published for.
    fn rules_published(&self, before: u64, step: &StepPart) -> Verdict {
        for heard in self.events[before as usize..].iter().filter(|heard| heard.source.starts_with(RULES)) {
            let cause = heard.id.rsplit_once('/').and_then(|(_, position)| position.parse::<u64>().ok());
            if cause.is_none_or(|cause| cause == 0 || cause > step.to) {
                return Err(wrong(format!("{} is published, and {} events were seen", heard.id, step.to)));
            }
        }
        Ok(())
    }

    /// The event of an end stands beside the end.
    fn announced(&mut self, command: &Command, step: &StepPart) -> Verdict {
        let Command { number, attempt, heard } = command;
        let changed = step.changed.iter().find(|changed| changed.number == *number);
        let ends = changed.is_some_and(|changed| changed.notes.iter().any(|note| note.what == What::Ended));
        let account = self.instances.get_mut(number).ok_or_else(|| wrong(format!("there is no instance {number}")))?;
        let newest = account.newest.entry(((0, 0), true)).or_default();
        if !ends || attempt.number <= *newest {
            return Err(wrong(format!("{} is published after attempt {newest}, ended {ends}", heard.id)));
        }
        *newest = attempt.number;
        account.ends.push(heard.kind.clone());
        Ok(())
    }

    fn changed(
        &mut self,
        commit: u64,
        step: &StepPart,
        changed: &ChangedPart,
        noted: &mut BTreeSet<(u64, Attempt)>,
    ) -> Verdict {
        let ChangedPart { number, begun, status, notes, .. } = changed;
        let state = changed.state()?;
        if let Some((plan, key)) = begun {
            let account = Account::new(*plan, key.clone());
            if !self.plans.contains_key(plan) || self.instances.insert(*number, account).is_some() {
                return Err(wrong(format!("commit {commit} begins instance {number} of plan {plan} once more")));
            }
        }
        let account = self.instances.get_mut(number).ok_or_else(|| wrong(format!("instance {number} never began")))?;
        let known = self.plans.get(&account.plan).expect("it began");
        let before = std::mem::replace(&mut account.state, state);
        account.status = *status;
        if !self.is_set_back && notes.first().is_some_and(|note| is_timeout(&known.plan, note)) {
            let due = before.due().map(|due| due.at);
            if due.is_none_or(|due| due > step.at) {
                return Err(wrong(format!("instance {number} timed out at {}, and was due at {due:?}", step.at)));
            }
            let in_time =
                self.events.iter().find(|heard| answers(heard, *number, &notes[0]) && due >= Some(heard.time));
            if let Some(heard) = in_time {
                return Err(wrong(format!("instance {number} timed out, and was due at {due:?}: {heard:?}")));
            }
        }
        let not_sent = |note: &Note| {
            notes.iter().any(|other| {
                other.what == What::NotSent
                    && (other.node, other.iteration, other.attempt) == (note.node, note.iteration, note.attempt)
            })
        };
        let mut deeds = Vec::new();
        for note in notes {
            account.once(*number, note)?;
            if let Some(sent) = account.tried(*number, &known.plan, note, &before)?
                && !not_sent(note)
            {
                noted.insert((*number, sent));
            }
            deeds.extend(account.person(&known.plan, note, &before));
            account.notes.push(note.clone());
        }
        for note in notes.iter().filter(|note| note.position > 0) {
            self.means(*number, note)?;
        }
        for (run, stands) in deeds {
            if stands {
                self.executed.insert((*number, run));
                self.standing.insert((*number, run));
            } else {
                self.standing.remove(&(*number, run));
            }
        }
        Ok(())
    }

    /// What an endpoint answered is that of a call that was made to do a step.
    fn answered(&self, heard: &Heard) -> Verdict {
        let called = call_answered(heard).filter(|(number, attempt)| {
            let account = self.instances.get(number);
            account.is_none_or(|account| self.plans[&account.plan].plan.call(*attempt).is_some())
        });
        match called {
            Some((_, attempt)) if attempt.purpose == Purpose::Command => Ok(()),
            _ => Err(wrong(format!("{} answers no call of a step", heard.id))),
        }
    }

    /// The event of a note is one that can have led to it.
    fn means(&self, number: u64, note: &Note) -> Verdict {
        let account = &self.instances[&number];
        let plan = &self.plans[&account.plan].plan;
        let prefixes: &[&str] = match note.what {
            What::Begun => &["start."],
            What::Finished | What::LateSuccess => &["r.", "w."],
            What::Refused | What::LateRefusal => &["f."],
            What::Undone => &["ur."],
            What::UndoRefused => &["uf."],
            _ => return Ok(()),
        };
        let Some(heard) = self.events.get(note.position as usize - 1) else {
            return Err(wrong(format!("instance {number} notes {note:?}, and there is no such event")));
        };
        if heard.kind == CALL_ANSWERED {
            let is_its = call_answered(heard).is_some_and(|(of, attempt)| {
                of == number && run_of(attempt) == (note.node, note.iteration) && attempt.number == note.attempt
            });
            let is_success = matches!(note.what, What::Finished | What::LateSuccess);
            return match is_its && is_success {
                true => Ok(()),
                false => Err(wrong(format!("instance {number} of {} notes {note:?} of {heard:?}", plan.name()))),
            };
        }
        let is_kind = prefixes.iter().any(|prefix| heard.kind.starts_with(prefix)) || account.key.contains('/');
        let named = heard.causation.as_deref().and_then(name_of).filter(|(cause, _)| *cause == number);
        let is_attempt = match (note.what, named) {
            (What::Begun, _) | (_, None) => true,
            (_, Some((_, attempt))) => (run_of(attempt), attempt.number) == ((note.node, note.iteration), note.attempt),
        };
        let is_key = named.is_some() || account.key.contains('/') || heard.correlation.as_deref() == Some(&account.key);
        if is_kind && is_attempt && is_key && heard.position <= self.to {
            return Ok(());
        }
        Err(wrong(format!("instance {number} of {} notes {note:?} of {heard:?}", plan.name())))
    }
}

/// The call whose answer an event keeps.
fn call_answered(heard: &Heard) -> Option<(u64, Attempt)> {
    heard.id.strip_suffix("/answer").and_then(name_of)
}

/// Whether an event is the good answer of the attempt whose time a note says is over.
fn answers(heard: &Heard, number: u64, note: &Note) -> bool {
    let prefix = if note.what == What::TimedOut { "r." } else { "ur." };
    let named = heard.causation.as_deref().and_then(name_of).filter(|(of, _)| *of == number);
    heard.kind.starts_with(prefix)
        && named.is_some_and(|(_, attempt)| {
            run_of(attempt) == (note.node, note.iteration) && attempt.number == note.attempt
        })
}

/// Whether time has passed. A call is over when its endpoint does not know.
fn is_timeout(plan: &Plan, note: &Note) -> bool {
    let action = match note.what {
        What::TimedOut => plan.action(note.node),
        What::UndoTimedOut => plan.compensation(note.node),
        _ => return false,
    };
    !matches!(action, Some(Action::Call(_)))
}

impl Account {
    fn new(plan: u32, key: String) -> Self {
        Self {
            plan,
            key,
            status: InstanceState::Running,
            state: State::default(),
            notes: Vec::new(),
            seen: BTreeSet::new(),
            newest: BTreeMap::new(),
            ends: Vec::new(),
            skipped: BTreeSet::new(),
            is_end_skipped: false,
            by_hand: BTreeSet::new(),
        }
    }

    /// What an event is to an instance is noted once.
    fn once(&mut self, number: u64, note: &Note) -> Verdict {
        let is_of_event = !matches!(
            note.what,
            What::Cancelled
                | What::Paused
                | What::Resumed
                | What::Retried
                | What::Skipped
                | What::Resolved
                | What::NotDone
        );
        let run = (note.node, note.iteration);
        if is_of_event && note.position > 0 && !self.seen.insert((note.what as u8, run, note.position)) {
            return Err(wrong(format!("instance {number} was told of position {} twice: {note:?}", note.position)));
        }
        Ok(())
    }

    /// Attempts are counted without gaps, and nothing is undone that was surely refused. What is published with a note.
    fn tried(&mut self, number: u64, plan: &Plan, note: &Note, _: &State) -> Result<Option<Attempt>, Violation> {
        let run = (note.node, note.iteration);
        let is_undo = note.what == What::UndoTried;
        if !is_undo && note.what != What::Tried {
            return Ok(None);
        }
        if is_undo && note.attempt == 1 && self.is_refused(run) {
            return Err(wrong(format!("instance {number} undoes {run:?}, which was refused: {}", self.story())));
        }
        let newest = self.newest.entry((run, is_undo)).or_default();
        if note.attempt != *newest + 1 {
            return Err(wrong(format!("instance {number} makes attempt {} of {run:?} after {newest}", note.attempt)));
        }
        *newest = note.attempt;
        let action = if is_undo { plan.compensation(note.node) } else { plan.action(note.node) };
        let purpose = match is_undo {
            false => Purpose::Command,
            true if self.is_late(run) => Purpose::Late,
            true => Purpose::Compensation,
        };
        let attempt = Attempt { node: note.node, iteration: note.iteration, number: note.attempt, purpose };
        Ok(matches!(action, Some(Action::Send(_))).then_some(attempt))
    }

    /// Whether what is undone now is undone once more, since it succeeded after it was, or may have.
    fn is_late(&self, run: Run) -> bool {
        let mut undone = false;
        let mut late = false;
        for note in self.notes.iter().filter(|note| (note.node, note.iteration) == run) {
            match note.what {
                What::UndoTried => undone = true,
                What::LateSuccess | What::LateDoubt => late |= undone,
                _ => {}
            }
        }
        late
    }

    /// What a person did about what is asked: runs that stand or do not any more.
    fn person(&mut self, plan: &Plan, note: &Note, before: &State) -> Option<(Run, bool)> {
        let run = (note.node, note.iteration);
        let asked = |waiting: &Waiting| match waiting {
            Waiting::Person { about, .. } if run_of(*about) == run => Some(*about),
            _ => None,
        };
        let about = explain(plan, before).iter().find_map(asked)?;
        let is_undo = matches!(about.purpose, Purpose::Compensation | Purpose::Late);
        match note.what {
            What::Skipped if is_undo => _ = self.skipped.insert(run),
            What::Skipped | What::Resolved if about.purpose == Purpose::End => self.is_end_skipped = true,
            What::Resolved if is_undo => return Some((run, false)),
            What::Resolved if about.number > 0 && plan.action(run.0).is_some() => {
                self.by_hand.insert(run);
                return Some((run, true));
            }
            _ => {}
        }
        None
    }

    /// Whether all attempts of a run were refused, and none succeeded, as far as it was told.
    pub(super) fn is_refused(&self, run: Run) -> bool {
        let attempts = self.newest.get(&(run, false)).copied().unwrap_or(0);
        let (mut refused, mut made) = (BTreeSet::new(), 0);
        for note in self.notes.iter().filter(|note| (note.node, note.iteration) == run) {
            match note.what {
                What::Finished | What::LateSuccess | What::Resolved => return false,
                What::Tried => made = note.attempt,
                What::Refused | What::LateRefusal | What::NotSent => {
                    // What names none means the only one.
                    refused.insert(if note.attempt == 0 && made == 1 { 1 } else { note.attempt });
                }
                _ => {}
            }
        }
        attempts > 0 && (1..=attempts).all(|attempt| refused.contains(&attempt))
    }

    /// The timeline on one line.
    pub(super) fn story(&self) -> String {
        let line = |note: &Note| {
            let (what, node, iteration): (_, NodeId, _) = (note.what, note.node, note.iteration);
            format!("{what:?} {node}.{iteration}/{} at {}", note.attempt, note.position)
        };
        self.notes.iter().map(line).collect::<Vec<_>>().join(", ")
    }
}
