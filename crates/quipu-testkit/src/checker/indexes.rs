//! Every index equals one rebuilt from scratch: whatever is looked up through one is what a scan of the whole log finds.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use quipu_domain::{Direction, Filter, TypeMatch, base_type, type_prefixes};
use quipu_engine::{Fault, Tenant};

use crate::checker::pages::{read_all, read_stream, to_logged};
use crate::checker::{Verdict, Violation, pair, violated};
use crate::model::scan;
use crate::{Dice, Logged};

const NAME: &str = "indexes";
/// There are hundreds; many runs with some of them find more than few with all.
const FILTERS_MAX: usize = 10;

/// Looks up what the log's events can be found by: every event and stream, and a choice of filters. `dice` choose these
/// and the sizes of pages.
pub fn check(tenant: &Arc<Tenant>, log: &[Logged], dice: &mut Dice) -> Verdict {
    let mut filters = filters(log);
    dice.shuffle(&mut filters);
    for filter in filters.iter().take(FILTERS_MAX) {
        check_filter(tenant, log, filter, dice)?;
    }
    check_events(tenant, log)?;
    check_streams(tenant, log, dice)
}

/// Looks up what one filter finds, in both directions.
pub fn check_filter(tenant: &Arc<Tenant>, log: &[Logged], filter: &Filter, dice: &mut Dice) -> Verdict {
    for direction in [Direction::Forward, Direction::Backward] {
        let limit = *dice.pick(&[1, 3, 50, 1_000]);
        let found: Vec<u64> =
            read_all(tenant, filter, direction, limit)?.iter().map(|logged| logged.stamp.position).collect();
        let expected = scan(log, filter, direction);
        if found != expected {
            return Err(violated(
                NAME,
                format!("{filter:?} {direction:?} by {limit}: expected {expected:?}, found {found:?}"),
            ));
        }
    }
    Ok(())
}

/// A filter for each value that occurs, and one for a value that does not.
fn filters(log: &[Logged]) -> Vec<Filter> {
    let mut types = BTreeSet::from(["no.such".to_owned()]);
    let mut each: [BTreeSet<String>; 8] = std::array::from_fn(|_| BTreeSet::from(["none:such".to_owned()]));
    for Logged { event, .. } in log {
        types.extend([event.kind().to_owned(), base_type(event.kind()).to_owned()]);
        types.extend(type_prefixes(event.kind()).map(|prefix| format!("{prefix}.*")));
        types.insert(format!("{}*", event.kind().chars().take(3).collect::<String>()));
        let values = [
            event.subject(),
            Some(event.source()),
            event.correlation_id(),
            event.causation_id(),
            event.attribute("userid"),
            event.attribute("organizationid"),
            event.attribute("priority"),
        ];
        for (known, value) in each.iter_mut().zip(values) {
            known.extend(value.map(str::to_owned));
        }
        each[7].extend(event.tags().map(str::to_owned));
    }
    let mut filters: Vec<Filter> =
        types.iter().map(|text| Filter { types: vec![TypeMatch::parse(text)], ..Filter::default() }).collect();
    let parts: [fn(String) -> Filter; 8] = [
        |value| Filter { subjects: vec![value], ..Filter::default() },
        |value| Filter { sources: vec![value], ..Filter::default() },
        |value| Filter { correlation_ids: vec![value], ..Filter::default() },
        |value| Filter { causation_ids: vec![value], ..Filter::default() },
        |value| Filter { user_ids: vec![value], ..Filter::default() },
        |value| Filter { organization_ids: vec![value], ..Filter::default() },
        |value| Filter { priorities: vec![value], ..Filter::default() },
        |value| Filter { tags: vec![value], ..Filter::default() },
    ];
    for (part, values) in parts.iter().zip(each) {
        filters.extend(values.into_iter().map(part));
    }
    filters
}

fn check_events(tenant: &Arc<Tenant>, log: &[Logged]) -> Verdict {
    let end = log.len() as u64 + 1;
    for position in [0, end, u64::MAX] {
        if let Some(found) = tenant.event_at(position).map_err(failed("event_at"))? {
            return Err(violated(NAME, format!("expected no event at {position}, found {:?}", found.stamp)));
        }
    }
    // Later ones replace earlier ones.
    let newest: HashMap<_, &Logged> = log.iter().map(|logged| (pair(&logged.event), logged)).collect();
    for logged in log {
        let position = logged.stamp.position;
        let found = tenant.event_at(position).map_err(failed("event_at"))?;
        let found = found.map(|found| to_logged(tenant, &found)).transpose().map_err(failed("event_at"))?;
        if found.as_ref() != Some(logged) {
            return Err(violated(NAME, format!("event_at({position}): expected {logged:?}, found {found:?}")));
        }
        let (source, id) = pair(&logged.event);
        let newest = newest.get(&(source, id)).copied();
        let found = tenant.event_by_id(source, id).map_err(failed("event_by_id"))?;
        let found = found.map(|found| to_logged(tenant, &found)).transpose().map_err(failed("event_by_id"))?;
        if found.as_ref() != newest {
            return Err(violated(NAME, format!("event_by_id({source}, {id}): expected {newest:?}, found {found:?}")));
        }
    }
    match tenant.event_by_id("/nobody", "nothing").map_err(failed("event_by_id"))? {
        Some(found) => Err(violated(NAME, format!("expected nothing under an unknown id, found {:?}", found.stamp))),
        None => Ok(()),
    }
}

fn check_streams(tenant: &Arc<Tenant>, log: &[Logged], dice: &mut Dice) -> Verdict {
    let mut subjects: Vec<&str> = Vec::new();
    for subject in log.iter().filter_map(|logged| logged.event.subject()) {
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    for subject in &subjects {
        let mut expected: Vec<&Logged> = log.iter().filter(|l| l.event.subject() == Some(subject)).collect();
        let state = tenant.stream(subject).map_err(failed("stream"))?;
        let newest = expected.last().map(|logged| (logged.stamp.stream_version, logged.stamp.position));
        if newest != Some((Some(state.version), state.position)) {
            return Err(violated(NAME, format!("stream {subject}: expected {newest:?}, found {state:?}")));
        }
        for direction in [Direction::Forward, Direction::Backward] {
            let found = read_stream(tenant, subject, direction, *dice.pick(&[1, 2, 100]))?;
            if !found.iter().eq(expected.iter().copied()) {
                let stamps =
                    |list: &mut dyn Iterator<Item = &Logged>| list.map(|l| l.stamp.position).collect::<Vec<_>>();
                let (expected, found) = (stamps(&mut expected.into_iter()), stamps(&mut found.iter()));
                return Err(violated(
                    NAME,
                    format!("stream {subject} {direction:?}: expected {expected:?}, found {found:?}"),
                ));
            }
            expected.reverse();
        }
    }
    if tenant.stream("no/such").map_err(failed("stream"))?.version != 0 {
        return Err(violated(NAME, "expected no stream no/such, found one"));
    }
    check_listing(tenant, log, &subjects, "", dice)?;
    check_listing(tenant, log, &subjects, "order/", dice)
}

/// The list of streams, in the order in which they began.
fn check_listing(tenant: &Arc<Tenant>, log: &[Logged], subjects: &[&str], prefix: &str, dice: &mut Dice) -> Verdict {
    let limit = *dice.pick(&[1, 3, 100]);
    let (mut found, mut from) = (Vec::new(), 0);
    loop {
        let (infos, next) = tenant.streams(prefix, from, limit).map_err(failed("streams"))?;
        found.extend(infos.into_iter().map(|info| (info.subject, info.version, info.position, info.first_position)));
        match next {
            None => break,
            Some(next) if next > from => from = next,
            Some(next) => return Err(violated(NAME, format!("streams from {from} say to go on at {next}"))),
        }
    }
    let expected: Vec<_> = subjects
        .iter()
        .filter(|subject| subject.starts_with(prefix))
        .map(|subject| {
            let of: Vec<&Logged> = log.iter().filter(|l| l.event.subject() == Some(subject)).collect();
            let newest = of.last().map_or(0, |l| l.stamp.position);
            (subject.to_string(), of.len() as u64, newest, of.first().map_or(0, |l| l.stamp.position))
        })
        .collect();
    if found != expected {
        return Err(violated(NAME, format!("streams({prefix:?}) by {limit}: expected {expected:?}, found {found:?}")));
    }
    Ok(())
}

fn failed(what: &'static str) -> impl Fn(Fault) -> Violation {
    move |fault| violated(NAME, format!("{what}: {fault}"))
}
