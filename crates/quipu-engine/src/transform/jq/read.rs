//! JSON text into values. `serde_json` checks the text first; then it is only taken apart, so that numbers keep their
//! text. A name that stands twice means the last one.

use std::borrow::Cow;
use std::rc::Rc;

use serde::de::IgnoredAny;

use super::meter;
use super::number::Number;
use super::object::Object;
use super::value::{DEPTH_MAX, Value};

/// Reads one JSON text.
pub(super) fn read(text: &str) -> Result<Value, String> {
    if !meter::parsed(text.len()) {
        return Err("stopped".into());
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("expected JSON: {error}"))?;
    Reader { text, at: 0 }.value(0)
}

/// A place in text that is known to be JSON: what is expected is there.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err(format!("expected JSON of at most {DEPTH_MAX} levels, found more"));
        }
        match self.peek() {
            b'{' => {
                let mut object = Object::default();
                while self.goes_on(b'}') {
                    let name = self.string()?;
                    self.skip(b':');
                    object.insert(Rc::from(name), self.value(depth + 1)?);
                }
                Ok(Value::object(object))
            }
            b'[' => {
                let mut items = Vec::new();
                while self.goes_on(b']') {
                    items.push(self.value(depth + 1)?);
                }
                Ok(Value::array(items))
            }
            b'"' => Ok(Value::text(self.string()?)),
            _ => self.plain(),
        }
    }

    /// Whether there is another item; else it is behind the closing bracket.
    fn goes_on(&mut self, close: u8) -> bool {
        // The opening bracket, or the comma.
        if self.peek() != close {
            self.at += 1;
        }
        let is_over = self.peek() == close;
        self.at += usize::from(is_over);
        !is_over
    }

    fn peek(&mut self) -> u8 {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|c| c.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }

    fn skip(&mut self, expected: u8) {
        if self.peek() == expected {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, String> {
        self.peek();
        let (start, mut escaped) = (self.at, false);
        let inner = self.text.as_bytes()[start + 1..].iter();
        let len = inner.take_while(|c| {
            let is_end = **c == b'"' && !escaped;
            escaped = **c == b'\\' && !escaped;
            !is_end
        });
        self.at = start + len.count() + 2;
        let quoted = &self.text[start..self.at];
        match quoted.contains('\\') {
            false => Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1])),
            true => serde_json::from_str(quoted).map(Cow::Owned).map_err(|error| format!("expected text: {error}")),
        }
    }

    fn plain(&mut self) -> Result<Value, String> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(rest.len());
        self.at += end;
        match &rest[..end] {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            number => Number::parse(number).map(Value::Number).ok_or_else(|| "expected a number".into()),
        }
    }
}
