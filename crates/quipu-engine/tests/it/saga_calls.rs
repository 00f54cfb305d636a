//! Calls of sagas as the engine hands them out and takes their answers: what is recorded, what is told once more, and what a schema refuses.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use quipu_domain::saga::Answer;
use quipu_domain::schema::{Enforcement, SchemaRules};
use quipu_domain::{Data, Event, Quotas};
use quipu_engine::{
    CALL_ANSWERED, CallAnswer, CallState, Calls, CallsGuard, Engine, InstanceInfo, InstanceState, NewSchema, Published,
    SagaCall, SagaDeclaration, Tenant, World,
};
use quipu_store::DiskStorage;

use crate::support::*;

const PAY: &str = r#"{"saga": "pay", "starts_on": "order.placed", "steps": [
    {"charge": {"http": "https://bank.example/charges", "data": "{total: .start.data.total}", "compensate": "none"}},
    {"book": {"send": "charge.book", "data": ".steps.charge.data", "compensate": "none"}}]}"#;

/// Whoever calls: knows how often there was something to do, and one URL that may not be called.
#[derive(Default)]
struct Bank(AtomicUsize);

impl Calls for Bank {
    fn may_call(&self, url: &str) -> Result<(), String> {
        if url.contains("10.0.0.7") { Err("expected another".into()) } else { Ok(()) }
    }

    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Shop {
    tenant: Arc<Tenant>,
    bank: Arc<Bank>,
    _follows: CallsGuard,
    folder: tempfile::TempDir,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shop = Self::open(folder);
        shop.apply(PAY).unwrap();
        shop
    }

    fn open(folder: tempfile::TempDir) -> Self {
        let tenant = open_at(folder.path(), small(), Arc::new(Hands::default())).unwrap();
        let bank = Arc::new(Bank::default());
        let follows = tenant.on_calls(Arc::clone(&bank) as Arc<dyn Calls>).unwrap();
        Self { tenant, bank, _follows: follows, folder }
    }

    fn apply(&self, text: &str) -> Result<(), quipu_engine::NotDone> {
        let declaration = SagaDeclaration::Saga(serde_json::from_str(text).unwrap());
        self.tenant.apply_saga(declaration, false, false).map(drop)
    }

    fn place(&self, data: &str) {
        let event = Event::builder("o1", "/shop", "order.placed").correlation_id("o1").json(data).build().unwrap();
        assert!(matches!(publish(&self.tenant, &event), Published::Recorded(_)));
        self.run();
    }

    fn run(&self) {
        for _ in 0..20 {
            self.tenant.step_sagas();
            self.tenant.decide();
            self.tenant.flush();
        }
    }

    fn reopened(self) -> Self {
        self.tenant.close().unwrap();
        let Self { tenant, folder, .. } = self;
        drop(tenant);
        Self::open(folder)
    }

    fn call(&self) -> SagaCall {
        let [call] = &self.tenant.take_calls(10)[..] else { panic!("expected one call") };
        call.clone()
    }

    /// Tells what an endpoint answered; it is durable when this returns.
    fn answer(&self, call: &SagaCall, answer: Answer, body: Option<&str>) {
        let answer = CallAnswer { answer, status: Some(200), text: "answered".into(), body: body.map(str::to_owned) };
        let (told, is_told) = channel();
        self.tenant.answer_call(call.number, call.attempt, answer, move |result| told.send(result).unwrap());
        self.run();
        is_told.try_recv().expect("it is told once it is durable").unwrap();
    }

    fn types(&self) -> Vec<String> {
        let at = |position| self.tenant.event_at(position).unwrap().unwrap();
        (1..=self.tenant.position()).map(|position| at(position).event().kind().to_owned()).collect()
    }

    fn data(&self, position: u64) -> Data<'static> {
        self.tenant.event_at(position).unwrap().unwrap().event().into_owned().data().clone()
    }
}

#[test]
fn a_call_is_handed_out_once_and_again_after_a_restart_until_it_is_answered() {
    let shop = Shop::new();
    assert!(!shop.tenant.has_calls());
    shop.place(r#"{"total":79}"#);
    assert_eq!(shop.bank.0.load(Ordering::SeqCst), 1);
    let call = shop.call();
    assert_eq!((call.url.as_str(), call.timeout_ms), ("https://bank.example/charges", 15_000));
    let CallState::Wanted(first) = shop.tenant.saga_call(call.number, call.attempt).unwrap() else { panic!("it is") };
    assert_eq!((first.body.as_str(), first.correlation_id.as_str()), (r#"{"total":79}"#, "o1"));
    assert!(!shop.tenant.has_calls());
    let shop = shop.reopened();
    assert_eq!(shop.call(), call);
    let again = shop.tenant.saga_call(call.number, call.attempt).unwrap();
    assert_eq!(again, CallState::Wanted(first), "the same under the same key");
    shop.answer(&call, Answer::Done, Some(r#"{"id":1.50}"#));
    assert_eq!(shop.types(), ["order.placed", CALL_ANSWERED, "charge.book"]);
    assert_eq!(shop.data(3), Data::Json(r#"{"id":1.50}"#.into()), "a number stays what it was");
    assert_eq!(shop.tenant.saga_call(call.number, call.attempt).unwrap(), CallState::NotWanted);
    // Another answer to it changes nothing.
    shop.answer(&call, Answer::Done, Some("2"));
    assert_eq!(shop.types().len(), 3);
    assert!(!shop.reopened().tenant.has_calls());
}

#[test]
fn an_answer_that_was_recorded_is_taken_instead_of_another_call() {
    let shop = Shop::new();
    shop.place(r#"{"total":79}"#);
    let call = shop.call();
    let answer = CallAnswer { answer: Answer::Done, status: Some(200), text: String::new(), body: Some("1".into()) };
    // The answer is in the log, and the server ends before the step hears of it.
    shop.tenant.answer_call(call.number, call.attempt, answer, |_| ());
    shop.tenant.decide();
    shop.tenant.flush();
    assert_eq!(shop.types(), ["order.placed", CALL_ANSWERED]);
    let shop = shop.reopened();
    assert_eq!(shop.call(), call);
    assert_eq!(shop.tenant.saga_call(call.number, call.attempt).unwrap(), CallState::Answered);
    shop.answer(&call, Answer::Done, None);
    assert_eq!(shop.types(), ["order.placed", CALL_ANSWERED, "charge.book"]);
    assert_eq!(shop.data(3), Data::Json("1".into()), "the first answer counts");
    assert_eq!(shop.tenant.instance(1).unwrap().state, InstanceState::Completed);
}

#[test]
fn an_answer_that_its_schema_refuses_counts_as_none() {
    let shop = Shop::new();
    let text = r#"{"type":"object","required":["id"],"properties":{"id":{"type":"string"}}}"#.to_owned();
    shop.tenant.register_schema(CALL_ANSWERED, NewSchema { text, ..NewSchema::default() }).unwrap();
    let rules = SchemaRules { enforcement: Some(Enforcement::Enforce), ..SchemaRules::default() };
    shop.tenant.set_schema_rules(None, rules).unwrap();
    shop.place(r#"{"total":79}"#);
    shop.answer(&shop.call(), Answer::Done, Some(r#"{"id":7}"#));
    assert_eq!(shop.types(), ["order.placed"]);
    let (timeline, _) = shop.tenant.timeline(1).unwrap();
    let said = timeline.iter().find_map(|entry| entry.note.text.clone()).unwrap();
    assert!(said.ends_with("cannot be recorded: a schema or a limit refuses it"), "{said}");
    assert_eq!(shop.tenant.instance(1).unwrap().state, InstanceState::Compensated);
}

#[test]
fn an_answer_that_nobody_could_publish_counts_as_none() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    for (levels, types, state) in [
        (101, &["order.placed"][..], InstanceState::Compensated),
        (100, &["order.placed", CALL_ANSWERED, "charge.book"], InstanceState::Completed),
    ] {
        let shop = Shop::new();
        shop.place(r#"{"total":79}"#);
        shop.answer(&shop.call(), Answer::Done, Some(&nested(levels)));
        assert_eq!(shop.types(), types, "{levels}");
        assert_eq!(shop.tenant.instance(1).unwrap().state, state);
    }
}

#[test]
fn a_command_and_an_event_of_a_rule_that_nobody_could_publish_are_not_sent() {
    let shop = Shop::new();
    let deep = "reduce range(101) as $n (1; [.])";
    let step = serde_json::json!({"send": "a.b", "data": deep, "compensate": "none"});
    let saga = serde_json::json!({"saga": "deep", "starts_on": "a.begun", "steps": [{"one": step}]});
    shop.apply(&saga.to_string()).unwrap();
    let rule = serde_json::json!({"rule": "deep", "on": "a.begun", "publish": {"type": "a.c", "data": deep}});
    let rule = SagaDeclaration::Rule(serde_json::from_str(&rule.to_string()).unwrap());
    shop.tenant.apply_saga(rule, false, false).unwrap();
    let event = Event::builder("1", "/shop", "a.begun").correlation_id("1").json("{}").build().unwrap();
    publish(&shop.tenant, &event);
    shop.run();
    assert_eq!(shop.types(), ["a.begun"]);
    let said: Vec<String> = (1..=2)
        .flat_map(|number| shop.tenant.timeline(number).unwrap().0)
        .filter_map(|entry| entry.note.text.clone().map(|text| text.to_string()))
        .filter(|text| text.contains("JSON of at most 100 levels"))
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn an_answer_that_a_full_tenant_cannot_record_counts_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let world = World {
        storage: Arc::new(DiskStorage::new(folder.path())),
        clock: Arc::new(Hands::default()),
        random: Arc::new(Counter::default()),
    };
    let engine = Engine::open(world, small()).unwrap();
    engine.create_tenant("a", Quotas::default()).unwrap();
    let tenant = engine.existing_tenant("a").unwrap();
    let _follows = tenant.on_calls(Arc::new(Bank::default())).unwrap();
    tenant.apply_saga(SagaDeclaration::Saga(serde_json::from_str(PAY).unwrap()), false, false).unwrap();
    let event = Event::builder("o1", "/shop", "order.placed").correlation_id("o1").json("{}").build().unwrap();
    assert!(matches!(publish(&tenant, &event), Published::Recorded(_)));
    let call = wait_for("a call", || tenant.take_calls(10).pop());
    engine.set_tenant_quotas("a", Quotas { storage_bytes: NonZeroU64::new(1), ..Quotas::default() }).unwrap();
    let answer =
        CallAnswer { answer: Answer::Done, status: Some(200), text: "answered".into(), body: Some("1".into()) };
    let (told, is_told) = channel();
    tenant.answer_call(call.number, call.attempt, answer, move |result| told.send(result).unwrap());
    is_told.recv().unwrap().unwrap();
    let is_ended = |found: &InstanceInfo| found.state != InstanceState::Running;
    let ended = wait_for("its end", || Some(tenant.instance(1).unwrap()).filter(is_ended));
    assert_eq!((ended.state, tenant.position()), (InstanceState::Compensated, 1), "nothing is recorded of it");
    engine.close().unwrap();
}

#[test]
fn what_may_not_be_called_is_not_declared() {
    let shop = Shop::new();
    let refused = shop.apply(&PAY.replace("bank.example", "10.0.0.7")).unwrap_err().to_string();
    assert!(refused.contains("/steps/charge/http") && refused.contains("expected another"), "{refused}");
}

#[test]
fn a_call_that_nobody_waits_for_any_more_is_not_made() {
    let shop = Shop::new();
    shop.place(r#"{"total":79}"#);
    let call = shop.call();
    shop.tenant.intervene(1, &quipu_engine::Intervention::Cancel, "").unwrap();
    assert_eq!(shop.tenant.saga_call(call.number, call.attempt).unwrap(), CallState::NotWanted);
    assert_eq!(shop.tenant.saga_call(99, call.attempt).unwrap(), CallState::NotWanted);
}
