//! What a field of a pattern may ask of a value: one matcher for each alternative of its list. Checked when it is
//! made; [`Matcher::accepts`] is the one place where a value is held against one.

use std::fmt;
use std::net::IpAddr;

use super::address::{Network, address};
use super::value::{Kind, Value};
use super::wildcard::Wildcard;
use super::{fold, number};

/// One alternative.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Matcher {
    /// A string.
    Text(String),
    /// A string that is an address: any spelling of it.
    Address(String, IpAddr),
    /// A number literal.
    Number(Number),
    /// `true`, `false` or `null`.
    Constant(Kind),
    Prefix(String),
    Suffix(String),
    EqualsIgnoreCase(String),
    PrefixIgnoreCase(String),
    SuffixIgnoreCase(String),
    Wildcard(Wildcard),
    Cidr(String, Network),
    Numeric(Range),
    AnythingBut(Excluded),
    /// `exists: true`: any value.
    Present,
    /// `exists: false`: no value; looked at where the field's values are gathered.
    Absent,
}

/// A number literal and the double that it exactly is, if it is one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    pub(crate) literal: String,
    pub(crate) exact: Option<f64>,
}

/// A range of doubles, the bounds as they were written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Range {
    /// `numeric`'s list as JSON.
    pub(crate) text: String,
    /// The least and the greatest double inside, as [`number::ordered`].
    pub(crate) low: u64,
    pub(crate) high: u64,
}

/// What `anything-but` excludes. Texts are sorted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Excluded {
    Texts(Vec<String>),
    Numbers(Vec<Number>),
    Prefixes(Vec<String>),
    Suffixes(Vec<String>),
    IgnoringCase(Vec<String>),
    Wildcards(Vec<Wildcard>),
}

impl Number {
    pub(crate) fn new(literal: &str) -> Number {
        Number { literal: literal.to_owned(), exact: number::exact(literal.as_bytes()) }
    }

    fn accepts(&self, literal: &[u8]) -> bool {
        self.literal.as_bytes() == literal || self.exact.is_some_and(|double| number::exact(literal) == Some(double))
    }
}

impl Matcher {
    /// The matcher that a plain string is.
    pub(crate) fn text(text: String) -> Matcher {
        match address(text.as_bytes()) {
            Some(address) => Matcher::Address(text, address),
            None => Matcher::Text(text),
        }
    }

    /// Whether a value is one of those that it asks for.
    pub(crate) fn accepts(&self, value: Value<'_>) -> bool {
        let text = value.text;
        match self {
            Matcher::Present => return true,
            Matcher::Absent => return false,
            Matcher::Constant(kind) => return value.kind == *kind,
            Matcher::AnythingBut(excluded) => return !excluded.holds(value),
            _ => {}
        }
        match (value.kind, self) {
            (Kind::Number, Matcher::Number(number)) => number.accepts(text),
            (Kind::Number, Matcher::Numeric(range)) => {
                number::exact(text).is_some_and(|double| (range.low..=range.high).contains(&number::ordered(double)))
            }
            (Kind::String, Matcher::Text(wanted)) => text == wanted.as_bytes(),
            (Kind::String, Matcher::Address(_, wanted)) => address(text) == Some(*wanted),
            (Kind::String, Matcher::Prefix(prefix)) => text.starts_with(prefix.as_bytes()),
            (Kind::String, Matcher::Suffix(suffix)) => text.ends_with(suffix.as_bytes()),
            (Kind::String, Matcher::EqualsIgnoreCase(wanted)) => fold::prefix_bytes(wanted, text) == Some(text.len()),
            (Kind::String, Matcher::PrefixIgnoreCase(prefix)) => fold::prefix_bytes(prefix, text).is_some(),
            (Kind::String, Matcher::SuffixIgnoreCase(suffix)) => fold::is_suffix(suffix, text),
            (Kind::String, Matcher::Wildcard(wildcard)) => wildcard.accepts(text),
            (Kind::String, Matcher::Cidr(_, network)) => address(text).is_some_and(|a| network.contains(a)),
            _ => false,
        }
    }

    /// How many of its texts each string may have to be held against, since no order of the strings answers for them.
    pub(crate) fn searches(&self) -> usize {
        match self {
            Matcher::EqualsIgnoreCase(text) | Matcher::PrefixIgnoreCase(text) | Matcher::SuffixIgnoreCase(text) => {
                usize::from(!text.is_ascii())
            }
            Matcher::Wildcard(wildcard) => usize::from(wildcard.is_searched()),
            // A string must be outside of all, and no one order has the stretches of all.
            Matcher::AnythingBut(Excluded::Wildcards(all)) => all.len(),
            Matcher::AnythingBut(Excluded::IgnoringCase(all)) if !all.iter().all(|text| text.is_ascii()) => all.len(),
            _ => 0,
        }
    }

    /// How many values it counts for against the limits.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Matcher::AnythingBut(excluded) => excluded.len(),
            _ => 1,
        }
    }
}

impl Excluded {
    fn holds(&self, value: Value<'_>) -> bool {
        let text = value.text;
        match (value.kind, self) {
            (Kind::Number, Excluded::Numbers(numbers)) => numbers.iter().any(|number| number.accepts(text)),
            (Kind::String, Excluded::Texts(texts)) => texts.binary_search_by(|t| t.as_bytes().cmp(text)).is_ok(),
            (Kind::String, Excluded::Prefixes(all)) => all.iter().any(|prefix| text.starts_with(prefix.as_bytes())),
            (Kind::String, Excluded::Suffixes(all)) => all.iter().any(|suffix| text.ends_with(suffix.as_bytes())),
            (Kind::String, Excluded::IgnoringCase(all)) => {
                all.iter().any(|wanted| fold::prefix_bytes(wanted, text) == Some(text.len()))
            }
            (Kind::String, Excluded::Wildcards(all)) => all.iter().any(|wildcard| wildcard.accepts(text)),
            _ => false,
        }
    }

    fn len(&self) -> usize {
        match self {
            Excluded::Numbers(numbers) => numbers.len(),
            Excluded::Wildcards(wildcards) => wildcards.len(),
            Excluded::Texts(all) | Excluded::Prefixes(all) | Excluded::Suffixes(all) | Excluded::IgnoringCase(all) => {
                all.len()
            }
        }
    }
}

impl fmt::Display for Matcher {
    /// As it stands in a pattern.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = |text: &str| serde_json::Value::from(text);
        match self {
            Matcher::Text(text) | Matcher::Address(text, _) => write!(f, "{}", json(text)),
            Matcher::Number(number) => f.write_str(&number.literal),
            Matcher::Constant(Kind::True) => f.write_str("true"),
            Matcher::Constant(Kind::False) => f.write_str("false"),
            Matcher::Constant(_) => f.write_str("null"),
            Matcher::Prefix(text) => write!(f, "{{\"prefix\":{}}}", json(text)),
            Matcher::Suffix(text) => write!(f, "{{\"suffix\":{}}}", json(text)),
            Matcher::EqualsIgnoreCase(text) => write!(f, "{{\"equals-ignore-case\":{}}}", json(text)),
            Matcher::PrefixIgnoreCase(text) => write!(f, "{{\"prefix\":{{\"equals-ignore-case\":{}}}}}", json(text)),
            Matcher::SuffixIgnoreCase(text) => write!(f, "{{\"suffix\":{{\"equals-ignore-case\":{}}}}}", json(text)),
            Matcher::Wildcard(wildcard) => write!(f, "{{\"wildcard\":{}}}", json(&wildcard.text)),
            Matcher::Cidr(text, _) => write!(f, "{{\"cidr\":{}}}", json(text)),
            Matcher::Numeric(range) => write!(f, "{{\"numeric\":{}}}", range.text),
            Matcher::AnythingBut(excluded) => write!(f, "{{\"anything-but\":{excluded}}}"),
            Matcher::Present => f.write_str("{\"exists\":true}"),
            Matcher::Absent => f.write_str("{\"exists\":false}"),
        }
    }
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |texts: &[String]| serde_json::Value::from(texts.to_vec());
        match self {
            Excluded::Texts(texts) => write!(f, "{}", list(texts)),
            Excluded::Numbers(numbers) => {
                let literals: Vec<&str> = numbers.iter().map(|number| number.literal.as_str()).collect();
                write!(f, "[{}]", literals.join(","))
            }
            Excluded::Prefixes(texts) => write!(f, "{{\"prefix\":{}}}", list(texts)),
            Excluded::Suffixes(texts) => write!(f, "{{\"suffix\":{}}}", list(texts)),
            Excluded::IgnoringCase(texts) => write!(f, "{{\"equals-ignore-case\":{}}}", list(texts)),
            Excluded::Wildcards(all) => {
                let texts: Vec<String> = all.iter().map(|wildcard| wildcard.text.clone()).collect();
                write!(f, "{{\"wildcard\":{}}}", list(&texts))
            }
        }
    }
}
