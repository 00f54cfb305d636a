//! Reads one value of a field's list: a literal or an operator such as `{"prefix": "a"}`.

use super::address::Network;
use super::invalid::{InvalidPattern, Place};
use super::matcher::{Excluded, Matcher, Number, Range};
use super::number::ordered;
use super::tree::Tree;
use super::value::Kind;
use super::wildcard::Wildcard;

/// The operators, which are also the names that no field inside of `$or` may have.
pub(crate) const OPERATORS: [&str; 8] =
    ["anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard"];

const ONE_OPERATOR: &str = "an object with one operator such as {\"prefix\": \"a\"}";

pub(crate) fn matcher(place: Place<'_>, tree: &Tree) -> Result<Matcher, InvalidPattern> {
    Ok(match tree {
        Tree::String(text) => Matcher::text(text.clone()),
        Tree::Number(literal) => Matcher::Number(Number::new(literal)),
        Tree::Bool(true) => Matcher::Constant(Kind::True),
        Tree::Bool(false) => Matcher::Constant(Kind::False),
        Tree::Null => Matcher::Constant(Kind::Null),
        Tree::Object(members) => {
            let (name, operand) = only_member(place, members, ONE_OPERATOR)?;
            return operator(Place::Name(&place, name), name, operand);
        }
        Tree::Array(_) => return Err(place.refuse("a string, a number, true, false, null or an operator", tree.kind())),
    })
}

fn only_member<'a>(
    place: Place<'_>,
    members: &'a [(String, Tree)],
    expected: &str,
) -> Result<(&'a str, &'a Tree), InvalidPattern> {
    match members {
        [(name, operand)] => Ok((name, operand)),
        [] => Err(place.refuse(expected, "an empty object")),
        more => Err(place.refuse(expected, format!("{} names", more.len()))),
    }
}

fn operator(place: Place<'_>, name: &str, operand: &Tree) -> Result<Matcher, InvalidPattern> {
    Ok(match name {
        "prefix" | "suffix" => return affix(place, name, operand),
        "equals-ignore-case" => Matcher::EqualsIgnoreCase(string(place, operand)?.to_owned()),
        "wildcard" => Matcher::Wildcard(wildcard(place, operand)?),
        "cidr" => {
            let text = string(place, operand)?;
            Matcher::Cidr(text.to_owned(), Network::parse(text).map_err(|e| place.refuse(e, operand.kind()))?)
        }
        "exists" => match operand {
            Tree::Bool(true) => Matcher::Present,
            Tree::Bool(false) => Matcher::Absent,
            other => return Err(place.refuse("true or false", other.kind())),
        },
        "numeric" => Matcher::Numeric(range(place, operand)?),
        "anything-but" => Matcher::AnythingBut(excluded(place, operand)?),
        unknown => {
            return Err(place.refuse(format!("one of {}", OPERATORS.join(", ")), format!("the operator {unknown:?}")));
        }
    })
}

fn string<'a>(place: Place<'_>, tree: &'a Tree) -> Result<&'a str, InvalidPattern> {
    match tree {
        Tree::String(text) => Ok(text),
        other => Err(place.refuse("a string", other.kind())),
    }
}

fn wildcard(place: Place<'_>, tree: &Tree) -> Result<Wildcard, InvalidPattern> {
    Wildcard::parse(string(place, tree)?).map_err(|expected| place.refuse(expected, tree.kind()))
}

/// `{"prefix": "a"}` or `{"prefix": {"equals-ignore-case": "a"}}`, and the same of `suffix`.
fn affix(place: Place<'_>, name: &str, operand: &Tree) -> Result<Matcher, InvalidPattern> {
    if let Tree::Object(members) = operand {
        const INNER: &str = "a string or {\"equals-ignore-case\": string}";
        let (inner, text) = only_member(place, members, INNER)?;
        let inner_place = Place::Name(&place, inner);
        if inner != "equals-ignore-case" {
            return Err(inner_place.refuse("equals-ignore-case", format!("the operator {inner:?}")));
        }
        let text = string(inner_place, text)?.to_owned();
        return Ok(if name == "prefix" { Matcher::PrefixIgnoreCase(text) } else { Matcher::SuffixIgnoreCase(text) });
    }
    let text = string(place, operand)?.to_owned();
    Ok(if name == "prefix" { Matcher::Prefix(text) } else { Matcher::Suffix(text) })
}

const RANGE: &str =
    "[\"=\", n], [\"<\" or \"<=\", high], [\">\" or \">=\", low] or [\">\" or \">=\", low, \"<\" or \"<=\", high]";

fn range(place: Place<'_>, operand: &Tree) -> Result<Range, InvalidPattern> {
    let Tree::Array(parts) = operand else { return Err(place.refuse(RANGE, operand.kind())) };
    let (mut low, mut high) = (ordered(f64::MIN), ordered(f64::MAX));
    let mut text = Vec::new();
    if !matches!(parts.len(), 2 | 4) {
        return Err(place.refuse(RANGE, format!("a list of {} elements", parts.len())));
    }
    for (index, pair) in parts.chunks(2).enumerate() {
        let name = string(Place::Index(&place, 2 * index), &pair[0])?;
        let (literal, bound) = bound(Place::Index(&place, 2 * index + 1), &pair[1])?;
        text.push(format!("\"{name}\",{literal}"));
        match (name, index, parts.len()) {
            ("=", 0, 2) => (low, high) = (bound, bound),
            // There is an integer on either side, since no finite double is the first or last.
            (">", 0, _) => low = bound + 1,
            (">=", 0, _) => low = bound,
            ("<", 0, 2) | ("<", 1, _) => high = bound - 1,
            ("<=", 0, 2) | ("<=", 1, _) => high = bound,
            _ => return Err(Place::Index(&place, 2 * index).refuse(RANGE, pair[0].kind())),
        }
        if index == 1 && ordered_bound(&parts[1]) >= Some(bound) {
            return Err(place.refuse("a low bound below the high one", format!("[{}]", text.join(","))));
        }
    }
    Ok(Range { text: format!("[{}]", text.join(",")), low, high })
}

fn ordered_bound(tree: &Tree) -> Option<u64> {
    match tree {
        Tree::Number(literal) => Number::new(literal).exact.map(ordered),
        _ => None,
    }
}

fn bound<'a>(place: Place<'_>, tree: &'a Tree) -> Result<(&'a str, u64), InvalidPattern> {
    let Tree::Number(literal) = tree else { return Err(place.refuse("a number", tree.kind())) };
    match ordered_bound(tree) {
        Some(bound) => Ok((literal, bound)),
        None => Err(place.refuse("a number that a double holds exactly", tree.kind())),
    }
}

fn excluded(place: Place<'_>, operand: &Tree) -> Result<Excluded, InvalidPattern> {
    const SHAPE: &str = "a string, a number, a list of strings, a list of numbers, or one of \
                         equals-ignore-case, prefix, suffix, wildcard";
    match operand {
        Tree::String(text) => Ok(Excluded::Texts(vec![text.clone()])),
        Tree::Number(literal) => Ok(Excluded::Numbers(vec![Number::new(literal)])),
        Tree::Array(elements) => match elements.first() {
            Some(Tree::String(_)) => {
                let mut texts = strings(place, elements)?;
                texts.sort_unstable();
                Ok(Excluded::Texts(texts))
            }
            Some(Tree::Number(_)) => numbers(place, elements).map(Excluded::Numbers),
            Some(other) => Err(Place::Index(&place, 0).refuse("a string or a number", other.kind())),
            None => Err(place.refuse(SHAPE, "an empty list")),
        },
        Tree::Object(members) => {
            let (name, operand) = only_member(place, members, SHAPE)?;
            excluded_by(Place::Name(&place, name), name, operand)
        }
        other => Err(place.refuse(SHAPE, other.kind())),
    }
}

fn excluded_by(place: Place<'_>, name: &str, operand: &Tree) -> Result<Excluded, InvalidPattern> {
    const NAMES: &str = "one of equals-ignore-case, prefix, suffix, wildcard";
    if !matches!(name, "equals-ignore-case" | "prefix" | "suffix" | "wildcard") {
        return Err(place.refuse(NAMES, format!("the operator {name:?}")));
    }
    let texts = match operand {
        Tree::String(text) => vec![text.clone()],
        Tree::Array(elements) if !elements.is_empty() => strings(place, elements)?,
        Tree::Array(_) => return Err(place.refuse("a string or a list of strings", "an empty list")),
        other => return Err(place.refuse("a string or a list of strings", other.kind())),
    };
    if matches!(name, "prefix" | "suffix") && texts.iter().any(String::is_empty) {
        return Err(place.refuse("strings that are not empty", "an empty string"));
    }
    Ok(match name {
        "prefix" => Excluded::Prefixes(texts),
        "suffix" => Excluded::Suffixes(texts),
        "equals-ignore-case" => Excluded::IgnoringCase(texts),
        _ => {
            Excluded::Wildcards(texts.into_iter().map(|t| wildcard(place, &Tree::String(t))).collect::<Result<_, _>>()?)
        }
    })
}

fn strings(place: Place<'_>, elements: &[Tree]) -> Result<Vec<String>, InvalidPattern> {
    let each = |(index, element): (usize, &Tree)| match element {
        Tree::String(text) => Ok(text.clone()),
        other => Err(Place::Index(&place, index).refuse("a string, as the others of the list", Tree::kind(other))),
    };
    elements.iter().enumerate().map(each).collect()
}

fn numbers(place: Place<'_>, elements: &[Tree]) -> Result<Vec<Number>, InvalidPattern> {
    let each = |(index, element): (usize, &Tree)| match element {
        Tree::Number(literal) => Ok(Number::new(literal)),
        other => Err(Place::Index(&place, index).refuse("a number, as the others of the list", Tree::kind(other))),
    };
    elements.iter().enumerate().map(each).collect()
}
