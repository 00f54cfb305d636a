//! The GitHub demo: 329 webhook payloads as CloudEvents, of which 5 repeat an earlier one exactly. They are built in,
//! so that the installed binary has them too.

use quipu::{Published, Quipu};

use super::super::exit::Failure;

const EVENTS: &str = include_str!("../../../../../examples/github/events.ndjson");

/// How often each answer was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub recorded: usize,
    pub duplicates: usize,
}

/// Publishes them all. A second load adds nothing.
pub fn load(quipu: &Quipu) -> Result<Counts, Failure> {
    let mut events = Vec::new();
    for line in EVENTS.lines() {
        let incoming = quipu::parse_event(line.as_bytes());
        events.push(incoming.map_err(|reason| Failure::failed(format!("a demo event: {reason}")))?);
    }
    let mut counts = Counts::default();
    for published in quipu.publish_incoming(&events)? {
        match published {
            Published::Recorded(_) => counts.recorded += 1,
            Published::Duplicate(_) => counts.duplicates += 1,
            Published::Scheduled(waits) => unreachable!("no event of the demo has a time to come: {waits:?}"),
            Published::Refused(refusal) => return Err(Failure::failed(format!("a demo event: {refusal}"))),
        }
    }
    Ok(counts)
}
