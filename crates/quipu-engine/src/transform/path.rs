//! The paths of EventBridge: `$`, members by dot, items by index, and `*` for all of them. They find slices of the
//! event's text, so numbers and strings go out as they came in. Filters and brackets around names are not part of the
//! language.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{PATH_CHARS_MAX, check_length};
use crate::member::member;

/// What is wrong, and at which byte of the text.
type Misplaced = (usize, String);

/// A path into an event.
#[derive(Debug)]
pub(super) struct Path {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Item(usize),
    All,
}

impl Path {
    /// Reads a path such as `$.data.items[0].id`.
    ///
    /// # Errors
    /// What was expected, and where.
    pub fn parse(text: &str) -> Result<Self, Misplaced> {
        check_length(text, PATH_CHARS_MAX)?;
        let mut rest = text.strip_prefix('$').ok_or((0, "expected a path that starts with $".to_owned()))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let (step, behind) = step(rest).map_err(|reason| (at, reason))?;
            rest = behind;
            steps.push(step);
        }
        // A CloudEvent has no members of these names of AWS; an extension attribute named `detail` is for jq.
        match steps.first_mut() {
            Some(Step::Member(name)) if name == "detail" => *name = "data".into(),
            Some(Step::Member(name)) if name == "detail-type" => *name = "type".into(),
            _ => {}
        }
        Ok(Self { text: text.to_owned(), steps })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is delivered: finding nothing is a fault, since no value stands for it.
    pub fn apply(&self, event: &str) -> Result<Vec<u8>, String> {
        match self.find(event, &mut Effort::default())? {
            Some(found) => Ok(found.into_owned().into_bytes()),
            None => Err("expected something at the path, found nothing".into()),
        }
    }

    /// The JSON text at the path; behind a `*` an array of all that was found.
    ///
    /// # Errors
    /// Too much was looked at.
    pub fn find<'a>(&self, event: &'a str, effort: &mut Effort) -> Result<Option<Cow<'a, str>>, String> {
        let Some(first) = self.steps.iter().position(|step| *step == Step::All) else {
            return Ok(one(event, &self.steps, effort)?.map(Cow::Borrowed));
        };
        let (before, behind) = self.steps.split_at(first);
        let Some(start) = one(event, before, effort)? else { return Ok(None) };
        let mut found = vec![start];
        for step in behind {
            let mut next = Vec::new();
            for text in found {
                match step {
                    Step::All => {
                        effort.spend(text.len())?;
                        next.append(&mut children(text));
                    }
                    _ => next.extend(one(text, std::slice::from_ref(step), effort)?),
                }
            }
            found = next;
        }
        Ok(Some(Cow::Owned(format!("[{}]", found.join(",")))))
    }
}

/// Most bytes that all paths of a transformation look at in one event: each step looks at all that the one before it
/// found. A hundred paths of ten steps into the largest event fit, and take about a second.
const SCANNED_BYTES_MAX: usize = 1 << 30;

/// What was looked at so far.
#[derive(Default)]
pub(super) struct Effort {
    scanned_bytes: usize,
}

impl Effort {
    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.scanned_bytes += bytes;
        match self.scanned_bytes {
            0..=SCANNED_BYTES_MAX => Ok(()),
            _ => Err(format!("expected paths that look at no more than {SCANNED_BYTES_MAX} bytes of an event in all")),
        }
    }
}

/// One step and what is behind it.
fn step(rest: &str) -> Result<(Step, &str), String> {
    if let Some(inner) = rest.strip_prefix('[') {
        let (index, behind) = inner.split_once(']').ok_or("expected ] behind the index")?;
        let is_number = !index.is_empty() && index.bytes().all(|c| c.is_ascii_digit());
        return match index.parse() {
            _ if index == "*" => Ok((Step::All, behind)),
            Ok(index) if is_number => Ok((Step::Item(index), behind)),
            _ => Err("expected an index such as [0], or [*]; members are written with a dot".into()),
        };
    }
    let named = rest.strip_prefix('.').ok_or("expected . or [ behind a step")?;
    if let Some(behind) = named.strip_prefix('*') {
        return Ok((Step::All, behind));
    }
    let is_of_name = |c: char| c.is_alphanumeric() || "-_/".contains(c);
    let end = named.find(|c| !is_of_name(c)).unwrap_or(named.len());
    match end {
        0 => Err("expected a name of letters, digits, -, _ and /, or *, behind the dot".into()),
        _ => Ok((Step::Member(named[..end].to_owned()), &named[end..])),
    }
}

/// Goes down steps none of which is `*`.
fn one<'a>(text: &'a str, steps: &[Step], effort: &mut Effort) -> Result<Option<&'a str>, String> {
    let mut text = text;
    for step in steps {
        effort.spend(text.len())?;
        let found = match step {
            Step::Member(name) => member(text, name),
            Step::Item(index) => item(text, *index),
            Step::All => None,
        };
        match found {
            Some(found) => text = found,
            None => return Ok(None),
        }
    }
    Ok(Some(text))
}

fn item(text: &str, index: usize) -> Option<&str> {
    serde_json::Deserializer::from_str(text).deserialize_seq(Item(index)).ok()?
}

/// Looks into one array for one item, without keeping the others.
struct Item(usize);

impl<'de> Visitor<'de> for Item {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let mut found = None;
        let mut at = 0;
        while let Some(item) = seq.next_element::<&'de RawValue>()? {
            if self.0 == at {
                found = Some(item.get());
            }
            at += 1;
        }
        Ok(found)
    }
}

/// The values of an object or an array, in order; of anything else none.
fn children(text: &str) -> Vec<&str> {
    serde_json::Deserializer::from_str(text).deserialize_any(Children).unwrap_or_default()
}

struct Children;

impl<'de> Visitor<'de> for Children {
    type Value = Vec<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = Vec::new();
        while let Some((_, value)) = map.next_entry::<IgnoredAny, &'de RawValue>()? {
            found.push(value.get());
        }
        Ok(found)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let mut found = Vec::new();
        while let Some(item) = seq.next_element::<&'de RawValue>()? {
            found.push(item.get());
        }
        Ok(found)
    }
}

/// The members of an object in order, as their names and texts; nothing for other JSON.
pub(super) fn members(text: &str) -> Vec<(Cow<'_, str>, &str)> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de str)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut found = Vec::new();
            while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                found.push((name.0, value.get()));
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(text).deserialize_map(Members).unwrap_or_default()
}

/// A name, borrowed unless it holds escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
