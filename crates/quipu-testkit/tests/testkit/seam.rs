//! The engine on a log that is not files: it takes its time, fails, and has another writer.

use std::sync::Arc;
use std::sync::mpsc;

use quipu_domain::{Direction, Event, Filter, Timestamp};
use quipu_engine::{Fault, Options, Published, Tenant, World};
use quipu_store::Log;
use quipu_testkit::{FaultyDisk, MemoryLog, SeededRandom, VirtualClock};

fn open(log: &Arc<MemoryLog>) -> Arc<Tenant> {
    let log: Arc<dyn Log> = Arc::clone(log) as Arc<dyn Log>;
    let options = Options { run_events: 10, ..Options::default() };
    let world = World {
        storage: Arc::new(FaultyDisk::new(1)),
        clock: Arc::new(VirtualClock::new(Timestamp(1))),
        random: Arc::new(SeededRandom::new(1)),
    };
    Tenant::open_on(log, &world, "t", options).unwrap()
}

fn publish(tenant: &Arc<Tenant>, id: &str) -> mpsc::Receiver<Result<Vec<Published>, Fault>> {
    let event = Event::builder(id, "/s", "t").subject("s").build().unwrap();
    let (sender, answer) = mpsc::channel();
    tenant.publish(vec![tenant.prepare(&event, None).unwrap()], move |result| sender.send(result).unwrap());
    answer
}

fn readable(tenant: &Tenant) -> usize {
    tenant.read(&Filter::default(), Direction::Forward, None, 1_000).unwrap().events.len()
}

#[test]
fn the_engine_works_on_any_log_and_after_its_crash() {
    let log = Arc::new(MemoryLog::default());
    let tenant = open(&log);
    for i in 0..35 {
        let answer = publish(&tenant, &i.to_string());
        tenant.decide();
        tenant.flush();
        assert!(matches!(answer.recv().unwrap().unwrap()[..], [Published::Recorded(place)] if place.position == i + 1));
        while tenant.maintain().unwrap() {}
    }
    publish(&tenant, "lost");
    tenant.decide();
    let reopened = open(&Arc::new(log.crash()));
    assert_eq!(readable(&reopened), 35);
    assert_eq!(reopened.stream("s").unwrap().version, 35);
}

#[test]
fn nothing_is_answered_before_a_slow_log_has_it() {
    let log = Arc::new(MemoryLog::default());
    let tenant = open(&log);
    log.delay(3);
    let answer = publish(&tenant, "1");
    tenant.decide();
    for _ in 0..3 {
        tenant.flush();
        assert!(answer.try_recv().is_err());
        assert_eq!(readable(&tenant), 0);
    }
    tenant.flush();
    assert!(answer.recv().unwrap().is_ok());
    assert_eq!(readable(&tenant), 1);
}

#[test]
fn a_log_that_fails_refuses_everything_after() {
    let log = Arc::new(MemoryLog::default());
    let tenant = open(&log);
    let first = publish(&tenant, "1");
    tenant.decide();
    log.fail(Fault::Closed);
    tenant.flush();
    assert!(first.recv().unwrap().is_err());
    assert!(matches!(publish(&tenant, "2").recv().unwrap(), Err(Fault::Poisoned { .. })));
    assert_eq!(readable(&tenant), 0);
}

#[test]
fn an_owner_that_was_replaced_cannot_append() {
    let log = Arc::new(MemoryLog::default());
    let tenant = open(&log);
    log.append_elsewhere();
    let answer = publish(&tenant, "1");
    tenant.decide();
    tenant.flush();
    assert!(matches!(answer.recv().unwrap(), Err(Fault::Fenced { expected: 1, actual: 2 })));
    assert!(publish(&tenant, "2").recv().unwrap().is_err());
}
