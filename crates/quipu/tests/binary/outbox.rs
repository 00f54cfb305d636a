//! The outbox, over a real PostgreSQL server and a real server of Quipu: each event is recorded once and in order, when
//! relays are many, when everything is killed at any moment, and when events are refused.

mod kill;
#[cfg(feature = "tower")]
mod layer;
mod race;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use quipu::{Event, outbox};
use serde_json::{Value, json};
use tokio_postgres::{Client, Transaction};

use crate::cluster::{Cluster, block_on, connect};
use crate::process::{DEADLINE, Ran, Server, User, finish};

/// A database with an outbox, and a server of Quipu.
struct Shop {
    user: User,
    cluster: Cluster,
    server: Server,
}

impl Shop {
    fn open() -> Self {
        let (user, cluster) = (User::new(), Cluster::start());
        user.run(&["outbox", "install", "--database-url", &cluster.url()]).ok();
        let server = user.serve(&[]);
        Self { user, cluster, server }
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.user.run(&[args, &["--url", &self.server.url]].concat())
    }

    /// Relays until the outbox is empty.
    fn relay(&self, args: &[&str]) -> Ran {
        self.run(&[&["outbox", "relay", "--once", "--database-url", &self.cluster.url()], args].concat())
    }

    /// A relay that goes on beside the test.
    fn relaying(&self, args: &[&str]) -> Child {
        let url = self.cluster.url();
        let args = [&["outbox", "relay", "--database-url", &url, "--url", &self.server.url], args].concat();
        self.user.command(&args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The ids of what is recorded, in order.
    fn recorded(&self) -> Vec<String> {
        let events = self.run(&["event", "list", "-o", "ndjson"]).ok().lines();
        events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    }

    /// With a connection to the database.
    fn with<T>(&self, act: impl AsyncFnOnce(Client) -> T) -> T {
        block_on(async { act(connect(self.cluster.folder.path()).await).await })
    }

    /// Puts these events into the outbox, each in a transaction of its own, as SQL does it.
    fn insert(&self, events: &[Value]) {
        self.with(async |client| {
            for event in events {
                let insert = format!("INSERT INTO quipu_outbox (event) VALUES ('{event}')");
                client.batch_execute(&insert).await.unwrap();
            }
        });
    }

    fn count(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        self.with(async |client| client.query_one(&count, &[]).await.unwrap().get(0))
    }
}

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "order.placed", "subject": "order/1"})
}

async fn publish(transaction: &Transaction<'_>, id: &'static str) {
    let event = Event::builder(id, "/shop", "order.placed").subject("order/1").build().unwrap();
    outbox::publish(transaction, &event).await.unwrap();
}

#[test]
fn what_is_committed_is_relayed_and_what_is_rolled_back_is_not() {
    let shop = Shop::open();
    shop.with(async |mut client| {
        for (id, commits) in [("1", true), ("2", false), ("3", true)] {
            let transaction = client.transaction().await.unwrap();
            let event = Event::builder(id, "/shop", "order.placed").subject("order/1").tag("customer:7");
            let event = event.json(r#"{"total":1.50,"note":"it's \u0000 \"quoted\""}"#).build().unwrap();
            outbox::publish(&transaction, &event).await.unwrap();
            if commits {
                transaction.commit().await.unwrap();
            }
        }
    });
    assert_eq!(shop.relay(&[]).ok().stdout, "2 relayed, 0 set aside\n");
    assert_eq!(shop.recorded(), ["1", "3"]);
    let text = shop.run(&["event", "get", "1", "-o", "json"]).ok().stdout;
    assert!(text.contains("1.50") && text.contains("customer:7"), "number for number: {text}");
    assert_eq!(shop.count("quipu_outbox"), 0, "what is recorded is cleaned up");
    assert_eq!(shop.relay(&[]).ok().stdout, "0 relayed, 0 set aside\n");
}

#[test]
fn a_relay_that_waits_takes_an_event_soon_after_its_commit() {
    let shop = Shop::open();
    let mut relay = shop.relaying(&[]);
    for id in ["1", "2", "3"] {
        shop.insert(&[event(id)]);
        until("it is recorded", || shop.recorded().last().map(String::as_str) == Some(id));
    }
    relay.kill().unwrap();
    relay.wait().unwrap();
}

#[test]
fn a_slow_transaction_that_commits_late_is_not_passed_over() {
    let shop = Shop::open();
    shop.with(async |mut client| {
        let quick = connect(shop.cluster.folder.path()).await;
        let slow = client.transaction().await.unwrap();
        publish(&slow, "slow").await;
        let insert = format!("INSERT INTO quipu_outbox (event) VALUES ('{}')", event("quick"));
        quick.batch_execute(&insert).await.unwrap();
        let mut relay = shop.relaying(&["--once"]);
        // Once it has looked at the outbox, which has the quick one only.
        let looks = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_snapshot_xmax%' AND state = 'idle' \
             AND application_name = 'quipu outbox'";
        let begun = Instant::now();
        while quick.query_one(looks, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(begun.elapsed() < DEADLINE, "expected a relay that has looked, found none");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(shop.recorded().is_empty(), "nothing passes the slow one");
        slow.commit().await.unwrap();
        assert!(relay.wait().unwrap().success());
    });
    assert_eq!(shop.recorded(), ["slow", "quick"]);
}

#[test]
fn changes_that_wait_for_each_other_are_relayed_in_the_order_of_the_changes() {
    let shop = Shop::open();
    shop.with(async |mut client| {
        client
            .batch_execute("CREATE TABLE entry (id int); CREATE TABLE orders (n int); INSERT INTO orders VALUES (0)")
            .await
            .unwrap();
        let mut other = connect(shop.cluster.folder.path()).await;
        // It has its transaction id first, and changes the order last.
        let early = client.transaction().await.unwrap();
        early.batch_execute("INSERT INTO entry VALUES (1)").await.unwrap();
        let late = other.transaction().await.unwrap();
        late.batch_execute("UPDATE orders SET n = n + 1").await.unwrap();
        publish(&late, "first change").await;
        late.commit().await.unwrap();
        early.batch_execute("UPDATE orders SET n = n + 1").await.unwrap();
        publish(&early, "second change").await;
        early.commit().await.unwrap();
    });
    shop.relay(&[]).ok();
    assert_eq!(shop.recorded(), ["first change", "second change"]);
}

#[test]
fn a_refused_event_stops_the_relay_or_is_set_aside_with_the_reason() {
    let shop = Shop::open();
    let mut taken = event("3");
    shop.run(&["event", "publish", &shop.user.write("taken.json", &taken.to_string())]).ok();
    taken["data"] = json!({"other": true});
    shop.insert(&[event("1"), json!({"id": "2"}), taken, event("4")]);
    let said = shop.relay(&[]).ended(1).stderr;
    assert!(said.contains("row 2 of quipu_outbox is refused") && said.contains("--skip-refused"), "{said}");
    assert_eq!((shop.recorded().len(), shop.count("quipu_outbox")), (1, 4), "nothing is lost, nothing passes it");
    assert_eq!(shop.relay(&["--skip-refused"]).ok().stdout, "2 relayed, 2 set aside\n");
    assert_eq!(shop.recorded(), ["3", "1", "4"]);
    let refused = shop.with(async |client| {
        let query = "SELECT id, event->>'id', reason FROM quipu_outbox_refused ORDER BY id";
        let rows = client.query(query, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect::<Vec<(i64, String, String)>>()
    });
    assert_eq!((refused[0].0, refused[0].1.as_str(), refused[1].0, refused[1].1.as_str()), (2, "2", 3, "3"));
    assert!(refused[0].2.contains("specversion") || refused[0].2.contains("source"), "{refused:?}");
    assert!(refused[1].2.contains("[id-conflict]"), "{refused:?}");
    assert_eq!(shop.count("quipu_outbox"), 0);
}

#[test]
fn an_event_that_breaks_its_schema_is_refused_with_its_row() {
    let shop = Shop::open();
    shop.user.write("schema.json", r#"{"type": "object", "required": ["total"]}"#);
    let schema = shop.user.path("schema.json");
    shop.run(&["schema", "register", "order.placed", &schema]).ok();
    shop.run(&["schema", "rules", "order.placed", "--enforcement", "enforce"]).ok();
    let mut good = event("1");
    good["data"] = json!({"total": 1});
    shop.insert(&[good, event("2")]);
    let said = shop.relay(&[]).ended(1).stderr;
    assert!(said.contains("row 2 of quipu_outbox is refused") && said.contains("[schema-violated]"), "{said}");
    shop.relay(&["--skip-refused"]).ok();
    assert_eq!((shop.recorded(), shop.count("quipu_outbox_refused")), (vec!["1".to_owned()], 1));
}

#[test]
fn an_event_that_is_recorded_already_is_not_repeated_and_holds_nothing_up() {
    let shop = Shop::open();
    shop.run(&["event", "publish", &shop.user.write("event.json", &event("1").to_string())]).ok();
    shop.insert(&[event("1")]);
    shop.relay(&[]).ok();
    shop.insert(&[event("2")]);
    shop.relay(&[]).ok();
    assert_eq!((shop.recorded(), shop.count("quipu_outbox")), (vec!["1".to_owned(), "2".to_owned()], 0));
}

#[test]
fn a_log_and_a_database_that_do_not_know_each_other_are_not_mixed() {
    let shop = Shop::open();
    for id in ["1", "2", "3"] {
        shop.insert(&[event(id)]);
        shop.relay(&[]).ok();
    }
    shop.insert(&[event("4")]);
    let set = |sql: &'static str| shop.with(async |client| client.batch_execute(sql).await.unwrap());
    set("UPDATE quipu_outbox_place SET number = 1");
    let said = shop.relay(&[]).ended(1).stderr;
    assert!(said.contains("expected a log that has recorded at most batch 1, found 3"), "{said}");
    set("UPDATE quipu_outbox_place SET number = 9");
    let said = shop.relay(&[]).ended(1).stderr;
    assert!(said.contains("expected a log that has recorded batch 8 at least, found 3"), "{said}");
    set("UPDATE quipu_outbox_place SET number = 3; UPDATE quipu_outbox SET transaction = '4000000000000'");
    let said = shop.relay(&[]).ended(1).stderr;
    assert!(said.contains("row 4 of quipu_outbox: expected a transaction of this database server"), "{said}");
    assert_eq!((shop.recorded().len(), shop.count("quipu_outbox")), (3, 1));
    // What docs/outbox.md says to do.
    set("UPDATE quipu_outbox SET transaction = '3'");
    set("UPDATE quipu_outbox_place SET source = 'outbox:' || gen_random_uuid(), number = 0, ids = '{}'");
    shop.relay(&[]).ok();
    assert_eq!(shop.recorded(), ["1", "2", "3", "4"]);
}

#[test]
fn a_data_folder_takes_events_without_a_server() {
    let shop = Shop::open();
    let folder = shop.user.path("own");
    shop.user.run_with(&["store", "import", "-", "--data", &folder], &event("0").to_string()).ok();
    let many: Vec<Value> = (1..=1_200).map(|n| event(&n.to_string())).collect();
    shop.insert(&many);
    let url = shop.cluster.url();
    let said = shop.user.run(&["outbox", "relay", "--once", "--database-url", &url, "--data", &folder]).ok();
    assert_eq!(said.stdout, "1200 relayed, 0 set aside\n");
    let exported = shop.user.run(&["store", "export", &folder]).ok().lines();
    let ids: Vec<&str> = exported.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids, (0..=1_200).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn installing_twice_changes_nothing_and_a_relay_without_tables_says_what_is_missing() {
    let (user, cluster) = (User::new(), Cluster::start());
    let url = cluster.url();
    let said = user.run(&["outbox", "relay", "--once", "--database-url", &url, "--url", "http://127.0.0.1:9"]).ended(3);
    assert!(said.stderr.contains("quipu outbox install"), "{said:?}");
    let place = || {
        block_on(async {
            let client = connect(cluster.folder.path()).await;
            client.query_one("SELECT source FROM quipu_outbox_place", &[]).await.unwrap().get::<_, String>(0)
        })
    };
    user.run(&["outbox", "install", "--database-url", &url]).ok();
    let first = place();
    user.run(&["outbox", "install", "--database-url", &url]).ok();
    assert_eq!(place(), first);
    let printed = user.run(&["outbox", "install", "--print"]).ok().stdout;
    block_on(async { connect(cluster.folder.path()).await.batch_execute(&printed).await.unwrap() });
    assert_eq!(place(), first);
}

#[test]
fn the_password_of_a_database_is_in_nothing_that_is_said() {
    let user = User::new();
    let file = user.write("password", "hunter2\n");
    for url in [
        "postgres://shop:hunter2@localhost:1/shop",
        "postgres://shop:hunter2@far.example/shop",
        "postgres://shop:hunter2@localhost:port/shop",
        "postgres://shop@localhost:1/shop",
    ] {
        for args in [&["outbox", "install"][..], &["outbox", "relay", "--password-file", &file]] {
            let said = finish(user.command(&[args, &["--database-url", url]].concat()).env("PGPASSWORD", "hunter2"));
            assert!(said.code != 0 && !format!("{said:?}").contains("hunter2"), "{said:?}");
        }
        let said = finish(user.command(&["outbox", "relay", "--help"]).env("DATABASE_URL", url));
        assert!(said.code == 0 && !format!("{said:?}").contains("hunter2"), "{said:?}");
    }
}

#[test]
fn a_relay_speaks_tls_with_the_host_that_an_authority_vouches_for() {
    let (user, (cluster, authority)) = (User::new(), Cluster::start_encrypted("127.0.0.1"));
    let authority = user.write("authority.pem", &authority);
    let server = user.serve(&[]);
    for (mode, relays) in [("require", true), ("verify-full", true), ("require", false)] {
        let url = format!("{}?sslmode={mode}", cluster.url_of("shop"));
        let run = |args: &[&str]| {
            let mut command = user.command(&[args, &["--database-url", &url]].concat());
            if relays {
                command.env("SSL_CERT_FILE", &authority);
            }
            finish(&mut command)
        };
        if !relays {
            // Of an authority that this machine does not know.
            let said = run(&["outbox", "install"]);
            assert!(said.code != 0 && said.stderr.contains("certificate"), "{said:?}");
            continue;
        }
        run(&["outbox", "install"]).ok();
        cluster.sql(&format!("INSERT INTO quipu_outbox (event) VALUES ('{}')", event(mode)));
        let relayed = run(&["outbox", "relay", "--once", "--url", &server.url]).ok();
        assert_eq!(relayed.stdout, "1 relayed, 0 set aside\n");
    }
    // Where the server speaks none, nothing is sent.
    let plain = Cluster::start_on_port(&[]);
    let said = user.run(&["outbox", "install", "--database-url", &format!("{}?sslmode=require", plain.url_of("shop"))]);
    assert!(said.code != 0 && said.stderr.contains("TLS"), "{said:?}");
}

#[test]
fn a_relay_notices_a_database_that_is_frozen() {
    let shop = Shop::open();
    let url = shop.cluster.url();
    let mut command = shop.user.command(&["outbox", "relay", "--database-url", &url, "--url", &shop.server.url]);
    let mut relay = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    shop.insert(&[event("1")]);
    until("it is recorded", || shop.recorded() == ["1"]);
    // Its connection is there, and nobody answers.
    let pids = shop.with(async |client| {
        let rows = client.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'quipu outbox'", &[]).await;
        rows.unwrap().iter().map(|row| row.get(0)).collect::<Vec<i32>>()
    });
    let signal = |signal| {
        for pid in &pids {
            rustix::process::kill_process(rustix::process::Pid::from_raw(*pid).unwrap(), signal).unwrap();
        }
    };
    signal(rustix::process::Signal::STOP);
    shop.insert(&[event("2")]);
    until("it is recorded over another connection", || shop.recorded() == ["1", "2"]);
    signal(rustix::process::Signal::CONT);
    relay.kill().unwrap();
    let said = String::from_utf8(relay.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains("no answer of the database within 15 s"), "{said}");
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "expected that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
