//! The data of an event: what its media type makes of it, how deep it may be nested, and when two say the same.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use memchr::memchr2;
use serde::de::Deserialize;
use serde_json::value::RawValue;

use super::object::{malformed, text};
use crate::event::{clip, invalid};
use crate::limits::JSON_DEPTH_MAX;
use crate::{Data, InvalidEvent};

/// Whether data of this media type is JSON: `application/json`, `text/json` or `…+json`, with any parameters.
/// Nothing said means JSON.
fn is_json(media_type: Option<&str>) -> bool {
    let Some(media_type) = media_type else { return true };
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

impl<'a> Data<'a> {
    /// The body of a message in binary mode, as its media type says.
    ///
    /// # Errors
    /// The media type says JSON and the bytes are none.
    pub fn from_body(media_type: Option<&str>, body: &'a [u8]) -> Result<Self, InvalidEvent> {
        if body.is_empty() {
            return Ok(Data::None);
        }
        if is_json(media_type) {
            let raw: &RawValue = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
            check_depth(raw.get())?;
            return Ok(Data::Json(Cow::Borrowed(raw.get())));
        }
        let is_text = media_type.is_some_and(|m| m.trim_start().to_ascii_lowercase().starts_with("text/"));
        match std::str::from_utf8(body) {
            Ok(text) if is_text => Ok(Data::Text(Cow::Borrowed(text))),
            _ => Ok(Data::Binary(Cow::Borrowed(body))),
        }
    }

    /// Whether nobody could publish it, as JSON that is nested too deeply.
    ///
    /// # Errors
    /// How deep it may be.
    pub fn check_depth(&self) -> Result<(), InvalidEvent> {
        if let Data::Json(text) = self { check_depth(text) } else { Ok(()) }
    }
}

pub(super) fn read_data<'a>(
    media_type: Option<&str>,
    data: Option<&'a str>,
    base64: Option<Cow<'a, str>>,
) -> Result<Data<'a>, InvalidEvent> {
    match (data, base64) {
        (None, None) => Ok(Data::None),
        (Some(_), Some(_)) => Err(InvalidEvent::DuplicateAttribute { name: "data (and data_base64)".into() }),
        (None, Some(encoded)) => match BASE64.decode(encoded.as_bytes()) {
            Ok(bytes) => Ok(Data::Binary(Cow::Owned(bytes))),
            Err(_) => Err(invalid("data_base64", "base64 with padding (RFC 4648, section 4)", clip(&encoded))),
        },
        (Some(raw), None) if !is_json(media_type) && raw.starts_with('"') => Ok(Data::Text(text("data", raw)?)),
        (Some(raw), None) => {
            check_depth(raw)?;
            Ok(Data::Json(Cow::Borrowed(raw)))
        }
    }
}

/// Most parsers refuse JSON that is nested deeper than about a hundred levels: such data could be stored and never
/// read.
pub(crate) fn check_depth(text: &str) -> Result<(), InvalidEvent> {
    let bytes = text.as_bytes();
    // Nearly all data has fewer brackets than there may be levels; counting them is far quicker than following them.
    if bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= JSON_DEPTH_MAX {
        return Ok(());
    }
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = after_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    let expected = format!("JSON of at most {JSON_DEPTH_MAX} levels");
                    return Err(invalid("data", expected, "deeper nesting"));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Where a string ends that has begun before a place: behind its quotation mark.
fn after_string(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = memchr2(b'"', b'\\', json.get(at..).unwrap_or_default()) {
        if json[at + found] == b'"' {
            return at + found + 1;
        }
        at += found + 2;
    }
    json.len()
}

/// Whether two JSON texts say the same: members in any order, strings by what they stand for, numbers to the letter,
/// since a float cannot tell large ones apart.
pub(crate) fn same_value(a: &str, b: &str) -> bool {
    fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
        serde_json::from_str(text).ok()
    }
    let (a, b) = (a.trim(), b.trim());
    match (a.as_bytes().first(), b.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let members = parse::<BTreeMap<String, &RawValue>>(a).zip(parse::<BTreeMap<String, &RawValue>>(b));
            members.is_some_and(|(a, b)| {
                a.len() == b.len() && a.iter().zip(&b).all(|((k, v), (l, w))| k == l && same_value(v.get(), w.get()))
            })
        }
        (Some(b'['), Some(b'[')) => {
            let items = parse::<Vec<&RawValue>>(a).zip(parse::<Vec<&RawValue>>(b));
            items
                .is_some_and(|(a, b)| a.len() == b.len() && a.iter().zip(&b).all(|(v, w)| same_value(v.get(), w.get())))
        }
        (Some(b'"'), Some(b'"')) => parse::<String>(a) == parse::<String>(b),
        _ => a == b,
    }
}
