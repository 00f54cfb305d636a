//! The operators of jq on values: `+ - * / %`, order and equality. Each counts what it copies or compares.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use jaq_core::ops::Math;

use super::meter::{self, Stop};
use super::object::Object;
use super::value::{Array, BYTES_MAX, Error, Outcome, Value, stopped};

impl Add for Value {
    type Output = Outcome;

    fn add(self, other: Self) -> Outcome {
        if !meter::steps(1) {
            return Err(stopped());
        }
        match (self, other) {
            (Self::Null, value) | (value, Self::Null) => Ok(value),
            (Self::Number(a), Self::Number(b)) => Ok(Self::Number(a.add(&b))),
            (Self::Text(a), Self::Text(b)) => concat(&[&a, &b]),
            (Self::Array(a), Self::Array(b)) => Array::extend(a, b.items()),
            (Self::Object(a), Self::Object(b)) => Object::merged(a, b),
            (a, b) => Err(Error::math(a, Math::Add, b)),
        }
    }
}

impl Sub for Value {
    type Output = Outcome;

    fn sub(self, other: Self) -> Outcome {
        if !meter::steps(1) {
            return Err(stopped());
        }
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Ok(Self::Number(a.sub(&b))),
            (Self::Array(a), Self::Array(b)) => {
                let without: BTreeSet<&Value> = b.items().iter().collect();
                Ok(Self::array(a.items().iter().filter(|item| !without.contains(item)).cloned().collect()))
            }
            (a, b) => Err(Error::math(a, Math::Sub, b)),
        }
    }
}

impl Mul for Value {
    type Output = Outcome;

    fn mul(self, other: Self) -> Outcome {
        if !meter::steps(1) {
            return Err(stopped());
        }
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Ok(Self::Number(a.mul(&b))),
            (Self::Text(text), Self::Number(count)) | (Self::Number(count), Self::Text(text)) => {
                repeat(&text, count.as_f64())
            }
            (Self::Object(a), Self::Object(b)) => Object::merged_deeply(a, b),
            (a, b) => Err(Error::math(a, Math::Mul, b)),
        }
    }
}

impl Div for Value {
    type Output = Outcome;

    fn div(self, other: Self) -> Outcome {
        if !meter::steps(1) {
            return Err(stopped());
        }
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => {
                let by_zero = || Error::str("the divisor is zero");
                a.div(&b).map(Self::Number).ok_or_else(by_zero)
            }
            (Self::Text(text), Self::Text(separator)) => split(&text, &separator),
            (a, b) => Err(Error::math(a, Math::Div, b)),
        }
    }
}

impl Rem for Value {
    type Output = Outcome;

    fn rem(self, other: Self) -> Outcome {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => {
                a.rem(&b).map(Self::Number).ok_or_else(|| Error::str("the divisor is zero"))
            }
            (a, b) => Err(Error::math(a, Math::Rem, b)),
        }
    }
}

impl Neg for Value {
    type Output = Outcome;

    fn neg(self) -> Outcome {
        match self {
            Self::Number(number) => Ok(Self::Number(number.neg())),
            other => Err(Error::typ(other, "number")),
        }
    }
}

fn concat(parts: &[&str]) -> Outcome {
    let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
    if bytes > BYTES_MAX {
        meter::stop(Stop::Bytes);
        return Err(stopped());
    }
    Ok(Value::text(parts.concat()))
}

/// Nothing for a count that is not positive, as in jq.
fn repeat(text: &str, count: f64) -> Outcome {
    if count.is_nan() || count <= 0.0 {
        return Ok(Value::Null);
    }
    // A part of a repetition counts as a whole one.
    let count = count.ceil().min(usize::MAX as f64) as usize;
    match text.len().checked_mul(count) {
        Some(bytes) if bytes <= BYTES_MAX => Ok(Value::text(text.repeat(count))),
        _ => {
            meter::stop(Stop::Bytes);
            Err(stopped())
        }
    }
}

fn split(text: &str, separator: &str) -> Outcome {
    if !meter::copied(text.len()) {
        return Err(stopped());
    }
    Ok(Value::array(match separator {
        _ if text.is_empty() => Vec::new(),
        "" => text.chars().map(|c| Value::text(c.to_string())).collect(),
        _ => text.split(separator).map(Value::text).collect(),
    }))
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        // Counted, but not refused: an order must be one. What is compared is of limited size, and the next step stops.
        meter::steps(1);
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => {
                meter::read(a.len().min(b.len()));
                a.cmp(b)
            }
            (Self::Array(a), Self::Array(b)) if Rc::ptr_eq(a, b) => Ordering::Equal,
            (Self::Object(a), Self::Object(b)) if Rc::ptr_eq(a, b) => Ordering::Equal,
            (Self::Array(a), Self::Array(b)) => a.items().cmp(b.items()),
            (Self::Object(a), Self::Object(b)) => {
                let (a, b) = (a.sorted(), b.sorted());
                let names = a.iter().map(|(name, _)| name).cmp(b.iter().map(|(name, _)| name));
                names.then_with(|| a.iter().map(|(_, value)| value).cmp(b.iter().map(|(_, value)| value)))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl Value {
    /// The order of the types.
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
            Self::Array(_) => 4,
            Self::Object(_) => 5,
        }
    }
}
