//! The example of an order on the command line, with participants that are clients as any other, and over kills in each phase: every
//! command is in the log once.

use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Ran, Server, Shop, User};

const SOURCE: &str = "/quipu/sagas/order_fulfilment";

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/sagas").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The warehouse, the bank and the carrier, each behind a subscription of its own.
struct Participants {
    user: User,
    data: String,
    bank_declines: bool,
    carrier_answers: bool,
}

impl Participants {
    fn new() -> Self {
        let user = User::new();
        let data = user.path("data");
        Self { user, data, bank_declines: false, carrier_answers: true }
    }

    fn serve(&self) -> Server {
        self.user.serve(&["--data", &self.data])
    }

    fn run(&self, server: &Server, args: &[&str]) -> Ran {
        self.user.run(&[&["--url", &server.url], args].concat())
    }

    /// Declares the saga, with another time for the carrier, and has each participant subscribe to its commands.
    fn declare(&self, server: &Server, carrier_has: &str) {
        let file = self.user.write("order.yaml", &example("order_fulfilment.yaml").replace("timeout: 1d", carrier_has));
        for name in ["inventory", "payment", "shipment"] {
            let pattern = json!({"source": [SOURCE], "type": [{"prefix": format!("{name}.")}]}).to_string();
            self.run(server, &["subscription", "create", name, "--pattern", &pattern]).ok();
        }
        self.run(server, &["saga", "apply", &file]).ok();
    }

    fn place(&self, server: &Server, order: &str) {
        let event = json!({"specversion": "1.0", "id": order, "source": "/shop", "type": "order.placed",
            "subject": format!("order/{order}"), "correlationid": order, "data": {"total": 79}});
        self.publish(server, &[event]);
    }

    fn publish(&self, server: &Server, events: &[Value]) {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        self.user.run_with(&["--url", &server.url, "event", "publish", "-"], &lines).ok();
    }

    /// One of them does what it is asked for. A command that it gets twice is answered under the same id.
    fn take_part(&self, server: &Server, name: &str) -> usize {
        let pulled = self.run(server, &["subscription", "pull", name, "--max", "10", "--wait", "100ms"]).ok();
        let commands: Vec<Value> = pulled
            .stdout
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let answers: Vec<Value> = commands.iter().filter_map(|one| self.answer(&one["event"])).collect();
        if !answers.is_empty() {
            self.publish(server, &answers);
        }
        if !commands.is_empty() {
            let file = self.user.write("pulled.ndjson", &pulled.stdout);
            self.run(server, &["subscription", "ack", name, "--file", &file]).ok();
        }
        commands.len()
    }

    fn answer(&self, command: &Value) -> Option<Value> {
        let kind = match command["type"].as_str().unwrap() {
            "inventory.reserve" => "inventory.reserved",
            "payment.charge" if self.bank_declines => "payment.declined",
            "payment.charge" => "payment.charged",
            "shipment.create" if self.carrier_answers => "shipment.created",
            _ => return None,
        };
        Some(
            json!({"specversion": "1.0", "id": command["idempotencykey"], "source": format!("/participants/{kind}"), "type": kind,
            "correlationid": command["correlationid"], "causationid": command["id"]}),
        )
    }

    /// What the saga has published, in the order of the log; no id stands in it twice.
    fn sent(&self, server: &Server) -> Vec<String> {
        let listed = self.run(server, &["event", "list", "--source", SOURCE, "-o", "ndjson"]).ok().lines();
        let mut ids: Vec<&str> = listed.iter().map(|event| event["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), listed.len(), "{listed:#?}");
        listed.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the first instance stands so; participants do what they are asked for meanwhile.
    fn until(&self, server: &Server, state: &str) -> Value {
        for _ in 0..300 {
            let all = self.run(server, &["saga", "instances", "--saga", "order_fulfilment", "-o", "json"]).ok().json();
            if all["instances"][0]["state"] == state {
                return all["instances"][0].clone();
            }
            let done: usize =
                ["inventory", "payment", "shipment"].map(|name| self.take_part(server, name)).iter().sum();
            if done == 0 {
                thread::sleep(Duration::from_millis(50));
            }
        }
        panic!("expected {state}, found {:?}", self.run(server, &["saga", "instances", "-o", "json"]));
    }
}

const FULFILLED: [&str; 4] = ["inventory.reserve", "payment.charge", "shipment.create", "order.fulfilled"];
const DECLINED: [&str; 4] = ["inventory.reserve", "payment.charge", "inventory.release", "order.failed"];
const NOT_SHIPPED: [&str; 7] = [
    "inventory.reserve",
    "payment.charge",
    "shipment.create",
    "shipment.cancel",
    "payment.refund",
    "inventory.release",
    "order.failed",
];

#[test]
fn an_order_is_fulfilled_or_everything_is_undone() {
    for (bank_declines, carrier_answers, state, expected) in [
        (false, true, "completed", &FULFILLED[..]),
        (true, true, "compensated", &DECLINED),
        (false, false, "compensated", &NOT_SHIPPED),
    ] {
        let shop = Participants { bank_declines, carrier_answers, ..Participants::new() };
        let server = shop.serve();
        shop.declare(&server, "timeout: 1s");
        shop.place(&server, "o1");
        let instance = shop.until(&server, state);
        assert_eq!((&instance["key"], &instance["waiting"]), (&json!("o1"), &json!([])));
        assert_eq!(shop.sent(&server), expected);
        // Every event that led to another and came of it is one process.
        let traced =
            shop.run(&server, &["event", "trace", "--source", "/shop", "--id", "o1", "-o", "json"]).ok().json();
        let kinds: Vec<&str> =
            traced["nodes"].as_array().unwrap().iter().map(|node| node["type"].as_str().unwrap()).collect();
        assert!(expected.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
        let commands = traced["nodes"].as_array().unwrap().iter().filter(|node| node["source"] == SOURCE);
        assert!(commands.into_iter().all(|node| node["sagaid"] == "order_fulfilment/1"), "{traced}");
    }
}

/// Killed before anything, and behind each event that moves it on; what is out is answered by whoever is there again afterwards.
#[test]
fn a_kill_in_each_phase_repeats_no_command_and_loses_none() {
    for (bank_declines, carrier_answers, state, expected) in [
        (false, true, "completed", &FULFILLED[..]),
        (true, true, "compensated", &DECLINED),
        (false, false, "compensated", &NOT_SHIPPED),
    ] {
        for phase in 0..4 {
            let shop = Participants { bank_declines, carrier_answers, ..Participants::new() };
            let mut server = shop.serve();
            shop.declare(&server, "timeout: 2s");
            shop.place(&server, "o1");
            for name in ["inventory", "payment", "shipment"].iter().take(phase) {
                for _ in 0..100 {
                    if shop.take_part(&server, name) > 0 {
                        break;
                    }
                }
            }
            server.kill();
            let server = shop.serve();
            shop.until(&server, state);
            assert_eq!(shop.sent(&server), expected, "phase {phase}");
        }
    }
}

#[test]
fn sagas_are_declared_seen_and_intervened_in() {
    let shop = Shop::open();
    let file = shop.user.write("order.yaml", &example("order_fulfilment.yaml"));
    let checked = shop.run(&["saga", "apply", &file, "--dry-run"]).ok().stdout;
    assert!(
        checked.contains("warning: /steps/reserve_inventory: expected somebody who follows inventory.reserve"),
        "{checked}"
    );
    assert!(checked.contains("saga order_fulfilment can be applied as version 1, with "), "{checked}");
    let strict = shop.run(&["saga", "apply", &file, "--strict"]).ended(1);
    assert!(strict.stdout.contains("warning: ") && strict.stderr.contains("invalid-saga"), "{strict:?}");
    assert_eq!(shop.run(&["saga", "list", "-o", "ndjson"]).ok().stdout, "");
    shop.run(&["saga", "apply", &file]).ok();
    let same = shop.run(&["saga", "apply", &file]).ok().stdout;
    assert!(same.ends_with("saga order_fulfilment is version 1 as it was declared: nothing was changed\n"), "{same}");
    let shown = shop.run(&["saga", "show", "order_fulfilment", "-o", "json"]).ok().json();
    assert_eq!(shown["declaration"]["steps"][0]["reserve_inventory"]["compensate"], "inventory.release");
    let drawn = shop.run(&["saga", "diagram", "order_fulfilment"]).ok().stdout;
    assert!(drawn.starts_with("flowchart TD\n    start([\"order.placed\"])\n"), "{drawn}");

    shop.publish("order.placed", "{}").ok();
    shop.until(&["saga", "instances"], |page| page["instances"][0]["state"] == "running");
    let table = shop.run(&["saga", "instances", "--stuck", "0s", "--older", "0s"]).ok().stdout;
    assert!(
        table.contains("running") && table.contains("reserve_inventory, attempt 1: waits for the answer"),
        "{table}"
    );
    for none in [["--stuck", "1h"], ["--state", "failed"], ["--key", "nobody"], ["--search", "nothing here"]] {
        let listed = shop.run(&[&["saga", "instances", "-o", "ndjson"], &none[..]].concat()).ok();
        assert_eq!(listed.stdout, "", "{none:?}");
    }
    assert_eq!(shop.run(&["saga", "instances", "--compensating", "-o", "ndjson"]).ok().stdout, "");
    let explained = shop.run(&["saga", "explain", "1"]).ok().stdout;
    assert!(
        explained.contains("waits for the answer") && explained.ends_with("What may be done: cancel, pause.\n"),
        "{explained}"
    );
    let paused = shop.run(&["saga", "pause", "1", "--reason", "stock is counted"]).ok().stdout;
    assert!(paused.contains("it is paused: resume it, since "), "{paused}");
    shop.run(&["saga", "retry", "1"]).ended(1);
    shop.run(&["saga", "resume", "1"]).ok();
    let refused = shop.run(&["saga", "remove", "order_fulfilment"]).ended(1).stderr;
    assert!(refused.contains("found 1 of order_fulfilment"), "{refused}");
    shop.run(&["saga", "cancel", "1", "--reason", "the customer called"]).ok();
    let timeline = shop.run(&["saga", "timeline", "1", "-o", "json"]).ok().json();
    let what: Vec<&str> =
        timeline["entries"].as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(what[..5], ["begun", "tried", "paused", "resumed", "cancelled"], "{what:?}");
    let tried = &timeline["entries"][1];
    assert_eq!(
        (&tried["step"], &tried["sent"]["type"], tried["untiltime"].is_string()),
        (&json!("reserve_inventory"), &json!("inventory.reserve"), true)
    );
    assert_eq!(timeline["entries"][4]["text"], "the customer called");
    let table = shop.run(&["saga", "timeline", "1"]).ok().stdout;
    assert!(table.contains("inventory.release") && table.contains("order.failed"), "{table}");
    assert_eq!(shop.run(&["saga", "remove", "order_fulfilment"]).ok().stdout, "saga order_fulfilment was removed\n");
    shop.run(&["saga", "instance", "1"]).ended(3);
    shop.run(&["saga", "show", "order_fulfilment"]).ended(3);

    let broken = shop
        .user
        .write("broken.yaml", "saga: a\nstarts_on: b\nsteps: [{again: {loop: {steps: [{c: {sleep: 1s}}]}}}]\n");
    let refused = shop.run(&["saga", "apply", &broken]).ended(1);
    assert!(refused.stdout.starts_with("refused: /steps/again"), "{refused:?}");
    let unread = shop.user.write("unread.yaml", "saga: a\nstarts: b\n");
    shop.run(&["saga", "apply", &unread]).ended(2);

    let keyed = "saga: keyed\nstarts_on: cart.filled\nkey: data.cart\nsteps: [{pay: {wait: cart.paid}}]\n";
    shop.run(&["saga", "apply", &shop.user.write("keyed.yaml", keyed)]).ok();
    shop.publish("cart.filled", r#"{"basket": "c1"}"#).ok();
    let is_told = |listed: &Value| listed["declared"][0]["keyless"].is_u64();
    shop.until(&["saga", "list"], is_told);
    let told = shop.run(&["saga", "show", "keyed"]).ok().stderr;
    assert!(
        told.contains("began no instance: expected a text or number of 1 to 512 bytes where `key` looks"),
        "{told}"
    );
}

#[test]
fn rules_and_expectations_are_declared_and_work() {
    let shop = Shop::open();
    let rule = shop.user.write("rule.yaml", &example("welcome.yaml"));
    let expectation = shop.user.write("expect.yaml", &example("shipped_in_time.yaml").replace("5d", "200ms"));
    assert!(shop.run(&["rule", "apply", &rule]).ok().stdout.starts_with("rule welcome is version 1"));
    assert!(
        shop.run(&["expect", "apply", &expectation])
            .ok()
            .stdout
            .starts_with("expectation shipped_in_time is version 1")
    );
    shop.publish("customer.signed", r#"{"email":"ada@example"}"#).ok();
    shop.publish("payment.charged", "{}").ok();
    shop.until(&["event", "list", "--source", "/quipu/expectations/shipped_in_time"], |page| {
        page["events"].as_array().is_some_and(|events| events.len() == 1)
    });
    let mail = shop.run(&["event", "list", "--source", "/quipu/rules/welcome", "-o", "ndjson"]).ok().lines();
    assert_eq!((mail.len(), &mail[0]["data"]), (1, &json!({"to": "ada@example", "template": "welcome"})));
    let instances = shop.run(&["saga", "instances", "--expectation", "shipped_in_time", "-o", "ndjson"]).ok().lines();
    assert_eq!((instances.len(), &instances[0]["failure"]["reason"]), (1, &json!("nobody answered in time")));
    // Both are in the catalog, which says who publishes and who reads.
    let catalog = shop.run(&["catalog", "-o", "json"]).ok().json();
    let named = |kind: &str, member: &str| {
        let of = catalog["types"].as_array().unwrap().iter().find(|of| of["type"] == kind).unwrap().clone();
        of[member].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(named("customer.signed", "consumers"), ["rules/welcome"]);
    assert_eq!(named("mail.send", "publishers"), ["/quipu/rules/welcome"]);
    assert_eq!(named("shipment.overdue", "publishers"), ["/quipu/expectations/shipped_in_time"]);
    assert_eq!(named("payment.charged", "consumers"), ["expectations/shipped_in_time"]);
    shop.run(&["rule", "show", "welcome"]).ok();
    assert!(shop.run(&["rule", "list"]).ok().stdout.contains("welcome"));
    assert_eq!(shop.run(&["rule", "remove", "welcome"]).ok().stdout, "rule welcome was removed\n");
    assert!(shop.run(&["expect", "list"]).ok().stdout.contains("shipped_in_time"));
    shop.run(&["expect", "show", "welcome"]).ended(3);
    shop.run(&["expect", "remove", "shipped_in_time"]).ok();
}

#[test]
fn many_instances_are_intervened_in_at_once_and_a_changed_saga_is_asked_about_history() {
    let shop = Shop::open();
    let text = example("order_fulfilment.yaml");
    let file = shop.user.write("order.yaml", &text);
    shop.run(&["saga", "apply", &file]).ok();
    shop.publish("order.placed", "{}").ok();
    shop.until(&["saga", "instances"], |page| page["instances"][0]["state"] == "running");
    let of_it = ["saga", "pause", "--all", "--saga", "order_fulfilment", "--state", "running"];
    let unasked = shop.run(&of_it).ended(2);
    assert!(unasked.stdout.contains("1 instance; the first is above"), "{unasked:?}");
    assert!(unasked.stderr.contains("--yes"), "{unasked:?}");
    shop.run(&["saga", "pause", "1", "--saga", "order_fulfilment"]).ended(2);
    let done = shop.run(&[&of_it[..], &["--yes", "--wait", "--reason", "stock is counted"]].concat()).ok();
    assert!(done.stdout.contains("is finished: 1 of 1, 0 refused"), "{done:?}");
    let listed = shop.run(&["operation", "list"]).ok().stdout;
    assert!(listed.contains("pause: stock is counted"), "{listed}");
    assert!(shop.run(&["operation", "items", "2"]).ok().stdout.contains("done"), "the first was not confirmed");
    shop.run(&["saga", "resume", "--all", "--search", "nothing here", "--yes"]).ended(1);
    shop.run(&["saga", "cancel", "--all", "--yes", "--wait"]).ok();
    let asked = shop.run(&["saga", "what-if", &file]).ended(1).stdout;
    assert!(asked.contains("intervened") && asked.contains("1 differ, and somebody intervened"), "{asked}");
    let asked = shop.run(&["saga", "what-if", &file, "--over", "beginning..now", "-o", "json"]).ended(1).json();
    assert_eq!((&asked["intervened"], &asked["differences"][0]["number"]), (&json!(1), &json!(1)), "{asked}");
    shop.run(&["saga", "what-if", &file, "--over", "later"]).ended(2);
}
