//! What the references of one document mean: a place in the document itself or in a registered one. Nothing is ever
//! fetched.
//!
//! `$id` may say anything. It names what it stands on, so that a reference which says the same text means that place,
//! and the fragments below it start there; it never makes a reference go elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::document::{Document, Lookup};
use super::draft::Draft;
use super::invalid::InvalidSchema;
use super::pointer::{decode, member};
use super::{keyword, violation};
use crate::event::clip;

/// The references of a document, and what can be referred to in it.
#[derive(Debug, Default)]
pub(super) struct Resolution {
    /// The pointers of all its schemas.
    pub(super) locations: BTreeSet<String>,
    /// What a reference stands for.
    pub(super) references: Vec<Reference>,
    /// Its dynamic anchors; the empty one is `$recursiveAnchor`.
    pub(super) dynamic: BTreeSet<String>,
    /// What it refers to, by the names it uses.
    pub(super) documents: BTreeMap<String, Arc<Document>>,
    /// Where something named is: (pointer of what has the `$id`, name) → pointer.
    anchors: BTreeMap<(String, String), String>,
}

/// A reference.
#[derive(Debug)]
pub(super) struct Reference {
    /// The schema that it stands in.
    pub(super) pointer: String,
    /// `$ref` or one that depends on how it was reached; there it never does.
    pub(super) keyword: &'static str,
    /// The name of another document.
    pub(super) document: Option<String>,
    /// The place there, or here.
    pub(super) target: String,
}

/// A reference that is read and not yet understood.
struct Unresolved<'a> {
    pointer: String,
    keyword: &'static str,
    text: &'a str,
    resource: String,
}

struct Resolver<'a> {
    root: &'a Value,
    draft: Draft,
    ids: BTreeMap<&'a str, String>,
    found: Resolution,
    unresolved: Vec<Unresolved<'a>>,
}

/// Finds out what all references of a document mean.
pub(super) fn resolve(root: &Value, draft: Draft, lookup: Lookup<'_>) -> Result<Resolution, InvalidSchema> {
    let mut resolver =
        Resolver { root, draft, ids: BTreeMap::new(), found: Resolution::default(), unresolved: Vec::new() };
    resolver.schemas(String::new(), root)?;
    // A target that no keyword leads to is a schema only because of the reference, and has references itself.
    while let Some(reference) = resolver.unresolved.pop() {
        resolver.reference(reference, lookup)?;
    }
    // Which schema a dynamic reference means is then the same on every way to it, and it is a plain one.
    for document in resolver.found.documents.values() {
        if let Some(anchor) = document.dynamic().intersection(&resolver.found.dynamic).next() {
            return Err(InvalidSchema::AmbiguousAnchor { pointer: String::new(), anchor: anchor.clone() });
        }
    }
    Ok(resolver.found)
}

impl Resolution {
    /// The place that a fragment, without its number sign, names below what has the `$id`.
    pub(super) fn place(&self, resource: &str, fragment: &str) -> Option<String> {
        let fragment = decode(fragment)?;
        if fragment.is_empty() || fragment.starts_with('/') {
            return Some(format!("{resource}{fragment}"));
        }
        self.anchors.get(&(resource.to_owned(), fragment)).cloned()
    }
}

impl<'a> Resolver<'a> {
    /// Walks all schemas from one on.
    fn schemas(&mut self, pointer: String, schema: &'a Value) -> Result<(), InvalidSchema> {
        let mut queue = vec![(pointer, schema, String::new())];
        while let Some((pointer, schema, resource)) = queue.pop() {
            if !self.found.locations.insert(pointer.clone()) {
                continue;
            }
            let Value::Object(members) = schema else { continue };
            let resource = self.schema(&pointer, members, resource)?;
            keyword::each(self.draft, &pointer, members, |_, at, inner| queue.push((at, inner, resource.clone())));
        }
        Ok(())
    }

    /// Notes what one schema names and refers to, and answers below which `$id` its fragments start.
    fn schema(
        &mut self,
        pointer: &str,
        members: &'a serde_json::Map<String, Value>,
        mut resource: String,
    ) -> Result<String, InvalidSchema> {
        let text = |keyword: &str| members.get(keyword).and_then(Value::as_str);
        if !pointer.is_empty() && members.contains_key("$schema") {
            let same = Draft::of(&Value::Object(members.clone())).is_ok_and(|draft| draft == self.draft);
            if !same {
                let found = clip(text("$schema").unwrap_or_default()).to_string();
                return Err(InvalidSchema::UnknownDraft { pointer: member(pointer, "$schema"), found });
            }
        }
        if members.get("x-sensitive").is_some_and(|mark| !mark.is_boolean()) {
            let found = violation::shown(&members["x-sensitive"]);
            let expected = "true or false".to_owned();
            return Err(InvalidSchema::Malformed { pointer: member(pointer, "x-sensitive"), expected, found });
        }
        let is_alone = self.draft.ignores_beside_reference() && text("$ref").is_some();
        let id = text(if self.draft == Draft::Draft4 { "id" } else { "$id" }).filter(|_| !is_alone);
        match id.map(|id| id.split_once('#').unwrap_or((id, ""))) {
            Some(("", anchor)) => self.name(&resource, anchor, pointer)?,
            Some((uri, anchor)) => {
                resource = pointer.to_owned();
                let before = self.ids.insert(uri, resource.clone());
                unique(before.as_deref(), uri, pointer)?;
                self.name(&resource, anchor, pointer)?;
            }
            None => {}
        }
        for keyword in self.draft.anchors() {
            if let Some(anchor) = text(keyword) {
                self.name(&resource, anchor, pointer)?;
            }
        }
        let is_old = self.draft == Draft::Draft201909;
        let recursive = is_old && members.get("$recursiveAnchor") == Some(&Value::Bool(true));
        let dynamic = text("$dynamicAnchor").filter(|_| self.draft.anchors().contains(&"$dynamicAnchor"));
        for anchor in dynamic.into_iter().chain(recursive.then_some("")) {
            if !self.found.dynamic.insert(anchor.to_owned()) {
                return Err(InvalidSchema::AmbiguousAnchor { pointer: pointer.to_owned(), anchor: anchor.to_owned() });
            }
        }
        for keyword in self.draft.references() {
            if let Some(text) = text(keyword) {
                let (pointer, resource) = (pointer.to_owned(), resource.clone());
                self.unresolved.push(Unresolved { pointer, keyword, text, resource });
            }
        }
        Ok(resource)
    }

    /// Notes a name. What begins with a slash is no name but a pointer, which some generators write everywhere.
    fn name(&mut self, resource: &str, anchor: &str, pointer: &str) -> Result<(), InvalidSchema> {
        if anchor.is_empty() || anchor.starts_with('/') {
            return Ok(());
        }
        let before = self.found.anchors.insert((resource.to_owned(), anchor.to_owned()), pointer.to_owned());
        unique(before.as_deref(), anchor, pointer)
    }

    fn reference(&mut self, reference: Unresolved<'a>, lookup: Lookup<'_>) -> Result<(), InvalidSchema> {
        let Unresolved { pointer, keyword, text, resource } = reference;
        let at = member(&pointer, keyword);
        let dangling = || InvalidSchema::DanglingReference { pointer: at.clone(), reference: clip(text).to_string() };
        let (uri, fragment) = text.split_once('#').unwrap_or((text, ""));
        let here = if uri.is_empty() { Some(resource) } else { self.ids.get(uri).cloned() };
        let (document, target) = if let Some(resource) = here {
            let target = self.found.place(&resource, fragment).ok_or_else(dangling)?;
            let schema = self.root.pointer(&target).filter(|schema| schema.is_object() || schema.is_boolean());
            let schema = schema.ok_or_else(dangling)?;
            if !self.found.locations.contains(&target) {
                violation::check_against_draft(schema, self.draft, &target)?;
                self.schemas(target.clone(), schema)?;
            }
            (None, target)
        } else {
            let known = self.found.documents.get(uri).cloned().or_else(|| lookup(uri));
            let document = known.ok_or_else(|| InvalidSchema::UnknownReference {
                pointer: at.clone(),
                reference: clip(text).to_string(),
            })?;
            if document.draft() != self.draft {
                let (expected, found) = (self.draft, document.draft());
                return Err(InvalidSchema::OtherDraft { pointer: at, expected, found });
            }
            let target = document.place(fragment).ok_or_else(dangling)?;
            self.found.documents.insert(uri.to_owned(), document);
            (Some(uri.to_owned()), target)
        };
        self.found.references.push(Reference { pointer, keyword, document, target });
        Ok(())
    }
}

/// Refuses a name that was another place's: which one it means would depend on who reads the schema.
fn unique(before: Option<&str>, name: &str, pointer: &str) -> Result<(), InvalidSchema> {
    match before {
        Some(place) if place != pointer => {
            Err(InvalidSchema::AmbiguousAnchor { pointer: pointer.to_owned(), anchor: clip(name).to_owned() })
        }
        _ => Ok(()),
    }
}
