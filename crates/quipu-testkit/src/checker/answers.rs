//! Every answer is the one that the model gives at that point of the committed order, so two conditional appends
//! never both win, and the log is what the model holds after a prefix of what was asked.

use quipu_domain::{Condition, ConditionFailure, Refusal};

use crate::checker::{Verdict, Violation, violated};
use crate::{Answer, Entry, Logged, Model, Operation};

const NAME: &str = "answers";

/// The state of the log that a process left: its events, and how many commits there are.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// The events.
    pub log: &'a [Logged],
    /// The number of the last commit.
    pub commits: u64,
}

/// Replays what one process was asked, in the order in which it was asked, onto the model that it began with.
/// Gives the model of what is left, and marks the entries that are in it.
///
/// The operations of a process that died take effect up to some point and not beyond; the last such point that
/// agrees with the log is taken, since what comes after it changed nothing.
///
/// # Errors
/// No prefix leads to the log, or an answer is not the model's.
pub fn settle(begin: &Model, entries: &mut [Entry], left: Left<'_>) -> Result<Model, Violation> {
    let given_up: Vec<usize> = entries
        .iter()
        .filter(|entry| is_given_up(entry) && matches!(entry.operation, Operation::Publish(_)))
        .map(|entry| entry.operation.drafts().len())
        .collect();
    // How far each publish that was given up had come is not known: any way that fits will do.
    let mut recorded = vec![0; given_up.len()];
    loop {
        let violation = match settle_with(begin, entries, left, &recorded) {
            Ok(model) => return Ok(model),
            Err(violation) => violation,
        };
        let Some(at) = (0..recorded.len()).find(|at| recorded[*at] < given_up[*at]) else { return Err(violation) };
        recorded[at] += 1;
        recorded[..at].fill(0);
    }
}

fn settle_with(begin: &Model, entries: &mut [Entry], left: Left<'_>, recorded: &[usize]) -> Result<Model, Violation> {
    let mut model = begin.clone();
    let mut best = agrees(&model, left).then(|| (0, model.clone()));
    let mut counts = recorded.iter().copied();
    for (index, entry) in entries.iter().enumerate() {
        take_effect(&mut model, entry, &mut counts);
        if agrees(&model, left) {
            best = Some((index + 1, model.clone()));
        }
        if model.commits > left.commits {
            break;
        }
    }
    let Some((kept, settled)) = best else { return Err(no_prefix(begin, entries, left)) };
    let mut model = begin.clone();
    let mut counts = recorded.iter().copied();
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.is_kept = index < kept;
        // What was answered but is not in the prefix rests on what is left, and must hold there.
        let mut after = settled.clone();
        let at = if entry.is_kept { &mut model } else { &mut after };
        if let Some(expected) = take_effect(at, entry, &mut counts) {
            check_answer(index, entry, &expected, at)?;
        }
        if !entry.is_kept && at.commits != settled.commits && is_certain(entry) {
            return Err(violated(NAME, format!("operation {index} was answered, but what it did is not in the log")));
        }
    }
    same_events(&settled, left.log)?;
    Ok(settled)
}

fn is_certain(entry: &Entry) -> bool {
    entry.answer.as_ref().is_some_and(|answer| !matches!(answer, Answer::Unknown(_)))
}

/// Whether it met a disk that could not be read and was given up there: an append as a whole, a publish with what it
/// had recorded by then.
fn is_given_up(entry: &Entry) -> bool {
    matches!(&entry.answer, Some(Answer::Unknown(why)) if why.contains("cannot read"))
}

/// Does what an operation did, and gives the answer that it should have had. Of a publish that was given up, the next
/// of `recorded` says how many events it had come to.
fn take_effect(model: &mut Model, entry: &Entry, recorded: &mut impl Iterator<Item = usize>) -> Option<Answer> {
    match &entry.operation {
        operation if !is_given_up(entry) => Some(model.apply(operation)),
        Operation::Append(_) => None,
        Operation::Publish(drafts) => {
            let count = recorded.next().unwrap_or(0);
            model.apply(&Operation::Publish(drafts[..count].to_vec()));
            None
        }
    }
}

fn agrees(model: &Model, left: Left<'_>) -> bool {
    model.events.len() == left.log.len() && model.commits == left.commits
}

fn no_prefix(begin: &Model, entries: &[Entry], left: Left<'_>) -> Violation {
    let mut model = begin.clone();
    let mut states = vec![(model.events.len(), model.commits)];
    for entry in entries {
        model.apply(&entry.operation);
        states.push((model.events.len(), model.commits));
    }
    states.dedup();
    violated(
        NAME,
        format!(
            "no prefix of what was asked leads to {} events in {} commits; possible are (events, commits) {states:?}",
            left.log.len(),
            left.commits
        ),
    )
}

fn check_answer(index: usize, entry: &Entry, expected: &Answer, model: &Model) -> Verdict {
    let Some(answer) = &entry.answer else { return Ok(()) };
    if matches!(answer, Answer::Unknown(_)) {
        return Ok(());
    }
    if let (Answer::Refused(Refusal::ConditionsFailed(failures)), Operation::Append(proposal)) =
        (answer, &entry.operation)
    {
        check_found(index, failures, &proposal.conditions, model)?;
    }
    if without_found(answer) == without_found(expected) {
        return Ok(());
    }
    Err(violated(
        NAME,
        format!(
            "operation {index} (kept: {}) {:?}: expected {expected:?}, found {answer:?}",
            entry.is_kept, entry.operation
        ),
    ))
}

/// Any event that matches may be named; it must be one.
fn check_found(index: usize, failures: &[ConditionFailure], conditions: &[Condition], model: &Model) -> Verdict {
    for failure in failures {
        let ConditionFailure::NoneAfter { index: condition, position, found } = failure else { continue };
        let Some(Condition::NoneAfter { query, .. }) = conditions.get(*condition) else {
            return Err(violated(NAME, format!("operation {index}: condition {condition} is no query")));
        };
        let event = found.checked_sub(1).and_then(|at| model.events.get(at as usize));
        if found <= position || !event.is_some_and(|known| query.matches(&known.event)) {
            return Err(violated(NAME, format!("operation {index}: position {found} does not match {query:?}")));
        }
    }
    Ok(())
}

fn without_found(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    if let Answer::Refused(Refusal::ConditionsFailed(failures)) = &mut answer {
        for failure in failures {
            if let ConditionFailure::NoneAfter { found, .. } = failure {
                *found = 0;
            }
        }
    }
    answer
}

fn same_events(model: &Model, log: &[Logged]) -> Verdict {
    for (known, logged) in model.events.iter().zip(log) {
        if known.event != logged.event || known.place.stream_version != logged.stamp.stream_version {
            return Err(violated(
                NAME,
                format!(
                    "position {}: expected {:?}, version {:?}; found {:?}, version {:?}",
                    known.place.position,
                    known.event,
                    known.place.stream_version,
                    logged.event,
                    logged.stamp.stream_version
                ),
            ));
        }
    }
    Ok(())
}
