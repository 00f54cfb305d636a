//! A projection as its owner declares it: tables, and for each type of event the SQL that changes them. The JSON form is public
//! and is what the log keeps.

mod invalid;
mod statement;
mod store;
mod token;

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json, json};

pub use self::invalid::{InvalidProjection, InvalidStatement};
pub use self::statement::{Bound, PARAMETERS_MAX, Parameter, STATEMENT_BYTES_MAX, Statement, Subject};
pub use self::store::{Encryption, InvalidStore, Password, PostgresUrl, ReadModelStore};
pub use self::token::{Token, Tokens};
use crate::event::Event;
use crate::event_type::{base_type, type_version};
use crate::filter::TypeMatch;
use crate::json::Stamp;
use crate::pattern::{InvalidPattern, Pattern, PatternSet, Scratch, Snapshot};
use crate::schema::SchemaVersion;
use crate::subscription::is_subscription_name;

/// Longest script that makes the tables, bytes.
const TABLES_BYTES_MAX: usize = 64 << 10;
/// Most types that one reacts to.
const REACTIONS_MAX: usize = 200;
/// Most statements of one.
const STATEMENTS_MAX: usize = 500;
/// Longest type, bytes.
const TYPE_BYTES_MAX: usize = 256;

/// A follower that keeps a read model: tables, and what events do to them.
///
/// ```
/// use quipu_domain::projection::Projection;
/// let orders: Projection = serde_json::from_str(r#"{
///     "projection": "orders",
///     "tables": "create table orders (id text primary key, status text)",
///     "on": {
///         "order.placed": "insert into orders values (:subject, 'placed')",
///         "order.shipped": "update orders set status = 'shipped' where id = :subject"
///     }
/// }"#)?;
/// orders.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Projection {
    /// Its name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    #[serde(rename = "projection")]
    pub name: String,
    /// The database that its read model is in.
    #[serde(default)]
    pub store: ReadModelStore,
    /// In which version of its schema an event is read: `newest`, `stored` or a number.
    #[serde(rename = "schemaversion", default = "newest")]
    pub schema_version: SchemaVersion,
    /// The SQL that makes its tables.
    pub tables: String,
    /// What events of a type do to them, by the type: `order.placed` (all its versions), `order.placed.v2`, or all that begin
    /// alike: `order.*`. Where several fit an event, all are done, in this order.
    pub on: Reactions,
}

/// What is done for events, in the order in which it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reactions(pub Vec<(String, Reaction)>);

/// What is done for events of a type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Reaction {
    /// One statement.
    One(Statement),
    /// Several, one after the other.
    Several(Vec<Statement>),
    /// If the event matches a pattern.
    If(Conditional),
}

/// What is done for events of a type that match a pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Conditional {
    /// An EventBridge event pattern.
    pub when: Json,
    /// The statements, one after the other.
    #[serde(rename = "do")]
    pub statements: Vec<Statement>,
}

impl Conditional {
    fn pattern(&self, kind: &str) -> Result<Pattern, InvalidProjection> {
        let invalid = |invalid| InvalidProjection::Pattern { kind: kind.to_owned(), invalid };
        Pattern::parse(&self.when.to_string()).map_err(invalid)
    }
}

fn newest() -> SchemaVersion {
    SchemaVersion::Newest
}

impl Reaction {
    /// Its statements.
    pub fn statements(&self) -> &[Statement] {
        match self {
            Self::One(statement) => std::slice::from_ref(statement),
            Self::Several(statements) => statements,
            Self::If(conditional) => &conditional.statements,
        }
    }
}

impl Projection {
    /// Checks everything that can be known without a database.
    ///
    /// # Errors
    /// [`InvalidProjection`].
    pub fn check(&self) -> Result<(), InvalidProjection> {
        if !is_subscription_name(&self.name) {
            return Err(InvalidProjection::Name { found: self.name.chars().take(64).collect() });
        }
        if self.tables.trim().is_empty() || self.tables.len() > TABLES_BYTES_MAX {
            return Err(InvalidProjection::Tables { limit: TABLES_BYTES_MAX });
        }
        if self.on.0.is_empty() || self.on.0.len() > REACTIONS_MAX {
            return Err(InvalidProjection::Reactions { found: self.on.0.len(), limit: REACTIONS_MAX });
        }
        let statements = self.on.0.iter().map(|(_, reaction)| reaction.statements().len());
        if statements.clone().sum::<usize>() > STATEMENTS_MAX || statements.clone().any(|count| count == 0) {
            return Err(InvalidProjection::Statements { limit: STATEMENTS_MAX });
        }
        for (kind, reaction) in &self.on.0 {
            let is_type = !kind.is_empty() && kind.len() <= TYPE_BYTES_MAX && !kind.contains(crate::is_forbidden_char);
            let stars = kind.bytes().filter(|byte| *byte == b'*').count();
            if !is_type || stars > 1 || (stars == 1 && !kind.ends_with('*')) {
                return Err(InvalidProjection::Type { found: kind.chars().take(64).collect() });
            }
            if let Reaction::If(conditional) = reaction {
                conditional.pattern(kind)?;
            }
        }
        Ok(())
    }

    /// Which events it reacts to, as a pattern; nothing if to all.
    ///
    /// ```
    /// # use quipu_domain::projection::Projection;
    /// # use quipu_domain::Takes;
    /// let text = r#"{"projection":"p","tables":"create table t (a)","on":{"order.placed":"delete from t"}}"#;
    /// let pattern = serde_json::from_str::<Projection>(text)?.pattern()?.unwrap();
    /// assert_eq!(pattern.takes("order.placed.v2"), Takes::All);
    /// assert_eq!(pattern.takes("order.paid"), Takes::None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A pattern of it is none.
    pub fn pattern(&self) -> Result<Option<Pattern>, InvalidPattern> {
        let mut branches = Vec::new();
        for (kind, reaction) in &self.on.0 {
            let mut branch = match reaction {
                Reaction::If(Conditional { when: Json::Object(when), .. }) => when.clone(),
                _ => Map::new(),
            };
            let types = match kind.strip_suffix('*') {
                Some("") => None,
                Some(prefix) => Some(json!([{ "prefix": prefix }])),
                None if type_version(kind).is_some() => Some(json!([kind])),
                None => Some(json!([kind, { "prefix": format!("{kind}.v") }])),
            };
            // What a condition says of the type narrows it further, and is not known to be all.
            if let Some(types) = types {
                branch.insert("type".to_owned(), types);
            }
            if branch.is_empty() {
                return Ok(None);
            }
            branches.push(Json::Object(branch));
        }
        let one = if branches.len() == 1 { branches.remove(0) } else { json!({ "$or": branches }) };
        Pattern::parse(&one.to_string()).map(Some)
    }

    /// What holds events against its reactions.
    ///
    /// # Errors
    /// A pattern is none.
    pub fn chooser(&self) -> Result<Chooser, InvalidProjection> {
        let entry = |(kind, reaction): &(String, Reaction)| {
            let when = match reaction {
                Reaction::If(conditional) => {
                    let mut set = PatternSet::new();
                    set.insert((), conditional.pattern(kind)?);
                    Some(set.snapshot())
                }
                _ => None,
            };
            Ok((TypeMatch::parse(kind), when))
        };
        let entries = self.on.0.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Chooser { entries, scratch: Scratch::default() })
    }
}

/// Says which reactions an event sets off.
pub struct Chooser {
    entries: Vec<(TypeMatch, Option<Snapshot<()>>)>,
    scratch: Scratch,
}

impl Chooser {
    /// Whether events of a type may set one off, in whichever version they are read.
    pub fn may_take(&self, kind: &str) -> bool {
        self.entries.iter().any(|(types, _)| match types {
            TypeMatch::Is(asked) => base_type(asked) == base_type(kind),
            // What begins behind the type itself is of a version.
            TypeMatch::StartsWith(prefix) => {
                base_type(kind).starts_with(prefix.as_str()) || prefix.starts_with(base_type(kind))
            }
        })
    }

    /// The numbers of the reactions that an event sets off, in their order.
    pub fn choose(&mut self, event: &Event<'_>, stamp: &Stamp, out: &mut Vec<usize>) {
        out.clear();
        for (number, (types, when)) in self.entries.iter().enumerate() {
            let matches = types.matches(event.kind())
                && when
                    .as_ref()
                    .is_none_or(|when| when.matches_event(event, Some(stamp), &mut self.scratch).next().is_some());
            if matches {
                out.push(number);
            }
        }
    }
}

/// By hand, so that what is wrong with a statement is told: an untagged enum says that nothing fits.
impl<'de> Deserialize<'de> for Reaction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm;
        impl<'de> Visitor<'de> for AnyForm {
            type Value = Reaction;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an SQL statement, a list of them, or an object with when and do")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Reaction, E> {
                Statement::parse(text).map(Reaction::One).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Reaction, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Reaction::Several)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Reaction, A::Error> {
                Conditional::deserialize(MapAccessDeserializer::new(map)).map(Reaction::If)
            }
        }
        deserializer.deserialize_any(AnyForm)
    }
}

impl Serialize for Reactions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (kind, reaction) in &self.0 {
            map.serialize_entry(kind, reaction)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Reactions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Reactions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object: types of events, each with the SQL that it sets off")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reactions, A::Error> {
                let mut reactions: Vec<(String, Reaction)> = Vec::new();
                while let Some(kind) = map.next_key::<String>()? {
                    if reactions.iter().any(|(other, _)| *other == kind) {
                        return Err(de::Error::custom(format!("expected each type once, found {kind} twice")));
                    }
                    if reactions.len() > REACTIONS_MAX {
                        return Err(de::Error::custom(format!("expected at most {REACTIONS_MAX} types")));
                    }
                    reactions.push((kind, map.next_value()?));
                }
                Ok(Reactions(reactions))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Reactions {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Reactions".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        std::collections::BTreeMap::<String, Reaction>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    fn projection(on: &str) -> Result<Projection, String> {
        let json = format!(r#"{{"projection":"p","tables":"create table t (a)","on":{on}}}"#);
        let read: Projection = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        read.check().map_err(|invalid| invalid.to_string())?;
        Ok(read)
    }

    #[test]
    fn reactions_are_kept_and_chosen_in_the_order_in_which_they_are_written() {
        let text = r#"{"z.*":"delete from t","a.b":["delete from t","delete from t"],"*":{"when":{"subject":["s"]},"do":["delete from t"]},"z.y.v2":"delete from t"}"#;
        let read = projection(text).unwrap();
        assert_eq!(serde_json::to_string(&read.on).unwrap(), text);
        let mut chooser = read.chooser().unwrap();
        let mut choose = |kind: &str, subject: &str| {
            let event = Event::builder("1", "/s", kind).subject(subject).build().unwrap();
            let stamp = Stamp { position: 1, stream_version: Some(1), recorded_time: Timestamp(0) };
            let mut out = Vec::new();
            chooser.choose(&event, &stamp, &mut out);
            out
        };
        assert_eq!(choose("z.y", "s"), [0, 2]);
        assert_eq!(choose("z.y.v2", "x"), [0, 3]);
        assert_eq!(choose("a.b.v3", "x"), [1]);
        assert_eq!(choose("a.c", "x"), [] as [usize; 0]);
    }

    #[test]
    fn what_is_no_projection_is_refused_where_it_is_wrong() {
        for (on, expected) in [
            (r#"{}"#, "expected 1 to 200 types"),
            (r#"{"a":[]}"#, "statement"),
            (r#"{"a*b":"delete from t"}"#, "a*b"),
            (r#"{"a":"delete from t","a":"delete from t"}"#, "a twice"),
            (r#"{"a":{"when":{"type":"x"},"do":["delete from t"]}}"#, "/on/a"),
            (r#"{"a":"select ?"}"#, "expected named parameters"),
            (r#"{"a":["select 1", ""]}"#, "expected an SQL statement"),
            (r#"{"a":7}"#, "a list of them"),
        ] {
            let error = projection(on).unwrap_err();
            assert!(error.contains(expected), "{on}: {error}");
        }
    }
}
