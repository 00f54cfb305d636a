//! A filter: which events a reader wants to see. All the parts must match; within a part any of the values, except
//! for tags, all of which an event must carry.

use std::sync::Arc;

use crate::access::Visible;
use crate::query::type_matches;
use crate::{Event, Query, Stamp, Timestamp};

/// Which events to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these types or prefixes.
    pub types: Vec<TypeMatch>,
    /// Any of these streams.
    pub subjects: Vec<String>,
    /// Any of these sources.
    pub sources: Vec<String>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// Any of these correlation ids.
    pub correlation_ids: Vec<String>,
    /// Any of these causation ids.
    pub causation_ids: Vec<String>,
    /// Any of these users.
    pub user_ids: Vec<String>,
    /// Any of these organizations.
    pub organization_ids: Vec<String>,
    /// Any of these priorities.
    pub priorities: Vec<String>,
    /// `time` (or, for an event without it, when it was recorded).
    pub time: Range<Timestamp>,
    /// Positions.
    pub positions: Range<u64>,
    /// What a decision across streams rests on: any of its items.
    pub query: Query,
    /// What the reader may see, if that is not everything.
    pub visible: Option<Arc<Visible>>,
}

/// A type, or all that begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeMatch {
    /// This type; without `.vN`, all its versions.
    Is(String),
    /// Every type that starts with this text.
    StartsWith(String),
}

/// From and to, both included; nothing means open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range<T> {
    /// The first value that is in.
    pub from: Option<T>,
    /// The last value that is in.
    pub to: Option<T>,
}

/// Which end to read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

impl TypeMatch {
    /// `order.*` is a prefix, anything else a type.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::StartsWith(prefix.to_owned()),
            None => Self::Is(text.to_owned()),
        }
    }

    /// Whether a type matches.
    pub fn matches(&self, kind: &str) -> bool {
        match self {
            Self::Is(asked) => type_matches(asked, kind),
            Self::StartsWith(prefix) => kind.starts_with(prefix.as_str()),
        }
    }
}

impl<T: PartialOrd + Copy> Range<T> {
    /// Whether the value lies in the range.
    pub fn contains(&self, value: T) -> bool {
        self.from.is_none_or(|from| value >= from) && self.to.is_none_or(|to| value <= to)
    }
}

impl Filter {
    /// Whether a recorded event matches.
    pub fn matches(&self, event: &Event<'_>, stamp: &Stamp) -> bool {
        let any = |wanted: &[String], value: Option<&str>| {
            wanted.is_empty() || value.is_some_and(|value| wanted.iter().any(|w| w == value))
        };
        self.positions.contains(stamp.position)
            && (self.types.is_empty() || self.types.iter().any(|t| t.matches(event.kind())))
            && any(&self.subjects, event.subject())
            && any(&self.sources, Some(event.source()))
            && self.tags.iter().all(|tag| event.tags().any(|t| t == tag))
            && any(&self.correlation_ids, event.correlation_id())
            && any(&self.causation_ids, event.causation_id())
            && any(&self.user_ids, event.attribute("userid"))
            && any(&self.organization_ids, event.attribute("organizationid"))
            && any(&self.priorities, event.attribute("priority"))
            && self.query.matches(event)
            && self.matches_time(event, stamp)
            && self.visible.as_ref().is_none_or(|visible| visible.shows(event, Some(stamp)))
    }

    fn matches_time(&self, event: &Event<'_>, stamp: &Stamp) -> bool {
        self.time == Range::default() || self.time.contains(event.time().unwrap_or(stamp.recorded_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_must_match() {
        let event = Event::builder("1", "/shop", "order.placed.v1")
            .subject("order/1")
            .time("2026-01-02T00:00:00Z")
            .tag("c:1")
            .tag("p:2")
            .correlation_id("corr")
            .attribute("userid", crate::Value::Text("u".into()))
            .build()
            .unwrap();
        let stamp = Stamp { position: 7, stream_version: Some(1), recorded_time: Timestamp(0) };
        let time = |text| Timestamp::parse(text);
        let all = Filter::default();
        let list = |text: &str| vec![text.to_owned()];
        let query =
            |kind: &str, tag: &str| Query { items: vec![crate::QueryItem { types: list(kind), tags: list(tag) }] };
        for (filter, matches) in [
            (all.clone(), true),
            (Filter { types: vec![TypeMatch::parse("order.*")], ..all.clone() }, true),
            (Filter { types: vec![TypeMatch::parse("order.placed")], ..all.clone() }, true),
            (Filter { types: vec![TypeMatch::parse("order")], ..all.clone() }, false),
            (Filter { subjects: list("order/1"), ..all.clone() }, true),
            (Filter { subjects: vec!["a".into(), "order/1".into()], ..all.clone() }, true),
            (Filter { subjects: list("order/2"), ..all.clone() }, false),
            (Filter { sources: list("/other"), ..all.clone() }, false),
            (Filter { tags: vec!["c:1".into(), "p:2".into()], ..all.clone() }, true),
            (Filter { tags: vec!["c:1".into(), "p:3".into()], ..all.clone() }, false),
            (Filter { correlation_ids: list("corr"), ..all.clone() }, true),
            (Filter { user_ids: list("v"), ..all.clone() }, false),
            (Filter { organization_ids: list("o"), ..all.clone() }, false),
            (Filter { time: Range { from: time("2026-01-02T00:00:00Z"), to: None }, ..all.clone() }, true),
            (Filter { time: Range { from: None, to: time("2026-01-01T00:00:00Z") }, ..all.clone() }, false),
            (Filter { query: query("order.placed", "p:2"), ..all.clone() }, true),
            (Filter { query: query("order.paid", "p:2"), ..all.clone() }, false),
            (Filter { query: query("order.placed", "p:3"), ..all.clone() }, false),
            (Filter { positions: Range { from: Some(7), to: Some(7) }, ..all.clone() }, true),
            (Filter { positions: Range { from: Some(8), to: None }, ..all.clone() }, false),
        ] {
            assert_eq!(filter.matches(&event, &stamp), matches, "{filter:?}");
        }
    }
}
