//! What an instance that there was asked of endpoints and of sagas within it, and what they told it: as its notes tell, since nothing
//! else is kept of it. Answers to commands are in the log, and not here.

use std::collections::BTreeMap;

use quipu_domain::Timestamp;
use quipu_domain::saga::{Action, Answer, Attempt, NodeId, Outcome, Plan, Purpose, What};

use super::super::mapping::Asker;
use super::instance::{Doubt, begun, run};
use super::past::Past;
use super::real::Known;
use super::world::{Stop, World};

/// All that is asked of somebody but how long he may take, by its hash.
pub(super) type Said = u128;

pub(super) struct Facts(Vec<Fact>);

/// Something that became of a step.
struct Fact {
    at: Timestamp,
    attempt: Attempt,
    what: Became,
    position: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Tried(Tried),
    Done,
    Refused,
    Unsure,
    NotSent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tried {
    /// None if it cannot be made again.
    said: Option<Said>,
    timeout_ms: u64,
}

/// When something was asked, and how long it might take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began {
    pub at: Timestamp,
    timeout_ms: u64,
}

/// A call that got no answer in so much of its time was not only slow: of less than that it is not made at all.
const WHOLE_TENTHS: i64 = 9;

/// What an attempt says, if it calls an endpoint or begins a saga; or why it cannot be said.
pub(super) fn said(asker: &Asker<'_>, world: &mut World<'_>) -> Result<Result<Said, String>, Stop> {
    let of = |attempt: Attempt| (asker.ready.plan.call(attempt), asker.ready.plan.child(attempt));
    let (whom, what) = match asker.attempt.map(of) {
        Some((Some(call), _)) => (
            serde_json::to_string(&call.http).expect("it is plain data"),
            world.ask(|tenant, cache| tenant.body(asker, cache))?,
        ),
        // Without variables it is begun with none, and no JSON is empty.
        Some((None, Some(child))) => {
            let variables = world.ask(|tenant, cache| asker.variables(tenant, cache, child))?;
            (child.saga.to_string(), variables.map(Option::unwrap_or_default))
        }
        _ => return Ok(Err("there is no such step".into())),
    };
    let hash = |what: String| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(whom.len() as u64).to_le_bytes()).update(whom.as_bytes()).update(what.as_bytes());
        u128::from_le_bytes(hasher.finalize().as_bytes()[..16].try_into().expect("it has 32 bytes"))
    };
    Ok(what.map(hash))
}

impl Facts {
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Those that are worth to be known to an instance of the plan that is asked, whose steps of the same names they are about.
    pub fn of(known: &Known, world: &mut World<'_>) -> Result<Self, Stop> {
        let (of, plan) = (&known.ready.plan, &world.ready.plan);
        let mut facts = Self::none();
        let mut past = is_asking(of).then(|| Past::of(known));
        let mut undone: BTreeMap<(NodeId, u16), bool> = BTreeMap::new();
        for (at, note) in &known.notes {
            if let Some(past) = &mut past {
                past.take(note, world)?;
            }
            let Some(node) = plan.step_named(of.step_name(note.node)) else { continue };
            let at_run = (note.node, note.iteration);
            if let Some((.., of_undo)) = begun(note) {
                undone.insert(at_run, of_undo);
            }
            let of_undo = undone.get(&at_run).copied().unwrap_or(false);
            let purpose = if of_undo { Purpose::Compensation } else { Purpose::Command };
            let asked = Attempt { node: note.node, iteration: note.iteration, number: note.attempt, purpose };
            let attempt = Attempt { node, ..asked };
            let action = action_of(of, note.node, of_undo);
            let is_kept = matches!(action, Some(Action::Call(_) | Action::Begin(_) | Action::Undo));
            let what = match (note.what, action) {
                // Another mapping makes what may be taken.
                (What::NotSent, Some(Action::Send(_))) if action == action_of(plan, node, of_undo) => Became::NotSent,
                (What::NotSent, Some(Action::Begin(_))) if facts.is_said(attempt) => Became::NotSent,
                // It could not be made of what was there, and nobody was asked: that is found out again.
                (What::NotSent, _) => {
                    facts.0.retain(|fact| fact.attempt != attempt);
                    continue;
                }
                _ if !is_kept => continue,
                (What::Tried | What::UndoTried, _) => {
                    let said = match &past {
                        Some(past) => past.said(asked, world)?,
                        None => None,
                    };
                    let of_call = of.call(asked).map(|call| call.timeout_ms);
                    let timeout_ms = of_call.or(of.timeout_ms(asked)).unwrap_or(u64::MAX);
                    Became::Tried(Tried { said, timeout_ms })
                }
                (What::Finished | What::Undone | What::LateSuccess, _) => Became::Done,
                (What::Refused | What::UndoRefused | What::LateRefusal, _) => Became::Refused,
                (What::TimedOut | What::UndoTimedOut | What::LateDoubt, _) => Became::Unsure,
                // A saga within it failed, unless it was given up before.
                (What::Failed, Some(Action::Begin(_))) if !facts.is_given_up(attempt) => Became::Refused,
                _ => continue,
            };
            facts.0.push(Fact { at: *at, attempt, what, position: note.position });
        }
        Ok(facts)
    }

    /// How many bytes they take.
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    fn of_attempt(&self, attempt: Attempt) -> impl Iterator<Item = &Fact> {
        self.0.iter().filter(move |fact| fact.attempt == named(attempt))
    }

    fn is_said(&self, attempt: Attempt) -> bool {
        self.tried(|other| other == attempt).is_some_and(|(_, tried)| tried.said.is_some())
    }

    fn is_given_up(&self, attempt: Attempt) -> bool {
        self.of_attempt(attempt).any(|fact| matches!(fact.what, Became::Unsure | Became::NotSent))
    }

    /// Whether it could not be published, or begun.
    pub fn is_not_sent(&self, attempt: Attempt) -> bool {
        self.of_attempt(attempt).any(|fact| fact.what == Became::NotSent)
    }

    fn tried(&self, is_it: impl Fn(Attempt) -> bool) -> Option<(Timestamp, Tried)> {
        self.0.iter().filter(|fact| is_it(fact.attempt)).find_map(|fact| match fact.what {
            Became::Tried(tried) => Some((fact.at, tried)),
            _ => None,
        })
    }

    /// When the same was asked that is asked now.
    pub fn began(&self, attempt: Attempt, said: Said, now: Timestamp) -> Result<Began, Doubt> {
        let (at, tried) = self.tried(|other| other == named(attempt)).ok_or(Doubt::NobodySent)?;
        match tried.said {
            None => Err(Doubt::NotKept),
            Some(other) if other != said => Err(Doubt::OtherSaid),
            Some(_) if at < now => Err(Doubt::SentBefore),
            Some(_) => Ok(Began { at, timeout_ms: tried.timeout_ms }),
        }
    }

    /// What a call came to that may take so long.
    pub fn call(
        &self,
        attempt: Attempt,
        began: Began,
        timeout_ms: u64,
    ) -> Result<Vec<(Timestamp, Answer, u64)>, Doubt> {
        let answer = |fact: &Fact| {
            let answer = match fact.what {
                Became::Done => Answer::Done,
                Became::Refused => Answer::Refused,
                Became::Unsure => Answer::UNSURE,
                Became::Tried(_) | Became::NotSent => return None,
            };
            Some((fact.at, answer, fact.position))
        };
        let answers: Vec<_> = self.of_attempt(attempt).filter_map(answer).collect();
        let (at, first, _) = *answers.first().ok_or(Doubt::NotHeard)?;
        let given_up = after(began.at, timeout_ms);
        let took = at.0.saturating_sub(began.at.0);
        let whole = after(began.at, began.timeout_ms).0.saturating_sub(began.at.0);
        let was_given_up = matches!(first, Answer::Unsure { .. }) && took >= whole / 10 * WHOLE_TENTHS;
        if timeout_ms < began.timeout_ms && given_up < at {
            return Ok(vec![(given_up, Answer::UNSURE, 0)]);
        }
        if timeout_ms > began.timeout_ms && was_given_up { Err(Doubt::CutShort) } else { Ok(answers) }
    }

    /// How a saga within it ended, and ended again, that is waited for so long: not at all if it is given up before.
    pub fn child(&self, attempt: Attempt, began: Began, timeout_ms: u64) -> Result<Vec<(Timestamp, Outcome)>, Doubt> {
        let end = |fact: &Fact| match fact.what {
            Became::Done => Some((fact.at, Outcome::Completed)),
            Became::Refused => Some((fact.at, Outcome::Compensated)),
            _ => None,
        };
        let ends: Vec<_> = self.of_attempt(attempt).filter_map(end).collect();
        let given_up = self.of_attempt(attempt).find(|fact| fact.what == Became::Unsure).map(|fact| fact.at);
        match (ends.first(), given_up) {
            (None, None) => Err(Doubt::NotHeard),
            (Some((at, _)), given_up) if given_up.is_none_or(|given_up| *at < given_up) => Ok(ends),
            // What it came to behind that, it came to since it was given up: it is undone then.
            (_, Some(at)) if at < after(began.at, timeout_ms) => Err(Doubt::CutShort),
            _ => Ok(ends),
        }
    }

    /// When a saga within it was undone that is to be undone now.
    pub fn undone(&self, undo: Attempt, now: Timestamp) -> Result<Timestamp, Doubt> {
        let is_it = |attempt: Attempt| run(attempt) == run(undo);
        let (tried, _) = self.tried(is_it).ok_or(Doubt::NobodySent)?;
        let done = self.0.iter().find(|fact| is_it(fact.attempt) && fact.what == Became::Done);
        let done = done.ok_or(Doubt::NotHeard)?;
        if tried < now { Err(Doubt::SentBefore) } else { Ok(done.at) }
    }
}

/// When a time is over that begins.
pub(super) fn after(begin: Timestamp, ms: u64) -> Timestamp {
    begin.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn action_of(plan: &Plan, node: NodeId, of_undo: bool) -> Option<&Action> {
    if of_undo { plan.compensation(node) } else { plan.action(node) }
}

/// Whether a plan asks others than by commands.
fn is_asking(plan: &Plan) -> bool {
    let is_asking = |action: Option<&Action>| matches!(action, Some(Action::Call(_) | Action::Begin(_)));
    (1..plan.len() as NodeId).any(|node| is_asking(plan.action(node)) || is_asking(plan.compensation(node)))
}

/// As facts are known by: notes do not tell a late compensation from another.
fn named(attempt: Attempt) -> Attempt {
    if attempt.purpose == Purpose::Late { Attempt { purpose: Purpose::Compensation, ..attempt } } else { attempt }
}
