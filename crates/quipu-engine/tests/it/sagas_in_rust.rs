//! Sagas that are written in Rust: their code is brought anew at each opening, and nothing is missed before it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quipu_domain::saga::{ActKind, NotPossible, Outcome, Sending, Wait, Wanted, Which, Written};
use quipu_domain::{Direction, Event, Filter};
use quipu_engine::{
    CodeInput, InstanceFilter, InstanceState, NotDone, PlanName, Published, SagaCode, SagaDeclaration, SagaRefusal,
    Tenant,
};

use crate::support::*;

/// Charges when an order is placed, for up to three times as long as nobody answers.
struct Payment {
    /// How often it was asked.
    asked: Arc<AtomicU32>,
    /// Whether it fails at answers.
    is_broken: bool,
}

impl SagaCode for Payment {
    fn ask(&self, state: Option<&str>, input: CodeInput<'_>) -> Result<Wanted, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let times: u32 = state.map_or(0, |state| state.parse().unwrap());
        let send = |kind: &str| vec![Sending { kind: kind.into(), subject: None, data: None }];
        let end = |kind, outcome| Wanted {
            state: times.to_string().into(),
            sends: send(kind),
            timers: vec![],
            ends: Some(outcome),
        };
        let charge = || Wanted {
            state: (times + 1).to_string().into(),
            sends: send("payment.charge"),
            timers: vec![("answer".into(), Some(Wait::Ms(60_000)))],
            ends: None,
        };
        Ok(match input {
            CodeInput::Event(recorded) if recorded.event().kind() == "order.placed" => charge(),
            CodeInput::Event(_) if self.is_broken => return Err("it does not know answers".into()),
            CodeInput::Event(_) => end("order.paid", Outcome::Completed),
            CodeInput::Timer(name) => {
                assert_eq!(name, "answer");
                if times < 3 { charge() } else { end("order.failed", Outcome::Compensated) }
            }
            CodeInput::Cancel(_) => end("payment.refund", Outcome::Cancelled),
            CodeInput::NotSent { .. } => unreachable!("nothing has a schema"),
        })
    }
}

fn written(version: u32) -> Written {
    let which = |kind: &str| Which::Types(vec![kind.into()]);
    Written {
        saga: "payment".into(),
        version,
        starts_on: which("order.placed"),
        hears: Some(which("payment.charged")),
        key: None,
        again: Default::default(),
    }
}

struct Shop {
    tenant: Arc<Tenant>,
    clock: Arc<Hands>,
    folder: tempfile::TempDir,
    asked: Arc<AtomicU32>,
    next: u32,
}

impl Shop {
    fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(Hands::default()));
        clock.0.store(1_000_000_000, Ordering::Relaxed);
        let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
        Self { tenant, clock, folder, asked: Arc::default(), next: 0 }
    }

    fn bring(&self, version: u32, is_broken: bool) -> bool {
        let code = Arc::new(Payment { asked: Arc::clone(&self.asked), is_broken });
        let applied = self.tenant.bring_saga(written(version), code).unwrap();
        self.run();
        applied.is_new
    }

    fn publish(&mut self, kind: &str, correlation: &str) {
        self.next += 1;
        let event = Event::builder(format!("outside-{}", self.next), "/outside", kind).correlation_id(correlation);
        assert!(matches!(publish(&self.tenant, &event.build().unwrap()), Published::Recorded(_)));
        self.run();
    }

    fn run(&self) {
        for _ in 0..20 {
            self.tenant.step_sagas();
            self.tenant.decide();
            self.tenant.flush();
        }
    }

    fn wait(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
        self.run();
    }

    fn restart(&mut self) {
        self.tenant.close().unwrap();
        let empty = tempfile::tempdir().unwrap();
        self.tenant = open_at(empty.path(), small(), Arc::clone(&self.clock)).unwrap();
        self.tenant = open_at(self.folder.path(), small(), Arc::clone(&self.clock)).unwrap();
        self.run();
    }

    /// The types of all events, oldest first, without those from outside.
    fn sent(&self) -> Vec<String> {
        let page = self.tenant.read(&Filter::default(), Direction::Forward, Some(1), 1_000).unwrap();
        let events = page
            .events
            .iter()
            .map(|recorded| (recorded.event().source().to_owned(), recorded.event().kind().to_owned()));
        events.filter(|(source, _)| source == "/quipu/sagas/payment").map(|(_, kind)| kind).collect()
    }

    fn states(&self) -> Vec<(String, InstanceState)> {
        let page = self.tenant.instances(&InstanceFilter::default(), None, 100).unwrap();
        page.instances.into_iter().map(|one| (one.key, one.state)).collect()
    }
}

#[test]
fn it_publishes_waits_and_ends_over_stops() {
    let mut shop = Shop::new();
    assert!(shop.bring(1, false));
    assert!(!shop.bring(1, false), "it is declared already");
    shop.publish("order.placed", "o1");
    shop.publish("order.placed", "o2");
    assert_eq!(shop.sent(), ["payment.charge"; 2]);
    let instance = shop.tenant.instance(1).unwrap();
    assert_eq!(
        instance.timers.iter().map(|(name, at)| (name.as_str(), at.0)).collect::<Vec<_>>(),
        [("answer", 1_060_000_000)]
    );
    assert_eq!(instance.waiting[1].0, "the timer answer");
    shop.publish("payment.charged", "o1");
    for stop in 0..3 {
        shop.restart();
        assert!(!shop.bring(1, false));
        shop.wait(61);
        assert_eq!(shop.sent().len(), 4 + stop, "{:?}", shop.sent());
    }
    let states = [("o2".to_owned(), InstanceState::Compensated), ("o1".to_owned(), InstanceState::Completed)];
    assert_eq!(shop.states(), states);
    let ends: Vec<String> = shop.sent().into_iter().filter(|kind| kind.starts_with("order.")).collect();
    assert_eq!(ends, ["order.paid", "order.failed"]);
    assert_eq!(shop.asked.load(Ordering::Relaxed), 6, "nothing is asked twice");
}

#[test]
fn without_its_code_nothing_goes_on_and_nothing_is_missed() {
    let mut shop = Shop::new();
    shop.bring(1, false);
    shop.publish("order.placed", "o1");
    shop.restart();
    shop.publish("payment.charged", "o1");
    shop.publish("order.placed", "o2");
    shop.wait(120);
    assert!(!shop.tenant.step_sagas());
    assert!(shop.tenant.next_of_sagas().is_none(), "nobody is woken for what cannot be done");
    assert_eq!(shop.sent(), ["payment.charge"]);
    let info = shop.tenant.saga(&PlanName::saga("payment")).unwrap();
    assert!(info.lacks_code && info.behind >= 2, "{info:?}");
    match shop.tenant.act_on_instance(1, ActKind::Cancel, "", 0) {
        Err(NotDone::RefusedSaga(SagaRefusal::NotPossible(NotPossible::NoCode))) => {}
        other => panic!("{other:?}"),
    }
    // What is declared is not held up where people are concerned.
    assert_eq!(shop.states().len(), 1);
    shop.bring(1, false);
    // The answer came in time, though it is read long after that.
    assert_eq!(shop.sent(), ["payment.charge", "order.paid", "payment.charge"]);
    assert!(!shop.tenant.saga(&PlanName::saga("payment")).unwrap().lacks_code);
}

#[test]
fn code_that_is_lost_can_be_got_rid_of() {
    let mut shop = Shop::new();
    shop.bring(1, false);
    let declared =
        r#"{"saga": "order", "starts_on": "cart.sent", "steps": [{"w": {"wait": "paid", "timeout": "1h"}}]}"#;
    shop.tenant.apply_saga(SagaDeclaration::Saga(serde_json::from_str(declared).unwrap()), false, false).unwrap();
    shop.publish("order.placed", "o1");
    shop.publish("cart.sent", "c1");
    shop.restart();
    assert_eq!(shop.tenant.act_on_instance(2, ActKind::Cancel, "", 0).unwrap(), InstanceState::Cancelled);
    assert_eq!(shop.tenant.act_on_instance(1, ActKind::Resolve, "by hand", 0).unwrap(), InstanceState::Resolved);
    shop.tenant.remove_saga(&PlanName::saga("payment")).unwrap();
    shop.publish("cart.sent", "c2");
    assert_eq!(shop.states()[0], ("c2".to_owned(), InstanceState::Running), "the others go on");
}

#[test]
fn a_version_without_open_instances_needs_no_code() {
    let mut shop = Shop::new();
    shop.bring(1, false);
    shop.publish("order.placed", "o1");
    shop.publish("payment.charged", "o1");
    shop.bring(2, false);
    shop.restart();
    shop.bring(2, false);
    shop.publish("order.placed", "o2");
    assert_eq!(shop.states()[0], ("o2".to_owned(), InstanceState::Running));
}

#[test]
fn another_start_in_a_pause_is_nothing_to_it() {
    let mut shop = Shop::new();
    shop.bring(1, false);
    shop.publish("order.placed", "o1");
    shop.tenant.act_on_instance(1, ActKind::Pause { place: 0 }, "", 0).unwrap();
    shop.publish("order.placed", "o1");
    assert_eq!(shop.tenant.act_on_instance(1, ActKind::Resume, "", 0).unwrap(), InstanceState::Running);
    assert_eq!(shop.sent(), ["payment.charge"]);
}

#[test]
fn a_paused_one_that_is_undone_is_told_first_what_came() {
    let mut shop = Shop::new();
    shop.bring(1, false);
    let around = r#"{"saga": "order", "starts_on": "order.placed", "steps": [
        {"pay": {"saga": "payment", "timeout": "1h"}}]}"#;
    shop.tenant.remove_saga(&PlanName::saga("payment")).unwrap();
    let mut hears = written(1);
    hears.starts_on = Which::Types(vec!["never".into()]);
    let code = Arc::new(Payment { asked: Arc::clone(&shop.asked), is_broken: false });
    shop.tenant.bring_saga(hears, code).unwrap();
    shop.tenant.apply_saga(SagaDeclaration::Saga(serde_json::from_str(around).unwrap()), false, false).unwrap();
    shop.publish("order.placed", "o1");
    assert_eq!(shop.sent(), ["payment.charge"]);
    let child = shop.tenant.instance(2).unwrap();
    shop.tenant.act_on_instance(2, ActKind::Pause { place: 0 }, "", 0).unwrap();
    shop.publish("payment.charged", &child.key);
    assert_eq!(shop.tenant.act_on_instance(1, ActKind::Cancel, "", 0).unwrap(), InstanceState::Cancelled);
    shop.run();
    assert_eq!(shop.sent(), ["payment.charge", "order.paid", "payment.refund"], "it knew of the payment");
}

#[test]
fn code_that_fails_asks_a_person_who_retries() {
    let mut shop = Shop::new();
    shop.bring(1, true);
    shop.publish("order.placed", "o1");
    shop.publish("payment.charged", "o1");
    shop.publish("payment.charged", "o1");
    assert_eq!(shop.states(), [("o1".to_owned(), InstanceState::NeedsPerson)]);
    let instance = shop.tenant.instance(1).unwrap();
    assert_eq!(instance.acts, ["retry", "skip", "resolve"]);
    assert!(instance.waiting[0].0.contains("its code failed"), "{:?}", instance.waiting);
    // It is mended: another program brings the same version.
    shop.restart();
    shop.bring(1, false);
    assert_eq!(shop.sent(), ["payment.charge"]);
    assert_eq!(shop.tenant.act_on_instance(1, ActKind::Retry { from: None }, "", 0).unwrap(), InstanceState::Completed);
    assert_eq!(shop.sent(), ["payment.charge", "order.paid"]);
}

#[test]
fn a_person_cancels_and_its_code_undoes() {
    let mut shop = Shop::new();
    shop.bring(1, false);
    shop.publish("order.placed", "o1");
    let state = shop.tenant.act_on_instance(1, ActKind::Cancel, "the customer called", 0).unwrap();
    assert_eq!(
        (state, shop.sent().as_slice()),
        (InstanceState::Cancelled, ["payment.charge".into(), "payment.refund".into()].as_slice())
    );
}

#[test]
fn instances_stay_with_the_version_that_they_began_with() {
    let mut shop = Shop::new();
    shop.bring(1, false);
    shop.publish("order.placed", "o1");
    assert!(shop.bring(2, false));
    shop.publish("order.placed", "o2");
    shop.restart();
    // Both have open instances.
    shop.bring(2, false);
    shop.publish("payment.charged", "o1");
    assert_eq!(shop.sent().len(), 2, "the code of the first is missing");
    assert!(!shop.bring(1, false));
    shop.publish("payment.charged", "o2");
    assert_eq!(shop.sent().len(), 4);
    let versions = [shop.tenant.instance(1).unwrap().version, shop.tenant.instance(2).unwrap().version];
    assert_eq!(versions, [1, 2]);
    // Another declaration under a number that is taken.
    let other = Written { hears: None, ..written(2) };
    let code = Arc::new(Payment { asked: Arc::default(), is_broken: false });
    match shop.tenant.bring_saga(other, code) {
        Err(NotDone::RefusedSaga(SagaRefusal::Invalid { findings })) => assert_eq!(findings[0].path, "/version"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_declared_saga_begins_one_and_has_it_undone() {
    let mut shop = Shop::new();
    shop.bring(1, false);
    let around = r#"{"saga": "order", "starts_on": "cart.sent", "steps": [
        {"pay": {"saga": "payment", "timeout": "1h"}},
        {"ship": {"send": "ship", "await": "shipped", "fail_on": "lost", "timeout": "1h", "compensate": "none"}}]}"#;
    let around = SagaDeclaration::Saga(serde_json::from_str(around).unwrap());
    shop.tenant.apply_saga(around, false, false).unwrap();
    shop.publish("cart.sent", "c1");
    // To its code a cart is as good as an answer.
    assert_eq!(shop.sent(), ["order.paid"]);
    shop.publish("lost", "c1");
    assert_eq!(shop.sent(), ["order.paid", "payment.refund"]);
    let states: Vec<InstanceState> = shop.states().into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [InstanceState::Cancelled, InstanceState::Compensated]);
}
