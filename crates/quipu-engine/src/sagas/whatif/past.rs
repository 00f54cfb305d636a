//! What the mappings of an instance that there was saw at each of its notes, made again of the notes before it: the events that
//! finished its steps, the one that moved it last, and its variables. What cannot be made again for certain is not known.

use std::collections::BTreeSet;

use quipu_domain::saga::{Action, Attempt, NodeId, Note, Question, State, What};

use super::super::mapping::{Answered, Asker};
use super::facts::{Said, said};
use super::real::Known;
use super::world::{Stop, World};

pub(super) struct Past<'a> {
    known: &'a Known,
    /// The position of the event that moved it last, if that is known.
    last: Option<u64>,
    finished: Vec<(NodeId, u64)>,
    /// Steps whose newest run is finished.
    done: BTreeSet<NodeId>,
    /// Those whose newest run was to be undone.
    undone: BTreeSet<NodeId>,
    /// What came before its step.
    early: Vec<u64>,
    variables: Variables,
}

enum Variables {
    Unknown,
    None,
    Set(String),
}

impl<'a> Past<'a> {
    /// Before its first note.
    pub fn of(known: &'a Known) -> Self {
        // Of what some notes are missing, nothing is sure.
        let variables = if known.is_skipped { Variables::Unknown } else { Variables::None };
        Self {
            known,
            last: Some(known.start),
            finished: Vec::new(),
            done: BTreeSet::new(),
            undone: BTreeSet::new(),
            early: Vec::new(),
            variables,
        }
    }

    /// Takes in the next note.
    pub fn take(&mut self, note: &Note, world: &mut World<'_>) -> Result<(), Stop> {
        let Note { what, node, position, attempt, .. } = *note;
        if what == What::VariablesSet {
            let Some(Question::Variables(text)) = self.known.ready.plan.question(node) else { return Ok(()) };
            self.variables = match self
                .asked(None, Some(&text), |asker| world.ask(|tenant, cache| asker.answer(tenant, cache, node)))?
            {
                Some(Answered::Variables(text)) => Variables::Set(text),
                _ => Variables::Unknown,
            };
        }
        let mut is_first = true;
        match what {
            What::Finished | What::LateSuccess => is_first = self.done.insert(node),
            What::UndoTried => _ = self.undone.insert(node),
            What::Tried => {
                self.done.remove(&node);
                self.undone.remove(&node);
            }
            _ => {}
        }
        if position == 0 || what.is_act() {
            return Ok(());
        }
        let is_wait = || self.known.ready.plan.action(node) == Some(&Action::Wait);
        match what {
            What::KeptEarly => self.early.push(position),
            What::Finished if is_wait() && self.early.contains(&position) => self.finished.push((node, position)),
            What::Finished | What::LateSuccess => {
                // What is told once more of another attempt did not finish it.
                if what == What::Finished || is_first {
                    self.finished.push((node, position));
                }
                self.last = Some(position);
            }
            What::Begun | What::Refused | What::Undone | What::UndoRefused | What::LateRefusal | What::LateDoubt => {
                self.last = Some(position)
            }
            What::Repeated | What::NotAsked if attempt > 0 => self.last = Some(position),
            // What names no attempt is nothing to a step that stands; else it may have been taken for an attempt, or not.
            What::Repeated if self.done.contains(&node) && !self.undone.contains(&node) => {}
            What::Repeated | What::Ambiguous => self.last = None,
            _ => {}
        }
        Ok(())
    }

    /// What an attempt said that is made now.
    pub fn said(&self, attempt: Attempt, world: &mut World<'_>) -> Result<Option<Said>, Stop> {
        let plan = &self.known.ready.plan;
        let (call, child) = (plan.call(attempt), plan.child(attempt));
        let text = call.and_then(|call| call.data.as_deref()).or(child.and_then(|child| child.data.as_deref()));
        let said = self.asked(Some(attempt), text, |asker| said(asker, world))?;
        Ok(said.and_then(Result::ok))
    }

    /// Asks something that is made of this jq, if all is known that it looks at.
    fn asked<T>(
        &self,
        attempt: Option<Attempt>,
        text: Option<&str>,
        ask: impl FnOnce(&Asker<'_>) -> Result<T, Stop>,
    ) -> Result<Option<T>, Stop> {
        let variables = match (&self.variables, text) {
            (Variables::Unknown, Some(_)) => return Ok(None),
            (Variables::Set(text), _) => Some(text.as_str()),
            (Variables::Unknown | Variables::None, _) => None,
        };
        let Known { number, key, start, ready, .. } = self.known;
        let last = match (self.last, text) {
            (Some(last), _) => last,
            // It is given the event if that stands in the text.
            (None, Some(text)) if text.contains("event") => return Ok(None),
            (None, _) => *start,
        };
        let state = State::past(*number, *start, last, &self.finished, variables);
        ask(&Asker { ready, key, state: &state, attempt }).map(Some)
    }
}
