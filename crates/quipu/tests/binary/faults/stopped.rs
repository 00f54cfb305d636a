//! A process that stands still (SIGSTOP) for longer than its clients wait, and goes on.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::load::{Connection, End, Load};
use super::server::Serving;
use crate::process::{DEADLINE, User};

/// How long consumers have, and some writers wait.
const DEADLINE_MS: u64 = 400;
/// How long it stands still: longer than that. This is the fault, so there is nothing else to wait for.
const STILL: Duration = Duration::from_millis(1_500);

/// Stops the server for that time.
fn stands_still(server: &Serving) {
    server.signal(Signal::STOP);
    server.reaches_state('T');
    sleep(STILL);
    server.signal(Signal::CONT);
}

fn pull(connection: &mut Connection) -> Value {
    let pulled = connection.post("/v1/subscriptions/billing/pull", &json!({"max": 1, "waitms": 10_000}));
    pulled.unwrap().ok()["deliveries"][0]["delivery"].clone()
}

fn answer(connection: &mut Connection, delivery: &Value) -> Value {
    let answer = json!({"position": delivery["position"], "token": delivery["token"], "outcome": "ack"});
    connection.post("/v1/subscriptions/billing/answers", &json!({"answers": [answer]})).unwrap().ok()
}

#[test]
fn after_a_standstill_patient_clients_go_on_others_repeat_and_nothing_is_lost_or_there_twice() {
    let user = User::new();
    let server = Serving::start(&user, &[]);
    let address = server.address();
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    load.be_patient(Duration::from_millis(DEADLINE_MS));
    let ends = load.run(&address, &mut ledger, |progress| {
        progress.wait_for(200);
        stands_still(&server);
    });
    assert!(ends.iter().any(|end| matches!(end, End::Gone)), "nobody gave up: {ends:?}");
    load.be_patient(DEADLINE);
    let ends = load.run(&address, &mut ledger, |progress| {
        progress.wait_for(200);
        stands_still(&server);
        progress.wait_for(200);
    });
    assert!(ends.iter().all(|end| matches!(end, End::Enough)), "{ends:?}");
    ledger.read_again(&address);
    assert_eq!(server.stop(), 0);
    user.run(&["store", "check", &user.path("data")]).ok();
}

#[test]
fn deliveries_whose_deadline_passed_in_a_standstill_come_again_and_late_answers_are_refused() {
    let user = User::new();
    let server = Serving::start(&user, &[]);
    let address = server.address();
    let mut connection = Connection::open(&address).unwrap();
    let retry = json!({"maxattempts": 10, "backoff": {"delaysms": [1]}});
    let definition = json!({
        "name": "billing", "start": "beginning", "ordering": "strict", "ackdeadlinems": DEADLINE_MS, "retry": retry,
    });
    assert_eq!(connection.post("/v1/subscriptions", &definition).unwrap().status, 201);
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    load.run(&address, &mut ledger, |progress| progress.wait_for(1));

    let first = pull(&mut connection);
    assert_eq!((&first["position"], &first["attempt"]), (&json!(1), &json!(1)));
    stands_still(&server);
    let again = pull(&mut connection);
    assert_eq!((&again["position"], &again["attempt"]), (&json!(1), &json!(2)));
    assert_ne!(again["token"], first["token"]);
    let late = answer(&mut connection, &first).to_string();
    assert!(late.contains("delivery-not-in-flight"), "{late}");
    let in_time = answer(&mut connection, &again).to_string();
    assert!(!in_time.contains("delivery-not-in-flight"), "{in_time}");
    ledger.read(&address);
}
