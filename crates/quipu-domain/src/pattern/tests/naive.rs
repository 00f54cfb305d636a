//! The pattern language read off its description: a pattern and an event are trees of JSON, and every rule is the
//! shortest code that says it. Shares nothing with the parser of patterns, the reader of events or the automaton; may
//! take exponential time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::pattern::tree::Tree;

/// One value of an event: its path, its value, and the element it is in for each array around it.
struct Leaf {
    path: String,
    value: Tree,
    elements: BTreeMap<usize, usize>,
}

/// An event as the naive matcher sees it.
pub(crate) struct Document {
    leaves: Vec<Leaf>,
    is_cloud_event: bool,
}

impl Document {
    /// Reads a JSON object.
    pub(crate) fn read(event: &str) -> Document {
        let event = Tree::parse(event, 1_000).unwrap();
        let (mut leaves, mut arrays) = (Vec::new(), 0);
        flatten(&event, "", &BTreeMap::new(), &mut arrays, &mut leaves);
        let is_cloud_event = leaves.iter().any(|l| l.path == "specversion" && matches!(l.value, Tree::String(_)));
        Document { leaves, is_cloud_event }
    }

    /// Whether a valid pattern matches it.
    pub(crate) fn is_matched_by(&self, pattern: &Tree) -> bool {
        let mut branches = vec![BTreeMap::new()];
        expand(pattern, "", &mut branches);
        branches.iter().any(|branch| {
            let mut fields: Vec<(String, &Tree)> = branch
                .iter()
                .map(|(path, values)| (if self.is_cloud_event { renamed(path) } else { path.clone() }, *values))
                .collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            satisfied(&fields, &self.leaves, &BTreeMap::new())
        })
    }
}

/// A valid pattern.
pub(crate) fn read(pattern: &str) -> Tree {
    Tree::parse(pattern, 1_000).unwrap()
}

fn join(path: &str, name: &str, is_root: bool) -> String {
    if is_root { name.to_owned() } else { format!("{path}.{name}") }
}

fn renamed(path: &str) -> String {
    let mut names: Vec<&str> = path.split('.').collect();
    match names[0] {
        "detail" => names[0] = "data",
        "detail-type" => names[0] = "type",
        _ => {}
    }
    names.join(".")
}

fn flatten(tree: &Tree, path: &str, elements: &BTreeMap<usize, usize>, arrays: &mut usize, leaves: &mut Vec<Leaf>) {
    // A path in here begins with a dot, so that an empty name is one.
    match tree {
        Tree::Object(members) => {
            for (name, value) in members {
                flatten(value, &join(path, name, false), elements, arrays, leaves);
            }
        }
        Tree::Array(values) => {
            let array = *arrays;
            *arrays += 1;
            for (index, value) in values.iter().enumerate() {
                let mut inner = elements.clone();
                if matches!(value, Tree::Object(_) | Tree::Array(_)) {
                    inner.insert(array, index);
                }
                flatten(value, path, &inner, arrays, leaves);
            }
        }
        value => {
            let (path, value, elements) = (path[1..].to_owned(), value.clone(), elements.clone());
            leaves.push(Leaf { path, value, elements });
        }
    }
}

fn expand<'a>(pattern: &'a Tree, path: &str, branches: &mut Vec<BTreeMap<String, &'a Tree>>) {
    let Tree::Object(members) = pattern else { panic!("a valid pattern is an object") };
    for (name, value) in members {
        match value {
            Tree::Array(alternatives) if name == "$or" => {
                let before = std::mem::take(branches);
                for alternative in alternatives {
                    let mut own = before.clone();
                    expand(alternative, path, &mut own);
                    branches.append(&mut own);
                }
            }
            Tree::Array(_) => {
                for branch in branches.iter_mut() {
                    branch.insert(join(path, name, false)[1..].to_owned(), value);
                }
            }
            object => expand(object, &join(path, name, false), branches),
        }
    }
}

fn satisfied(fields: &[(String, &Tree)], leaves: &[Leaf], chosen: &BTreeMap<usize, usize>) -> bool {
    let Some(((path, values), rest)) = fields.split_first() else { return true };
    let Tree::Array(matchers) = values else { panic!("a valid field has a list") };
    let consistent =
        |leaf: &&Leaf| leaf.elements.iter().all(|(array, element)| chosen.get(array).unwrap_or(element) == element);
    let there: Vec<&Leaf> = leaves.iter().filter(|leaf| leaf.path == *path).filter(consistent).collect();
    let found = there.iter().filter(|leaf| matchers.iter().any(|matcher| accepts(matcher, &leaf.value))).any(|leaf| {
        let mut chosen = chosen.clone();
        chosen.extend(&leaf.elements);
        satisfied(rest, leaves, &chosen)
    });
    let absence = operator(matchers, "exists").any(|operand| *operand == Tree::Bool(false));
    found || absence && there.is_empty() && satisfied(rest, leaves, chosen)
}

fn operator<'a>(matchers: &'a [Tree], name: &'a str) -> impl Iterator<Item = &'a Tree> {
    matchers.iter().filter_map(move |matcher| match matcher {
        Tree::Object(members) if members[0].0 == name => Some(&members[0].1),
        _ => None,
    })
}

fn accepts(matcher: &Tree, value: &Tree) -> bool {
    match (matcher, value) {
        (Tree::Object(members), _) => applies(&members[0].0, &members[0].1, value),
        (Tree::String(wanted), Tree::String(text)) => match wanted.parse::<IpAddr>() {
            Ok(address) => text.parse() == Ok(address),
            Err(_) => wanted == text,
        },
        (Tree::Number(a), Tree::Number(b)) => same_number(a, b),
        (Tree::Bool(a), Tree::Bool(b)) => a == b,
        (Tree::Null, Tree::Null) => true,
        _ => false,
    }
}

fn applies(name: &str, operand: &Tree, value: &Tree) -> bool {
    match (name, operand, value) {
        ("exists", Tree::Bool(wanted), _) => *wanted,
        ("anything-but", Tree::Object(members), _) => {
            let (name, operand) = &members[0];
            !listed(operand).iter().any(|operand| applies(name, operand, value))
        }
        ("anything-but", _, _) => !listed(operand).iter().any(|excluded| match (excluded, value) {
            (Tree::String(a), Tree::String(b)) => a == b,
            (Tree::Number(a), Tree::Number(b)) => same_number(a, b),
            _ => false,
        }),
        ("prefix", Tree::String(prefix), Tree::String(text)) => text.starts_with(prefix.as_str()),
        ("suffix", Tree::String(suffix), Tree::String(text)) => text.ends_with(suffix.as_str()),
        ("prefix", Tree::Object(members), Tree::String(text)) => {
            boundaries(text).any(|end| same_ignoring_case(string(&members[0].1), &text[..end]))
        }
        ("suffix", Tree::Object(members), Tree::String(text)) => {
            boundaries(text).any(|start| same_ignoring_case(string(&members[0].1), &text[start..]))
        }
        ("equals-ignore-case", Tree::String(wanted), Tree::String(text)) => same_ignoring_case(wanted, text),
        ("wildcard", Tree::String(wildcard), Tree::String(text)) => wild(wildcard.as_bytes(), text.as_bytes()),
        ("cidr", Tree::String(network), Tree::String(text)) => in_network(network, text),
        ("numeric", Tree::Array(parts), Tree::Number(literal)) => {
            let Some(number) = decimal(literal).2 else { return false };
            parts.chunks(2).all(|pair| {
                let bound: f64 = number_text(&pair[1]).parse().unwrap();
                match string(&pair[0]) {
                    "=" => number == bound,
                    "<" => number < bound,
                    "<=" => number <= bound,
                    ">" => number > bound,
                    ">=" => number >= bound,
                    other => panic!("{other}"),
                }
            })
        }
        _ => false,
    }
}

fn listed(operand: &Tree) -> Vec<&Tree> {
    match operand {
        Tree::Array(all) => all.iter().collect(),
        one => vec![one],
    }
}

fn string(tree: &Tree) -> &str {
    match tree {
        Tree::String(text) => text,
        other => panic!("{other:?}"),
    }
}

fn number_text(tree: &Tree) -> &str {
    match tree {
        Tree::Number(text) => text,
        other => panic!("{other:?}"),
    }
}

fn boundaries(text: &str) -> impl Iterator<Item = usize> {
    (0..=text.len()).filter(|&at| text.is_char_boundary(at))
}

/// Each character of the wanted text in its lower or its upper case form.
fn same_ignoring_case(wanted: &str, text: &str) -> bool {
    let Some(first) = wanted.chars().next() else { return text.is_empty() };
    let rest = &wanted[first.len_utf8()..];
    let forms = [first.to_lowercase().to_string(), first.to_uppercase().to_string()];
    forms.iter().any(|form| text.strip_prefix(form.as_str()).is_some_and(|text| same_ignoring_case(rest, text)))
}

fn wild(wildcard: &[u8], text: &[u8]) -> bool {
    match wildcard {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|from| wild(rest, &text[from..])),
        [b'\\', escaped, rest @ ..] => text.first() == Some(escaped) && wild(rest, &text[1..]),
        [byte, rest @ ..] => text.first() == Some(byte) && wild(rest, &text[1..]),
    }
}

fn in_network(network: &str, text: &str) -> bool {
    let (base, bits) = network.split_once('/').unwrap();
    let binary = |address: IpAddr| match address {
        IpAddr::V4(v4) => format!("{:032b}", v4.to_bits()),
        IpAddr::V6(v6) => format!("{:0128b}", v6.to_bits()),
    };
    let (base, Ok(address)) = (binary(base.parse().unwrap()), text.parse().map(binary)) else { return false };
    let bits: usize = bits.parse().unwrap();
    base.len() == address.len() && base[..bits] == address[..bits]
}

fn same_number(a: &str, b: &str) -> bool {
    a == b || matches!((decimal(a).2, decimal(b).2), (Some(a), Some(b)) if a == b)
}

/// The digits and the power of ten of a literal, and its double if that prints as the same decimal.
fn decimal(literal: &str) -> (String, i64, Option<f64>) {
    let plain = |literal: &str| {
        let (mantissa, power) = literal.split_once(['e', 'E']).unwrap_or((literal, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let sign = if whole.starts_with('-') { "-" } else { "" };
        let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
        let power = power.parse::<i64>().unwrap_or(i64::MAX / 2) - fraction.len() as i64;
        let trimmed = digits.trim_start_matches('0').trim_end_matches('0');
        let power = power + (digits.len() - digits.trim_end_matches('0').len()) as i64;
        if trimmed.is_empty() { (String::new(), 0) } else { (format!("{sign}{trimmed}"), power) }
    };
    let (digits, power) = plain(literal);
    let double: f64 = literal.parse().unwrap();
    let exact = double.is_finite() && plain(&format!("{double:e}")) == (digits.clone(), power);
    (digits, power, exact.then_some(double))
}
