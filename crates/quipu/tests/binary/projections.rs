//! Projections on the command line, and their tables over kills: whatever is killed and when, they are those of a rebuild.

mod postgres;

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Ran, Server, Shop, User};

const ORDERS: &str = "projection: orders
tables: |
  create table orders (id text primary key, n integer, events integer);
  create index by_events on orders (events)
on:
  order.placed: >
    insert into orders values (:subject, :data.n, 1)
    on conflict do update set n = n + excluded.n, events = events + 1
";

/// As those, with one more table.
const WIDER: &str = "projection: orders
tables: |
  create table orders (id text primary key, n integer, events integer);
  create index by_events on orders (events);
  create table seen (position integer primary key, id text)
on:
  order.placed:
    - >
      insert into orders values (:subject, :data.n, 1)
      on conflict do update set n = n + excluded.n, events = events + 1
    - insert into seen values (:position, :id)
";

#[test]
fn a_projection_is_declared_asked_and_released() {
    let shop = Shop::open();
    let file = shop.user.write("orders.yaml", ORDERS);
    assert_eq!(shop.run(&["projection", "check", &file]).ok().stdout, "orders can be applied\n");
    let applied = shop.run(&["projection", "apply", &file]).ok().stdout;
    assert_eq!(applied, "release 1 of orders answers, and takes events in\n");
    let same = shop.run(&["projection", "apply", &file]).ok().stdout;
    assert_eq!(same, "release 1 of orders answers as it was declared: nothing was changed\n");
    shop.run_with(&["event", "publish", "-"], &crate::process::events(25)).ok();
    let rows = shop.run(&["projection", "rows", "orders", "orders", "--at-least", "25", "--order", "-events,id"]).ok();
    let table: Vec<Vec<&str>> = rows.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table[0], ["id", "n", "events"]);
    assert_eq!(table[1..], [["order/0", "45", "10"], ["order/1", "145", "10"], ["order/2", "110", "5"]]);
    assert!(rows.stderr.contains("at position 25"), "{rows:?}");
    let few = shop.run(&["projection", "rows", "orders", "orders", "--where", "events<10", "-o", "ndjson"]).ok();
    assert_eq!(few.lines(), [serde_json::json!({"id": "order/2", "n": 110, "events": 5})]);
    let sql = ["projection", "sql", "orders", "select sum(n) as n from orders where events = :e", "--param", "e=10"];
    assert_eq!(shop.run(&[&sql[..], &["-o", "json"]].concat()).ok().json()["rows"][0]["n"], 190);

    let wider = shop.user.write("wider.yaml", WIDER);
    let applied = shop.run(&["projection", "apply", &wider]).ok().stdout;
    assert!(applied.contains("release 2 of orders is being built"), "{applied}");
    shop.until(&["projection", "show", "orders"], |shown| shown["releases"][1]["state"] == "following");
    // Another table is a difference, and the rows of the one that both have are none.
    let diff = shop.run(&["projection", "diff", "orders", "-o", "json"]).ended(1).json();
    assert_eq!((&diff["equal"], &diff["tables"][0]["equal"]), (&Value::Bool(false), &Value::Bool(true)), "{diff}");
    assert_eq!(shop.run(&["projection", "switch", "orders"]).ok().stdout, "release 2 of orders answers\n");
    assert_eq!(shop.run(&["projection", "rows", "orders", "seen", "-o", "ndjson"]).ok().lines().len(), 25);
    assert_eq!(shop.run(&["projection", "revert", "orders"]).ok().stdout, "release 1 of orders answers\n");
    assert_eq!(shop.run(&["projection", "drop", "orders"]).ok().stdout, "release 2 of orders was given up\n");
    let list = shop.run(&["projection", "list"]).ok().stdout;
    assert!(list.contains("1 (live)") && list.contains("following"), "{list}");

    let broken = shop
        .user
        .write("broken.yaml", "projection: orders\ntables: create table t (a)\non:\n  a.b: insert into u values (1)\n");
    let refused = shop.run(&["projection", "apply", &broken]).ended(1).stderr;
    assert!(refused.contains("/on/a.b") && refused.contains("no such table: u"), "{refused}");
    shop.run(&["projection", "show", "nothing"]).ended(3);
    assert_eq!(shop.run(&["projection", "remove", "orders"]).ok().stdout, "orders was removed\n");
}

#[test]
fn a_projection_is_verified_and_the_exit_code_tells() {
    let shop = Shop::open();
    let file = shop.user.write("orders.yaml", ORDERS);
    shop.run(&["projection", "apply", &file]).ok();
    shop.run_with(&["event", "publish", "-"], &crate::process::events(25)).ok();
    shop.run(&["projection", "rows", "orders", "orders", "--at-least", "25"]).ok();
    shop.until(&["projection", "show", "orders"], |shown| shown["releases"][0]["state"] == "following");
    let verified = shop.run(&["projection", "verify", "orders"]).ok();
    assert!(
        verified.stderr.contains("verdict 1: orders is equal to the live read model at position 25"),
        "{verified:?}"
    );
    let made = shop.run(&["baseline", "create", "orders", "first"]).ok().stdout;
    assert!(made.starts_with("first is orders at position 25;"), "{made}");
    shop.run(&["projection", "verify", "orders", "--baseline", "first"]).ok();
    shop.run(&["projection", "verify", "orders", "--baseline", "second"]).ended(3);

    // Another declaration gives other tables.
    let wider = shop.user.write("wider.yaml", WIDER);
    shop.run(&["projection", "apply", &wider]).ok();
    shop.until(&["projection", "show", "orders"], |shown| shown["releases"][1]["state"] == "following");
    shop.run(&["projection", "switch", "orders"]).ok();
    let verdict = shop.run(&["projection", "verify", "orders", "--baseline", "first", "-o", "json"]).ended(1).json();
    assert_eq!((&verdict["outcome"], &verdict["tables"][0]["equal"]), (&Value::from("differs"), &Value::Bool(true)));
    let verdicts = shop.run(&["projection", "verdicts", "orders", "-o", "json"]).ok().json();
    let outcomes: Vec<_> = verdicts["verdicts"].as_array().unwrap().iter().map(|verdict| &verdict["outcome"]).collect();
    assert_eq!(outcomes, ["differs", "equal", "equal"]);
    assert_eq!(verdicts["verdicts"][0], verdict);
    assert!(shop.run(&["baseline", "list", "orders"]).ok().stdout.contains("first"));
    assert_eq!(shop.run(&["baseline", "remove", "orders", "first"]).ok().stdout, "first was removed\n");
}

#[test]
fn an_event_that_cannot_be_taken_in_is_shown_and_passed_over() {
    let shop = Shop::open();
    let once = ORDERS.replace("on conflict do update set n = n + excluded.n, events = events + 1", "");
    let file = shop.user.write("orders.yaml", &once);
    shop.run(&["projection", "apply", &file]).ok();
    for n in 0..2 {
        shop.run_with(&["event", "publish", "-"], &crate::process::events(n + 1)).ok();
    }
    shop.until(&["projection", "show", "orders"], |shown| shown["releases"][0]["state"] == "stopped");
    let shown = shop.run(&["projection", "show", "orders"]).ok().stderr;
    assert!(shown.contains("the event at position 2, order.placed 1 of /test: UNIQUE constraint failed"), "{shown}");
    assert!(shown.contains("in: insert into orders"), "{shown}");
    let skipped = shop.run(&["projection", "skip", "orders", "2", "--reason", "it is there"]).ok().stderr;
    assert!(skipped.contains("position 2 is passed over: it is there"), "{skipped}");
    shop.run(&["projection", "rows", "orders", "orders", "--at-least", "2"]).ok();
}

impl Shop {
    /// Asks again until what is shown is so.
    pub fn until(&self, args: &[&str], holds: impl Fn(&Value) -> bool) {
        for _ in 0..600 {
            if holds(&self.run(&[args, &["-o", "json"]].concat()).ok().json()) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("not in 30 s: {:?}", self.run(args));
    }
}

/// A pseudo-random number below `most`.
fn dice(state: &mut u64, most: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % most
}

fn run(user: &User, server: &Server, args: &[&str]) -> Ran {
    user.run(&[&["--url", &server.url], args].concat())
}

/// Loads events, and kills the server while they go in.
fn load_and_kill(user: &User, server: Server, first: usize, count: usize, after: u64) {
    let lines: String =
        crate::process::events(first + count).lines().skip(first).map(|line| format!("{line}\n")).collect();
    let mut load = user.command(&["--url", &server.url, "event", "publish", "-"]);
    let mut load = load.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = load.stdin.take().unwrap();
    let writer = thread::spawn(move || drop(stdin.write_all(lines.as_bytes())));
    thread::sleep(Duration::from_millis(after));
    // Dropped, a server is killed.
    drop(server);
    load.kill().unwrap();
    load.wait().unwrap();
    writer.join().unwrap();
}

#[test]
fn whatever_is_killed_and_when_the_tables_are_those_of_a_rebuild() {
    const EVENTS: usize = 4_000;
    let user = User::new();
    let data = user.path("data");
    let serve = || user.serve(&["--data", &data]);
    let (orders, wider) = (user.write("orders.yaml", ORDERS), user.write("wider.yaml", WIDER));
    run(&user, &serve(), &["projection", "apply", &orders]).ok();
    let mut seed = 20_261_123;
    // While it follows; then while a changed one is built beside it.
    for round in 0..10 {
        let server = serve();
        if round == 5 {
            run(&user, &server, &["projection", "apply", &wider]).ok();
        }
        load_and_kill(&user, server, 0, EVENTS * (round + 1) / 10, dice(&mut seed, 250));
    }
    let server = serve();
    let all = run_with(&user, &server, &["event", "publish", "-"], &crate::process::events(EVENTS));
    all.ok();
    let end = EVENTS.to_string();
    let digest_of = |server: &Server| {
        run(&user, server, &["projection", "rows", "orders", "orders", "--at-least", &end, "--wait-ms", "30000"]).ok();
        let digest = run(&user, server, &["projection", "digest", "orders", "-o", "json"]).ok().json();
        assert_eq!(digest["position"], EVENTS as u64, "each event was recorded once");
        digest["tables"].clone()
    };
    let live = digest_of(&server);
    for _ in 0..600 {
        let shown = run(&user, &server, &["projection", "show", "orders", "-o", "json"]).ok().json();
        if shown["releases"][1]["position"] == EVENTS as u64 {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    run(&user, &server, &["projection", "switch", "orders"]).ok();
    let next = digest_of(&server);
    assert_eq!(next[0], live[0], "both releases have the same orders");
    assert_eq!(next[1]["rows"], EVENTS as u64);
    server.stop();
    // From nothing, without a kill.
    fs::remove_dir_all(format!("{data}/tenants/default/read-models")).unwrap();
    let server = serve();
    assert_eq!(digest_of(&server), next);
    run(&user, &server, &["projection", "revert", "orders"]).ok();
    assert_eq!(digest_of(&server), live);
}

fn run_with(user: &User, server: &Server, args: &[&str], stdin: &str) -> Ran {
    user.run_with(&[&["--url", &server.url], args].concat(), stdin)
}
