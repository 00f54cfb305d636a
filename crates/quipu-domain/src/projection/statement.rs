//! SQL with named parameters: `:subject` of the envelope, `:data.customer.id` of the data. Which database runs it is not decided
//! here: only what stands in quotes and comments is told from what does not, which is the same in all of them.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{InvalidStatement, Token, Tokens};
use crate::event::{Data, Event, Value, check_name};
use crate::json::Stamp;
use crate::timestamp::Timestamp;

/// Longest statement, bytes.
pub const STATEMENT_BYTES_MAX: usize = 16 << 10;
/// Most different parameters of a statement.
pub const PARAMETERS_MAX: usize = 200;
/// Most steps of a path into the data.
const PATH_STEPS_MAX: usize = 32;

/// One SQL statement with named parameters.
///
/// ```
/// use quipu_domain::projection::Statement;
/// let statement = Statement::parse("update orders set total = :data.total where id = :subject")?;
/// assert_eq!(statement.with_placeholders('?'), "update orders set total = ?1 where id = ?2");
/// # Ok::<(), quipu_domain::projection::InvalidStatement>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Statement {
    text: String,
    /// Where parameters stand in the text, each with its number.
    places: Vec<(std::ops::Range<usize>, usize)>,
    parameters: Vec<Parameter>,
}

/// What a named parameter stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// The event's `id`.
    Id,
    /// Its `source`.
    Source,
    /// Its `type`, in the version in which the projection reads it.
    Type,
    /// Its `subject`: the stream.
    Subject,
    /// Its `time`; when it was recorded if it has none.
    Time,
    /// When it was recorded.
    RecordedTime,
    /// Its position in the log.
    Position,
    /// Its version in its stream.
    StreamVersion,
    /// The media type of its data.
    DataContentType,
    /// The URI of the schema of its data.
    DataSchema,
    /// Another attribute.
    Attribute(String),
    /// What stands at a path in its data; all of it without steps.
    Data(Vec<String>),
}

/// What is bound to a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound<'a> {
    /// Nothing there, or JSON's `null`.
    Null,
    /// A whole number.
    Integer(i64),
    /// Another number.
    Real(f64),
    /// A boolean.
    Boolean(bool),
    /// Text.
    Text(Cow<'a, str>),
    /// The JSON of an object or an array, or of all of the data.
    Json(Cow<'a, str>),
    /// Data that is no text.
    Bytes(&'a [u8]),
}

/// An event as parameters are taken from it: its data is read once, however many statements ask for it.
pub struct Subject<'a> {
    event: &'a Event<'a>,
    stamp: &'a Stamp,
    data: Option<Json>,
}

impl<'a> Subject<'a> {
    /// Prepares to bind from an event, whose data is read if `reads_data` says that somebody asks for it.
    pub fn new(event: &'a Event<'a>, stamp: &'a Stamp, reads_data: bool) -> Self {
        let data = match event.data() {
            Data::Json(text) if reads_data => serde_json::from_str(text).ok(),
            _ => None,
        };
        Self { event, stamp, data }
    }
}

impl Parameter {
    /// Reads a name without its colon.
    fn parse(name: &str) -> Option<Self> {
        let mut steps = name.split('.');
        let first = steps.next()?;
        if first == "data" {
            let steps: Vec<String> = steps.map(str::to_owned).collect();
            return (steps.len() <= PATH_STEPS_MAX && steps.iter().all(|step| !step.is_empty()))
                .then_some(Self::Data(steps));
        }
        if steps.next().is_some() {
            return None;
        }
        Some(match first {
            "id" => Self::Id,
            "source" => Self::Source,
            "type" => Self::Type,
            "subject" => Self::Subject,
            "time" => Self::Time,
            "recordedtime" => Self::RecordedTime,
            "position" => Self::Position,
            "streamversion" => Self::StreamVersion,
            "datacontenttype" => Self::DataContentType,
            "dataschema" => Self::DataSchema,
            name => Self::Attribute(check_name(name).ok().map(|_| name.to_owned())?),
        })
    }

    /// What it is for an event.
    pub fn of<'a>(&self, subject: &'a Subject<'a>) -> Bound<'a> {
        let (event, stamp) = (subject.event, subject.stamp);
        let number = |number: u64| i64::try_from(number).map_or(Bound::Null, Bound::Integer);
        match self {
            Self::Id => text(event.id()),
            Self::Source => text(event.source()),
            Self::Type => text(event.kind()),
            Self::Subject => event.subject().map_or(Bound::Null, text),
            Self::Time => event.time_text().map_or_else(|| time(stamp.recorded_time), text),
            Self::RecordedTime => time(stamp.recorded_time),
            Self::Position => number(stamp.position),
            Self::StreamVersion => stamp.stream_version.map_or(Bound::Null, number),
            Self::DataContentType => event.data_content_type().map_or(Bound::Null, text),
            Self::DataSchema => event.data_schema().map_or(Bound::Null, text),
            Self::Attribute(name) => {
                let found = event.attributes().iter().find(|(other, _)| other == name);
                found.map_or(Bound::Null, |(_, value)| match value {
                    Value::Text(value) => text(value),
                    Value::Integer(value) => Bound::Integer(i64::from(*value)),
                    Value::Boolean(value) => Bound::Boolean(*value),
                })
            }
            Self::Data(steps) if steps.is_empty() => match event.data() {
                Data::Json(value) => Bound::Json(Cow::Borrowed(value)),
                Data::Text(value) => text(value),
                Data::Binary(bytes) => Bound::Bytes(bytes),
                Data::None | Data::Payload(_) => Bound::Null,
            },
            Self::Data(steps) => {
                let step = |at: &'a Json, step: &String| match at {
                    Json::Object(members) => members.get(step.as_str()),
                    Json::Array(items) => items.get(step.parse::<usize>().ok()?),
                    _ => None,
                };
                let found = subject.data.as_ref().and_then(|data| steps.iter().try_fold(data, step));
                found.map_or(Bound::Null, bound)
            }
        }
    }
}

fn text(text: &str) -> Bound<'_> {
    Bound::Text(Cow::Borrowed(text))
}

fn time(time: Timestamp) -> Bound<'static> {
    Bound::Text(Cow::Owned(time.to_string()))
}

fn bound(json: &Json) -> Bound<'_> {
    match json {
        Json::Null => Bound::Null,
        Json::Bool(value) => Bound::Boolean(*value),
        Json::String(value) => text(value),
        Json::Number(number) => match (number.as_i64(), number.is_u64(), number.as_f64()) {
            (Some(number), ..) => Bound::Integer(number),
            // Too large for a column of integers; as text it is still the number that was sent.
            (None, true, _) | (None, _, None) => Bound::Text(Cow::Owned(number.to_string())),
            (None, false, Some(number)) => Bound::Real(number),
        },
        Json::Array(_) | Json::Object(_) => Bound::Json(Cow::Owned(json.to_string())),
    }
}

impl Statement {
    /// Reads a statement.
    ///
    /// # Errors
    /// [`InvalidStatement`]: empty, too long, more than one, or a parameter that is none.
    pub fn parse(text: &str) -> Result<Self, InvalidStatement> {
        let text = text.trim().trim_end_matches(';').trim_end();
        if text.is_empty() {
            return Err(InvalidStatement::Empty);
        }
        if text.len() > STATEMENT_BYTES_MAX {
            return Err(InvalidStatement::TooLong { found: text.len() });
        }
        let mut statement = Self { text: text.to_owned(), places: Vec::new(), parameters: Vec::new() };
        for token in Tokens::of(text) {
            match token? {
                (at, Token::Parameter(name)) => statement.place(at.start, name)?,
                (_, Token::Sign(b';')) => return Err(InvalidStatement::Several),
                _ => {}
            }
        }
        Ok(statement)
    }

    fn place(&mut self, at: usize, name: &str) -> Result<(), InvalidStatement> {
        let parameter = Parameter::parse(name)
            .ok_or_else(|| InvalidStatement::Parameter { name: name.chars().take(64).collect() })?;
        let number = self.parameters.iter().position(|other| *other == parameter).unwrap_or_else(|| {
            self.parameters.push(parameter);
            self.parameters.len() - 1
        });
        if self.parameters.len() > PARAMETERS_MAX {
            return Err(InvalidStatement::TooManyParameters);
        }
        self.places.push((at..at + 1 + name.len(), number + 1));
        Ok(())
    }

    /// As its author wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As databases take it: with numbered placeholders, `?1` or `$1`.
    pub fn with_placeholders(&self, sign: char) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut done = 0;
        for (place, number) in &self.places {
            out.push_str(&self.text[done..place.start]);
            out.push(sign);
            out.push_str(&number.to_string());
            done = place.end;
        }
        out.push_str(&self.text[done..]);
        out
    }

    /// As databases take it that give each parameter one type: `$1`, `$2` and so on for each place, and what stands at it.
    pub fn place_by_place(&self) -> (String, Vec<&Parameter>) {
        let mut out = String::with_capacity(self.text.len());
        let mut done = 0;
        for (number, (place, _)) in self.places.iter().enumerate() {
            out.push_str(&self.text[done..place.start]);
            out.push_str(&format!("${}", number + 1));
            done = place.end;
        }
        out.push_str(&self.text[done..]);
        (out, self.places.iter().map(|(_, parameter)| &self.parameters[parameter - 1]).collect())
    }

    /// What is bound to the placeholders, by their numbers from 1.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Whether a parameter stands for a part of the data.
    pub fn reads_data(&self) -> bool {
        self.parameters.iter().any(|parameter| matches!(parameter, Parameter::Data(steps) if !steps.is_empty()))
    }
}

impl TryFrom<String> for Statement {
    type Error = InvalidStatement;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Statement> for String {
    fn from(statement: Statement) -> Self {
        statement.text
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Statement {
    fn schema_name() -> Cow<'static, str> {
        "Statement".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> String {
        Statement::parse(text).unwrap().with_placeholders('?')
    }

    #[test]
    fn parameters_are_found_where_they_are_some() {
        for (text, expected) in [
            ("insert into a values (:subject, :data.x, :subject)", "insert into a values (?1, ?2, ?1)"),
            (
                "select ':subject', \":id\", `:id`, 'it''s :id' -- :id\n, :id",
                "select ':subject', \":id\", `:id`, 'it''s :id' -- :id\n, ?1",
            ),
            ("select /* :id */ :data.a.0.b::int;", "select /* :id */ ?1::int"),
            ("update a set b = b+:data.n where é=:id", "update a set b = b+?1 where é=?2"),
            ("select a$1 from b", "select a$1 from b"),
            ("select 1 : 2", "select 1 : 2"),
            ("select e'it\\'s :id', :id", "select e'it\\'s :id', ?1"),
            ("select /* a /* :id */ :id */ :id", "select /* a /* :id */ :id */ ?1"),
            ("select a @> :data.b, ('{}'::text[])[1 : 2]", "select a @> ?1, ('{}'::text[])[1 : 2]"),
        ] {
            assert_eq!(sql(text), expected);
        }
        let many = Statement::parse("select :data.b, :data.a").unwrap();
        assert_eq!(many.with_placeholders('$'), "select $1, $2");
        let twice = Statement::parse("select :id, :data.a, :id::text").unwrap();
        let (sql, parameters) = twice.place_by_place();
        assert_eq!((sql.as_str(), parameters.len()), ("select $1, $2, $3::text", 3));
        assert_eq!((parameters[0], parameters[2]), (&Parameter::Id, &Parameter::Id));
    }

    #[test]
    fn what_is_no_single_statement_is_refused() {
        use InvalidStatement as No;
        for (text, expected) in [
            (" ; ", No::Empty),
            ("delete from a; delete from b", No::Several),
            ("select 'a", No::Unclosed { what: "a quote" }),
            ("select /* a", No::Unclosed { what: "a comment" }),
            ("select /* a /* b */ 1", No::Unclosed { what: "a comment" }),
            ("select $tag$ :id $tag$", No::Placeholder { found: '$' }),
            ("select e'a\\'", No::Unclosed { what: "a quote" }),
            ("select ?1", No::Placeholder { found: '?' }),
            ("select $1", No::Placeholder { found: '$' }),
            ("select $$a$$", No::Placeholder { found: '$' }),
            ("select @a", No::Placeholder { found: '@' }),
            ("select $é$ ' $é$, a, $é$ ' $é$", No::Placeholder { found: '$' }),
            ("select @é", No::Placeholder { found: '@' }),
            ("select 1$a$ ' $a$", No::Placeholder { found: '$' }),
            ("select 1$1", No::Placeholder { found: '$' }),
            ("select :subject.a", No::Parameter { name: "subject.a".into() }),
            ("select :data..a", No::Parameter { name: "data..a".into() }),
            ("select :Data", No::Parameter { name: "Data".into() }),
        ] {
            assert_eq!(Statement::parse(text), Err(expected), "{text}");
        }
        let long = format!("select '{}'", "a".repeat(STATEMENT_BYTES_MAX));
        assert!(matches!(Statement::parse(&long), Err(No::TooLong { .. })));
        let many: Vec<String> = (0..=PARAMETERS_MAX).map(|n| format!(":data.p{n}")).collect();
        assert_eq!(Statement::parse(&format!("select {}", many.join(","))), Err(No::TooManyParameters));
    }

    #[test]
    fn parameters_are_taken_from_the_envelope_and_from_the_data() {
        let json = r#"{"a":{"b":[1,{"c":"x"}]},"n":null,"t":true,"f":1.5,"big":18446744073709551615,"neg":-3}"#;
        let event = Event::builder("7", "/shop", "order.placed")
            .subject("order/1")
            .correlation_id("c1")
            .attribute("retries", Value::Integer(4))
            .json(json)
            .build()
            .unwrap();
        let stamp = Stamp { position: 9, stream_version: Some(2), recorded_time: Timestamp(0) };
        let subject = Subject::new(&event, &stamp, true);
        let of = |name: &str| Parameter::parse(name).unwrap().of(&subject);
        for (name, expected) in [
            ("id", text("7")),
            ("source", text("/shop")),
            ("type", text("order.placed")),
            ("subject", text("order/1")),
            ("time", text("1970-01-01T00:00:00.000Z")),
            ("recordedtime", text("1970-01-01T00:00:00.000Z")),
            ("position", Bound::Integer(9)),
            ("streamversion", Bound::Integer(2)),
            ("correlationid", text("c1")),
            ("retries", Bound::Integer(4)),
            ("userid", Bound::Null),
            ("data", Bound::Json(Cow::Borrowed(json))),
            ("data.a.b.0", Bound::Integer(1)),
            ("data.a.b.1.c", text("x")),
            ("data.a.b.1", Bound::Json(Cow::Borrowed(r#"{"c":"x"}"#))),
            ("data.a.b.2", Bound::Null),
            ("data.a.b.c", Bound::Null),
            ("data.n", Bound::Null),
            ("data.t", Bound::Boolean(true)),
            ("data.f", Bound::Real(1.5)),
            ("data.big", text("18446744073709551615")),
            ("data.neg", Bound::Integer(-3)),
            ("data.f.x", Bound::Null),
        ] {
            assert_eq!(of(name), expected, "{name}");
        }
    }
}
