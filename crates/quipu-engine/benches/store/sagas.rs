//! Sagas of three steps, in process, with participants that answer each command: completions a second, and what one takes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quipu_domain::{Direction, Event, Filter};
use quipu_engine::{SagaDeclaration, Tenant};

use super::{Report, engine};

const SAGA: &str = r#"{"saga": "order_fulfilment", "starts_on": "order.placed",
    "steps": [
        {"reserve_inventory": {"send": "inventory.reserve", "await": "inventory.reserved", "fail_on": "inventory.rejected",
            "timeout": "30s", "retry": {"max": 3, "backoff": "exponential"}, "compensate": "inventory.release"}},
        {"process_payment": {"send": "payment.charge", "await": "payment.charged", "fail_on": "payment.declined",
            "timeout": "2m", "compensate": "payment.refund"}},
        {"ship_order": {"send": "shipment.create", "await": "shipment.created", "timeout": "1d", "compensate": "shipment.cancel"}}
    ],
    "completes_with": "order.fulfilled", "fails_with": "order.failed"}"#;

/// Answers every command, and counts the orders that are fulfilled.
fn participate(tenant: &Arc<Tenant>, orders: u64, is_over: &AtomicBool) {
    let (mut from, mut fulfilled) = (1, 0);
    while fulfilled < orders {
        let page = tenant.read(&Filter::default(), Direction::Forward, Some(from), 5_000).expect("read");
        let mut answers = Vec::new();
        for recorded in &page.events {
            from = recorded.stamp.position + 1;
            let event = recorded.event();
            let kind = match event.kind() {
                "inventory.reserve" => "inventory.reserved",
                "payment.charge" => "payment.charged",
                "shipment.create" => "shipment.created",
                "order.fulfilled" => {
                    fulfilled += 1;
                    continue;
                }
                _ => continue,
            };
            let answer = Event::builder(event.id().to_owned(), "/bench/participants", kind)
                .subject(event.subject().unwrap_or_default().to_owned())
                .correlation_id(event.correlation_id().unwrap_or_default().to_owned())
                .causation_id(event.id().to_owned())
                .json("{\"done\":true}")
                .build()
                .expect("a valid event");
            answers.push(tenant.prepare(&answer, None).expect("small enough"));
        }
        if answers.is_empty() {
            std::thread::sleep(Duration::from_micros(200));
        } else {
            tenant.publish(answers, |answer| assert!(answer.is_ok()));
        }
    }
    is_over.store(true, Ordering::Relaxed);
}

fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or_default() * 4_096.0
}

fn completions(folder: &Path, report: &mut Report) {
    let engine = engine(&folder.join("sagas"));
    let tenant = engine.tenant("default").expect("opened");
    tenant
        .apply_saga(SagaDeclaration::Saga(serde_json::from_str(SAGA).expect("a saga")), false, false)
        .expect("applied");
    let orders = 100_000;
    let is_over = AtomicBool::new(false);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| participate(&tenant, orders, &is_over));
        for first in (0..orders).step_by(1_000) {
            let placed = (first..first + 1_000).map(|n| {
                let event =
                    Event::builder(format!("order-{n}"), "/bench/shop", "order.placed").subject(format!("order/{n}"));
                let event = event
                    .correlation_id(format!("order-{n}"))
                    .json("{\"total\":4200,\"lines\":[{\"sku\":\"a\",\"count\":2}]}");
                tenant.prepare(&event.build().expect("a valid event"), None).expect("small enough")
            });
            tenant.publish_wait(placed.collect()).expect("published");
        }
        while !is_over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let stats = tenant.stats().expect("counted");
    let events = tenant.position() as f64;
    report.add(
        "sagas_of_three_steps",
        &[
            ("completions_s", orders as f64 / seconds),
            ("events_s", events / seconds),
            ("bytes_each", stats.log_bytes as f64 / orders as f64),
        ],
    );
    engine.close().expect("closed");
}

/// A million instances that wait for their first answer.
fn open_instances(folder: &Path, report: &mut Report) {
    let path = folder.join("open");
    let first = engine(&path);
    let tenant = first.tenant("default").expect("opened");
    tenant
        .apply_saga(
            SagaDeclaration::Saga(serde_json::from_str(SAGA.replace("30s", "30d").as_str()).expect("a saga")),
            false,
            false,
        )
        .expect("applied");
    let orders: u64 = 1_000_000;
    let (before, start) = (resident_bytes(), Instant::now());
    for first in (0..orders).step_by(1_000) {
        let placed = (first..first + 1_000).map(|n| {
            let event = Event::builder(format!("order-{n}"), "/bench/shop", "order.placed")
                .correlation_id(format!("order-{n}"));
            tenant.prepare(&event.json("{\"total\":4200}").build().expect("a valid event"), None).expect("small enough")
        });
        tenant.publish_wait(placed.collect()).expect("published");
    }
    while tenant.position() < 2 * orders {
        std::thread::sleep(Duration::from_millis(10));
    }
    let begun_s = orders as f64 / start.elapsed().as_secs_f64();
    let mb = (resident_bytes() - before) / 1e6;
    first.close().expect("closed");
    drop((first, tenant));
    let start = Instant::now();
    let again = engine(&path);
    let tenant = again.tenant("default").expect("opened");
    let opening_s = start.elapsed().as_secs_f64();
    assert_eq!(tenant.sagas().expect("durable")[0].open, orders);
    report.add("sagas_million_open", &[("begun_s", begun_s), ("resident_mb_more", mb), ("opening_s", opening_s)]);
    again.close().expect("closed");
}

pub(super) fn run(folder: &Path, report: &mut Report) {
    completions(folder, report);
    open_instances(folder, report);
}
