//! `test`, `match`, `capture`, `scan`, `split` and `sub` with regular expressions, by the `regex` crate: it takes time in
//! proportion to expression and text, and its size is limited. Look-around and back-references, which jq's Oniguruma
//! has, are not part of it.

mod compiled;

use std::rc::Rc;

use jaq_core::data::JustLut;
use jaq_core::{Cv, Error};
use regex::Captures;

use super::meter;
use super::object::Object;
use super::text::CharCounter;
use super::value::{Outcome, Value, stopped};
use compiled::Compiled;

/// What is wanted of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    Matches,
    Between,
    Both,
}

/// The function over its input, the expression and the flags.
pub(super) fn call(mut cv: Cv<'_, JustLut<Value>>, wanted: Parts) -> Outcome {
    let (flags, expression) = (cv.0.pop_var(), cv.0.pop_var());
    let text = Rc::clone(cv.1.as_text()?);
    let flags = match &flags {
        Value::Null => "",
        flags => flags.as_text()?,
    };
    let compiled = compiled::compiled(expression.as_text()?, flags).map_err(Error::str)?;
    let search = Search { text: &text, compiled: &compiled, wanted };
    search.parts(flags.contains('g'), flags.contains('n'))
}

struct Search<'a> {
    text: &'a str,
    compiled: &'a Compiled,
    wanted: Parts,
}

impl Search<'_> {
    fn parts(&self, is_global: bool, ignores_empty: bool) -> Outcome {
        let mut counter = CharCounter::new(self.text);
        let mut parts = Vec::new();
        let (mut from, mut between) = (0, 0);
        if !self.counted(self.text.len()) {
            return Err(stopped());
        }
        for captures in self.compiled.regex.captures_iter(self.text) {
            let whole = captures.get(0).expect("group 0 is the match");
            // A search may look at all that is behind its match, and the next one again. Mostly it does not, and what is
            // looked at without finding anything costs the least: the sixteenth part.
            if !self.counted(whole.end() - from + (self.text.len() - whole.end()) / 16) {
                return Err(stopped());
            }
            from = whole.end();
            if ignores_empty && whole.is_empty() {
                continue;
            }
            if self.wanted != Parts::Matches {
                parts.push(Value::text(&self.text[between..whole.start()]));
                between = whole.end();
            }
            if self.wanted != Parts::Between {
                parts.push(self.groups(&captures, &mut counter));
            }
            if !is_global {
                break;
            }
        }
        if self.wanted != Parts::Matches {
            parts.push(Value::text(&self.text[between..]));
        }
        Ok(Value::array(parts))
    }

    fn counted(&self, bytes: usize) -> bool {
        meter::steps(bytes * self.compiled.byte_steps + 1)
    }

    /// The match and its groups, as jq describes them.
    fn groups(&self, captures: &Captures<'_>, counter: &mut CharCounter<'_>) -> Value {
        let names = self.compiled.regex.capture_names();
        let groups = captures.iter().zip(names).map(|(group, name)| {
            let (offset, length, string) = match group {
                Some(group) => {
                    let offset = counter.chars_before(group.start()) as isize;
                    (offset, group.as_str().chars().count(), Value::text(group.as_str()))
                }
                None => (-1, 0, Value::Null),
            };
            let fields = [("offset", offset.into()), ("length", length.into()), ("string", string)];
            let name = name.map(|name| ("name", Value::text(name)));
            let fields = fields.into_iter().chain(name).map(|(name, value)| (Rc::from(name), value));
            Value::object(fields.collect::<Object>())
        });
        groups.collect()
    }
}
