//! What else the evaluator and its library ask of a value: to be made from plain things, and to be seen as one.

use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use super::meter;
use super::number::Number;
use super::value::{Array, Value};

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<isize> for Value {
    fn from(value: isize) -> Self {
        Self::Number(Number::Int(value as i64))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Number(i64::try_from(value).map_or_else(|_| Number::float(value as f64), Number::Int))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(Number::float(value))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::text(value)
    }
}

impl From<Range<Option<Value>>> for Value {
    fn from(range: Range<Option<Value>>) -> Self {
        let bounds = [("start", range.start), ("end", range.end)];
        Self::object(bounds.into_iter().filter_map(|(name, bound)| Some((Rc::from(name), bound?))).collect())
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        let mut collected = Vec::new();
        let mut size = super::value::Size::default();
        for item in items {
            size.add(item.size());
            collected.push(item);
            // One that is too large is not collected to its end.
            if !meter::steps(1) || !size.fits() {
                return Self::Null;
            }
        }
        Self::array(collected)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::write::to_excerpt(self))
    }
}

impl jaq_std::ValT for Value {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match self {
            Self::Array(array) => match Array::into_items(array) {
                Ok(items) => Ok(items.into_iter().collect()),
                // It was stopped: whatever is made of nothing is thrown away.
                Err(_) => Ok(S::from_iter([])),
            },
            other => Err(other),
        }
    }

    fn is_int(&self) -> bool {
        matches!(self, Self::Number(number) if number.is_int())
    }

    fn as_isize(&self) -> Option<isize> {
        match self {
            Self::Number(Number::Int(int)) => isize::try_from(*int).ok(),
            _ => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number.as_f64()),
            _ => None,
        }
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => {
                meter::read(text.len());
                Some(text.as_bytes())
            }
            _ => None,
        }
    }

    fn as_sub_str(&self, part: &[u8]) -> Self {
        Self::text(String::from_utf8_lossy(part))
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::text(String::from_utf8_lossy(bytes.as_ref()))
    }
}
