//! A query: which events a decision rests on, by type and tag, across streams. The shape is that of the "Dynamic
//! Consistency Boundary" specification (dcb.events): an event matches a query if it matches any item, and an item if
//! its type is one of the item's types and it carries all of the item's tags. An empty list restricts nothing: a query
//! without items matches every event.

use crate::event::is_tag;
use crate::limits::{QUERY_ITEMS_MAX, TYPE_BYTES_MAX};
use crate::{Event, base_type};

/// Events that match any of the items; without items, all events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The items.
    pub items: Vec<QueryItem>,
}

/// Events of any of the types that carry all of the tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryItem {
    /// Types; one without `.vN` means all its versions.
    pub types: Vec<String>,
    /// Tags, `key:value`.
    pub tags: Vec<String>,
}

impl Query {
    /// Whether the event matches any item.
    pub fn matches(&self, event: &Event<'_>) -> bool {
        self.items.is_empty() || self.items.iter().any(|item| item.matches(event))
    }

    /// Checks the shape: at most [`QUERY_ITEMS_MAX`] items, none that is empty, valid types and tags.
    ///
    /// # Errors
    /// What was expected and what was found, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.items.len() > QUERY_ITEMS_MAX {
            return Err(format!("expected at most {QUERY_ITEMS_MAX} items, found {}", self.items.len()));
        }
        for item in &self.items {
            if item.types.is_empty() && item.tags.is_empty() {
                return Err("expected a type or a tag in each item, found an item with neither".into());
            }
            if item.types.len() > QUERY_ITEMS_MAX || item.tags.len() > QUERY_ITEMS_MAX {
                return Err(format!("expected at most {QUERY_ITEMS_MAX} types and tags in an item"));
            }
            if item.types.iter().any(|t| t.is_empty() || t.len() > TYPE_BYTES_MAX) {
                return Err(format!("expected types of 1 to {TYPE_BYTES_MAX} bytes"));
            }
            if let Some(kind) = item.types.iter().find(|kind| kind.contains('*')) {
                return Err(format!(
                    "expected whole types, found {:?}: a query knows no prefixes",
                    crate::event::clip(kind)
                ));
            }
            if let Some(tag) = item.tags.iter().find(|tag| !is_tag(tag)) {
                return Err(format!("expected tags such as customer:c1, found {:?}", crate::event::clip(tag)));
            }
        }
        Ok(())
    }
}

impl QueryItem {
    /// Whether the event has one of the types and all of the tags.
    pub fn matches(&self, event: &Event<'_>) -> bool {
        (self.types.is_empty() || self.types.iter().any(|t| type_matches(t, event.kind())))
            && self.tags.iter().all(|tag| event.tags().any(|t| t == tag))
    }
}

/// Whether an event's type is the one asked for; a type without `.vN` means all its versions.
pub(crate) fn type_matches(asked: &str, kind: &str) -> bool {
    kind == asked || base_type(kind) == asked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(types: &[&str], tags: &[&str]) -> QueryItem {
        let own = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
        QueryItem { types: own(types), tags: own(tags) }
    }

    #[test]
    fn types_are_any_of_and_tags_are_all_of() {
        let event = Event::builder("1", "/s", "order.placed.v2").tag("c:1").tag("p:2").build().unwrap();
        for (item, matches) in [
            (item(&["order.placed"], &[]), true),
            (item(&["order.placed.v2"], &[]), true),
            (item(&["order.placed.v1"], &[]), false),
            (item(&["x", "order.placed"], &["c:1"]), true),
            (item(&[], &["c:1", "p:2"]), true),
            (item(&[], &["c:1", "p:3"]), false),
            (item(&["order"], &[]), false),
        ] {
            assert_eq!(item.matches(&event), matches, "{item:?}");
        }
    }

    #[test]
    fn a_query_without_items_is_all_events_and_an_empty_item_is_refused() {
        assert!(Query::default().check().is_ok());
        assert!(Query::default().matches(&Event::builder("1", "/s", "t").build().unwrap()));
        assert!(Query { items: vec![item(&["order.*"], &[])] }.check().is_err());
        assert!(Query { items: vec![item(&[], &[])] }.check().is_err());
        assert!(Query { items: vec![item(&[], &["notag"])] }.check().is_err());
        assert!(Query { items: vec![item(&["t"], &["a:b"])] }.check().is_ok());
    }
}
