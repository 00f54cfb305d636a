//! Each instance ends completed, or all that took place is undone; each command is in the log once, in one commit with the state
//! that sent it.
//!
//! A [`Ledger`] is told each commit as it is on the disk, and what participants did about what it asks them. Nothing of it is asked
//! of the engine.

mod commit;
mod oracle;

use std::collections::{BTreeMap, BTreeSet};

use quipu_domain::saga::{Action, Attempt, Named, Note, Plan, Purpose, State, Steps};
use quipu_domain::{Event, Timestamp};
use quipu_engine::{InstanceState, SagaDeclaration, TimelineEntry};

use crate::checker::{Verdict, Violation, violated};
use crate::{DeclaredPart, Written};

const NAME: &str = "sagas";
/// What an event of a saga has as its source, before the name.
const SOURCE: &str = "/quipu/sagas/";
const RULES: &str = "/quipu/rules/";

/// A step, and how often it ran before.
pub type Run = (u16, u16);

/// An event as far as a checker looks at it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its position.
    pub position: u64,
    /// When it was recorded.
    pub time: Timestamp,
    /// Its id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Its type.
    pub kind: String,
    /// Its correlation id.
    pub correlation: Option<String>,
    /// Its causation id.
    pub causation: Option<String>,
    /// What of all attempts is the same.
    pub key: Option<String>,
}

/// Something that a saga has published, or asks an endpoint for.
#[derive(Clone, Debug)]
pub struct Command {
    /// The instance.
    pub number: u64,
    /// Which attempt.
    pub attempt: Attempt,
    /// The event.
    pub heard: Heard,
}

/// What is known of an instance.
#[derive(Clone, Debug)]
pub struct Account {
    /// Of which plan.
    pub plan: u32,
    /// Its key.
    pub key: String,
    /// How it stands.
    pub status: InstanceState,
    /// Its state.
    pub state: State,
    notes: Vec<Note>,
    /// Notes that are about one event: none is made twice.
    seen: BTreeSet<(u8, Run, u64)>,
    /// The newest attempt of each run, to do it and to undo it.
    newest: BTreeMap<(Run, bool), u16>,
    ends: Vec<String>,
    /// Runs whose compensation was left out, and whether the event of the end was.
    skipped: BTreeSet<Run>,
    is_end_skipped: bool,
    /// Done by somebody.
    by_hand: BTreeSet<Run>,
}

/// A plan, and since when it takes events.
#[derive(Debug)]
pub struct Known {
    /// What can be stepped.
    pub plan: Plan,
    /// What was declared.
    pub declaration: SagaDeclaration,
    from: u64,
}

/// What is known of all sagas of a tenant.
#[derive(Debug, Default)]
pub struct Ledger {
    commits: Vec<Written>,
    events: Vec<Heard>,
    ids: BTreeSet<(String, String)>,
    plans: BTreeMap<u32, Known>,
    instances: BTreeMap<u64, Account>,
    to: u64,
    /// What took place, and what of it stands.
    executed: BTreeSet<(u64, Run)>,
    standing: BTreeSet<(u64, Run)>,
    /// The keys that endpoints were called with.
    called: BTreeMap<(u64, String), u64>,
    /// The latest time that the clock has shown.
    latest: Timestamp,
    /// The clock was set back: then waits are other than they were set.
    is_set_back: bool,
    commands: u64,
}

fn wrong(detail: impl Into<String>) -> Violation {
    violated(NAME, detail)
}

impl Heard {
    fn of(position: u64, time: Timestamp, event: &Event<'_>) -> Self {
        let text = |value: Option<&str>| value.map(str::to_owned);
        Self {
            position,
            time,
            id: event.id().to_owned(),
            source: event.source().to_owned(),
            kind: event.kind().to_owned(),
            correlation: text(event.correlation_id()),
            causation: text(event.causation_id()),
            key: text(event.attribute("idempotencykey")),
        }
    }
}

/// The instance and the attempt that an id names.
pub fn name_of(id: &str) -> Option<(u64, Attempt)> {
    let (_, rest) = id.split_once('/')?;
    let (number, attempt) = rest.split_once('/')?;
    Some((number.parse().ok()?, attempt.parse().ok()?))
}

/// The run that an attempt is of.
pub fn run_of(attempt: Attempt) -> Run {
    (attempt.node, attempt.iteration)
}

impl Ledger {
    /// How many commits are known.
    pub fn commits(&self) -> u64 {
        self.commits.len() as u64
    }

    /// The events of the log.
    pub fn events(&self) -> &[Heard] {
        &self.events
    }

    /// How many events sagas have published.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// What is known of instances, by their numbers.
    pub fn instances(&self) -> &BTreeMap<u64, Account> {
        &self.instances
    }

    /// The plan of an instance.
    pub fn plan_of(&self, number: u64) -> Option<&Known> {
        self.plans.get(&self.instances.get(&number)?.plan)
    }

    /// The clock shows this.
    pub fn clock(&mut self, now: Timestamp) {
        self.is_set_back |= now < self.latest;
        self.latest = now;
    }

    /// A commit is on the disk: the next, or one that is known and must still be the same. What it asks of participants.
    ///
    /// # Errors
    /// It must not be.
    pub fn written(&mut self, written: Written) -> Result<Vec<Command>, Violation> {
        if let Some(known) = self.commits.get(written.number as usize - 1) {
            let is_same = *known == written;
            return if is_same { Ok(Vec::new()) } else { Err(wrong(format!("commit {} has changed", written.number))) };
        }
        let commands = self.take(&written)?;
        self.commits.push(written);
        Ok(commands)
    }

    fn declared(&mut self, part: &DeclaredPart) -> Verdict {
        let plan = part.declaration.plan().map_err(|found| wrong(format!("what is declared is refused: {found:?}")))?;
        let known = Known { plan, declaration: part.declaration.clone(), from: part.from };
        self.plans.insert(part.plan, known).map_or(Ok(()), |_| Err(wrong(format!("plan {} is there twice", part.plan))))
    }

    /// A participant does what a step asks, for the first time or again. Whether it was done before.
    pub fn does(&mut self, number: u64, run: Run) -> bool {
        let is_new = self.executed.insert((number, run));
        if is_new {
            self.standing.insert((number, run));
        }
        !is_new
    }

    /// Whether it was done.
    pub fn is_done(&self, number: u64, run: Run) -> bool {
        self.executed.contains(&(number, run))
    }

    /// A participant undoes it, if there is something to undo.
    pub fn undoes(&mut self, number: u64, run: Run) {
        self.standing.remove(&(number, run));
    }

    /// An endpoint is called.
    ///
    /// # Errors
    /// Nobody asks for this call.
    pub fn calls(&mut self, number: u64, attempt: Attempt) -> Verdict {
        let asks = |known: &Known| {
            let action = if attempt.purpose == Purpose::Command {
                known.plan.action(attempt.node)
            } else {
                known.plan.compensation(attempt.node)
            };
            matches!(action, Some(Action::Call(_)))
        };
        let newest = |account: &Account| {
            let is_undo = attempt.purpose != Purpose::Command;
            account.newest.get(&(run_of(attempt), is_undo)).copied().unwrap_or(0)
        };
        let made = self.instances.get(&number).map_or(0, newest);
        if !self.plan_of(number).is_some_and(asks) || attempt.number > made {
            return Err(wrong(format!("instance {number} calls for {attempt}, and noted {made} attempts")));
        }
        *self.called.entry((number, attempt.key())).or_default() += 1;
        Ok(())
    }

    /// What the tenant says of an instance's past is what the commits say.
    ///
    /// # Errors
    /// It is not.
    pub fn told(&self, number: u64, timeline: &[TimelineEntry]) -> Verdict {
        let notes = self.instances.get(&number).map_or(&[][..], |account| &account.notes);
        let shown: Vec<&Note> = timeline.iter().map(|entry| &entry.note).collect();
        if shown != notes.iter().collect::<Vec<_>>() {
            return Err(wrong(format!("expected the timeline {notes:?} of instance {number}, found {shown:?}")));
        }
        let sent = timeline.iter().filter_map(|entry| entry.sent.as_ref());
        for event in sent {
            let found = self.events.get(event.position as usize - 1);
            if found.is_none_or(|heard| heard.id != event.id) {
                return Err(wrong(format!("the timeline of instance {number} says {event:?}, found {found:?}")));
            }
        }
        Ok(())
    }
}

impl Known {
    /// Whether a step may run several times: an answer has to say which run it means.
    pub fn has_loop(&self) -> bool {
        fn has(steps: &Steps) -> bool {
            let is = |named: &Named| {
                let step = &named.step;
                let inner = [&step.parallel, &step.then, &step.otherwise, &step.steps];
                step.repeat.is_some() || inner.into_iter().flatten().any(has)
            };
            steps.0.iter().any(is)
        }
        matches!(&self.declaration, SagaDeclaration::Saga(saga) if has(&saga.steps))
    }
}
