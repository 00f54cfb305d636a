//! Media types: what the body of a publish is, and what an answer may be.

use axum::http::{HeaderMap, header};
use quipu_api::{Code, MEDIA_BATCH, MEDIA_EVENT, MEDIA_LINES, Problem};

/// What the body of a publish is, as CloudEvents HTTP binding 1.0.2, section 3, tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One event.
    Structured,
    /// An array of events.
    Batched,
    /// The data of one event, whose attributes are in headers.
    Binary,
    /// One event a line.
    Lines,
    /// One event or an array, to be told by the first character.
    Json,
}

const EXPECTED: &str = "application/cloudevents+json, application/cloudevents-batch+json, application/x-ndjson, \
     application/json, or a ce-specversion header with any type";

/// The mode of a publish. The `cloudevents` types go first, then headers of the binary mode, then the other types.
pub fn mode(headers: &HeaderMap) -> Result<Mode, Problem> {
    let content_type = content_type(headers)?;
    let essence = essence(content_type);
    if essence == MEDIA_EVENT {
        return utf8(content_type).map(|()| Mode::Structured);
    }
    if essence == MEDIA_BATCH {
        return utf8(content_type).map(|()| Mode::Batched);
    }
    if essence.starts_with("application/cloudevents") {
        return Err(unsupported(EXPECTED, content_type));
    }
    if ["ce-specversion", "ce-id", "ce-source", "ce-type"].iter().any(|name| headers.contains_key(*name)) {
        return Ok(Mode::Binary);
    }
    match essence.as_str() {
        MEDIA_LINES | "application/ndjson" | "application/jsonl" => utf8(content_type).map(|()| Mode::Lines),
        "application/json" | "text/json" => utf8(content_type).map(|()| Mode::Json),
        _ => Err(unsupported(EXPECTED, content_type)),
    }
}

/// Whether the body is JSON, as an append needs it.
pub(crate) fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    is_one_of(headers, &["application/json", "text/json"])
}

/// Whether the body is of one of these types, which are all JSON; the first is the one to take.
pub(crate) fn is_one_of(headers: &HeaderMap, known: &[&'static str]) -> Result<(), Problem> {
    let content_type = content_type(headers)?;
    match known.contains(&essence(content_type).as_str()) {
        true => utf8(content_type),
        false => Err(unsupported(known[0], content_type)),
    }
}

/// Whether the body is a document of JSON or YAML.
pub(crate) fn is_document(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = content_type(headers)?;
    match essence(content_type).as_str() {
        "application/json" | "text/json" | "application/yaml" | "text/yaml" => utf8(content_type),
        _ => Err(unsupported("application/json or application/yaml", content_type)),
    }
}

/// The header, which must not stand twice; empty if it is not there.
fn content_type(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(unsupported("one header Content-Type", "several"));
    }
    match first.map(|value| value.to_str()) {
        None => Ok(""),
        Some(Ok(text)) => Ok(text),
        Some(Err(_)) => Err(unsupported("a header Content-Type in ASCII", "other bytes")),
    }
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// JSON is UTF-8 (RFC 8259); a body that says otherwise would be misread.
fn utf8(content_type: &str) -> Result<(), Problem> {
    let charset = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    match charset {
        None => Ok(()),
        Some(charset) if ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known)) => {
            Ok(())
        }
        Some(_) => Err(unsupported("charset=utf-8", content_type)),
    }
}

fn unsupported(expected: &str, found: &str) -> Problem {
    let found = if found.is_empty() { "none" } else { found };
    let found: String = found.chars().take(200).collect();
    Problem::new(Code::UnsupportedMediaType, format!("expected {expected}, found {found}"))
}

/// The first of the offered media types that the header `Accept` allows (RFC 9110, 12.5.1; preference between several
/// is ours, `q=0` excludes).
///
/// # Errors
/// `not-acceptable`.
pub fn accepted(headers: &HeaderMap, offered: &[&'static str]) -> Result<&'static str, Problem> {
    let mut ranges = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        ranges.extend(value.to_str().unwrap_or_default().split(','));
    }
    if ranges.is_empty() {
        return Ok(offered[0]);
    }
    let is_wanted =
        |range: &&str| !range.split(';').skip(1).any(|p| matches!(p.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
    let wanted: Vec<String> = ranges.iter().filter(|range| is_wanted(range)).map(|range| essence(range)).collect();
    // A type that is named goes before one that only a wildcard allows.
    let named = offered.iter().find(|media_type| wanted.iter().any(|range| range == *media_type));
    let allowed = || {
        offered.iter().find(|media_type| {
            let family = media_type.split('/').next().unwrap_or_default();
            wanted.iter().any(|range| range == "*/*" || *range == format!("{family}/*"))
        })
    };
    named.or_else(allowed).copied().ok_or_else(|| {
        let found: String = ranges.join(",").chars().take(200).collect();
        Problem::new(Code::NotAcceptable, format!("expected Accept to allow {}, found {found}", offered.join(" or ")))
    })
}

/// Whether `Prefer: return=minimal` is asked for (RFC 7240).
pub fn prefers_minimal(headers: &HeaderMap) -> bool {
    let mut preferences =
        headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split([',', ';']));
    preferences.any(|preference| preference.trim().replace('"', "").eq_ignore_ascii_case("return=minimal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn the_mode_is_told_by_type_and_headers() {
        let spec = ("ce-specversion", "1.0");
        for (pairs, mode_expected) in [
            (vec![("content-type", "application/cloudevents+json; charset=UTF-8")], Some(Mode::Structured)),
            (vec![("content-type", "application/cloudevents+json"), spec], Some(Mode::Structured)),
            (vec![("content-type", "application/cloudevents-batch+json")], Some(Mode::Batched)),
            (vec![("content-type", "application/cloudevents+avro"), spec], None),
            (vec![("content-type", "application/json"), spec], Some(Mode::Binary)),
            (vec![("content-type", "application/json"), ("ce-id", "1")], Some(Mode::Binary)),
            (vec![spec], Some(Mode::Binary)),
            (vec![("content-type", "Application/JSON")], Some(Mode::Json)),
            (vec![("content-type", "application/x-ndjson")], Some(Mode::Lines)),
            (vec![("content-type", "application/json; charset=latin1")], None),
            (vec![("content-type", "text/plain")], None),
            (vec![("content-type", "application/json"), ("content-type", "text/plain")], None),
            (vec![], None),
        ] {
            assert_eq!(mode(&headers(&pairs)).ok(), mode_expected, "{pairs:?}");
        }
    }

    #[test]
    fn an_answer_is_of_a_type_that_is_accepted() {
        let offered = ["application/json", "application/x-ndjson"];
        for (accept, expected) in [
            ("*/*", Some(offered[0])),
            ("application/*", Some(offered[0])),
            ("application/x-ndjson", Some(offered[1])),
            ("text/html, application/x-ndjson;q=0.5, */*;q=0.1", Some(offered[1])),
            ("application/json;q=0", None),
            ("text/csv", None),
        ] {
            assert_eq!(accepted(&headers(&[("accept", accept)]), &offered).ok(), expected, "{accept}");
        }
        assert_eq!(accepted(&headers(&[]), &offered), Ok(offered[0]));
    }
}
