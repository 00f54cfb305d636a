//! What a producer of a schema writes: what the schema accepts, with only the fields that it declares.
//!
//! The rule is asked of a whole place, over all its alternatives, and not of each branch of an `anyOf`: a payload
//! that mixes the fields of two branches is one that a producer writes.

use serde_json::{Map, Value, json};

use super::keyword::Draft;
use super::tree::{Located, Tree, address};

/// Whether every object in a value has only fields that are declared for it.
pub(crate) fn declares_all<'a>(tree: &Tree<'a>, at: &Located<'a>, value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            let declared = tree.declared(at);
            fields.iter().all(|(name, value)| {
                let known = declared.open
                    || declared.names.binary_search(&name.as_str()).is_ok()
                    || declared.patterns.iter().any(|pattern| tree.matches(pattern, name));
                known && declares_all(tree, &tree.field(at, name), value)
            })
        }
        Value::Array(items) => {
            items.iter().enumerate().all(|(index, item)| declares_all(tree, &tree.item(at, index), item))
        }
        _ => true,
    }
}

/// The same rule as a schema, for the algebra. Wider where the rule cannot be said exactly (below fields that
/// patterns name, below recursion, beyond the budget), which can lose a proof but never make one.
pub(crate) fn shape<'a>(tree: &Tree<'a>, at: &Located<'a>, budget: &mut usize) -> Value {
    below(tree, at, budget, &mut Vec::new())
}

fn below<'a>(tree: &Tree<'a>, at: &Located<'a>, budget: &mut usize, above: &mut Vec<Vec<usize>>) -> Value {
    let key: Vec<usize> = at.declares.iter().map(|schema| address(schema)).collect();
    if at.declares.is_empty() || *budget == 0 || above.contains(&key) {
        return Value::Bool(true);
    }
    *budget -= 1;
    tree.work.take(4 + at.declares.len());
    above.push(key);
    let mut shape = Map::new();
    let declared = tree.declared(at);
    let mut properties = Map::new();
    for name in &declared.names {
        properties.insert((*name).to_owned(), below(tree, &tree.field(at, name), budget, above));
    }
    if declared.open {
        properties.retain(|_, shape| *shape != Value::Bool(true));
    } else {
        let patterns: Map<_, _> = declared.patterns.iter().map(|each| ((*each).to_owned(), json!(true))).collect();
        if !patterns.is_empty() {
            shape.insert("patternProperties".to_owned(), patterns.into());
        }
        shape.insert("additionalProperties".to_owned(), json!(false));
    }
    if !properties.is_empty() {
        shape.insert("properties".to_owned(), properties.into());
    }
    let prefix = at.declares.iter().map(|schema| tree.prefix_len(schema)).max().unwrap_or(0).min(64);
    let items: Vec<Value> = (0..prefix).map(|index| below(tree, &tree.item(at, index), budget, above)).collect();
    let rest = below(tree, &tree.item(at, prefix), budget, above);
    let (listed, others) = match tree.draft {
        Draft::TwentyTwelve => ("prefixItems", "items"),
        Draft::Seven if prefix == 0 => ("items", "items"),
        Draft::Seven => ("items", "additionalItems"),
    };
    if prefix > 0 {
        shape.insert(listed.to_owned(), items.into());
    }
    if rest != Value::Bool(true) {
        shape.insert(others.to_owned(), rest);
    }
    above.pop();
    if shape.is_empty() { Value::Bool(true) } else { shape.into() }
}
