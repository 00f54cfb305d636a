//! One suite of behaviours over both kinds of stores: a test bus that behaved otherwise would prove nothing.

use quipu::testing::{Seen, published};
use quipu::{Cause, Event, Filter, NewSchema, NotHandled, Published, Query, Quipu, Refusal, Start, Upcaster};
use serde_json::json;

use super::account::{Account, Ask, Entry, No};

type Behaviour = (&'static str, fn(&Quipu));

const BEHAVIOURS: [Behaviour; 15] = [
    ("what is decided is recorded and loaded", what_is_decided_is_recorded_and_loaded),
    ("a refusal and a decision for nothing leave nothing", a_refusal_and_a_decision_for_nothing_leave_nothing),
    ("events carry stream, source, tags and cause", events_carry_stream_source_tags_and_cause),
    ("a repeated command is answered with its first outcome", a_repeated_command_is_answered_with_its_first_outcome),
    ("a command given by many at once is handled once", a_command_given_by_many_at_once_is_handled_once),
    ("a command id belongs to one aggregate", a_command_id_belongs_to_one_aggregate),
    ("old events are read by way of upcasters", old_events_are_read_by_way_of_upcasters),
    ("a snapshot is not used once an upcaster is another", a_snapshot_is_not_used_once_an_upcaster_is_another),
    ("what cannot be read back is not written", what_cannot_be_read_back_is_not_written),
    ("a query that says nothing is refused", a_query_that_says_nothing_is_refused),
    ("events that the code does not know stop it", events_that_the_code_does_not_know_stop_it),
    ("data beside the log is read", data_beside_the_log_is_read),
    ("repeats and conflicts of plain events", repeats_and_conflicts_of_plain_events),
    ("followers see what is published", followers_see_what_is_published),
    ("tenants are apart", tenants_are_apart),
];

#[test]
fn a_store_in_memory_behaves_as_one_in_a_folder() {
    let options = || quipu::Options { claim_check_bytes: 2_000, ..Default::default() };
    for (name, behaviour) in BEHAVIOURS {
        let folder = tempfile::tempdir().unwrap();
        for quipu in [Quipu::open_with(folder.path(), options()), Quipu::in_memory_with(options())] {
            eprintln!("{name}");
            behaviour(&quipu.unwrap());
        }
    }
}

fn what_is_decided_is_recorded_and_loaded(quipu: &Quipu) {
    let accounts = quipu.aggregates::<Account>();
    assert_eq!(accounts.load("ada").unwrap().version, 0);
    accounts.execute("ada", &Ask::Deposit(100.0)).unwrap();
    let handled = accounts.execute("ada", &Ask::Withdraw(100.0)).unwrap();
    assert_eq!(handled.events, [Entry::Debited { amount: 100.0, fee: 0.0 }, Entry::Closed]);
    let versions: Vec<_> = handled.places.iter().map(|place| (place.position, place.stream_version)).collect();
    assert_eq!((versions, handled.is_duplicate), (vec![(2, Some(2)), (3, Some(3))], false));
    let loaded = accounts.load("ada").unwrap();
    assert_eq!((loaded.state.balance, loaded.state.notes, loaded.version), (0.0, vec!["closed".to_owned()], 3));
    let expected = [
        Seen::new("account/ada", "account.credited", json!({"amount": 100.0})),
        Seen::new("account/ada", "account.debited.v2", json!({"amount": 100.0, "fee": 0.0})),
        Seen::new("account/ada", "account.closed", json!(null)),
    ];
    assert_eq!(published(quipu).unwrap(), expected);
}

fn a_refusal_and_a_decision_for_nothing_leave_nothing(quipu: &Quipu) {
    let accounts = quipu.aggregates::<Account>();
    let refused = accounts.execute("ada", &Ask::Withdraw(1.0)).unwrap_err();
    assert_eq!(refused.refusal(), Some(&No::Missing(1.0)));
    let handled = accounts.execute("ada", &Ask::Nothing).unwrap();
    assert_eq!((handled.events.len(), handled.places.len(), quipu.position()), (0, 0, 0));
}

fn events_carry_stream_source_tags_and_cause(quipu: &Quipu) {
    let accounts = quipu.aggregates::<Account>();
    let attributes = |position: u64| {
        let recorded = quipu.event_at(position).unwrap().unwrap();
        let event = recorded.event();
        let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
        let ids = [text(event.correlation_id()), text(event.causation_id())];
        (event.id().to_owned(), text(event.subject()), event.source().to_owned(), text(event.attribute("tags")), ids)
    };
    accounts.clone().caused_by(Cause::command("c1")).execute("ada", &Ask::Deposit(1.0)).unwrap();
    let (id, stream, source, tags, ids) = attributes(1);
    assert_eq!([id, stream, source, tags], ["c1/1", "account/ada", "/account", "bank:b1"]);
    assert_eq!(ids, ["c1", "c1"]);

    let order = Event::builder("o7", "/shop", "order.placed").correlation_id("cart-3").build().unwrap();
    let alone = Event::builder("o8", "/shop", "order.placed").build().unwrap();
    for (position, cause, expected) in [
        (2, Cause::event(&order), ["cart-3", "o7"]),
        (3, Cause::event(&alone), ["o8", "o8"]),
        (4, Cause::command("c2").with_correlation_id("cart-3"), ["cart-3", "c2"]),
        (5, Cause::event(&order).with_command_id("o7/pay"), ["cart-3", "o7"]),
        (6, Cause::default(), ["-", "-"]),
    ] {
        accounts.clone().caused_by(cause).execute("ada", &Ask::Deposit(1.0)).unwrap();
        assert_eq!(attributes(position).4, expected, "position {position}");
    }
    assert_eq!(attributes(5).0, "o7/pay/1");
    assert_ne!(attributes(6).0, attributes(3).0);
}

fn a_repeated_command_is_answered_with_its_first_outcome(quipu: &Quipu) {
    let accounts = quipu.aggregates::<Account>();
    accounts.execute("ada", &Ask::Deposit(100.0)).unwrap();
    let again = accounts.clone().caused_by(Cause::command("all"));
    let first = again.execute("ada", &Ask::Withdraw(100.0)).unwrap();
    // It would be refused now.
    let second = again.execute("ada", &Ask::Withdraw(100.0)).unwrap();
    assert_eq!((first.is_duplicate, second.is_duplicate), (false, true));
    assert_eq!((first.events, first.places), (second.events, second.places));
    // Behind events of others, and of another command whose id begins alike.
    let like = accounts.clone().caused_by(Cause::command("all/1"));
    like.execute("ada", &Ask::Deposit(1.0)).unwrap();
    assert_eq!(again.execute("ada", &Ask::Nothing).unwrap().places.len(), 2);
    assert_eq!(quipu.position(), 4);
    // The same across aggregates.
    let query = accounts.tagged(["bank:b1"]);
    let across = accounts.clone().caused_by(Cause::command("across"));
    let note = Ask::Note("seen".into());
    let first = across.execute_where(&query, &note).unwrap();
    let second = across.execute_where(&query, &note).unwrap();
    assert_eq!((first.places, second.is_duplicate, quipu.position()), (second.places, true, 5));
}

fn a_command_given_by_many_at_once_is_handled_once(quipu: &Quipu) {
    for round in 0..30 {
        let id = round.to_string();
        quipu.aggregates::<Account>().execute(&id, &Ask::Deposit(100.0)).unwrap();
        let before = quipu.position();
        let accounts = quipu.aggregates::<Account>().caused_by(Cause::command(format!("all-{round}")));
        // Whoever loads what another has appended would refuse: nothing is left.
        let handled: Vec<_> = std::thread::scope(|scope| {
            let withdraw = || accounts.execute(&id, &Ask::Withdraw(100.0)).unwrap();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(withdraw)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(handled.iter().all(|one| one.places == handled[0].places && one.events.len() == 2));
        assert_eq!(handled.iter().filter(|one| !one.is_duplicate).count(), 1);
        assert_eq!(quipu.position(), before + 2);
    }
}

fn a_command_id_belongs_to_one_aggregate(quipu: &Quipu) {
    let accounts = quipu.aggregates::<Account>().caused_by(Cause::command("c1"));
    accounts.execute("ada", &Ask::Deposit(1.0)).unwrap();
    match accounts.execute("bob", &Ask::Deposit(1.0)) {
        Err(NotHandled::Failed(quipu::Error::Refused(Refusal::IdConflict { position: 1, .. }))) => {}
        other => panic!("expected a conflict of ids, found {other:?}"),
    }
    assert_eq!(quipu.position(), 1);
}

fn publish(quipu: &Quipu, id: &str, kind: &str, data: &str) -> Published {
    let builder = Event::builder(id.to_owned(), "/legacy", kind.to_owned()).subject("account/ada");
    quipu.publish(&builder.json(data.to_owned()).build().unwrap()).unwrap()
}

fn old_events_are_read_by_way_of_upcasters(quipu: &Quipu) {
    let accounts = quipu.aggregates::<Account>();
    publish(quipu, "1", "account.credited", r#"{"amount":100}"#);
    publish(quipu, "2", "account.debited", r#"{"amount":30}"#);
    match accounts.load("ada") {
        Err(error @ NotHandled::Unreadable { position: 2, .. }) => {
            assert!(error.to_string().contains("account.debited.v2"), "{error}");
            assert!(error.to_string().contains("upcaster"), "{error}");
        }
        other => panic!("expected an unreadable event, found {other:?}"),
    }
    let schema = |field: &str| json!({"type": "object", "required": [field]}).to_string();
    let register = |text: String, upcaster: Option<&str>| {
        let upcaster = upcaster.map(|jq| Upcaster::Jq(jq.to_owned()));
        quipu.register_schema("account.debited", NewSchema { text, upcaster, ..NewSchema::default() }).unwrap();
    };
    register(schema("amount"), None);
    register(schema("fee"), Some(". + {fee: 2}"));
    // The code knows version 2, and goes on with it when there is a third.
    register(schema("tax"), Some("{tax: 1}"));
    let loaded = accounts.load("ada").unwrap();
    assert_eq!((loaded.state.balance, loaded.version), (68.0, 2));
    accounts.execute("ada", &Ask::Withdraw(68.0)).unwrap();
    assert_eq!(accounts.load("ada").unwrap().state.balance, 0.0);
}

fn a_snapshot_is_not_used_once_an_upcaster_is_another(quipu: &Quipu) {
    let schema = |field: &str| json!({"type": "object", "required": [field]}).to_string();
    quipu.register_schema("account.debited", NewSchema { text: schema("amount"), ..NewSchema::default() }).unwrap();
    let upcaster = |fee: u32| Some(Upcaster::Jq(format!(".fee = {fee}")));
    let second = NewSchema { text: schema("fee"), upcaster: upcaster(1), ..NewSchema::default() };
    quipu.register_schema("account.debited", second).unwrap();
    for number in 0..10 {
        publish(quipu, &number.to_string(), "account.debited", r#"{"amount":10}"#);
    }
    let accounts = quipu.aggregates::<Account>();
    // A snapshot is kept here, and would be what the next load begins with.
    assert_eq!(accounts.load("ada").unwrap().state.balance, -110.0);
    quipu.set_upcaster("account.debited", 2, upcaster(3)).unwrap();
    assert_eq!(accounts.load("ada").unwrap().state.balance, -130.0);
}

fn what_cannot_be_read_back_is_not_written(quipu: &Quipu) {
    let accounts = quipu.aggregates::<Account>();
    // No number at all is neither positive nor not.
    let unwritable = accounts.execute("ada", &Ask::Deposit(f64::NAN)).unwrap_err();
    assert!(matches!(unwritable, NotHandled::Unwritable { index: 0, .. }), "{unwritable}");
    assert_eq!(quipu.position(), 0);
}

fn a_query_that_says_nothing_is_refused(quipu: &Quipu) {
    let accounts = quipu.aggregates::<Account>();
    for tags in [vec!["no tag at all"], vec!["a:b"; 1_000]] {
        let refused = accounts.execute_where(&accounts.tagged(tags), &Ask::Deposit(1.0)).unwrap_err();
        assert!(matches!(refused, NotHandled::InvalidQuery(_)), "{refused}");
    }
    let refused = accounts.execute_where(&Query::default(), &Ask::Deposit(1.0)).unwrap_err();
    assert!(matches!(refused, NotHandled::InvalidQuery(_)), "{refused}");
}

fn events_that_the_code_does_not_know_stop_it(quipu: &Quipu) {
    let accounts = quipu.aggregates::<Account>();
    publish(quipu, "1", "account.frozen", "{}");
    let error = accounts.execute("ada", &Ask::Deposit(1.0)).unwrap_err();
    let said = "position 1: expected one of account.credited, account.debited.v2, account.noted, account.closed, found account.frozen";
    assert!(error.to_string().contains(said), "{error}");
    assert_eq!(quipu.position(), 1);
}

fn data_beside_the_log_is_read(quipu: &Quipu) {
    let accounts = quipu.aggregates::<Account>();
    let text = "x".repeat(5_000);
    accounts.execute("ada", &Ask::Note(text.clone())).unwrap();
    assert_eq!(quipu.stats().unwrap().payloads, 1);
    assert_eq!(accounts.load("ada").unwrap().state.notes, std::slice::from_ref(&text));
    assert_eq!(published(quipu).unwrap(), [Seen::new("account/ada", "account.noted", json!(text))]);
}

fn repeats_and_conflicts_of_plain_events(quipu: &Quipu) {
    assert!(matches!(publish(quipu, "1", "a", "1"), Published::Recorded(_)));
    assert!(matches!(publish(quipu, "1", "a", "1"), Published::Duplicate(_)));
    let other = Event::builder("1", "/legacy", "a").subject("account/ada").json("2").build().unwrap();
    assert!(matches!(quipu.publish(&other), Err(quipu::Error::Refused(Refusal::IdConflict { .. }))));
    let append = quipu::Append::of([Event::builder("2", "/s", "a").build().unwrap()]);
    let refused = quipu.append(append.expect_version("account/ada", 7));
    assert!(matches!(refused, Err(quipu::Error::Refused(Refusal::ConditionsFailed(_)))));
    assert_eq!(quipu.position(), 1);
}

fn followers_see_what_is_published(quipu: &Quipu) {
    let mut follower = quipu.follow(Filter::default(), Start::End);
    quipu.aggregates::<Account>().execute("ada", &Ask::Deposit(1.0)).unwrap();
    let events = follower.next(10, std::time::Duration::from_secs(10)).unwrap();
    assert_eq!(events[0].event().kind(), "account.credited");
}

fn tenants_are_apart(quipu: &Quipu) {
    let acme = quipu.tenant("acme").unwrap();
    for _ in 0..20 {
        acme.aggregates::<Account>().execute("ada", &Ask::Deposit(1.0)).unwrap();
    }
    let balance = |quipu: &Quipu| quipu.aggregates::<Account>().load("ada").unwrap().state.balance;
    assert_eq!((balance(&acme), balance(quipu)), (20.0, 0.0));
}
