//! Sagas, rules and expectations as they are declared and shown, and their instances.

use quipu_domain::saga::{Expectation, InstanceState, Rule, Saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::problem::read_json;
use crate::{Code, Problem, yaml};

/// Longest declaration, bytes.
pub const DECLARATION_BYTES_MAX: usize = 256 << 10;
/// Most that is said of what is wrong with a declaration.
pub const FINDINGS_MAX: usize = 100;

/// What is declared of one kind.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeclaredSagas {
    /// By their names, without what was declared.
    pub declared: Vec<DeclaredSaga>,
}

/// A saga, a rule or an expectation.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeclaredSaga {
    /// What it is.
    pub kind: SagaKind,
    /// Its name.
    pub name: String,
    /// How often it was declared anew, plus one.
    pub version: u32,
    /// When that was, RFC 3339.
    #[serde(rename = "declaredtime")]
    pub declared_time: String,
    /// Instances that are open, those of earlier versions too.
    pub open: u64,
    /// Instances that are remembered, those that have ended too.
    pub instances: u64,
    /// Events that it has still to look at.
    pub behind: u64,
    /// It is written in Rust, and its program has not brought its code: no saga goes on before it does.
    #[serde(rename = "lackscode", default, skip_serializing_if = "std::ops::Not::not")]
    pub lacks_code: bool,
    /// Why it does not go on with those, if something stands against that: a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
    /// The position of the newest event that was to begin an instance and has no key for it, so that it began none; of those that were
    /// looked at since the server was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyless: Option<u64>,
    /// What was declared; not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declaration: Option<Value>,
}

/// What kind of declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SagaKind {
    /// Steps that are finished or undone.
    Saga,
    /// An event that is published for another.
    Rule,
    /// An event that has to follow another in time.
    Expectation,
}

/// What became of a declaration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AppliedSaga {
    /// Which version of its name it is, or would be.
    pub version: u32,
    /// `new`, `known` if it was there, or `valid` if only that was asked.
    pub outcome: String,
    /// What may not be meant so.
    pub findings: Vec<SagaFinding>,
}

/// Something that was found in a declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SagaFinding {
    /// How bad it is.
    pub level: FindingLevel,
    /// Where, as a JSON pointer into the declaration; steps by their names.
    pub path: String,
    /// What was expected and what was found.
    pub sentence: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FindingLevel {
    /// It may be meant so.
    Warned,
    /// It is not taken.
    Refused,
}

/// What is gone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RemovedSaga {
    /// Its name.
    pub removed: String,
}

/// Instances, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstancesPage {
    /// Those that were asked for.
    pub instances: Vec<InstanceAnswer>,
    /// Where the next page begins; nothing at the end.
    pub cursor: Option<String>,
    /// How many instances are open or remembered in all.
    pub total: u64,
}

/// An instance.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstanceAnswer {
    /// Its number.
    pub number: u64,
    /// What it is an instance of.
    pub kind: SagaKind,
    /// The name of that.
    pub name: String,
    /// Which version of it.
    pub version: u32,
    /// Its key.
    pub key: String,
    /// How it stands.
    pub state: InstanceState,
    /// When it began, RFC 3339.
    #[serde(rename = "openedtime")]
    pub opened_time: String,
    /// When something changed last.
    #[serde(rename = "updatedtime")]
    pub updated_time: String,
    /// When something happens by itself.
    #[serde(rename = "duetime", default, skip_serializing_if = "Option::is_none")]
    pub due_time: Option<String>,
    /// The position of the event that started it.
    pub start: u64,
    /// The number of the instance that began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// What it failed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureBody>,
    /// What it waits for; nothing once it has ended.
    pub waiting: Vec<WaitingBody>,
    /// What may be done to it as it stands: `cancel`, `pause`, `resume`, `retry`, `skip`, `resolve`.
    pub acts: Vec<String>,
    /// Its variables; only for who may read every event, since they are made of some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Value>,
}

/// What an instance failed by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureBody {
    /// The step.
    pub step: String,
    /// Why.
    pub reason: String,
}

/// Something that an instance waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingBody {
    /// What.
    pub sentence: String,
    /// Until when; of a pause, since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// What made an instance what it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TimelineAnswer {
    /// Its number.
    pub number: u64,
    /// What happened, the first first.
    pub entries: Vec<TimelineLine>,
    /// How many entries between the first and the last were not kept.
    pub skipped: u64,
}

/// Something that happened to an instance.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TimelineLine {
    /// When, RFC 3339.
    pub time: String,
    /// What: `begun`, `tried`, `finished`, `refused`, `timedout`, `failed`, `undotried`, `undone`, `asks`, `ended` and others, which
    /// the page of sagas lists.
    pub what: String,
    /// The step; the saga's name for what concerns all of it.
    pub step: String,
    /// Which run of it, in loops, from 0.
    pub iteration: u16,
    /// Which attempt, if one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u16>,
    /// The timer that was set with it: until when an answer was waited for.
    #[serde(rename = "untiltime", default, skip_serializing_if = "Option::is_none")]
    pub until_time: Option<String>,
    /// What was published with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<TimelineEvent>,
    /// The event that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<TimelineEvent>,
    /// The number of the operation that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<u64>,
    /// Why, in the words of whoever did it; or what a mapping said, if one may read every event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// An event of a timeline.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEvent {
    /// Where it is in the log.
    pub position: u64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its `id`.
    pub id: String,
    /// All of it, if one may read it: without its data if that is kept beside the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::openapi::RecordedEvent>")]
    pub event: Option<Box<RawValue>>,
}

/// What is done to an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActRequest {
    /// Why, up to 512 bytes; `skip` and `resolve` need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only for `retry`: the step to go on again from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl ActRequest {
    /// Reads one.
    ///
    /// # Errors
    /// `malformed-json` and `invalid-request`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object, with reason if there is one")
    }
}

/// A declaration that is not what it has to be, in the form of one that was looked at.
fn invalid(detail: String) -> Problem {
    let finding = SagaFinding { level: FindingLevel::Refused, path: String::new(), sentence: detail.clone() };
    Problem::new(Code::InvalidSaga, detail).with("findings", serde_json::json!([finding]))
}

/// Reads a saga, JSON or YAML.
///
/// # Errors
/// `malformed-json` and `invalid-saga`.
pub fn read_saga(bytes: &[u8]) -> Result<Saga, Problem> {
    yaml::declaration(bytes, "a saga: an object with saga, starts_on and steps", invalid)
}

/// Reads a rule, JSON or YAML.
///
/// # Errors
/// As [`read_saga`].
pub fn read_rule(bytes: &[u8]) -> Result<Rule, Problem> {
    yaml::declaration(bytes, "a rule: an object with rule, on and publish", invalid)
}

/// Reads an expectation, JSON or YAML.
///
/// # Errors
/// As [`read_saga`].
pub fn read_expectation(bytes: &[u8]) -> Result<Expectation, Problem> {
    yaml::declaration(bytes, "an expectation: an object with expect, after, then and within", invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_domain::saga::Plan;

    const YAML: &str = "saga: order_fulfilment
starts_on: order.placed
steps:
  - reserve_inventory: { send: inventory.reserve, await: inventory.reserved, fail_on: inventory.rejected, timeout: 30s, retry: {max: 3, backoff: exponential}, compensate: inventory.release }
  - both:
      need: 1
      parallel:
        - mail: { send: mail.send, compensate: none }
        - wait: { wait: { type: [mail.read], data: { n: [{ numeric: ['>', 1] }] } }, timeout: 1d }
  - again: { loop: { max: 3, until: '.vars.done', steps: [ { pause: { sleep: 10s } } ] } }
completes_with: order.fulfilled
fails_with: { type: order.failed, data: '{why: .instance.key}' }
";

    #[test]
    fn a_declaration_is_the_same_in_json_and_in_yaml() {
        let saga = read_saga(YAML.as_bytes()).unwrap();
        Plan::compile(&saga).unwrap();
        assert_eq!(read_saga(&serde_json::to_vec(&saga).unwrap()).unwrap(), saga);
        let rule =
            read_rule(b"rule: welcome\non: customer.signed\npublish: {type: mail.send, data: '{a: 1}'}\n").unwrap();
        assert_eq!(read_rule(&serde_json::to_vec(&rule).unwrap()).unwrap(), rule);
        let expectation =
            read_expectation(b"expect: shipped\nafter: order.paid\nthen: order.shipped\nwithin: 5m\n").unwrap();
        assert_eq!(read_expectation(&serde_json::to_vec(&expectation).unwrap()).unwrap(), expectation);
    }

    #[test]
    fn what_is_no_declaration_says_why() {
        for (text, code, said) in [
            ("{", "malformed-json", "JSON"),
            ("[]", "invalid-saga", "an array"),
            ("7", "invalid-saga", "a saga"),
            ("saga: a\nstarts_on: b\nsteps: []\nstep: 1", "invalid-saga", "step"),
            ("saga: a\nstarts_on: b\nsteps: [{a: {send: b, awaits: c}}]", "invalid-saga", "awaits"),
            ("saga: a\nstarts_on: b\nsteps: [{a: {sleep: 5}}]", "invalid-saga", "line"),
        ] {
            let problem = read_saga(text.as_bytes()).unwrap_err();
            assert!(problem.code == code && problem.detail.contains(said), "{text}: {problem:?}");
            if code == "invalid-saga" {
                let findings: Vec<SagaFinding> = serde_json::from_value(problem.members["findings"].clone()).unwrap();
                assert_eq!((findings.len(), findings[0].level), (1, FindingLevel::Refused));
            }
        }
    }
}
