//! Numbers: integers, floats, and literals as they were written, which keep their text until somebody calculates.

use std::cmp::Ordering;
use std::rc::Rc;

/// A JSON number, or what calculating leads to.
#[derive(Clone, Debug)]
pub(super) enum Number {
    /// Exact.
    Int(i64),
    /// What was calculated. Never a whole number that `Int` holds exactly, except for −0.
    Float(f64),
    /// A JSON literal that is no integer of 64 bits, such as `1.10` or `1e400`, and its value.
    Literal(Rc<str>, f64),
}

/// Largest integer up to which every float that is whole is exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// 2^63, the first float beyond the integers.
const INT_END: f64 = 9_223_372_036_854_775_808.0;
/// A float takes up to 24 characters.
const BYTES: usize = 8;

impl Number {
    /// A literal of JSON or of jq.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(int) = text.parse() {
            return Some(Self::Int(int));
        }
        let float = text.parse::<f64>().ok()?;
        // jq allows leading zeros, JSON does not.
        let is_json = !(text.starts_with('0') && text[1..].starts_with(|c: char| c.is_ascii_digit()));
        Some(if is_json { Self::Literal(text.into(), float) } else { Self::float(float) })
    }

    /// What was calculated.
    pub fn float(float: f64) -> Self {
        let is_exact =
            float.trunc() == float && float.abs() <= EXACT_MAX && !(float == 0.0 && float.is_sign_negative());
        if is_exact { Self::Int(float as i64) } else { Self::Float(float) }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Int(_) | Self::Float(_) => BYTES,
            Self::Literal(text, _) => text.len(),
        }
    }

    pub fn as_f64(&self) -> f64 {
        match self {
            Self::Int(int) => *int as f64,
            Self::Float(float) | Self::Literal(_, float) => *float,
        }
    }

    /// A whole number, for indices and counts; cut off towards minus infinity, as jq does.
    pub fn as_index(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Float(float) | Self::Literal(_, float) => (!float.is_nan()).then_some(float.floor() as i64),
        }
    }

    pub fn is_int(&self) -> bool {
        matches!(self, Self::Int(_))
    }

    pub fn add(&self, other: &Self) -> Self {
        self.calculate(other, i64::checked_add, |a, b| a + b)
    }

    pub fn sub(&self, other: &Self) -> Self {
        self.calculate(other, i64::checked_sub, |a, b| a - b)
    }

    pub fn mul(&self, other: &Self) -> Self {
        self.calculate(other, i64::checked_mul, |a, b| a * b)
    }

    /// Nothing for a divisor of zero.
    pub fn div(&self, other: &Self) -> Option<Self> {
        let exact = |a: i64, b: i64| if a.checked_rem(b) == Some(0) { a.checked_div(b) } else { None };
        (other.as_f64() != 0.0).then(|| self.calculate(other, exact, |a, b| a / b))
    }

    /// The remainder of what is before the point; nothing for a divisor that has nothing there.
    pub fn rem(&self, other: &Self) -> Option<Self> {
        if self.as_f64().is_nan() || other.as_f64().is_nan() {
            return Some(Self::Float(f64::NAN));
        }
        let whole = |number: &Self| match number {
            Self::Int(int) => *int,
            _ => number.as_f64() as i64,
        };
        match whole(other) {
            0 => None,
            // Only the smallest integer and −1 have no quotient, and their remainder is 0.
            divisor => Some(Self::Int(whole(self).checked_rem(divisor).unwrap_or(0))),
        }
    }

    pub fn neg(&self) -> Self {
        match self {
            Self::Int(int) => int.checked_neg().map_or_else(|| Self::Float(-(*int as f64)), Self::Int),
            Self::Float(float) => Self::float(-float),
            Self::Literal(text, float) => match text.strip_prefix('-') {
                Some(positive) => Self::Literal(positive.into(), -float),
                None => Self::Literal(format!("-{text}").into(), -float),
            },
        }
    }

    fn calculate(&self, other: &Self, int: fn(i64, i64) -> Option<i64>, float: fn(f64, f64) -> f64) -> Self {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(exact) = int(*a, *b)
        {
            return Self::Int(exact);
        }
        Self::float(float(self.as_f64(), other.as_f64()))
    }

    /// A total order, since sorting rests on it: NaN before all others and equal to itself, −0 equal to 0, integers and
    /// floats compared exactly.
    pub fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Int(a), _) => cmp_int(*a, other.as_f64()),
            (_, Self::Int(b)) => cmp_int(*b, self.as_f64()).reverse(),
            _ => {
                let (a, b) = (self.as_f64(), other.as_f64());
                a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
            }
        }
    }
}

fn cmp_int(int: i64, float: f64) -> Ordering {
    match float {
        _ if float.is_nan() || float < -INT_END => Ordering::Greater,
        _ if float >= INT_END => Ordering::Less,
        _ => {
            int.cmp(&(float.floor() as i64)).then(if float.floor() < float { Ordering::Less } else { Ordering::Equal })
        }
    }
}
