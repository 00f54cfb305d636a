//! What upcasters cost: `quipu schema verify` over a log of events of the first version, which each pass two of them and three
//! schemas, and the same where none is needed.

use std::path::Path;
use std::time::Instant;

use quipu_domain::Event;
use quipu_domain::schema::SchemaVersion;
use quipu_engine::{NewSchema, Upcaster};

use crate::{Report, engine, quantile};

const ROUNDS: usize = 5;
const EVENTS: usize = 200_000;
/// With them the stored event has 256 bytes.
const NOTE: usize = 166;

const VERSIONS: [(&str, Option<&str>); 3] = [
    (
        r#"{"type":"object","properties":{"total":{"type":"number"},"note":{"type":"string"}},"required":["total"]}"#,
        None,
    ),
    (
        r#"{"type":"object","properties":{"cents":{"type":"integer"},"note":{"type":"string"}},"required":["cents"]}"#,
        Some("{cents: (.total * 100 | round), note}"),
    ),
    (
        r#"{"type":"object","properties":{"amount":{"type":"object","properties":{"cents":{"type":"integer"}}}},"required":["amount"]}"#,
        Some("{amount: {cents, currency: \"EUR\"}, note}"),
    ),
];

pub fn run(folder: &Path, report: &mut Report) {
    let engine = engine(&folder.join("upcast"));
    let tenant = engine.tenant("bench").expect("it opens");
    let note = "n".repeat(NOTE);
    let mut bytes = 0;
    for first in (0..EVENTS).step_by(1_000) {
        let prepared = (first..first + 1_000).map(|number| {
            let data = format!(r#"{{"total":{}.25,"note":"{note}"}}"#, number % 1_000);
            let event = Event::builder(format!("{number:08}"), "/bench/source/of/orders", "order.placed")
                .subject(format!("order/{:06}", number % 1_000))
                .json(data)
                .build()
                .expect("an event");
            tenant.prepare(&event, None).expect("it is not too large")
        });
        tenant.publish_wait(prepared.collect()).expect("a disk");
    }
    for (text, upcaster) in VERSIONS {
        let upcaster = upcaster.map(|text| Upcaster::Jq(text.to_owned()));
        let new = NewSchema { text: text.to_owned(), upcaster, ..NewSchema::default() };
        tenant.register_schema("order.placed", new).expect("it turns all of them");
        bytes = bytes.max(tenant.event_at(1).expect("a disk").map_or(0, |recorded| recorded.bytes()));
    }
    for version in [1, 2, 3] {
        let round = |_| {
            let (begin, mut events, mut after) = (Instant::now(), 0, 0);
            while events < EVENTS as u64 {
                let found = tenant.verify_schema("order.placed", SchemaVersion::At(version), after).expect("a disk");
                assert_eq!(found.failed, 0);
                (events, after) = (events + found.events, found.to);
            }
            events as f64 / begin.elapsed().as_secs_f64()
        };
        let mut rounds: Vec<f64> = (0..ROUNDS).map(round).collect();
        let median = quantile(&mut rounds, 0.5);
        let figures =
            [("events/s", median), ("slowest", rounds[0]), ("fastest", rounds[ROUNDS - 1]), ("bytes", bytes as f64)];
        report.add(&format!("upcast: verify as version {version}"), &figures);
    }
}
