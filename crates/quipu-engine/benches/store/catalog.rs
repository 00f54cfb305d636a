//! What the catalog costs who asks first: every event of the log is decoded, since the loop counts nothing for it. Then when it is known,
//! and after a restart, when it is read from its file.

use std::path::Path;
use std::time::Instant;

use quipu_domain::Event;
use quipu_engine::{CatalogAsked, Tenant};

use crate::{Report, engine, quantile};

const ROUNDS: usize = 5;
const EVENTS: usize = 1_000_000;
const TYPES: usize = 100;
const SOURCES: usize = 10;
/// With them the stored event has some 256 bytes.
const NOTE: usize = 166;

pub fn run(folder: &Path, report: &mut Report) {
    let folder = folder.join("catalog");
    fill(&folder);
    let (mut cold, mut known, mut restarted) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let file = folder.join("tenants/bench/catalog");
        if file.exists() {
            std::fs::remove_dir_all(&file).expect("it is ours");
        }
        for first in [&mut cold, &mut restarted] {
            let engine = engine(&folder);
            let tenant = engine.tenant("bench").expect("it opens");
            first.push(asked(&tenant));
            known.push(asked(&tenant));
        }
    }
    for (name, times) in [("first", &mut cold), ("known", &mut known), ("after a restart", &mut restarted)] {
        let (median, slowest) = (quantile(times, 0.5), quantile(times, 1.0));
        let figures = [("ms", median * 1e3), ("slowest_ms", slowest * 1e3), ("events/s", EVENTS as f64 / median)];
        report.add(&format!("catalog: {name}"), &figures);
    }
}

/// Seconds until all types are put together.
fn asked(tenant: &Tenant) -> f64 {
    let begin = Instant::now();
    let seen = tenant.catalog(&CatalogAsked::default()).expect("a disk");
    let events: u64 = seen.types.iter().map(|of| of.events).sum();
    assert_eq!((seen.types.len(), events), (TYPES, EVENTS as u64));
    begin.elapsed().as_secs_f64()
}

fn fill(folder: &Path) {
    let engine = engine(folder);
    let tenant = engine.tenant("bench").expect("it opens");
    let note = "n".repeat(NOTE);
    for first in (0..EVENTS).step_by(1_000) {
        let prepared = (first..first + 1_000).map(|number| {
            let (kind, source) = (number % TYPES, number / TYPES % SOURCES);
            let event =
                Event::builder(format!("{number:08}"), format!("/bench/{source}"), format!("order.placed-{kind}"))
                    .subject(format!("order/{:06}", number % 1_000))
                    .json(format!(r#"{{"total":{}.25,"note":"{note}"}}"#, number % 1_000))
                    .build()
                    .expect("an event");
            tenant.prepare(&event, None).expect("it is not too large")
        });
        tenant.publish_wait(prepared.collect()).expect("a disk");
    }
}
