//! One self-contained schema of a document and all that it refers to.
//!
//! Each document that is referred to is put beside the definitions, once, also where two names mean it. Every reference
//! becomes a plain `$ref` with a pointer, and what only gave a name to a place (`$id`, anchors) goes: a copy must not
//! bring a second meaning of `#` along.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::document::Document;
use super::draft::Draft;
use super::invalid::InvalidSchema;
use super::limits::Limits;
use super::pointer::{fragment, member};
use super::resolve::Resolution;
use super::size::most;

/// What names a place, or says how to read a document.
const NAMES: [&str; 8] =
    ["$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$schema", "$dynamicRef", "$recursiveRef"];

struct Copies {
    /// Each with the pointer where it is put.
    placed: Vec<(Arc<Document>, String)>,
    shelf: Map<String, Value>,
}

/// Puts a document and all that it refers to together.
pub(super) fn bundle(
    root: &Value,
    draft: Draft,
    resolution: &Resolution,
    limits: &Limits,
) -> Result<Value, InvalidSchema> {
    let mut bundled = root.clone();
    let mut copies = Copies { placed: Vec::new(), shelf: Map::new() };
    if let Some(Value::Object(shelf)) = root.get(draft.shelf()) {
        copies.shelf.clone_from(shelf);
    }
    let own: Vec<String> = copies.shelf.keys().cloned().collect();
    copies.place(resolution, draft, limits)?;
    for name in own {
        copies.shelf.remove(&name);
    }
    rewrite(&mut bundled, "", draft, resolution, &copies);
    for (document, at) in &copies.placed {
        let mut copy = document.value().clone();
        rewrite(&mut copy, at, draft, document.resolution(), &copies);
        let name = super::pointer::names(at).last().unwrap_or_default();
        copies_of(&mut bundled, draft).insert(name, copy);
    }
    if let Value::Object(members) = &mut bundled {
        members.insert("$schema".to_owned(), Value::from(draft.uri()));
    }
    most("", "values in a schema and all it refers to", nodes(&bundled), limits.bundled_nodes)?;
    Ok(bundled)
}

/// Where the copies are put. A schema that is `true` or `false` refers to nothing, so there is always an object.
fn copies_of(bundled: &mut Value, draft: Draft) -> &mut Map<String, Value> {
    let shelf = &mut bundled[draft.shelf()];
    if !shelf.is_object() {
        *shelf = json!({});
    }
    shelf.as_object_mut().expect("an object was just put there")
}

impl Copies {
    fn place(&mut self, resolution: &Resolution, draft: Draft, limits: &Limits) -> Result<(), InvalidSchema> {
        for (name, document) in &resolution.documents {
            if self.at(document).is_some() {
                continue;
            }
            let mut free = name.clone();
            for number in 2.. {
                if !self.shelf.contains_key(&free) {
                    break;
                }
                free = format!("{name}-{number}");
            }
            let at = member(&member("", draft.shelf()), &free);
            self.shelf.insert(free, Value::Null);
            self.placed.push((document.clone(), at));
            most("", "documents that are referred to", self.placed.len(), limits.documents)?;
            self.place(document.resolution(), draft, limits)?;
        }
        Ok(())
    }

    /// Where a document is put. Two that say and mean the same are one.
    fn at(&self, document: &Arc<Document>) -> Option<&str> {
        let same = |other: &&(Arc<Document>, String)| {
            Arc::ptr_eq(&other.0, document)
                || (other.0.value() == document.value() && other.0.bundled() == document.bundled())
        };
        self.placed.iter().find(same).map(|(_, at)| at.as_str())
    }
}

fn rewrite(value: &mut Value, prefix: &str, draft: Draft, resolution: &Resolution, copies: &Copies) {
    for pointer in &resolution.locations {
        if let Some(Value::Object(members)) = value.pointer_mut(pointer) {
            // `id` was a keyword in draft 4 only; later it is what somebody wrote there.
            members.retain(|name, _| !NAMES.contains(&name.as_str()) || (name == "id" && draft != Draft::Draft4));
        }
    }
    for reference in &resolution.references {
        let document = reference.document.as_ref().and_then(|name| resolution.documents.get(name));
        let at = document.map_or(Some(prefix), |document| copies.at(document)).unwrap_or_default();
        let text = Value::from(fragment(&format!("{at}{}", reference.target)));
        let Some(Value::Object(members)) = value.pointer_mut(&reference.pointer) else { continue };
        if reference.keyword == "$ref" || !members.contains_key("$ref") {
            members.insert("$ref".to_owned(), text);
        } else {
            let all = members.entry("allOf").or_insert_with(|| json!([]));
            if let Value::Array(all) = all {
                all.push(json!({ "$ref": text }));
            }
        }
    }
}

/// How many values there are in a value.
pub(super) fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(nodes).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}
