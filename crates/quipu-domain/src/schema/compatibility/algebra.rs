//! What the algebra of schemas is asked, and in which form: documents without references, small enough.
//!
//! The algebra is `jsonschema::canonical`, which is experimental. Its `yes` held in 46,000 random pairs against
//! millions of payloads; its `no` is not trusted here without a payload that shows it. It bounds its steps, not its
//! time: 200 fields of which one is narrower took 2 s and eight `if`s 1.5 s, so that [`is_small`] keeps such away.

use jsonschema::canonical::{CanonicalKind, CanonicalSchema, Containment, options};
use serde_json::{Map, Value, json};

use super::keyword::{Draft, Form, Place, is_schema, schemas_under};
use super::tree::{Tree, address};
use super::work::{Work, size};
use crate::schema::expression::{Expression, pattern_options};

/// Schemas and values in a document that is given to the algebra.
const NODES_MAX: usize = 2000;
/// Fields of one object in it.
const FIELDS_MAX: usize = 16;
/// Alternatives, multiplied where they are nested or beside each other.
const ALTERNATIVES_MAX: usize = 48;
/// What a question takes, in units of [`Work`]: by itself, for each value of the documents, for each pair of
/// alternatives, and for each place of a pattern.
const QUESTION: usize = 400;
const NODE: usize = 100;
const PAIR: usize = 100;
const PLACE: usize = 100;

/// Whether a document is one that the algebra answers for in milliseconds.
pub(crate) fn is_small(schema: &Value) -> bool {
    let mut nodes = 0;
    widest(schema, &mut nodes) <= FIELDS_MAX && nodes <= NODES_MAX && alternatives(schema) <= ALTERNATIVES_MAX
}

fn widest(value: &Value, nodes: &mut usize) -> usize {
    *nodes += 1;
    match value {
        Value::Object(map) => {
            let own = map.get("properties").and_then(Value::as_object).map_or(0, Map::len);
            map.values().map(|each| widest(each, nodes)).max().unwrap_or(0).max(own)
        }
        Value::Array(list) => list.iter().map(|each| widest(each, nodes)).max().unwrap_or(0),
        _ => 0,
    }
}

fn alternatives(schema: &Value) -> usize {
    let Value::Object(map) = schema else { return 1 };
    let mut product = 1_usize;
    for (keyword, value) in map {
        let of = |value: &Value| match value {
            Value::Array(list) => list.iter().map(alternatives).fold(0, usize::saturating_add),
            Value::Object(named) => named.values().map(alternatives).fold(1, usize::saturating_mul),
            _ => 1,
        };
        product = product.saturating_mul(match keyword.as_str() {
            "anyOf" | "oneOf" => of(value).max(1),
            "if" => alternatives(value).saturating_add(1),
            "not" | "then" | "else" | "contains" | "additionalProperties" => alternatives(value),
            "items" if value.is_object() => alternatives(value),
            "properties" | "patternProperties" | "dependentSchemas" => of(value),
            "allOf" | "prefixItems" => {
                let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
                list.iter().map(alternatives).fold(1, usize::saturating_mul)
            }
            _ => 1,
        });
    }
    product
}

/// Pays for a question about small documents, and reads them. The algebra cannot be interrupted, so this is what it
/// takes at most: each alternative of one side with each of the other, and the patterns as automata.
fn canonical<const N: usize>(schemas: [&Value; N], work: &Work) -> Result<[CanonicalSchema; N], String> {
    let nodes: usize = schemas.iter().map(|schema| size(schema)).sum();
    let alternatives = schemas.iter().map(|schema| alternatives(schema)).fold(1, usize::saturating_mul);
    let places: u64 = schemas.iter().map(|schema| places(schema)).fold(0, u64::saturating_add);
    let price = QUESTION.saturating_add(NODE * nodes).saturating_add(PAIR.saturating_mul(alternatives));
    if !work.take(price.saturating_add(PLACE.saturating_mul(places as usize))) {
        return Err("no work is left for it".to_owned());
    }
    let read = |schema: &Value| {
        let options = options().offline().should_validate_formats(true).with_pattern_options(pattern_options());
        options.canonicalize(schema).map_err(|error| error.to_string())
    };
    let read = schemas.map(read).into_iter().collect::<Result<Vec<_>, _>>()?;
    read.try_into().map_err(|_| "read as many as there are".to_owned())
}

/// Places in all patterns of a document.
fn places(schema: &Value) -> u64 {
    match schema {
        Value::Object(map) => {
            let own = map.get("pattern").and_then(Value::as_str).map_or(0, |pattern| Expression::of(pattern).places);
            let named = map.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
            let named = named.map(|pattern| Expression::of(pattern).places).fold(own, u64::saturating_add);
            map.values().map(places).fold(named, u64::saturating_add)
        }
        Value::Array(list) => list.iter().map(places).fold(0, u64::saturating_add),
        _ => 0,
    }
}

/// Whether one schema provably accepts whatever another does.
pub(crate) fn covers(reader: &Value, writer: &Value, work: &Work) -> Result<bool, String> {
    let [reader, writer] = canonical([reader, writer], work)?;
    Ok(reader.covers(&writer).map_err(|error| error.to_string())? == Containment::Yes)
}

/// Whether a schema provably accepts nothing.
pub(crate) fn is_empty(schema: &Value, work: &Work) -> Result<bool, String> {
    let [schema] = canonical([schema], work)?;
    Ok(schema.kind() == CanonicalKind::False)
}

/// What one schema accepts and another does not, as a schema.
pub(crate) fn difference(writer: &Value, reader: &Value, work: &Work) -> Option<Value> {
    let [writer, reader] = canonical([writer, reader], work).ok()?;
    writer.subtract(&reader).ok().map(|difference| difference.to_json_schema())
}

/// Which side a document is for, and so in which direction a recursion may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// May accept more: a writer.
    Wider,
    /// May accept less: a reader.
    Narrower,
    /// Must be exact.
    Never,
}

impl Cut {
    fn denied(self) -> Cut {
        match self {
            Cut::Wider => Cut::Narrower,
            Cut::Narrower => Cut::Wider,
            Cut::Never => Cut::Never,
        }
    }
}

/// The keywords of a schema that are asked for, as a document of its own: references replaced by what they name.
/// Nothing if it grows too large, or is recursive where it must be exact.
pub(crate) fn standalone<'a>(
    tree: &Tree<'a>,
    schema: &'a Value,
    cut: Cut,
    keep: &dyn Fn(&str) -> bool,
) -> Option<Value> {
    let mut budget = NODES_MAX;
    inline(tree, schema, cut, keep, &mut Vec::new(), &mut budget)
}

fn inline<'a>(
    tree: &Tree<'a>,
    schema: &'a Value,
    cut: Cut,
    keep: &dyn Fn(&str) -> bool,
    above: &mut Vec<usize>,
    budget: &mut usize,
) -> Option<Value> {
    *budget = budget.checked_sub(1)?;
    if !tree.work.take(4) {
        return None;
    }
    let Value::Object(map) = schema else { return Some(schema.clone()) };
    if above.contains(&address(schema)) {
        return match cut {
            Cut::Wider => Some(json!(true)),
            Cut::Narrower => Some(json!(false)),
            Cut::Never => None,
        };
    }
    above.push(address(schema));
    let all = |_: &str| true;
    let mut out = Map::new();
    let mut also = Vec::new();
    if let Some(target) = tree.target(map).filter(|_| keep("$ref")) {
        also.push(inline(tree, target, cut, &all, above, budget)?);
    }
    for (keyword, value) in map.iter().filter(|(keyword, _)| keep(keyword) && !tree.refers_only(map)) {
        match schemas_under(keyword, value, tree.draft) {
            Some((Place::Definition, _)) => {}
            Some((place, form)) => {
                let cut = match keyword.as_str() {
                    "oneOf" | "if" | "contains" | "unevaluatedItems" | "unevaluatedProperties" => Cut::Never,
                    _ if place == Place::Denied => cut.denied(),
                    _ => cut,
                };
                let mut each = |value: &'a Value| {
                    if is_schema(value) { inline(tree, value, cut, &all, above, budget) } else { Some(value.clone()) }
                };
                let inlined: Value = match (form, value) {
                    (Form::Many, Value::Array(list)) => list.iter().map(each).collect::<Option<Vec<_>>>()?.into(),
                    (Form::Named, Value::Object(named)) => {
                        let named = named.iter().map(|(name, value)| Some((name.clone(), each(value)?)));
                        named.collect::<Option<Map<_, _>>>()?.into()
                    }
                    _ => each(value)?,
                };
                out.insert(keyword.clone(), inlined);
            }
            None if keyword.starts_with('$') => {}
            None if matches!(keyword.as_str(), "title" | "description" | "default" | "examples") => {}
            None => {
                if !tree.work.take(2 * size(value)) {
                    return None;
                }
                out.insert(keyword.clone(), value.clone());
            }
        }
    }
    above.pop();
    if let Some(Value::Array(list)) = out.remove("allOf") {
        also.extend(list);
    }
    if !also.is_empty() {
        out.insert("allOf".to_owned(), also.into());
    }
    Some(out.into())
}

/// A document in which several schemas hold.
pub(crate) fn all_of(draft: Draft, schemas: Vec<Value>) -> Value {
    let uri = match draft {
        Draft::Seven => "http://json-schema.org/draft-07/schema#",
        Draft::TwentyTwelve => "https://json-schema.org/draft/2020-12/schema",
    };
    // An empty `allOf` is not a valid schema.
    let schemas = if schemas.is_empty() { vec![json!(true)] } else { schemas };
    json!({ "$schema": uri, "allOf": schemas })
}
