//! Reading gives what a look at every event gives, whatever part of the index answers.

use std::sync::Arc;

use proptest::prelude::*;
use quipu_domain::{Direction, Event, Filter, Query, QueryItem, Range, Timestamp, TypeMatch, Value};
use quipu_engine::{Options, Recorded, Tenant};

use crate::support::*;

fn mixed(i: u64) -> Event<'static> {
    let kind = ["order.placed", "order.placed.v2", "order.shipped", "payment.charged", "orders.x"][(i % 5) as usize];
    let mut builder = Event::builder(format!("id{i}"), format!("/source{}", i % 2), kind)
        .time(Timestamp((i * 1_000_000) as i64).to_string())
        .tag(format!("k:{}", i % 4))
        .tag(format!("m:{}", i % 3))
        .json(format!("{{\"i\":{i},\"pad\":\"{}\"}}", "x".repeat((i % 50) as usize)));
    if !i.is_multiple_of(7) {
        builder = builder.subject(format!("stream/{}", i % 6));
    }
    if i.is_multiple_of(3) {
        builder = builder.correlation_id(format!("c{}", i % 9));
    }
    if i.is_multiple_of(4) {
        builder = builder.attribute("userid", Value::Text("u1".into()));
    }
    if i.is_multiple_of(8) {
        builder = builder.attribute("priority", Value::Text("high".into()));
    }
    if i.is_multiple_of(5) {
        builder = builder.causation_id(format!("id{}", i % 4));
    }
    if !i.is_multiple_of(6) {
        builder = builder.attribute("organizationid", Value::Text(format!("o{}", i % 2).into()));
    }
    builder.build().unwrap()
}

/// 130 events: some in index runs, some waiting for one, some in the open memtable.
fn filled(folder: &std::path::Path) -> Arc<Tenant> {
    let tenant = open(folder, small()).unwrap();
    for i in 0..130 {
        publish(&tenant, &mixed(i));
        if i < 80 {
            while tenant.maintain().unwrap() {}
        }
    }
    tenant
}

fn read_all(tenant: &Tenant, filter: &Filter, direction: Direction, limit: usize) -> Vec<u64> {
    let (mut positions, mut from) = (Vec::new(), None);
    loop {
        let page = tenant.read(filter, direction, from, limit).unwrap();
        assert!(page.events.len() <= limit);
        positions.extend(page.events.iter().map(|recorded| recorded.stamp.position));
        from = page.next;
        if from.is_none() {
            return positions;
        }
    }
}

fn filters() -> impl Strategy<Value = Filter> {
    let list = |values: &'static [&'static str]| {
        proptest::collection::vec(proptest::sample::select(values), 0..3)
            .prop_map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let types = list(&["order.placed", "order.placed.v2", "order.*", "order.pl*", "pay*", "*", "none"]);
    let whole = list(&["order.placed", "order.placed.v2", "payment.charged", "none"]);
    let item = (whole, list(&["k:1", "m:2", "k:9"])).prop_map(|(types, tags)| QueryItem { types, tags });
    let query = proptest::collection::vec(item, 0..3).prop_map(|items| Query { items });
    let position = proptest::option::of(0u64..140);
    let time = proptest::option::of(0i64..140);
    (
        (types, list(&["stream/1", "stream/2", "x"]), list(&["/source0", "/source1"]), list(&["k:1", "m:2", "k:9"])),
        (list(&["c0", "c3"]), list(&["id0", "id3", "id5"]), query),
        (list(&["u1"]), list(&["o0", "o1", "o2"]), list(&["high", "low"])),
        (position.clone(), position, time.clone(), time),
    )
        .prop_map(
            |((types, subjects, sources, tags), (correlation_ids, causation_ids, query), of_whom, ranges)| Filter {
                types: types.iter().map(|t| TypeMatch::parse(t)).collect(),
                subjects,
                sources,
                tags,
                correlation_ids,
                causation_ids,
                user_ids: of_whom.0,
                organization_ids: of_whom.1,
                priorities: of_whom.2,
                positions: Range { from: ranges.0, to: ranges.1 },
                time: Range {
                    from: ranges.2.map(|s| Timestamp(s * 1_000_000)),
                    to: ranges.3.map(|s| Timestamp(s * 1_000_000)),
                },
                query,
                visible: None,
            },
        )
}

#[test]
fn any_filter_reads_what_a_look_at_every_event_finds() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = filled(folder.path());
    let everything: Vec<Recorded> = (1..=130).map(|p| tenant.event_at(p).unwrap().unwrap()).collect();
    proptest!(|(filter in filters(), limit in 1usize..40)| {
        let mut expected: Vec<u64> = everything
            .iter()
            .filter(|recorded| filter.matches(&recorded.event(), &recorded.stamp))
            .map(|recorded| recorded.stamp.position)
            .collect();
        prop_assert_eq!(&read_all(&tenant, &filter, Direction::Forward, limit), &expected);
        expected.reverse();
        prop_assert_eq!(&read_all(&tenant, &filter, Direction::Backward, limit), &expected);
    });
}

#[test]
fn every_event_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = filled(folder.path());
    for i in 0..130 {
        let recorded = tenant.event_at(i + 1).unwrap().unwrap();
        assert_eq!(recorded.event(), mixed(i));
        let by_id = tenant.event_by_id(mixed(i).source(), mixed(i).id()).unwrap().unwrap();
        assert_eq!(by_id.stamp, recorded.stamp);
    }
    assert!(tenant.event_at(131).unwrap().is_none());
    assert!(tenant.event_at(0).unwrap().is_none());
    assert!(tenant.event_by_id("/source1", "id0").unwrap().is_none());
}

#[test]
fn a_stream_is_read_from_any_version_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = filled(folder.path());
    let versions = |direction, from, limit| {
        let page = tenant.read_stream("stream/1", direction, from, limit).unwrap();
        let versions: Vec<u64> = page.events.iter().filter_map(|e| e.stamp.stream_version).collect();
        (versions, page.next)
    };
    let newest = tenant.stream("stream/1").unwrap().version;
    assert_eq!(versions(Direction::Forward, None, 1_000), ((1..=newest).collect(), None));
    assert_eq!(versions(Direction::Forward, Some(0), 2), (vec![1, 2], Some(3)));
    assert_eq!(versions(Direction::Forward, Some(5), 3), (vec![5, 6, 7], Some(8)));
    assert_eq!(versions(Direction::Backward, Some(5), 3), (vec![5, 4, 3], Some(2)));
    assert_eq!(versions(Direction::Backward, Some(2), 3), (vec![2, 1], None));
    assert_eq!(versions(Direction::Forward, Some(newest + 1), 3), (vec![], None));
    assert_eq!(versions(Direction::Backward, Some(newest + 9), 2), (vec![newest, newest - 1], Some(newest - 2)));
    assert_eq!(tenant.stream("unknown").unwrap().version, 0);
}

#[test]
fn streams_are_listed_as_they_began() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = filled(folder.path());
    let mut from = Some(1);
    let mut names = Vec::new();
    while let Some(at) = from {
        let (streams, next) = tenant.streams("stream/", at, 4).unwrap();
        names.extend(
            streams.iter().map(|s| (s.subject.clone(), tenant.stream(&s.subject).unwrap().version == s.version)),
        );
        from = next;
    }
    let expected: Vec<_> = [1, 2, 3, 4, 5, 0].map(|n| (format!("stream/{n}"), true)).into();
    assert_eq!(names, expected);
    assert_eq!(tenant.streams("stream/3", 1, 10).unwrap().0.len(), 1);
}

#[test]
fn a_follower_sees_every_matching_event_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = filled(folder.path());
    let filter = Filter { types: vec![TypeMatch::parse("order.placed")], ..Filter::default() };
    let mut follower = tenant.follow(filter.clone(), 10);
    let mut seen = Vec::new();
    for i in 130..200 {
        seen.extend(follower.next(2).unwrap().iter().map(|r| r.stamp.position));
        publish(&tenant, &mixed(i));
    }
    while follower.is_behind() {
        seen.extend(follower.next(2).unwrap().iter().map(|r| r.stamp.position));
    }
    let all = read_all(&tenant, &filter, Direction::Forward, 50);
    assert_eq!(seen, all.into_iter().filter(|p| *p > 10).collect::<Vec<_>>());
    assert_eq!(follower.position(), 200);
}

#[test]
fn a_trace_is_the_tree_of_causes_and_effects() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let add = |id: &'static str, cause: Option<&'static str>, correlation: Option<&'static str>| {
        let mut builder = Event::builder(id, "/s", "t");
        if let Some(cause) = cause {
            builder = builder.causation_id(cause);
        }
        if let Some(correlation) = correlation {
            builder = builder.correlation_id(correlation);
        }
        publish(&tenant, &builder.build().unwrap());
    };
    add("a", None, None);
    add("b", Some("a"), None);
    add("noise", None, None);
    add("c", Some("b"), Some("x"));
    add("d", Some("b"), None);
    add("e", None, Some("x"));
    let shape = |position| {
        let trace = tenant.trace(position).unwrap().unwrap();
        trace.nodes.iter().map(|(depth, node)| (*depth, node.id.clone())).collect::<Vec<_>>()
    };
    let expected: Vec<_> = [(0, "a"), (1, "b"), (2, "c"), (2, "d"), (0, "e")].map(|(d, id)| (d, id.to_owned())).into();
    assert_eq!(shape(4), expected);
    // The first event is of no correlation itself.
    assert_eq!(shape(1), expected[..4]);
    assert_eq!(shape(3), [(0, "noise".to_owned())]);
    assert!(tenant.trace(99).unwrap().is_none());
}

#[test]
fn a_trace_does_not_mix_sources_that_use_the_same_ids() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    for (source, id, cause) in [("/a", "1", None), ("/b", "1", None), ("/b", "2", Some("1")), ("/a", "2", Some("1"))] {
        let mut builder = Event::builder(id, source, "t");
        if let Some(cause) = cause {
            builder = builder.causation_id(cause);
        }
        publish(&tenant, &builder.build().unwrap());
    }
    let positions = |position| {
        let trace = tenant.trace(position).unwrap().unwrap();
        trace.nodes.iter().map(|(depth, node)| (*depth, node.position)).collect::<Vec<_>>()
    };
    assert_eq!(positions(1), [(0, 1), (1, 4)]);
    assert_eq!(positions(3), [(0, 2), (1, 3)]);
}

#[test]
fn what_is_not_durable_is_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), Options { run_events: 2, ..small() }).unwrap();
    for id in ["1", "2", "3"] {
        tenant.publish(vec![prepare(&tenant, &event(id, "s"))], |_| {});
    }
    tenant.decide();
    assert_eq!(tenant.position(), 0);
    assert!(read_all(&tenant, &Filter::default(), Direction::Forward, 10).is_empty());
    assert!(tenant.event_by_id("/test", "1").unwrap().is_none());
    assert_eq!(tenant.stream("s").unwrap().version, 0);
    tenant.flush();
    assert_eq!(read_all(&tenant, &Filter::default(), Direction::Forward, 10), [1, 2, 3]);
}

/// 40 events of 600 KB: no page and no block of them may be held in memory as a whole.
fn filled_with_large(folder: &std::path::Path) -> Arc<Tenant> {
    let tenant = open(folder, Options { segment_bytes: 1 << 20, ..small() }).unwrap();
    let data = format!("\"{}\"", "x".repeat(600_000));
    for i in 0..40 {
        publish(&tenant, &event_of("order.placed", &i.to_string(), "s", &data));
        while tenant.maintain().unwrap() {}
    }
    tenant
}

#[test]
fn a_page_of_a_stream_ends_at_its_bytes_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = filled_with_large(folder.path());
    for (direction, expected) in
        [(Direction::Forward, (1..=40).collect::<Vec<u64>>()), (Direction::Backward, (1..=40).rev().collect())]
    {
        let (mut from, mut seen) = (None, Vec::new());
        loop {
            let page = tenant.read_stream("s", direction, from, 1_000).unwrap();
            assert!(page.events.iter().map(Recorded::bytes).sum::<usize>() < 17 << 20);
            seen.extend(page.events.iter().filter_map(|event| event.stamp.stream_version));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
}

#[test]
fn the_newest_of_large_events_are_read_in_small_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = filled_with_large(folder.path());
    let none = Filter {
        types: vec![TypeMatch::parse("order.placed")],
        time: Range { from: None, to: Some(Timestamp(-1)) },
        ..Filter::default()
    };
    for limit in [1, 7, 1_000] {
        assert_eq!(
            read_all(&tenant, &Filter::default(), Direction::Backward, limit),
            (1..=40).rev().collect::<Vec<u64>>()
        );
        assert_eq!(read_all(&tenant, &none, Direction::Backward, limit), [0; 0]);
    }
}

/// Events of another source name a cause of the same id and mean another event: they are looked at and not shown.
#[test]
fn a_trace_ends_where_too_much_has_to_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), Options { run_events: 5_000, ..small() }).unwrap();
    publish(&tenant, &Event::builder("a", "/s", "t").build().unwrap());
    publish(&tenant, &Event::builder("a", "/other", "t").build().unwrap());
    let effects = |from: u32| {
        let make = |i: u32| Event::builder(i.to_string(), "/other", "t").causation_id("a").build().unwrap();
        (from..from + 2_000).map(|i| prepare(&tenant, &make(i))).collect::<Vec<_>>()
    };
    for from in 0..6 {
        tenant.publish_wait(effects(from * 2_000)).unwrap();
    }
    let trace = tenant.trace(1).unwrap().unwrap();
    assert_eq!((trace.nodes.len(), trace.is_cut), (1, true));
}
