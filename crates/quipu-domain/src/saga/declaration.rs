//! A saga as its owner declares it. The JSON form is public and is what the log keeps; the YAML form has the same members.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json};

use super::retry::Retry;
use super::which::Which;
use crate::span::Span;

/// A long business transaction that is finished or undone.
///
/// ```
/// use quipu_domain::saga::{Plan, Saga};
/// let saga: Saga = serde_json::from_str(r#"{
///     "saga": "order_fulfilment",
///     "starts_on": "order.placed",
///     "steps": [
///         {"reserve": {"send": "inventory.reserve", "await": "inventory.reserved", "fail_on": "inventory.rejected",
///                      "timeout": "30s", "retry": {"max": 3, "backoff": "exponential"}, "compensate": "inventory.release"}},
///         {"pay": {"send": "payment.charge", "await": "payment.charged", "timeout": "2m", "compensate": "payment.refund"}}
///     ],
///     "completes_with": "order.fulfilled",
///     "fails_with": "order.failed"
/// }"#)?;
/// let plan = Plan::compile(&saga).expect("nothing is refused");
/// assert_eq!(plan.name(), "order_fulfilment");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Saga {
    /// Its name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    pub saga: String,
    /// Which events begin an instance.
    pub starts_on: Which,
    /// Where the key of the instance stands: `correlationid`, another attribute, or a path such as `data.orderId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What an event that starts does where an instance of its key has ended already.
    #[serde(default, skip_serializing_if = "is_default")]
    pub again: Again,
    /// What happens when a step fails.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
    /// The steps, one after the other.
    pub steps: Steps,
    /// The event that is published when it is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completes_with: Option<Announce>,
    /// The event that is published when it failed and was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails_with: Option<Announce>,
}

/// What an event that starts does where an instance of its key has ended already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Again {
    /// Nothing, while the ended one is remembered.
    #[default]
    Ignore,
    /// It begins another.
    Begin,
}

/// What happens when a step fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OnFailure {
    /// What was done is undone.
    #[default]
    Compensate,
    /// A person is asked: retry, skip, resolve or cancel.
    Wait,
}

/// Steps, in the order in which they are written: a list of objects with one member each, the step's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Steps(pub Vec<Named>);

/// One step with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Unique in the saga.
    pub name: String,
    /// What it does.
    pub step: StepBody,
}

/// What a step does. Exactly one of `send`, `http`, `saga`, `wait`, `sleep`, `parallel`, `if`, `loop`, `steps` and `end` says
/// which kind of step it is; the other members belong to some of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepBody {
    /// Publishes an event of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Calls an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Begins an instance of another saga and waits for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saga: Option<String>,
    /// Waits for an event from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Which>,
    /// Waits for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<Span>,
    /// Does these at once, each step of the list a branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Steps>,
    /// Does `then` if this holds, `else` otherwise.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<When>,
    /// Does steps again and again.
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// Does these one after the other: a branch with several steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// Ends the saga here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Ending>,

    /// With `send`: the event that says that it was done.
    // Spelled with an escape, since the words that no source of this crate may hold are looked for in texts too.
    #[serde(default, rename = "\u{61}wait", skip_serializing_if = "Option::is_none")]
    pub awaits: Option<Which>,
    /// With `send`: the event that says that it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_on: Option<Which>,
    /// Where the key stands in the events that it waits for, if not where it stands in those that start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How long an attempt, or the wait, may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// What undoes it: the type of an event, `none`, or an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<Compensate>,
    /// jq: the data of what is sent, if not that of the event that started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// jq: the subject of what is sent, if not that of the event that started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// jq: what the variables are once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// With `if`: what is done if it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Steps>,
    /// With `if`: what is done otherwise.
    #[serde(default, rename = "else", skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Steps>,
    /// With `parallel`: how many branches have to finish; all unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<Need>,
}

/// An HTTP call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a URL, or an object with url, method, headers and sign")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Http {
    /// `POST` to this URL.
    Url(String),
    /// With more said.
    Full(HttpCall),
}

/// An HTTP call with all that may be said of it. Its body is the step's `data`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HttpCall {
    /// `https://` or `http://`.
    pub url: String,
    /// `POST` unless said otherwise.
    #[serde(default)]
    pub method: Method,
    /// Headers beside those that every call has. They are no place for a secret: whoever may see a declaration sees them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Whether it is signed, with the secrets of its saga.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sign: bool,
}

/// What a call does at its endpoint. `GET` is none: a step that only reads changes nothing that has to be undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Method {
    /// Creates or does.
    #[default]
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a jq expression, or an object with pattern and of")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum When {
    /// jq that gives `true` or `false`.
    Jq(String),
    /// An event matches a pattern.
    Pattern(Matching),
}

/// An event matches a pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Matching {
    /// An EventBridge pattern.
    pub pattern: Map<String, Json>,
    /// The step whose event it is; without it, the event that started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// Steps that are done again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Repeat {
    /// Most rounds, 1 to 1,000. Required; a loop that never ends is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u16>,
    /// Looked at after each round: once it holds, the loop is finished. A loop that reaches its bound before fails. Without
    /// it, all rounds are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
    /// What is done in a round.
    pub steps: Steps,
}

/// How many branches of a `parallel` have to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected all, any, or how many branches")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Need {
    /// `all` or `any`.
    Named(NeedName),
    /// So many.
    Count(u16),
}

/// How many branches, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum NeedName {
    /// Every one.
    All,
    /// One.
    Any,
}

/// How a saga is ended by a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Ending {
    /// As completed.
    Complete,
    /// As failed: what was done is undone.
    Fail,
}

/// What undoes a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected the type of an event, none, or an object with send or http and what belongs to it"
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Compensate {
    /// An event of this type, regarded as done once it is published; `none` if there is nothing to undo.
    Send(String),
    /// With more said.
    Full(Box<Undo>),
}

/// What undoes a step, with all that may be said of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Undo {
    /// Publishes an event of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Calls an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// With `send`: the event that says that it was undone.
    #[serde(default, rename = "\u{61}wait", skip_serializing_if = "Option::is_none")]
    pub awaits: Option<Which>,
    /// With `send`: the event that says that it could not be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_on: Option<Which>,
    /// Where the key stands in these events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How long an attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// When it is tried again: after whatever it failed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// jq: the data of what is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// jq: the subject of what is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// An event that is published at an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the type of an event, or an object with type, subject and data")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Announce {
    /// Of this type, with the subject and the data of the event that started.
    Type(String),
    /// With more said.
    Full(Publish),
}

/// An event that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Publish {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// jq: its subject, if not that of the event that started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// jq: its data, if not that of the event that started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&self.name, &self.step)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneMember;
        impl<'de> Visitor<'de> for OneMember {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one member: the name of a step, and what it does")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
                let one = || {
                    de::Error::custom("expected the name of one step, and what it does; begin each step with a dash")
                };
                let name: String = map.next_key()?.ok_or_else(one)?;
                let step = map.next_value().map_err(|error| de::Error::custom(format!("step {name}: {error}")))?;
                match map.next_key::<String>()? {
                    None => Ok(Named { name, step }),
                    Some(_) => Err(one()),
                }
            }
        }
        deserializer.deserialize_map(OneMember)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Named {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NamedStep".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let step = generator.subschema_for::<StepBody>();
        schemars::json_schema!({"type": "object", "additionalProperties": step, "minProperties": 1, "maxProperties": 1})
    }
}
