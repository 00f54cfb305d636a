//! What jq of a saga sees, and what it makes of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use quipu_domain::saga::{Attempt, Child, NodeId, Question, State, Told, VARIABLES_BYTES_MAX, Wanted};
use quipu_domain::{Data, write_event};
use quipu_store::Fault;

use super::ready::Ready;
use crate::read::Recorded;
use crate::tenant::Tenant;
use crate::transform::JQ_STEPS_MAX;

/// Events that a round has read, and how many steps all its jq may yet take if that is bounded.
#[derive(Default)]
pub(super) struct Cache {
    events: HashMap<u64, Recorded>,
    steps: Option<u64>,
}

impl Cache {
    /// All jq together takes no more than so many steps.
    pub fn within(steps: u64) -> Self {
        Self { steps: Some(steps), ..Self::default() }
    }

    /// How many of so many steps were taken.
    pub fn steps_taken(&self, given: u64) -> u64 {
        self.steps.map_or(0, |left| given - left)
    }

    /// Whether jq was stopped, or is to be: what it came to is not what the expression makes.
    pub fn is_spent(&self) -> bool {
        self.steps == Some(0)
    }

    /// How many events it keeps.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Keeps no event any more.
    pub fn forget(&mut self) {
        self.events.clear();
    }

    /// An event, with its data in it.
    pub fn get(&mut self, tenant: &Tenant, position: u64) -> Result<Option<&Recorded>, Fault> {
        if !self.events.contains_key(&position) {
            let Some(recorded) = tenant.event_at(position)? else { return Ok(None) };
            self.put(tenant, recorded)?;
        }
        Ok(self.events.get(&position))
    }

    /// Keeps an event that was read.
    pub fn put(&mut self, tenant: &Tenant, recorded: Recorded) -> Result<(), Fault> {
        let position = recorded.stamp.position;
        if let Entry::Vacant(place) = self.events.entry(position) {
            place.insert(tenant.resolve(recorded)?);
        }
        Ok(())
    }
}

/// Whose jq it is.
pub(super) struct Asker<'a> {
    pub ready: &'a Ready,
    pub key: &'a str,
    pub state: &'a State,
    pub attempt: Option<Attempt>,
}

/// What jq makes, or why it fails; or the world does.
pub(super) type Mapped<T> = Result<Result<T, String>, Fault>;

/// What a question of a plan came to.
pub(super) enum Answered {
    Wanted(Wanted),
    Holds(bool),
    Variables(String),
    Failed(String),
}

impl Answered {
    /// As an instance is told.
    pub fn told(&self) -> Told<'_> {
        match self {
            Self::Wanted(wanted) => Told::Wanted(wanted),
            Self::Holds(holds) => Told::Holds(*holds),
            Self::Variables(text) => Told::Variables(text),
            Self::Failed(reason) => Told::Failed(reason),
        }
    }

    /// What a state keeps of it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Wanted(wanted) => wanted.state.len(),
            Self::Variables(text) => text.len(),
            Self::Holds(_) | Self::Failed(_) => 0,
        }
    }
}

impl Asker<'_> {
    /// What is asked at a step.
    pub fn answer(&self, tenant: &Tenant, cache: &mut Cache, node: NodeId) -> Result<Answered, Fault> {
        Ok(match self.ready.plan.question(node) {
            None => Answered::Failed("nothing is asked there".into()),
            Some(Question::Jq(text)) => match self.apply(tenant, cache, &text)? {
                Ok(holds) if holds == "true" => Answered::Holds(true),
                Ok(holds) if holds == "false" => Answered::Holds(false),
                Ok(other) => {
                    let shown: String = other.chars().take(64).collect();
                    Answered::Failed(format!("expected true or false, found {shown}"))
                }
                Err(reason) => Answered::Failed(reason),
            },
            Some(Question::Variables(text)) => match self.apply(tenant, cache, &text)? {
                Ok(variables) if variables.len() <= VARIABLES_BYTES_MAX => Answered::Variables(variables),
                Ok(variables) => Answered::Failed(too_large(&variables)),
                Err(reason) => Answered::Failed(reason),
            },
            Some(Question::Pattern { pattern, of }) => {
                let position = of.map_or(Some(self.state.start()), |node| self.state.event_of(node));
                match position.map(|position| cache.get(tenant, position)).transpose()?.flatten() {
                    Some(recorded) => Answered::Holds(pattern.matches_event(&recorded.event(), Some(&recorded.stamp))),
                    None => Answered::Failed("expected an event of that step, found none".into()),
                }
            }
        })
    }

    /// The variables that a saga within a saga begins with, if it is given any.
    pub fn variables(&self, tenant: &Tenant, cache: &mut Cache, child: &Child) -> Mapped<Option<String>> {
        let Some(text) = child.data.as_deref() else { return Ok(Ok(None)) };
        Ok(match self.apply(tenant, cache, text)? {
            Ok(variables) if variables.len() > VARIABLES_BYTES_MAX => Err(too_large(&variables)),
            other => other.map(Some),
        })
    }

    /// The first output, as JSON.
    pub fn apply(&self, tenant: &Tenant, cache: &mut Cache, text: &str) -> Mapped<String> {
        let jq = match self.ready.jq(text) {
            Ok(jq) => jq,
            Err(reason) => return Ok(Err(reason)),
        };
        let input = match self.input(tenant, cache, text)? {
            Ok(input) => input,
            Err(reason) => return Ok(Err(reason)),
        };
        let given = cache.steps.map_or(JQ_STEPS_MAX, |steps| steps.min(JQ_STEPS_MAX));
        let mut left = given;
        let outcome = jq.apply_within(&input, &mut left);
        if let Some(steps) = &mut cache.steps {
            // What was stopped for another reason has used them up as well; an expression stops at its own bound before that of all.
            *steps -= given - left;
        }
        if outcome.is_err() && cache.is_spent() {
            return Ok(Err(
                "expected less jq that one event leads to at once: the steps for all of it are used up".into()
            ));
        }
        Ok(outcome.and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string())))
    }

    /// `{start, event, steps, vars, instance}`. Of the steps those whose names stand in the text.
    fn input(&self, tenant: &Tenant, cache: &mut Cache, text: &str) -> Mapped<String> {
        let mut out = Vec::with_capacity(1_024);
        out.extend_from_slice(b"{\"start\":");
        let plan = &self.ready.plan;
        let named = (1..plan.len() as NodeId).filter(|node| text.contains(plan.step_name(*node)));
        let steps: Vec<(NodeId, u64)> =
            named.filter_map(|node| self.state.event_of(node).map(|position| (node, position))).collect();
        match write(tenant, cache, self.state.start(), &mut out)? {
            Ok(()) => {}
            Err(reason) => return Ok(Err(reason)),
        }
        if text.contains("event") {
            out.extend_from_slice(b",\"event\":");
            if let Err(reason) = write(tenant, cache, self.state.last(), &mut out)? {
                return Ok(Err(reason));
            }
        }
        out.extend_from_slice(b",\"steps\":{");
        for (at, (node, position)) in steps.into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            serde_json::to_writer(&mut out, plan.step_name(node)).expect("a text is JSON");
            out.push(b':');
            if let Err(reason) = write(tenant, cache, position, &mut out)? {
                return Ok(Err(reason));
            }
        }
        out.extend_from_slice(b"},\"vars\":");
        out.extend_from_slice(self.state.variables().unwrap_or("null").as_bytes());
        let instance = serde_json::json!({
            "key": self.key,
            "number": self.state.number(),
            "attempt": self.attempt.map_or(0, |attempt| attempt.number),
        });
        out.extend_from_slice(b",\"instance\":");
        out.extend_from_slice(instance.to_string().as_bytes());
        out.push(b'}');
        Ok(String::from_utf8(out).map_err(|error| error.to_string()))
    }
}

fn too_large(variables: &str) -> String {
    format!("expected variables of at most {VARIABLES_BYTES_MAX} bytes, found {}", variables.len())
}

fn write(tenant: &Tenant, cache: &mut Cache, position: u64, out: &mut Vec<u8>) -> Mapped<()> {
    let Some(recorded) = cache.get(tenant, position)? else {
        return Ok(Err(format!("the event at position {position} is not there any more")));
    };
    write_event(out, &recorded.event(), Some(&recorded.stamp));
    Ok(Ok(()))
}

/// The data of an event, as it is.
pub(super) fn data_of(tenant: &Tenant, cache: &mut Cache, position: u64) -> Result<Data<'static>, Fault> {
    let recorded = cache.get(tenant, position)?;
    Ok(recorded.map_or(Data::None, |recorded| recorded.event().into_owned().data().clone()))
}
