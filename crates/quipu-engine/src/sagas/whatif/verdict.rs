//! What became of an instance of the new declaration beside the one that there was.

use quipu_domain::Timestamp;
use quipu_domain::saga::{Attempt, Finding, InstanceState, Level, Plan, Purpose, explain};

use super::WHAT_IF_LISTED_MAX;
use super::instance::{Doubt, Would, begun};
use super::real::Known;

/// What a changed saga would have made of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhatIf {
    /// The first position that was read.
    pub from: u64,
    /// The last.
    pub until: u64,
    /// Until when time passed.
    pub until_time: Timestamp,
    /// Instances that did the same and ended in the same way.
    pub same: u64,
    /// Those that would have ended in another way, or done something else.
    pub otherwise: u64,
    /// Those that there would have been.
    pub only_new: u64,
    /// Those that there would not have been.
    pub only_old: u64,
    /// Those of which nobody knows it: it depends on what never happened, or the instance that there was, or what it did,
    /// may be forgotten.
    pub unknown: u64,
    /// Those that differ, and in which somebody intervened.
    pub intervened: u64,
    /// Those that had not ended, and would not have; and those that went on behind the range and are not the same.
    pub open: u64,
    /// Starts whose instance began before the range.
    pub before: u64,
    /// Instances beyond the most that are held, or beyond what a question may take of memory and of jq: nothing is said about them.
    pub left_out: u64,
    /// Those that differ or are not known, at most [`WHAT_IF_LISTED_MAX`] of a verdict.
    pub differences: Vec<WhatIfDifference>,
}

/// How an instance compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhatIfVerdict {
    /// It would have ended in another way, or done something else.
    Otherwise,
    /// There would have been one.
    OnlyNew,
    /// There would have been none.
    OnlyOld,
    /// Nobody knows.
    Unknown,
    /// It differs, and somebody intervened.
    Intervened,
}

/// An instance that differs, or of which nobody knows whether it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhatIfDifference {
    /// How.
    pub verdict: WhatIfVerdict,
    /// Its key.
    pub key: String,
    /// The number of the instance that there was.
    pub number: Option<u64>,
    /// How that stands.
    pub was: Option<InstanceState>,
    /// How it would.
    pub would_be: Option<InstanceState>,
    /// At which step.
    pub step: Option<String>,
    /// Why, as a sentence.
    pub why: String,
}

/// What is counted of one instance.
pub(super) enum Found {
    Same,
    Open,
    Differs(WhatIfDifference),
}

impl WhatIf {
    /// Of this range.
    pub(super) fn over(self, from: u64, until: u64, until_time: Timestamp) -> Self {
        Self { from, until, until_time, ..self }
    }

    pub(super) fn count(&mut self, found: Option<Found>) {
        let difference = match found {
            None => return,
            Some(Found::Same) => return self.same += 1,
            Some(Found::Open) => return self.open += 1,
            Some(Found::Differs(difference)) => difference,
        };
        let count = match difference.verdict {
            WhatIfVerdict::Otherwise => &mut self.otherwise,
            WhatIfVerdict::OnlyNew => &mut self.only_new,
            WhatIfVerdict::OnlyOld => &mut self.only_old,
            WhatIfVerdict::Unknown => &mut self.unknown,
            WhatIfVerdict::Intervened => &mut self.intervened,
        };
        *count += 1;
        if *count <= WHAT_IF_LISTED_MAX as u64 {
            self.differences.push(difference);
        }
    }

    pub(super) fn sorted(mut self) -> Self {
        self.differences.sort_by_key(|one| (one.verdict, one.number));
        self
    }

    /// Whether nothing differs, as far as it is known of every instance.
    pub fn is_same(&self) -> bool {
        self.otherwise + self.only_new + self.only_old + self.unknown + self.intervened + self.left_out == 0
    }
}

/// An instance that only was.
pub(super) fn only_old(real: &Known) -> Found {
    Found::Differs(WhatIfDifference {
        verdict: WhatIfVerdict::OnlyOld,
        key: real.key.to_string(),
        number: Some(real.number),
        was: Some(real.status),
        would_be: None,
        step: None,
        why: "no event of the range would have begun it".to_owned(),
    })
}

/// Where a range ends.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub position: u64,
    pub time: Timestamp,
}

impl End {
    /// Whether the one that there was did something behind it: how it stood there is not remembered.
    fn is_before_the_last_of(self, real: &Known) -> bool {
        real.updated > self.time || real.last > self.position
    }
}

/// Why nobody knows how one stands at a place. What was sent behind it is not read, nor is what was not answered by then: there it goes on.
pub(super) fn doubt(one: &Would, real: Option<&Known>, plan: &Plan, end: End) -> Option<(Attempt, Doubt)> {
    let goes_on = |(attempt, doubt): &(Attempt, Option<Doubt>)| {
        real.is_some_and(|real| match doubt {
            None => was_sent(one, real, plan, *attempt),
            Some(doubt) => *doubt == Doubt::NotHeard && (!real.status.is_ended() || end.is_before_the_last_of(real)),
        })
    };
    let never = || one.held(plan).into_iter().find(|one| !goes_on(one));
    one.doubt.or_else(|| never().map(|(attempt, doubt)| (attempt, doubt.unwrap_or(Doubt::NobodySent))))
}

/// How one compares at the end of a range.
pub(super) fn of(one: &Would, real: Option<&Known>, plan: &Plan, end: End) -> Option<Found> {
    let doubt = doubt(one, real, plan, end);
    let difference = |verdict, would_be, (step, why): (Option<String>, String)| {
        Some(Found::Differs(WhatIfDifference {
            verdict,
            key: one.key.to_string(),
            number: real.map(|real| real.number),
            was: real.map(|real| real.status),
            would_be,
            step,
            why,
        }))
    };
    if let Some(doubt) = doubt.filter(|_| one.is_begun_in_doubt) {
        let (step, why) = unknown(plan, doubt);
        let why = format!("whether the one before it would have ended by then is not known: {why}");
        return difference(WhatIfVerdict::Unknown, None, (step, why));
    }
    let status = InstanceState::from(one.state.status()?);
    let Some(real) = real else {
        if one.is_forgotten {
            let why = "if there was an instance in its place, it is not remembered any more".to_owned();
            return difference(WhatIfVerdict::Unknown, None, (None, why));
        }
        let why = doubt.map_or_else(
            || (None, "no instance of this key began with this event".to_owned()),
            |doubt| {
                let (step, why) = unknown(plan, doubt);
                (step, format!("no instance of this key began with this event; {why}"))
            },
        );
        return difference(WhatIfVerdict::OnlyNew, Some(status).filter(|_| doubt.is_none()), why);
    };
    let otherwise = |why: (Option<String>, String)| match real.is_intervened() {
        false => difference(WhatIfVerdict::Otherwise, Some(status), why),
        true => {
            let (step, why) = why;
            difference(WhatIfVerdict::Intervened, Some(status), (step, format!("somebody intervened in it; {why}")))
        }
    };
    let not_known = |(step, why): (Option<String>, String)| match real.is_intervened() {
        false => difference(WhatIfVerdict::Unknown, None, (step, why)),
        true => difference(WhatIfVerdict::Intervened, None, (step, format!("somebody intervened in it; {why}"))),
    };
    if let Some(doubt) = doubt {
        return not_known(unknown(plan, doubt));
    }
    let went_on = !one.held(plan).is_empty() || end.is_before_the_last_of(real);
    match (status.is_ended(), real.status.is_ended()) {
        (true, true) if status == real.status => match steps(one, real, plan) {
            Steps::Same => Some(Found::Same),
            _ if went_on => Some(Found::Open),
            Steps::Other(step, why) => otherwise((Some(step), why)),
            Steps::NotKept => {
                let why = "some of its notes were not kept: whether it did the same is not known".to_owned();
                not_known((None, why))
            }
        },
        _ if went_on => Some(Found::Open),
        (false, false) if asks(status) == asks(real.status) => Some(Found::Open),
        _ => otherwise(why_not(one, status, real, plan)),
    }
}

fn asks(status: InstanceState) -> bool {
    status == InstanceState::NeedsPerson
}

/// Whether the instance that there was sent a command, whenever.
fn was_sent(one: &Would, real: &Known, plan: &Plan, attempt: Attempt) -> bool {
    if real.is_skipped && real.is_unchanged {
        return true;
    }
    let (is_undo, of) = (attempt.purpose != Purpose::Command, &real.ready.plan);
    real.notes.iter().any(|(_, note)| {
        begun(note).is_some_and(|(node, iteration, of_undo)| {
            let same = Attempt { node, ..attempt };
            let kind = |plan: &Plan, attempt| plan.message(attempt, &one.state).map(|message| message.kind.clone());
            (iteration, of_undo, note.attempt) == (attempt.iteration, is_undo, attempt.number)
                && of.step_name(node) == plan.step_name(attempt.node)
                && kind(of, same) == kind(plan, attempt)
        })
    })
}

/// How what both did compares, where both ended alike.
enum Steps {
    Same,
    /// A step that one of them did and the other did not, and a sentence.
    Other(String, String),
    /// Some of what the one that there was did is not remembered.
    NotKept,
}

fn steps(one: &Would, real: &Known, plan: &Plan) -> Steps {
    let of = &real.ready.plan;
    let was: Vec<(&str, u16, bool)> = real
        .notes
        .iter()
        .filter_map(|(_, note)| begun(note))
        .map(|(node, iteration, of_undo)| (of.step_name(node), iteration, of_undo))
        .collect();
    let would: Vec<(&str, u16, bool)> =
        one.steps.iter().map(|(node, iteration, of_undo)| (plan.step_name(*node), *iteration, *of_undo)).collect();
    let word = |of_undo: bool| if of_undo { "undone" } else { "done" };
    // Of a step that it had, notes that were not kept may tell.
    let is_new = |step: &str| !real.is_skipped || of.step_named(step).is_none();
    if let Some((step, _, of_undo)) = would.iter().find(|one| !was.contains(one) && is_new(one.0)) {
        let why = format!("{step} would be {}, which it was not", word(*of_undo));
        return Steps::Other((*step).to_owned(), why);
    }
    if let Some((step, _, of_undo)) = was.iter().find(|step| !would.contains(step)) {
        let why = format!("{step} was {}, which it would not be", word(*of_undo));
        return Steps::Other((*step).to_owned(), why);
    }
    // The same declaration that was told the same did the same.
    if real.is_skipped && !real.is_unchanged { Steps::NotKept } else { Steps::Same }
}

/// Why one would not have ended as the other did.
fn why_not(one: &Would, status: InstanceState, real: &Known, plan: &Plan) -> (Option<String>, String) {
    if let Some(failure) = one.state.failure() {
        let step = plan.step_name(failure.node).to_owned();
        let why = format!("it would fail at {step}: {}", failure.why.sentence());
        return (Some(step), why);
    }
    if !status.is_ended()
        && let Some(waiting) = explain(plan, &one.state).first()
    {
        return (None, format!("it would go on: {}", waiting.sentence(plan)));
    }
    match &real.failure {
        Some((step, why)) => (Some(step.clone()), format!("it would not fail at {step}, as it did: {why}")),
        None => (None, format!("it would be {}", status.as_str())),
    }
}

/// Why nobody knows.
fn unknown(plan: &Plan, (attempt, doubt): (Attempt, Doubt)) -> (Option<String>, String) {
    let step = plan.step_name(attempt.node).to_owned();
    let (number, of_undo) = (attempt.number, attempt.purpose != Purpose::Command);
    let what = if of_undo { "its compensation, attempt" } else { "attempt" };
    let why = match doubt {
        Doubt::NobodySent => {
            format!("nobody was ever asked for {step}, {what} {number}: what the answer would be is not known")
        }
        Doubt::SentBefore => {
            format!("{step}, {what} {number}, would come later than it did: whether it would be answered is not known")
        }
        Doubt::OtherAttempt => format!(
            "{step} was answered when more attempts had been made than {number}: whether it would have been is not known"
        ),
        Doubt::OtherSaid => format!(
            "{step}, {what} {number}, would ask for something else than it did: what the answer would be is not known"
        ),
        Doubt::NotKept => {
            format!("what {step}, {what} {number}, asked for cannot be made again: whether it is the same is not known")
        }
        Doubt::CutShort => format!(
            "{step}, {what} {number}, was given up sooner than it would be: what the answer would be is not known"
        ),
        Doubt::NotHeard => {
            format!("{step}, {what} {number}, was never answered: what the answer would be is not known")
        }
    };
    (Some(step), why)
}

/// An expression that does not compile.
pub(super) fn broken(text: &str, reason: &str) -> Finding {
    let text: String = text.chars().take(64).collect();
    let sentence = format!("expected jq, found {text}: {reason}");
    Finding { level: Level::Refused, path: String::new(), sentence }
}
