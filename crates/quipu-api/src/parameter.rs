//! Parameters of operations, and the one mapping between a filter and its parameters, read and written. Query
//! strings, the `subscribe` object of a WebSocket and the command line all go through here.

use quipu_domain::limits::QUERY_ITEMS_MAX;
use quipu_domain::{Filter, Query, QueryItem, Range, Timestamp, TypeMatch};
use serde_json::{Map, Value};

use crate::{Code, Problem};

/// A parameter of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it says.
    pub description: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Where it stands and how often.
    pub place: Place,
}

/// What the value of a parameter is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number from 0.
    Number,
    /// How many entries a page has.
    Limit,
    /// An RFC 3339 date-time.
    Time,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// Where a parameter stands and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A part of the path.
    Path,
    /// In the query, exactly once.
    Required,
    /// In the query, at most once.
    Optional,
    /// In the query, any number of times up to 64.
    Repeated,
}

const fn repeated(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, description, kind: Kind::Text, place: Place::Repeated }
}

const fn optional(name: &'static str, kind: Kind, description: &'static str) -> Parameter {
    Parameter { name, description, kind, place: Place::Optional }
}

const PRIORITIES: &[&str] = &["low", "medium", "high", "urgent"];

/// The parameters of a filter. All must match; a repeated one matches any of its values, except `tag`: all of them.
pub const FILTER: &[Parameter] = &[
    repeated("type", "A type, or a prefix such as order.*; a type without .vN means all its versions."),
    repeated("subject", "A stream."),
    repeated("source", "A source."),
    repeated("tag", "A tag, key:value; repeated, an event must carry all of them."),
    repeated("correlationid", "A correlation id."),
    repeated("causationid", "The id of the cause."),
    repeated("userid", "A user."),
    repeated("organizationid", "An organization."),
    Parameter { kind: Kind::Word(PRIORITIES), ..repeated("priority", "A priority.") },
    optional("timefrom", Kind::Time, "Not before this time (of the event, or when it was recorded if it has none)."),
    optional("timeto", Kind::Time, "Not after this time."),
    optional("positionfrom", Kind::Number, "From this position on."),
    optional("positionto", Kind::Number, "Up to this position."),
];

/// Sets one parameter of a filter; `false` if it is not one of a filter.
pub(crate) fn accept(filter: &mut Filter, name: &str, value: &str) -> Result<bool, Problem> {
    let list = match name {
        "type" => {
            let wanted = not_empty(name, value)?;
            filter.types.push(TypeMatch::parse(wanted));
            return within_limit(name, filter.types.len());
        }
        "subject" => &mut filter.subjects,
        "source" => &mut filter.sources,
        "tag" => {
            let query = Query { items: vec![QueryItem { types: vec![], tags: vec![value.to_owned()] }] };
            if query.check().is_err() {
                return Err(Problem::parameter(name, "a tag such as customer:c1", value));
            }
            &mut filter.tags
        }
        "correlationid" => &mut filter.correlation_ids,
        "causationid" => &mut filter.causation_ids,
        "userid" => &mut filter.user_ids,
        "organizationid" => &mut filter.organization_ids,
        "priority" if PRIORITIES.contains(&value) => &mut filter.priorities,
        "priority" => return Err(Problem::parameter(name, "low, medium, high or urgent", value)),
        "timefrom" => return once(name, &mut filter.time.from, time(name, value)?),
        "timeto" => return once(name, &mut filter.time.to, time(name, value)?),
        "positionfrom" => return once(name, &mut filter.positions.from, number(name, value)?),
        "positionto" => return once(name, &mut filter.positions.to, number(name, value)?),
        _ => return Ok(false),
    };
    list.push(not_empty(name, value)?.to_owned());
    within_limit(name, list.len())
}

fn not_empty<'a>(name: &str, value: &'a str) -> Result<&'a str, Problem> {
    if value.is_empty() { Err(Problem::parameter(name, "a text that is not empty", value)) } else { Ok(value) }
}

fn within_limit(name: &str, count: usize) -> Result<bool, Problem> {
    if count > QUERY_ITEMS_MAX {
        let detail = format!("expected {name} at most {QUERY_ITEMS_MAX} times, found more");
        return Err(Problem::new(Code::InvalidParameter, detail).with("parameter", name));
    }
    Ok(true)
}

pub(crate) fn once<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<bool, Problem> {
    match slot.replace(value) {
        None => Ok(true),
        Some(_) => {
            let detail = format!("expected {name} once, found it twice");
            Err(Problem::new(Code::InvalidParameter, detail).with("parameter", name))
        }
    }
}

pub(crate) fn number(name: &str, value: &str) -> Result<u64, Problem> {
    // `u64::from_str` takes a leading +, which a query string cannot mean.
    match value.parse() {
        Ok(number) if value.as_bytes()[0].is_ascii_digit() => Ok(number),
        _ => Err(Problem::parameter(name, "a whole number from 0", value)),
    }
}

/// A `+` that was not percent-encoded arrives as a space: `…T00:00:00 01:00` can only mean an offset.
pub(crate) fn time(name: &str, value: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse(&value.replace(' ', "+"))
        .ok_or_else(|| Problem::parameter(name, "an RFC 3339 date-time such as 2026-01-31T09:30:00Z", value))
}

/// The parameters of a filter, in the order of [`FILTER`].
pub fn filter_to_pairs(filter: &Filter) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    for wanted in &filter.types {
        pairs.push(match wanted {
            TypeMatch::Is(kind) => ("type", kind.clone()),
            TypeMatch::StartsWith(prefix) => ("type", format!("{prefix}*")),
        });
    }
    for (name, list) in [
        ("subject", &filter.subjects),
        ("source", &filter.sources),
        ("tag", &filter.tags),
        ("correlationid", &filter.correlation_ids),
        ("causationid", &filter.causation_ids),
        ("userid", &filter.user_ids),
        ("organizationid", &filter.organization_ids),
        ("priority", &filter.priorities),
    ] {
        pairs.extend(list.iter().map(|value| (name, value.clone())));
    }
    let Range { from, to } = filter.time;
    pairs.extend(from.map(|from| ("timefrom", from.to_string())));
    pairs.extend(to.map(|to| ("timeto", to.to_string())));
    let Range { from, to } = filter.positions;
    pairs.extend(from.map(|from| ("positionfrom", from.to_string())));
    pairs.extend(to.map(|to| ("positionto", to.to_string())));
    pairs
}

/// The filter as a query string, without `?`; empty for a filter that matches everything.
pub fn filter_to_query(filter: &Filter) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(filter_to_pairs(filter)).finish()
}

/// The `subscribe` object of a WebSocket as name and value pairs: each value a string, a number, or an array of them.
///
/// # Errors
/// `invalid-parameter`.
pub fn filter_from_json(object: &Map<String, Value>) -> Result<Vec<(String, String)>, Problem> {
    let mut pairs = Vec::new();
    for (name, value) in object {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        };
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                other => {
                    return Err(Problem::parameter(name, "a string, a number or an array of them", &other.to_string()));
                }
            };
            pairs.push((name.clone(), text));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReadRequest;

    #[test]
    fn every_parameter_of_a_filter_is_read_and_written_again() {
        let query = "type=order.*&type=a.b&subject=order%2F1&source=%2Fshop&tag=k%3Av&tag=l%3Aw&correlationid=c\
                     &causationid=k&userid=u&organizationid=o&priority=high&timefrom=2026-01-01T00%3A00%3A00.000Z\
                     &timeto=2026-01-02T00%3A00%3A00.000Z&positionfrom=1&positionto=9";
        let request = ReadRequest::from_query(query).unwrap();
        assert_eq!(filter_to_query(&request.filter), query);
        for parameter in FILTER {
            assert!(query.contains(&format!("{}=", parameter.name)), "{}", parameter.name);
        }
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (query, name) in [
            ("colour=red", "colour"),
            ("type=", "type"),
            ("tag=x", "tag"),
            ("priority=asap", "priority"),
            ("timefrom=yesterday", "timefrom"),
            ("positionfrom=-1", "positionfrom"),
            ("positionfrom=%2B1", "positionfrom"),
            ("positionfrom=1&positionfrom=2", "positionfrom"),
            ("limit=0", "limit"),
            ("limit=10001", "limit"),
            ("direction=up", "direction"),
        ] {
            assert_eq!(ReadRequest::from_query(query).expect_err(query).members["parameter"], name, "{query}");
        }
        let many = "type=a&".repeat(65);
        assert_eq!(ReadRequest::from_query(&many).unwrap_err().members["parameter"], "type");
    }

    #[test]
    fn an_offset_with_a_plain_plus_is_understood() {
        let request = ReadRequest::from_query("timefrom=1970-01-01T01:00:00+01:00").unwrap();
        assert_eq!(request.filter.time.from, Some(Timestamp(0)));
    }
}
