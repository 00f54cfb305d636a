//! Questions about what is in a value: its length, its keys, and whether and where it holds another.

use std::rc::Rc;

use jaq_core::Error;

use super::meter;
use super::number::Number;
use super::text::CharCounter;
use super::value::{BYTES_MAX, Outcome, Value, stopped};

impl Value {
    /// Characters, items or members; of a number its distance from 0.
    pub fn length(&self) -> Outcome {
        match self {
            Self::Null => Ok(Self::from(0usize)),
            Self::Bool(_) => Err(Error::str(format!("{self} has no length"))),
            Self::Number(number) if number.as_f64() < 0.0 => Ok(Self::Number(number.neg())),
            Self::Number(_) => Ok(self.clone()),
            Self::Text(text) if meter::read(text.len()) => Ok(Self::from(text.chars().count())),
            Self::Text(_) => Err(stopped()),
            Self::Array(array) => Ok(Self::from(array.items().len())),
            Self::Object(object) => Ok(Self::from(object.len())),
        }
    }

    /// Whether there is a member of this name, or an item at this index.
    pub fn has(&self, key: &Self) -> Outcome {
        match (self, key) {
            (Self::Object(object), Self::Text(name)) => Ok(object.get(name).is_some().into()),
            (Self::Array(array), Self::Number(at)) => {
                let at = at.as_index().and_then(|at| usize::try_from(at).ok());
                Ok(at.is_some_and(|at| at < array.items().len()).into())
            }
            _ => Err(Error::str(format!("expected a key of this {}, found {key}", self.type_name()))),
        }
    }

    /// Text that holds the text, an array each of whose parts is in an item, an object with such members; else equality.
    pub fn contains(&self, part: &Self) -> bool {
        // Once stopped, nothing is looked at any more: the outcome is thrown away.
        if !meter::steps(1) {
            return false;
        }
        match (self, part) {
            (Self::Text(whole), Self::Text(part)) => meter::read(whole.len()) && whole.contains(&**part),
            (Self::Array(items), Self::Array(parts)) => {
                let is_in = |part: &Self| items.items().iter().any(|item| item.contains(part) || meter::is_stopped());
                parts.items().iter().all(is_in)
            }
            (Self::Object(object), Self::Object(parts)) => {
                parts.iter().all(|(name, part)| object.get(name).is_some_and(|value| value.contains(part)))
            }
            _ => self == part,
        }
    }

    /// Where a text, a run of items or an item is.
    pub fn indices(&self, part: &Self) -> Outcome {
        match (self, part) {
            (Self::Null, _) => Ok(Self::Null),
            (Self::Text(whole), Self::Text(part)) => Ok(indices_of_text(whole, part)),
            (Self::Array(_), Self::Array(part)) if part.items().is_empty() => Ok(Self::array(Vec::new())),
            (Self::Array(items), Self::Array(part)) => {
                let runs = items.items().windows(part.items().len()).take_while(|_| !meter::is_stopped());
                Ok(numbers(runs.enumerate().filter(|(_, run)| *run == part.items()).map(|(at, _)| at)))
            }
            (Self::Array(items), part) => {
                let items = items.items().iter().take_while(|_| !meter::is_stopped());
                Ok(numbers(items.enumerate().filter(|(_, item)| *item == part).map(|(at, _)| at)))
            }
            _ => Err(Error::index(self.clone(), part.clone())),
        }
    }

    /// The items as one text. As in jq, null is no text, and a number or boolean is its JSON.
    pub fn join(&self, separator: &Self) -> Outcome {
        let Self::Array(array) = self else {
            return Err(Error::typ(self.clone(), "array"));
        };
        let separator = separator.as_text()?;
        let mut joined = String::new();
        for (at, item) in array.items().iter().enumerate() {
            if at > 0 {
                joined.push_str(separator);
            }
            match item {
                Self::Null => {}
                Self::Text(text) => joined.push_str(text),
                Self::Bool(_) | Self::Number(_) => joined.push_str(super::write::to_text(item).as_text()?),
                other => return Err(Error::typ(other.clone(), "string")),
            }
            if !meter::steps(1) || joined.len() > BYTES_MAX {
                // Text that long is refused, and the evaluation stopped.
                break;
            }
        }
        Ok(Self::text(joined))
    }

    /// Text without its beginning; anything else as it is, as in jq.
    pub fn without_prefix(self, prefix: &Self) -> Self {
        match (&self, prefix) {
            (Self::Text(text), Self::Text(prefix)) => text.strip_prefix(&**prefix).map(Self::text).unwrap_or(self),
            _ => self,
        }
    }

    /// The same for the end.
    pub fn without_suffix(self, suffix: &Self) -> Self {
        match (&self, suffix) {
            (Self::Text(text), Self::Text(suffix)) => text.strip_suffix(&**suffix).map(Self::text).unwrap_or(self),
            _ => self,
        }
    }
}

fn numbers(all: impl Iterator<Item = usize>) -> Value {
    all.map(|at| Value::Number(Number::Int(at as i64))).collect()
}

/// Overlapping ones too, in characters.
fn indices_of_text(whole: &Rc<str>, part: &str) -> Value {
    if part.is_empty() || !meter::copied(whole.len()) {
        return Value::array(Vec::new());
    }
    let mut counter = CharCounter::new(whole);
    let mut from = 0;
    let found = std::iter::from_fn(|| {
        if !meter::copied(part.len()) {
            return None;
        }
        let at = from + whole[from..].find(part)?;
        from = at + whole[at..].chars().next().map_or(1, char::len_utf8);
        Some(counter.chars_before(at))
    });
    numbers(found)
}
