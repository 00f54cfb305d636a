//! Reads an event once, from its bytes, and notes the leaves at the paths that patterns look at. Everything else is
//! jumped over: an object that no pattern looks into costs the search for its end.
//!
//! The text is taken to be JSON: whoever has text from outside checks it first. On text that is none, this ends
//! early or notes something; it never panics and never reads on for ever.

use super::super::string;
use super::super::value::Kind;
use super::leaves::{Leaves, NONE, Source};
use super::names::{Names, Node, ROOT};
use super::scan::{StringEnd, container_end, string_end};
use crate::event::{Data, Event, Value as Attribute};
use crate::json::Stamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Deepest nesting that is followed. Data may have a hundred levels, and an envelope adds one.
const DEPTH_MAX: u32 = 256;

/// The text is not JSON, or nested too deep, or longer than 4 GiB.
#[derive(Debug, PartialEq)]
pub(super) struct Unreadable;

/// Notes the leaves of a JSON object.
pub(super) fn read_object(text: &[u8], names: &Names, leaves: &mut Leaves) -> Result<(), Unreadable> {
    leaves.reset(names.len());
    let mut walk = Walk::new(text, names, leaves)?;
    match walk.token() {
        Some(b'{') => walk.object(ROOT, NONE, 0).ok_or(Unreadable),
        _ => Err(Unreadable),
    }
}

/// Notes the leaves of an event as if it were read from its CloudEvents JSON document. Leaves that stand in JSON data
/// stay there; [`input`] is then what they refer to.
pub(super) fn read_event(
    event: &Event<'_>,
    stamp: Option<&Stamp>,
    names: &Names,
    leaves: &mut Leaves,
) -> Result<(), Unreadable> {
    leaves.reset(names.len());
    let mut note = |name: &str, kind: Kind, text: &[u8]| {
        if let Some(node) = names.child(ROOT, name.as_bytes()).filter(|&node| names.is_field(node)) {
            leaves.push_text(node, kind, text);
        }
    };
    let mut text = |name: &str, text: Option<&str>| {
        if let Some(text) = text {
            note(name, Kind::String, text.as_bytes());
        }
    };
    text("specversion", Some("1.0"));
    text("id", Some(event.id()));
    text("source", Some(event.source()));
    text("type", Some(event.kind()));
    text("subject", event.subject());
    text("time", event.time_text());
    text("datacontenttype", event.data_content_type());
    text("dataschema", event.data_schema());
    for (name, value) in event.attributes() {
        match value {
            Attribute::Text(text) => note(name, Kind::String, text.as_bytes()),
            Attribute::Integer(number) => note(name, Kind::Number, number.to_string().as_bytes()),
            Attribute::Boolean(true) => note(name, Kind::True, b"true"),
            Attribute::Boolean(false) => note(name, Kind::False, b"false"),
        }
    }
    if let Some(stamp) = stamp {
        note("position", Kind::Number, stamp.position.to_string().as_bytes());
        if let Some(version) = stamp.stream_version {
            note("streamversion", Kind::Number, version.to_string().as_bytes());
        }
        note("recordedtime", Kind::String, stamp.recorded_time.to_string().as_bytes());
    }
    match event.data() {
        Data::None | Data::Payload(_) => Ok(()),
        Data::Text(text) => {
            note("data", Kind::String, text.as_bytes());
            Ok(())
        }
        Data::Binary(bytes) => {
            if names.child(ROOT, b"data_base64").is_some() {
                note("data_base64", Kind::String, BASE64.encode(bytes).as_bytes());
            }
            Ok(())
        }
        Data::Json(json) => match names.child(ROOT, b"data") {
            Some(node) => Walk::new(json.as_bytes(), names, leaves)?.value(node, NONE, 0).ok_or(Unreadable),
            None => Ok(()),
        },
    }
}

/// The text that the leaves of an event stand in.
pub(super) fn input<'a>(event: &'a Event<'_>) -> &'a [u8] {
    match event.data() {
        Data::Json(json) => json.as_bytes(),
        Data::None | Data::Text(_) | Data::Binary(_) | Data::Payload(_) => &[],
    }
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    names: &'a Names,
    leaves: &'a mut Leaves,
}

impl<'a> Walk<'a> {
    fn new(text: &'a [u8], names: &'a Names, leaves: &'a mut Leaves) -> Result<Walk<'a>, Unreadable> {
        // Places are kept in 32 bits, and decoding makes nothing longer.
        if u32::try_from(text.len()).is_err() {
            return Err(Unreadable);
        }
        Ok(Walk { text, at: 0, names, leaves })
    }

    /// The next byte that is no white space. It stays there.
    #[inline]
    fn token(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
            if byte > b' ' {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// The object that begins here.
    fn object(&mut self, node: Node, element: u32, depth: u32) -> Option<()> {
        self.at += 1;
        loop {
            match self.token()? {
                b'"' => {}
                b',' => {
                    self.at += 1;
                    continue;
                }
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
            let start = self.at + 1;
            let end = string_end(self.text, start)?;
            let child = self.named(node, start, &end);
            self.at = end.quote + 1;
            if self.token()? != b':' {
                return None;
            }
            self.at += 1;
            self.token()?;
            match child {
                Some(child) => self.value(child, element, depth)?,
                None => self.skip()?,
            }
        }
    }

    #[inline]
    fn named(&mut self, node: Node, start: usize, end: &StringEnd) -> Option<Node> {
        if end.has_dots || end.has_escapes {
            return self.unusual(node, &self.text[start..end.quote]);
        }
        self.names.child_in(node, self.text, start..end.quote)
    }

    #[cold]
    fn unusual(&mut self, node: Node, name: &[u8]) -> Option<Node> {
        let kept = self.leaves.decoded.len();
        string::decode(name, &mut self.leaves.decoded);
        let child = self.names.walk(node, &self.leaves.decoded[kept..]);
        self.leaves.decoded.truncate(kept);
        child
    }

    /// The value that begins here, behind white space or not.
    fn value(&mut self, node: Node, element: u32, depth: u32) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.token()? {
            b'"' => self.string(node, element),
            b'{' if self.names.has_children(node) => self.object(node, element, depth + 1),
            b'{' => self.skip(),
            b'[' => self.array(node, element, depth + 1),
            _ => self.literal(node, element),
        }
    }

    fn array(&mut self, node: Node, outer: u32, depth: u32) -> Option<()> {
        self.at += 1;
        let array = self.leaves.open_array();
        let mut has_leaves = false;
        loop {
            match self.token()? {
                b',' => self.at += 1,
                b']' => break,
                b'{' | b'[' => {
                    let element = self.leaves.open_element(outer, array);
                    self.value(node, element, depth)?;
                    self.leaves.close_element(element);
                }
                _ => {
                    has_leaves = true;
                    self.value(node, outer, depth)?;
                }
            }
        }
        self.at += 1;
        self.leaves.close_array(array, has_leaves);
        Some(())
    }

    fn string(&mut self, node: Node, element: u32) -> Option<()> {
        let start = self.at + 1;
        let end = string_end(self.text, start)?;
        self.at = end.quote + 1;
        if !self.names.is_field(node) {
            return Some(());
        }
        if !end.has_escapes {
            self.leaves.push(node, Kind::String, Source::Input, (start, end.quote), element);
            return Some(());
        }
        let decoded = self.leaves.decoded.len();
        string::decode(&self.text[start..end.quote], &mut self.leaves.decoded);
        let text = (decoded, self.leaves.decoded.len());
        self.leaves.push(node, Kind::String, Source::Decoded, text, element);
        Some(())
    }

    fn literal(&mut self, node: Node, element: u32) -> Option<()> {
        let start = self.at;
        self.skip_literal()?;
        if self.names.is_field(node) {
            let kind = match self.text[start] {
                b't' => Kind::True,
                b'f' => Kind::False,
                b'n' => Kind::Null,
                _ => Kind::Number,
            };
            self.leaves.push(node, kind, Source::Input, (start, self.at), element);
        }
        Some(())
    }

    /// Jumps over the value that begins here.
    #[inline]
    fn skip(&mut self) -> Option<()> {
        match self.text[self.at] {
            b'"' => self.at = string_end(self.text, self.at + 1)?.quote + 1,
            b'{' | b'[' => self.at = container_end(self.text, self.at)?,
            _ => self.skip_literal()?,
        }
        Some(())
    }

    #[inline]
    fn skip_literal(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(byte) = self.text.get(self.at) {
            if matches!(byte, b',' | b'}' | b']') || *byte <= b' ' {
                break;
            }
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}
